//! Numbers that no exchange should send and no user should write: the core refuses or bounds them, and never panics.

mod listing;

use std::time::Duration;

use listing::instrument;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use recompra::core::instrument::Instrument;
use recompra::core::ladder::{self, LadderRule, PlannedLevel};
use recompra::core::ledger::{Cycle, Ledger, Lot};
use recompra::core::order::{BotName, Execution, OrderKey, OrderReport, OrderSpec, OrderStatus, Side, Slot};
use recompra::core::parameters::{DeviationFrom, Parameters, TakeProfitMode};
use recompra::core::rebuild::rebuild;
use recompra::core::reconcile::{self, Finding, Source};
use recompra::core::record::{MissingCause, Reason, Record, Refusal};
use recompra::core::strategy::{self, Goal, Quote, Situation, Step};
use recompra::core::{Decimal, Timestamp, money};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn d(text: &str) -> Decimal {
    money::parse(text).unwrap()
}

/// Sane numbers and absurd ones, as a seed chooses.
struct Numbers(SmallRng);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    fn odd(&mut self) -> bool {
        self.below(2) == 0
    }

    fn number(&mut self) -> Decimal {
        let tiny = Decimal::new(1, 28);
        let sane = [d("0.0001"), d("0.01"), Decimal::ONE, d("7.3"), d("100"), d("60000.1"), d("250000")];
        let absurd = [Decimal::MAX, Decimal::MIN, Decimal::ZERO, tiny, -tiny, d("99999999999999"), -Decimal::ONE];
        if self.below(4) > 0 { sane[self.below(sane.len())] } else { absurd[self.below(absurd.len())] }
    }

    fn parameters(&mut self) -> Parameters {
        Parameters {
            symbol: "BTCUSDT".to_owned(),
            base_order_amount: self.number(),
            take_profit_percent: self.number(),
            take_profit_mode: if self.odd() { TakeProfitMode::Average } else { TakeProfitMode::PerLevel },
            max_rebuys: self.0.random(),
            rebuy_amount: self.number(),
            rebuy_step_percent: self.number(),
            step_scale: self.number(),
            amount_scale: self.number(),
            deviation_from: if self.odd() { DeviationFrom::Base } else { DeviationFrom::Previous },
            active_rebuys: self.0.random(),
            sell_delay: Duration::ZERO,
            rebuy_delay: Duration::MAX,
            cycle_delay: Duration::ZERO,
            max_cycles: 0,
            max_capital: self.number(),
            stop_loss_percent: self.odd().then(|| self.number()),
            time_limit: None,
            post_only: self.odd(),
            fee_rate: self.number(),
        }
    }

    fn instrument(&mut self) -> Instrument {
        Instrument {
            tick_size: self.number(),
            quantity_step: self.number(),
            amount_step: self.number(),
            min_notional: self.number(),
            max_limit_quantity: self.number(),
            max_market_quantity: self.number(),
            ..instrument()
        }
    }

    fn key(&mut self) -> OrderKey {
        let level = [0, 1, 2, u8::MAX][self.below(4)];
        let slot = [Slot::Buy(level), Slot::Sell(level), Slot::Exit][self.below(3)];
        OrderKey { cycle: [1, 2][self.below(2)], slot, attempt: [1, 2, u32::MAX - 1][self.below(3)] }
    }

    fn spec(&mut self, side: Side) -> OrderSpec {
        match (self.odd(), side) {
            (true, side) => {
                OrderSpec::Limit { side, price: self.number(), quantity: self.number(), post_only: self.odd() }
            }
            (false, Side::Buy) => OrderSpec::MarketBuy { amount: self.number() },
            (false, Side::Sell) => OrderSpec::MarketSell { quantity: self.number() },
        }
    }

    fn report(&mut self, key: OrderKey) -> OrderReport {
        let status = [OrderStatus::Open, OrderStatus::Filled, OrderStatus::Cancelled, OrderStatus::Rejected];
        OrderReport {
            link_id: key.link_id(&bot()),
            order_id: "1".to_owned(),
            spec: self.spec(key.slot.side()),
            status: status[self.below(4)],
            executed_quantity: self.number(),
            executed_value: self.number(),
            refusal: self.odd().then_some(Refusal::MakerOnly),
            reason: String::new(),
            created: self.moment(),
            updated: self.moment(),
        }
    }

    fn execution(&mut self, key: OrderKey) -> Execution {
        Execution {
            exec_id: self.0.random::<u64>().to_string(),
            link_id: key.link_id(&bot()),
            order_id: "1".to_owned(),
            side: key.slot.side(),
            price: self.number(),
            quantity: self.number(),
            value: self.number(),
            fee: self.number(),
            fee_coin: ["BTC", "USDT", ""][self.below(3)].to_owned(),
            maker: self.odd(),
            time: self.moment(),
        }
    }

    fn moment(&mut self) -> Timestamp {
        [NOW, Timestamp(i64::MAX), Timestamp(i64::MIN), Timestamp(0)][self.below(4)]
    }

    /// What an exchange says of an order, as records; or something that only the bot itself writes.
    fn records(&mut self, ledger: &Ledger) -> Vec<Record> {
        let key = self.key();
        match self.below(8) {
            0..4 => {
                let source = if self.odd() { Source::Stream } else { Source::Answer };
                match reconcile::report(ledger, key, &self.report(key), source) {
                    Finding::Facts(facts) => facts,
                    Finding::Stray => Vec::new(),
                }
            }
            4..6 => {
                let execution = self.execution(key);
                reconcile::execution(ledger, key, &execution)
            }
            6 => vec![Record::CoinsMissing { quantity: self.number(), cause: MissingCause::LeftAccount, counts: true }],
            _ => vec![Record::InstrumentSeen { instrument: self.instrument() }],
        }
    }

    /// The records of a step that the strategy wants.
    fn carried_out(&mut self, step: Step) -> Vec<Record> {
        match step {
            Step::OpenCycle { cycle } => vec![Record::CycleOpened { cycle, began: NOW }],
            Step::Place { key, spec, offer, reason } => vec![Record::OrderPlanned { key, spec, offer, reason }],
            Step::Cancel { key } => vec![Record::CancelAsked { key }],
            Step::DecideExit { cause } => vec![Record::ExitDecided { cause }],
            Step::CloseCycle { cycle, profit } => vec![Record::CycleClosed { cycle, profit }],
        }
    }
}

fn bot() -> BotName {
    BotName::new("t").unwrap()
}

/// A cycle whose base order has bought this much for 100.
fn base_order(executed_quantity: Decimal) -> Vec<Record> {
    let key = OrderKey { cycle: 1, slot: Slot::Buy(0), attempt: 1 };
    let (fee, executed_value) = (Decimal::ZERO, d("100"));
    let fill = Numbers::new(0).execution(key);
    let execution = Execution { quantity: executed_quantity, value: executed_value, fee, ..fill };
    vec![
        Record::InstrumentSeen { instrument: instrument() },
        Record::CycleOpened { cycle: 1, began: NOW },
        Record::OrderPlanned {
            key,
            spec: OrderSpec::MarketBuy { amount: executed_value },
            offer: None,
            reason: Reason::Base,
        },
        Record::Executed { key, execution },
        Record::OrderClosed {
            key,
            status: OrderStatus::Filled,
            executed_quantity,
            executed_value,
            refusal: None,
            message: String::new(),
        },
    ]
}

/// A cycle with this lot.
fn holding(lot: Lot) -> Ledger {
    let mut cycle = Ledger::default().next_cycle(1, NOW);
    cycle.lots.insert(0, lot);
    Ledger { cycle: Some(cycle), instrument: Some(instrument()), last_cycle: 1, ..Ledger::default() }
}

#[test]
fn no_ladder_panics() {
    for seed in 0..20_000 {
        let mut numbers = Numbers::new(seed);
        let (parameters, instrument, ask) = (numbers.parameters(), numbers.instrument(), numbers.number());
        let (rebuys, broken) = ladder::levels(ask, &parameters, &instrument);
        assert!(broken.is_some() || rebuys.len() == usize::from(parameters.max_rebuys), "seed {seed}");
        if let Ok(levels) = ladder::plan(ask, &parameters, &instrument) {
            let _ = levels.iter().map(PlannedLevel::bounce).max();
        }
        let _ = ladder::cost(&parameters).map_err(|error| error.to_string());
        let _ = strategy::check(ask, &parameters, &instrument).map_err(|error| error.to_string());
    }
}

#[test]
fn a_ladder_that_cannot_be_counted_names_its_level() {
    let sane = Parameters {
        base_order_amount: d("10"),
        rebuy_amount: d("10"),
        max_capital: Decimal::MAX,
        amount_scale: d("99999999999999"),
        max_rebuys: 5,
        ..Numbers::new(0).parameters()
    };
    let error = ladder::cost(&sane).unwrap_err();
    assert_eq!((error.level, error.rule), (3, LadderRule::Overflow));
    let fee = Parameters { base_order_amount: d("600000"), fee_rate: Decimal::MIN, max_rebuys: 0, ..sane };
    let error = strategy::check(d("60000"), &fee, &instrument()).unwrap_err();
    assert_eq!((error.level, error.rule), (0, LadderRule::Overflow));
}

#[test]
fn whatever_is_reported_or_decided_the_core_does_not_panic() {
    let (mut applied, mut refused) = (0, 0);
    for seed in 0..20_000 {
        let mut numbers = Numbers::new(seed);
        let parameters = numbers.parameters();
        let mut ledger = Ledger::default();
        let mut records = base_order(d("0.0016"));
        records.truncate(if numbers.odd() { 1 } else { records.len() });
        for _ in 0..30 {
            // The engine never goes on with a ledger that was contradicted.
            let before = ledger.clone();
            match records.iter().try_for_each(|record| ledger.apply(NOW, record)) {
                Ok(()) => applied += 1,
                Err(_) => (ledger, refused) = (before, refused + 1),
            }
            let quote = Quote { last: numbers.number(), bid: Some(numbers.number()), ask: Some(numbers.number()) };
            let situation = Situation {
                ledger: &ledger,
                parameters: &parameters,
                goal: [Goal::Trade, Goal::Cancel, Goal::Close][numbers.below(3)],
                quote: numbers.odd().then_some(&quote),
                free: numbers.odd().then(|| numbers.number()),
                hold_buys: false,
                connected: Timestamp::default(),
                now: numbers.moment(),
            };
            let decision = strategy::decide(&situation);
            let wanted = decision.steps.into_iter().next().filter(|_| numbers.odd());
            records = match wanted {
                Some(step) => numbers.carried_out(step),
                None => numbers.records(&ledger),
            };
        }
    }
    assert!(applied > 100_000 && refused > 1_000, "{applied} applied, {refused} refused: the test shows nothing");
}

#[test]
fn nothing_that_the_exchange_lists_makes_rebuilding_panic() {
    for seed in 0..5_000 {
        let mut numbers = Numbers::new(seed);
        let keys: Vec<OrderKey> = (0..6).map(|_| numbers.key()).collect();
        let orders: Vec<OrderReport> = keys.iter().map(|key| numbers.report(*key)).collect();
        let executions: Vec<Execution> = keys.iter().map(|key| numbers.execution(*key)).collect();
        let instrument = numbers.instrument();
        drop(rebuild(&bot(), TakeProfitMode::PerLevel, &instrument, &orders, &executions));
    }
}

#[test]
fn a_sum_that_is_too_large_to_be_kept_is_refused() {
    let key = OrderKey { cycle: 1, slot: Slot::Buy(0), attempt: 1 };
    let spec = OrderSpec::MarketBuy { amount: d("10") };
    let execution = Execution { quantity: Decimal::MAX, ..Numbers::new(0).execution(key) };
    let mut ledger = Ledger::default();
    for record in [
        Record::InstrumentSeen { instrument: instrument() },
        Record::CycleOpened { cycle: 1, began: NOW },
        Record::OrderPlanned { key, spec, offer: None, reason: Reason::Base },
    ] {
        ledger.apply(NOW, &record).unwrap();
    }
    let refused = ledger.apply(NOW, &Record::Executed { key, execution }).unwrap_err().to_string();
    assert!(refused.contains("too large to be kept"), "{refused}");
}

#[test]
fn a_snapshot_of_what_could_not_be_kept_is_refused() {
    let snapshot = |lot| Record::Snapshot { ledger: Box::new(holding(lot)) };
    let absurd = Lot { quantity: Decimal::ONE, cost: Decimal::MAX, since: None };
    let refused = Ledger::default().apply(NOW, &snapshot(absurd)).unwrap_err().to_string();
    assert!(refused.contains("too large to be kept"), "{refused}");
    let sane = Lot { quantity: Decimal::ONE, cost: d("60000"), since: None };
    Ledger::default().apply(NOW, &snapshot(sane)).unwrap();
}

#[test]
fn a_base_order_at_a_price_too_high_to_hold_is_not_bought_again() {
    let mut ledger = Ledger::default();
    for record in base_order(Decimal::new(1, 28)) {
        ledger.apply(NOW, &record).unwrap();
    }
    assert_eq!(ledger.cycle.as_ref().and_then(Cycle::base_price), Some(Decimal::MAX));
}
