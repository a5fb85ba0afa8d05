//! Moves the market of an exchange whose time is the wall clock: one thread that takes points from a source,
//! waits for their moment, and hands them to the hub.
//!
//! The market's own timestamps set the pace only; what happens on the exchange is dated by its clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

use super::hub::Hub;
use super::market::{Market, PricePoint};
use crate::core::Timestamp;

/// How fast a market's time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// This many times faster than the wall clock.
    Times(u32),
    /// Without waiting.
    Unpaced,
}

impl Pace {
    /// From this speed on nothing is waited for: the machine is the limit.
    pub const UNPACED_FROM: u32 = 100_000;

    /// The pace of a speed; 0 counts as 1.
    pub fn of_speed(speed: u32) -> Self {
        if speed >= Self::UNPACED_FROM { Self::Unpaced } else { Self::Times(speed.max(1)) }
    }

    /// How long a stretch of market time takes.
    pub fn real(self, market: Duration) -> Duration {
        match self {
            Self::Times(speed) => market / speed.max(1),
            Self::Unpaced => Duration::ZERO,
        }
    }
}

/// Where a driver's points come from.
pub enum PriceSource {
    /// A market that is read, at a pace.
    Market(Box<dyn Market + Send>, Pace),
    /// Points that come from outside, at once. The market ends when the sender is dropped.
    Live(Receiver<PricePoint>),
}

/// The thread that moves the market. Dropping it stops it.
pub struct Driver {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

impl Driver {
    /// Starts moving a symbol's market.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(hub: Arc<Hub>, symbol: String, source: PriceSource) -> std::io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let ended = Arc::new(AtomicBool::new(false));
        let at_end = Arc::clone(&ended);
        let thread = thread::Builder::new().name("exchange-market".to_owned()).spawn(move || {
            match source {
                PriceSource::Market(market, pace) => play(&hub, &symbol, market, pace, &stopped),
                PriceSource::Live(points) => follow(&hub, &symbol, &points, &stopped),
            }
            at_end.store(true, Ordering::SeqCst);
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), ended })
    }

    /// Whether the market has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Stops the market and waits for the thread.
    pub fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn play(hub: &Hub, symbol: &str, mut market: Box<dyn Market + Send>, pace: Pace, stopped: &Receiver<()>) {
    let mut begin: Option<(Instant, Timestamp)> = None;
    loop {
        let point = match market.next() {
            Ok(Some(point)) => point,
            Ok(None) => return,
            Err(error) => {
                log::error!("the market ends here: {error}");
                return;
            }
        };
        let (start, first) = *begin.get_or_insert_with(|| (Instant::now(), point.time));
        let due = start + pace.real(point.time.since(first));
        if !matches!(stopped.recv_deadline(due), Err(RecvTimeoutError::Timeout)) {
            return;
        }
        hub.advance(symbol, &point);
    }
}

fn follow(hub: &Hub, symbol: &str, points: &Receiver<PricePoint>, stopped: &Receiver<()>) {
    loop {
        select! {
            recv(points) -> point => match point {
                Ok(point) => hub.advance(symbol, &point),
                Err(_) => return,
            },
            recv(stopped) -> _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Decimal;
    use crate::simulation::exchange::Exchange;
    use crate::simulation::market::Fixed;
    use crate::simulation::settings::Settings;

    fn hub() -> Arc<Hub> {
        Hub::on_wall_clock(Exchange::new(Settings::default()))
    }

    fn bid(hub: &Hub) -> Decimal {
        hub.with(|exchange, _| exchange.books()[0].bid())
    }

    fn await_that(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < deadline, "it never came");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_market_is_played_to_its_end_at_its_pace() {
        let hub = hub();
        let points = (0..3).map(|i| PricePoint::new(Timestamp(i * 60_000), Decimal::from(100 + i))).collect();
        let begin = Instant::now();
        let source = PriceSource::Market(Box::new(Fixed::new(points)), Pace::of_speed(2000));
        let driver = Driver::start(Arc::clone(&hub), "BTCUSDT".to_owned(), source).unwrap();
        await_that(|| driver.has_ended());
        assert!(begin.elapsed() >= Duration::from_millis(60));
        assert_eq!(bid(&hub), Decimal::from(102));
    }

    #[test]
    fn live_points_move_the_market_at_once_and_a_stop_needs_none() {
        let hub = hub();
        let (sender, points) = crossbeam_channel::unbounded();
        let mut driver = Driver::start(Arc::clone(&hub), "BTCUSDT".to_owned(), PriceSource::Live(points)).unwrap();
        sender.send(PricePoint::new(Timestamp(0), Decimal::from(123))).unwrap();
        await_that(|| bid(&hub) == Decimal::from(123));
        driver.stop();
        assert!(driver.has_ended());
    }

    #[test]
    fn a_stop_does_not_wait_for_the_next_point() {
        let points =
            vec![PricePoint::new(Timestamp(0), Decimal::ONE), PricePoint::new(Timestamp(i64::MAX / 2), Decimal::ONE)];
        let source = PriceSource::Market(Box::new(Fixed::new(points)), Pace::of_speed(1));
        let mut driver = Driver::start(hub(), "BTCUSDT".to_owned(), source).unwrap();
        driver.stop();
    }

    #[test]
    fn from_a_hundred_thousand_on_nothing_is_waited_for() {
        assert_eq!(Pace::of_speed(100_000), Pace::Unpaced);
        assert_eq!(Pace::of_speed(60).real(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(Pace::of_speed(0), Pace::Times(1));
    }
}
