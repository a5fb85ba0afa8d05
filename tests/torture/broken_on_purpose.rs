//! Each invariant has been seen to fail: a bot that is broken in one way breaks that invariant and no other first.

use recompra::core::Decimal;

use super::conditions::Conditions;
use super::faults::{Fault, Faults};
use super::run;
use super::sabotage::Sabotage;
use super::world::{Options, World};

/// Runs some seeds of a bot that is broken on purpose; the invariants it breaks, each once.
fn broken_by(sabotage: Sabotage, faults: &[(Fault, f64)]) -> Vec<u8> {
    let mut broken: Vec<u8> = (0..60)
        .filter_map(|seed| {
            let mut world = World::new(seed, Options { sabotage: Some(sabotage), ..Options::default() });
            world.faults = Faults::none(seed);
            faults.iter().for_each(|(fault, chance)| world.faults.set(*fault, *chance));
            // Rich enough that the exchange does not refuse what the bot should not ask for.
            for (coin, amount) in [("BTC", Decimal::ONE), ("USDT", Decimal::from(1_000_000))] {
                world.exchange.adjust_balance(0, coin, amount, world.time()).unwrap();
            }
            run::run(world).0.violation
        })
        .map(|violation| violation.invariant)
        .collect();
    broken.sort_unstable();
    broken.dedup();
    broken
}

#[test]
fn invariant_1_catches_an_order_that_is_sent_twice_under_two_names() {
    assert_eq!(broken_by(Sabotage::SendsTwice, &[]), [1]);
}

#[test]
fn invariant_2_catches_a_sell_of_more_than_is_held() {
    assert_eq!(broken_by(Sabotage::OffersTwice, &[]), [2]);
}

#[test]
fn invariant_2_catches_buys_beyond_the_capital() {
    assert_eq!(broken_by(Sabotage::IgnoresCapital, &[]), [2]);
}

#[test]
fn invariant_3_catches_an_execution_that_is_booked_twice() {
    assert_eq!(broken_by(Sabotage::BooksTwice, &[(Fault::FrameLost, 1.0)]), [3]);
}

#[test]
fn invariant_3_catches_a_fee_that_is_forgotten() {
    assert_eq!(broken_by(Sabotage::ForgetsFees, &[(Fault::FrameLost, 1.0)]), [3]);
}

#[test]
fn invariant_4_catches_a_cancel_of_somebody_else_s_order() {
    assert_eq!(broken_by(Sabotage::CancelsAll, &[(Fault::ManualOrder, 0.3)]), [4]);
}

#[test]
fn invariant_5_catches_silence_taken_for_a_refusal() {
    assert_eq!(broken_by(Sabotage::TakesSilenceForRefusal, &[(Fault::RequestLost, 0.1)]), [5]);
}

#[test]
fn invariant_6_catches_a_journal_that_lacks_a_line() {
    assert_eq!(broken_by(Sabotage::DropsLines, &[(Fault::CrashWaiting, 0.05)]), [6]);
}

#[test]
fn invariant_6_catches_a_journal_that_believes_a_sync_after_one_that_failed() {
    let faults =
        [(Fault::SyncError, 0.3), (Fault::SyncLoses, 1.0), (Fault::CrashWaiting, 0.02), (Fault::PagesForgotten, 1.0)];
    assert_eq!(broken_by(Sabotage::BelievesASyncThatFailed, &faults), [6]);
}

#[test]
fn invariant_7_catches_a_bot_that_never_sells() {
    assert_eq!(broken_by(Sabotage::NeverSells, &[]), [7]);
}

/// The same in a calm world, whose market moves for ten minutes more.
fn broken_when_calm_by(sabotage: Sabotage, faults: &[(Fault, f64)]) -> Vec<u8> {
    let mut broken: Vec<u8> = (0..60)
        .filter_map(|seed| {
            let mut world = World::new(seed, Options { sabotage: Some(sabotage), ..Options::default() });
            world.faults = Faults::none(seed);
            faults.iter().for_each(|(fault, chance)| world.faults.set(*fault, *chance));
            world.conditions = Conditions::calm();
            world.faults_end += 600_000;
            // A maker-only sell may have to wait for the market.
            world.parameters.post_only = false;
            run::run(world).0.violation
        })
        .map(|violation| violation.invariant)
        .collect();
    broken.sort_unstable();
    broken.dedup();
    broken
}

#[test]
fn invariant_8_catches_coins_that_are_not_offered() {
    assert_eq!(broken_when_calm_by(Sabotage::NeverSells, &[]), [8]);
}

#[test]
fn invariant_8_catches_a_stop_loss_that_does_not_fire() {
    assert_eq!(broken_when_calm_by(Sabotage::SeesNoFall, &[]), [8]);
}

#[test]
fn invariant_9_catches_a_bot_that_asks_too_much() {
    assert_eq!(broken_by(Sabotage::AsksFiftyTimes, &[]), [9]);
}

#[test]
fn invariant_11_catches_a_bot_that_buys_again_what_it_lost() {
    assert_eq!(broken_by(Sabotage::ForgetsLosses, &[(Fault::Withdrawal, 0.3)]), [11]);
}

#[test]
fn invariant_12_catches_a_bot_that_leaves_its_post() {
    assert_eq!(broken_by(Sabotage::LeavesItsPost, &[(Fault::Stop, 0.05)]), [12]);
}

#[test]
fn invariant_13_catches_a_journal_that_grows_for_nothing() {
    assert_eq!(broken_by(Sabotage::WritesForNothing, &[]), [13]);
}

#[test]
fn a_bot_that_is_not_broken_breaks_nothing() {
    for seed in 0..60 {
        let mut world = World::new(seed, Options::default());
        world.faults = Faults::none(seed);
        world.conditions = Conditions::calm();
        assert_eq!(run::run(world).0.violation, None, "seed {seed}");
    }
}
