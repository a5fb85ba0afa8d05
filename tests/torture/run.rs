//! One seed from its first life to the settled end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use recompra::bybit::{Client, Credentials};
use recompra::core::Decimal;
use recompra::core::strategy::Goal;
use recompra::engine::{Engine, EngineConfig, Failure, Outcome, World as Outside};
use recompra::journal::JournalFile;

use super::disk::DiskHandle;
use super::faults::Counts;
use super::invariants::{Violation, Watcher};
use super::sabotage::{Forgetful, Sabotage, Saboteur};
use super::stream::FeedHandle;
use super::wire::Wire;
use super::world::{Broken, ClockHandle, Death, Options, World};

/// More lives than any seed needs.
const MOST_LIVES: u64 = 200;
/// A journal of this many bytes is begun anew: most seeds see it happen.
const LONG: u64 = 4_096;

/// What a seed brought.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) faults: Counts,
    pub(crate) lives: u64,
    pub(crate) deaths: u64,
    pub(crate) orders: u64,
    pub(crate) executions: u64,
    pub(crate) cycles: u64,
    pub(crate) conditions: BTreeSet<String>,
    pub(crate) violation: Option<Violation>,
}

/// Runs a seed.
pub(crate) fn seed(seed: u64, options: Options) -> Report {
    run(World::new(seed, options)).0
}

/// Runs a world to its end.
pub(crate) fn run(world: World) -> (Report, Rc<RefCell<World>>) {
    let world = Rc::new(RefCell::new(world));
    // The first life begins as any other does.
    world.borrow_mut().between_lives(None);
    until_settled(&world);
    let report = report(&world.borrow());
    (report, world)
}

/// Life after life, until the world is settled or an invariant broke.
pub(crate) fn until_settled(world: &Rc<RefCell<World>>) {
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| life(world)));
        // Between two lives the world goes on, and an invariant may break there too.
        let next = catch_unwind(AssertUnwindSafe(|| after_life(world, ended)));
        match next {
            Ok(true) => {}
            Ok(false) => break,
            Err(payload) => {
                note_panic(world, payload);
                break;
            }
        }
    }
}

type Ended = Result<(), Box<dyn std::any::Any + Send>>;

/// Whether there is another life.
fn after_life(world: &Rc<RefCell<World>>, ended: Ended) -> bool {
    let mut death = None;
    if let Err(payload) = ended {
        match payload.downcast::<Death>() {
            Ok(cause) => death = Some(cause.0),
            Err(payload) => {
                note_panic(world, payload);
                return false;
            }
        }
    }
    let world = &mut *world.borrow_mut();
    if world.settled || world.violation.is_some() {
        return false;
    }
    if world.lives > MOST_LIVES {
        world.broken(7, "it starts again for ever".to_owned());
    }
    world.between_lives(death);
    true
}

fn note_panic(world: &Rc<RefCell<World>>, payload: Box<dyn std::any::Any + Send>) {
    if payload.is::<Broken>() {
        return;
    }
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    world.borrow_mut().violation =
        Some(Violation { invariant: 0, what: format!("panicked: {}", text.unwrap_or_default()) });
}

/// One life of the process: from reading the journal to the engine's end.
fn life(world: &Rc<RefCell<World>>) {
    let (mut journal, recovery) = match JournalFile::open(DiskHandle::new(world)) {
        Ok(opened) => opened,
        Err(damage) => world.borrow_mut().broken(6, format!("the journal cannot be read: {damage}")),
    };
    journal.begin_anew_at(LONG);
    let (config, sabotage) = {
        let world = &mut *world.borrow_mut();
        world.born(&recovery.ledger);
        world.begin_bounds();
        let config = EngineConfig::new(world.bot.clone(), "paper", world.parameters.clone(), world.goal);
        (config, world.options.sabotage)
    };
    let clock = ClockHandle(Rc::clone(world));
    let credentials = Credentials::new("key", "secret").ok();
    let client = Client::new(Wire(Rc::clone(world)), ClockHandle(Rc::clone(world)), "BTCUSDT", credentials);
    let outside = Outside {
        exchange: &mut Saboteur { exchange: client, sabotage, most: Decimal::ZERO, world: Rc::clone(world) },
        feed: &mut FeedHandle { world: Rc::clone(world), clock: ClockHandle(Rc::clone(world)) },
        clock: &clock,
        journal: &mut Forgetful { journal, world: Rc::clone(world) },
        observer: &mut Watcher(Rc::clone(world)),
    };
    let mut outcome = Engine::new(outside, config, recovery.ledger).run();
    if sabotage == Some(Sabotage::LeavesItsPost) && matches!(outcome, Ok(Outcome::Stopped)) {
        outcome = Err(Failure::KeyRefused("sabotage".to_owned()));
    }
    let world = &mut *world.borrow_mut();
    world.say(&format!("ended: {outcome:?}"));
    world.conditions.together = None;
    if let Err(failure) = &outcome {
        world.ended_with(failure);
    }
    match outcome {
        Ok(Outcome::Finished) if world.goal == Goal::Close || world.parameters.max_cycles > 0 => world.settled = true,
        Ok(Outcome::Stopped | Outcome::Finished) => {}
        // A person or a supervisor starts it again. Once nothing fails any more, there is no reason to end so.
        Err(Failure::Ladder(_)) if world.meddled => world.settled = true,
        Err(failure) if world.faults.ceased && world.now > world.faults_end + 60_000 => {
            world.broken(7, format!("it does not go on: {failure}"))
        }
        Err(_) => {}
    }
}

impl World {
    /// Invariant 6: what a start reads back is what the life before had written.
    fn born(&mut self, recovered: &recompra::core::ledger::Ledger) {
        if self.mirror_is_exact && *recovered != self.mirror {
            let difference = format!("the ledger was\n{:?}\nand is read back as\n{recovered:?}", self.mirror);
            self.broken(6, difference);
        }
        self.mirror = recovered.clone();
        self.books.write_off(recovered.totals.written_off);
        if !recovered.is_blank() {
            super::invariants::forget_history(self, recovered.watched.0);
        }
        self.mirror_is_exact = true;
    }

    /// The bot's time.
    pub(crate) fn clock_now(&self) -> i64 {
        self.clock.reading(self.now)
    }
}

fn report(world: &World) -> Report {
    Report {
        faults: world.faults.counts,
        lives: world.lives,
        deaths: world.deaths,
        orders: world.books.orders.len() as u64,
        executions: world.books.fills.len() as u64,
        cycles: world.cycles,
        conditions: world.conditions.shown.clone(),
        violation: world.violation.clone(),
    }
}
