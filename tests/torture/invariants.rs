//! The seven invariants of the strategy, checked against the exchange's own books.

use std::collections::BTreeSet;

use recompra::core::ledger::{Ledger, OrderState};
use recompra::core::order::{OrderKey, Side, Slot};
use recompra::core::parameters::{Parameters, TakeProfitMode};
use recompra::core::record::{AlarmCause, Record, Waits};
use recompra::core::strategy::{self, Goal, Quote, Situation, Step};
use recompra::core::{Decimal, Timestamp};
use recompra::engine::ports::Observer;

use super::books::{Change, in_quote};
use super::drawing::ByCoin;
use super::world::World;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its number in the strategy's list; 0 is a panic.
    pub(crate) invariant: u8,
    pub(crate) what: String,
}

/// Invariants 1 and 2, after anything of the bot's changed on the exchange.
pub(crate) fn of_books(world: &mut World, change: &Change) {
    for key in &change.new {
        one_order_a_slot(world, *key);
    }
    let (offered, held) = (world.books.offered(), world.books.held);
    if offered > held.max(Decimal::ZERO) {
        world.broken(2, format!("{offered} is offered, {held} is held"));
    }
    if held < Decimal::ZERO {
        world.broken(2, format!("{} more was sold than was held", -held));
    }
    let bought = change.new.iter().any(|key| key.slot.side() == Side::Buy);
    let (committed, limit) = (world.books.committed(), world.parameters.max_capital);
    // The books spread costs over lots by a rule of their own, which differs where lots go on to the next cycle. What the
    // ledger counts is held to the last digit, by the watcher.
    let knowable = !(world.journal_lost && history_is_lost(world));
    if bought && knowable && committed > limit * Decimal::new(105, 2) {
        world.broken(2, format!("{committed} is committed, max_capital is {limit}"));
    }
    let lost = world.books.lost();
    if bought && knowable && committed + lost > limit * Decimal::new(105, 2) {
        world.broken(11, format!("{committed} is committed, {lost} is lost, max_capital is {limit}"));
    }
}

/// Invariant 1: when an order comes, no other of its slot is open, and what one order has brought is not bought again.
fn one_order_a_slot(world: &mut World, key: OrderKey) {
    let twin = world
        .books
        .open
        .iter()
        .find(|other| other.cycle == key.cycle && other.slot == key.slot && other.attempt != key.attempt);
    if let Some(twin) = twin.copied() {
        world.broken(1, format!("{key} comes while {twin} is open in the same slot"));
    }
    let once = match key.slot {
        Slot::Buy(0) => true,
        Slot::Buy(_) => world.parameters.take_profit_mode == TakeProfitMode::Average,
        Slot::Sell(_) | Slot::Exit => false,
    };
    let bought = world.books.orders.iter().find(|(other, order)| {
        other.cycle == key.cycle
            && other.slot == key.slot
            && other.attempt != key.attempt
            && !order.row.executed_quantity.is_zero()
    });
    if let (true, Some((other, _))) = (once, bought) {
        let other = *other;
        if history_is_lost(world) && world.journal_lost {
            // Nobody can know any more that there was a cycle of this number.
            return;
        }
        world.broken(1, format!("{key} buys again what {other} has bought"));
    }
}

/// Whether the exchange has forgotten something that the journal does not hold: then not everything can be known, and an
/// alarm that says so is right.
pub(crate) fn history_is_lost(world: &World) -> bool {
    let hours = |hours: i64| world.now - hours * 3_600_000;
    let unbooked = |id: &u64| !world.booked.contains_key(&id.to_string());
    let lost_fills = world.books.fills.iter().any(|(id, fill)| fill.time.0 <= hours(167) && unbooked(id));
    // A journal that was lost leaves names behind that the exchange knows and no longer tells.
    let lost_names = world.journal_lost && world.books.orders.values().any(|order| order.row.updated.0 <= hours(23));
    world.history_lost || lost_fills || lost_names
}

/// After a long outage: an order that was live before it may, for all the bot can know, have had fills that are forgotten.
pub(crate) fn forget_history(world: &mut World, from: i64) {
    let live = world.mirror.cycle.as_ref().is_some_and(|cycle| cycle.live_orders().next().is_some());
    if !world.history_lost
        && (world.now - from >= 167 * 3_600_000 && (live || !world.mirror.ended) || history_is_lost(world))
    {
        world.history_lost = true;
        world.say("the exchange has forgotten what the bot did not know");
    }
}

/// Why the bot has not settled, if it has not: invariant 7, and with it 3 and 6.
pub(crate) fn unsettled(world: &World) -> Option<String> {
    let ledger = &world.mirror;
    if !world.signals.is_empty() || !world.late.is_empty() || !matches!(world.link, super::world::Link::Up(_)) {
        return Some("something is still on its way".to_owned());
    }
    if ledger.instrument.is_none() {
        return Some("it has not begun".to_owned());
    }
    if ledger.waits != Waits::default() {
        return Some(format!("it still waits: {:?}", ledger.waits));
    }
    orders_differ(world, ledger).or_else(|| sums_differ(world, ledger)).or_else(|| something_is_due(world, ledger))
}

/// The ledger's live orders are the exchange's open ones, to the last digit.
fn orders_differ(world: &World, ledger: &Ledger) -> Option<String> {
    let mut open: BTreeSet<OrderKey> = world.books.open.clone();
    let live = ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
    for (key, order) in live {
        if order.state != OrderState::Open || order.cancel_asked.is_some() {
            return Some(format!("{key} is in doubt: {:?}, cancel asked {:?}", order.state, order.cancel_asked));
        }
        let Some(row) = world.books.orders.get(&key).filter(|order| order.open).map(|order| &order.row) else {
            return Some(format!("{key} is not open on the exchange"));
        };
        let differs = row.executed_quantity != order.executed_quantity || row.executed_value != order.executed_value;
        // Fills that the exchange has forgotten: that is said by the alarm.
        if differs && !history_is_lost(world) {
            return Some(format!("{key}: {} booked, {} executed", order.executed_quantity, row.executed_quantity));
        }
        if !in_quote(row) && order.spec.quantity() != Some(row.quantity) {
            return Some(format!("{key}: {:?} believed, {} asked", order.spec.quantity(), row.quantity));
        }
        open.remove(&key);
    }
    if history_is_lost(world) {
        return None;
    }
    open.first().map(|key| format!("{key} is open on the exchange and not in the ledger"))
}

/// Booked quantities, costs and fees equal the exchange's, to the last digit.
fn sums_differ(world: &World, ledger: &Ledger) -> Option<String> {
    if history_is_lost(world) {
        return None;
    }
    let books = &world.books;
    let mut held = ledger.carry.clone();
    let mut realised = ledger.totals.profit;
    if let Some(cycle) = &ledger.cycle {
        let of_cycle = cycle.held();
        held.quantity += of_cycle.quantity;
        held.cost += of_cycle.cost;
        realised += cycle.profit;
        for (_, order) in cycle.live_orders() {
            realised += order.proceeds - order.cost_of_sold();
        }
    }
    let difference = (held.quantity - (books.held - world.mirror.totals.written_off)).abs();
    // A ledger that was rebuilt begins with a cycle that can be replayed: of the dust of those before it, less than a step
    // may be unknown. One that could not be rebuilt holds nothing, and says so.
    let step = ledger.instrument.as_ref().map_or(Decimal::ZERO, |instrument| instrument.quantity_step);
    let dust = world.journal_lost && (difference < step || ledger.alarm().is_some());
    if !difference.is_zero() && !dust {
        return Some(format!(
            "{} held in the ledger, {} on the exchange",
            held.quantity,
            books.held - world.mirror.totals.written_off
        ));
    }
    // A ledger that was rebuilt knows the cycles that the exchange still tells of.
    if world.journal_lost {
        return None;
    }
    if ledger.totals.executions != books.fills.len() as u64 {
        return Some(format!("{} executions booked, {} made", ledger.totals.executions, books.fills.len()));
    }
    let fees = |all: &ByCoin| -> ByCoin {
        all.iter().filter(|(_, fee)| !fee.is_zero()).map(|(coin, fee)| (coin.clone(), fee.normalize())).collect()
    };
    if fees(&ledger.totals.fees) != fees(&books.fees) {
        return Some(format!("fees {:?} booked, {:?} taken", ledger.totals.fees, books.fees));
    }
    let spent = books.paid - books.received;
    (held.cost - realised != spent)
        .then(|| format!("cost {} less profit {realised} booked, {spent} spent on the exchange", held.cost))
}

/// Every slot that should have an order has one: there is nothing left to decide.
fn something_is_due(world: &World, ledger: &Ledger) -> Option<String> {
    let told_too_little = world.journal_lost && world.conditions.ever_disturb_lists();
    // That coins are gone is said until a person has seen it.
    let is_alarmed = ledger.alarms.keys().any(|cause| *cause != AlarmCause::CoinsLeft);
    if is_alarmed && !history_is_lost(world) && !told_too_little {
        return Some(format!("an alarm without a reason: {:?}", ledger.alarm()));
    }
    let is_missing = ledger.alarms.contains_key(&AlarmCause::CoinsLeft);
    if is_missing == ledger.written_off.cost.is_zero() {
        return Some(format!("{:?} was written off, and the alarm is {:?}", ledger.written_off, ledger.alarm()));
    }
    let book = world.exchange.book("BTCUSDT")?;
    let quote = Quote { last: book.bid(), bid: Some(book.bid()), ask: Some(book.ask()) };
    let now = Timestamp(world.clock_now());
    let decision = strategy::decide(&Situation {
        ledger,
        parameters: &world.parameters,
        goal: world.goal,
        quote: Some(&quote),
        free: Some(Decimal::MAX),
        hold_buys: false,
        connected: Timestamp::default(),
        now,
    });
    // Where history is lost an order may rest that cannot fit any more: it keeps its slot, and a person must look.
    let keeps_slot = |step: &Step| {
        let in_slot =
            |key: OrderKey| world.books.open.iter().any(|other| (other.cycle, other.slot) == (key.cycle, key.slot));
        matches!(step, Step::Place { key, .. } if history_is_lost(world) && is_alarmed && in_slot(*key))
    };
    if let Some(step) = decision.steps.iter().find(|step| !keeps_slot(step)) {
        return Some(format!("there is something to do: {step:?}"));
    }
    let limit = ledger.cycle.as_ref().zip(world.parameters.time_limit).map(|(cycle, limit)| cycle.opened.after(limit));
    if let Some(wake) = decision.wake.filter(|wake| Some(*wake) != limit) {
        return Some(format!("something is due in {} ms", wake.0 - now.0));
    }
    if is_alarmed {
        return None;
    }
    unprotected(world, ledger).or_else(|| rebuys_missing(world, ledger, decision.ladder_error.is_some()))
}

/// Without asking the strategy: what is held and could be sold is offered.
fn unprotected(world: &World, ledger: &Ledger) -> Option<String> {
    let (held, offered) = (world.books.held - world.mirror.totals.written_off, world.books.offered());
    let Some(cycle) = ledger.cycle.as_ref() else {
        return (!world.books.open.is_empty()).then(|| "orders rest and no cycle is open".to_owned());
    };
    let book = world.exchange.book("BTCUSDT")?;
    let instrument = &book.listing().instrument;
    // In `per_level` mode each lot may be too small on its own.
    let lots = match world.parameters.take_profit_mode {
        TakeProfitMode::Average => Decimal::ONE,
        TakeProfitMode::PerLevel => Decimal::from(cycle.lots.len() + 1),
    };
    let open = (held - offered) * book.bid();
    (open > instrument.min_notional * lots && !history_is_lost(world))
        .then(|| format!("{held} is held, only {offered} is offered"))
}

/// Without asking the strategy: the nearest rebuys rest.
fn rebuys_missing(world: &World, ledger: &Ledger, ladder_error: bool) -> Option<String> {
    // Rebuys follow a base order; a cycle that only sells what was carried over has none.
    let cycle = ledger.cycle.as_ref().filter(|cycle| cycle.base_price().is_some())?;
    let average = world.parameters.take_profit_mode == TakeProfitMode::Average;
    if ladder_error || !average || history_is_lost(world) || cycle.exit.is_some() || world.goal != Goal::Trade {
        return None;
    }
    let of_level = |level: u8| {
        world.books.orders.iter().filter(move |(key, _)| key.cycle == cycle.number && key.slot == Slot::Buy(level))
    };
    let bought = |level: u8| of_level(level).any(|(_, order)| !order.open && !order.row.executed_quantity.is_zero());
    let free: Vec<u8> = (1..=world.parameters.max_rebuys).filter(|level| !bought(*level)).collect();
    let wanted = free.len().min(usize::from(world.parameters.active_rebuys));
    let resting = world.books.open.iter().filter(|key| matches!(key.slot, Slot::Buy(1..))).count();
    // A ladder that would cost more than allowed, since prices or lots changed, may rest in part.
    let room = world.parameters.max_capital - world.books.committed() - world.books.lost();
    let enough = room > free.iter().map(|level| amount(&world.parameters, *level)).sum::<Decimal>();
    (resting > wanted || (resting < wanted && enough && !world.meddled))
        .then(|| format!("{resting} rebuys rest, {wanted} should"))
}

/// What a rebuy costs at most.
fn amount(parameters: &Parameters, level: u8) -> Decimal {
    (1..level).fold(parameters.rebuy_amount, |amount, _| amount * parameters.amount_scale)
}

/// The second pair of eyes on every record: what is booked is what the exchange did, once.
pub(crate) struct Watcher(pub(crate) std::rc::Rc<std::cell::RefCell<World>>);

impl Observer for Watcher {
    fn recorded(&mut self, time: Timestamp, record: &Record, ledger: &Ledger) {
        let world = &mut *self.0.borrow_mut();
        if world.options.trace {
            world.say(&format!("record {record:?}"));
        }
        if let Err(contradiction) = world.mirror.apply(time, record) {
            world.broken(6, format!("a record contradicts the journal: {contradiction}"));
        }
        world.in_true_time(record);
        match record {
            Record::Executed { key, execution } => booked_as_executed(world, *key, execution),
            Record::CycleClosed { .. } => world.cycles += 1,
            Record::OrderPlanned { key, .. } if key.slot.side() == Side::Buy => within_capital(world),
            Record::Waits(waits) => {
                let silent = waits.silent_since.map(|since| time.0 - since.0);
                world.waits.push(silent);
            }
            Record::AlarmCleared { cause: AlarmCause::CoinsLeft } => {
                world.resumed += 1;
                world.books.lost.clear();
            }
            Record::CoinsMissing { .. } => world.books.write_off(ledger.totals.written_off),
            _ => {}
        }
        if ledger.time != world.mirror.time {
            world.broken(6, "the ledger and its mirror differ".to_owned());
        }
    }
}

/// Invariants 2 and 11, as the ledger counts: whenever a buy is planned, what is bound and what is lost stay within the limit.
fn within_capital(world: &mut World) {
    let committed = world.mirror.cycle.as_ref().map_or(Decimal::ZERO, |cycle| cycle.committed());
    let (limit, lost) = (world.parameters.max_capital, world.mirror.written_off.cost);
    if committed > limit {
        world.broken(2, format!("{committed} is committed in the ledger, max_capital is {limit}"));
    }
    if committed + lost > limit {
        world.broken(11, format!("{committed} is committed in the ledger, {lost} is lost, max_capital is {limit}"));
    }
}

/// Invariant 3.
fn booked_as_executed(world: &mut World, key: OrderKey, execution: &recompra::core::order::Execution) {
    let fill = execution.exec_id.parse().ok().and_then(|id: u64| world.books.fills.get(&id)).cloned();
    let Some(fill) = fill else {
        world.broken(3, format!("{key}: execution {} was never made", execution.exec_id));
    };
    let same = fill.link_id == key.link_id(&world.bot)
        && fill.quantity == execution.quantity
        && fill.value == execution.value
        && fill.price == execution.price
        && fill.fee == execution.fee
        && fill.fee_coin == execution.fee_coin;
    if !same {
        world.broken(3, format!("{key}: {execution:?} booked, {fill:?} made"));
    }
    let (silent, back) = world.silence;
    if (silent..=back).contains(&fill.time.0) {
        world.slowest.0 = world.slowest.0.max(world.now - fill.time.0);
        world.slowest.1 = world.slowest.1.max(world.now - back.min(world.now));
    }
    let length = world.disk.bytes.len();
    if world.booked.insert(execution.exec_id.clone(), length).is_some() {
        world.broken(3, format!("{key}: execution {} booked twice", execution.exec_id));
    }
}
