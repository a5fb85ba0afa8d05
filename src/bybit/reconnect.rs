//! Keeps a stream connected: one connection after the other, with pauses between.
//!
//! Goes in: how to run one connection, and whom to tell that it is down. It returns when a stop is asked for or when
//! no further connection is wanted.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::websocket::{Disconnect, Stopper, StreamTimings};

/// When the present connection came up, if it did.
pub(super) type UpSince = Option<Instant>;

/// Runs `connection` again and again. `down` is called once for each outage, however many attempts it takes.
pub(super) fn keep_connected(
    timings: StreamTimings,
    stopper: &Stopper,
    mut connection: impl FnMut(&mut UpSince) -> Result<Infallible, Disconnect>,
    mut down: impl FnMut(String) -> Result<(), Disconnect>,
) {
    let mut pauses = Pauses::new(timings);
    let mut told = false;
    loop {
        let mut up_since = None;
        let Err(disconnect) = connection(&mut up_since);
        let lasted = up_since.map_or(Duration::ZERO, |moment| moment.elapsed());
        let (reason, pause) = match disconnect {
            Disconnect::Stopped | Disconnect::Over => return,
            Disconnect::Lost(reason) => (reason, pauses.after(lasted)),
            Disconnect::Banned(reason) => (reason, timings.banned_pause),
            Disconnect::Refused => ("the key was refused".to_owned(), timings.refused_pause),
        };
        log::debug!("stream: {reason}; next attempt in {pause:?}");
        if (up_since.is_some() || !told) && down(reason).is_err() {
            return;
        }
        told = true;
        if stopper.pause(pause) {
            return;
        }
    }
}

/// Pauses that double up to a limit, with a quarter of jitter either way.
struct Pauses {
    timings: StreamTimings,
    next: Duration,
}

impl Pauses {
    fn new(timings: StreamTimings) -> Self {
        Self { timings, next: timings.first_pause }
    }

    /// The pause after a connection that lasted so long. One that broke at once does not start the doubling anew.
    fn after(&mut self, lasted: Duration) -> Duration {
        let longest = self.timings.longest_pause;
        if lasted > longest.saturating_mul(5) {
            self.next = self.timings.first_pause;
        }
        let pause = self.next.min(longest);
        self.next = pause.saturating_mul(2).min(longest);
        (pause.saturating_mul(rand::random_range(75..=125)) / 100).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_limit_with_jitter_and_restart_after_a_long_connection() {
        let timings = StreamTimings::default();
        let mut pauses = Pauses::new(timings);
        for expected in [250, 500, 1_000, 2_000, 2_000] {
            let pause = pauses.after(Duration::ZERO).as_millis();
            assert!(pause >= expected * 3 / 4 && pause <= (expected * 5 / 4).min(2_000), "{pause} for {expected}");
        }
        assert!(pauses.after(Duration::from_secs(1)) > Duration::from_secs(1));
        assert!(pauses.after(Duration::from_secs(60)) < Duration::from_millis(320));
    }

    #[test]
    fn the_connections_of_five_minutes_stay_below_bybit_s_limit_even_if_each_breaks_at_once() {
        let mut pauses = Pauses::new(StreamTimings::default());
        let mut time = Duration::ZERO;
        let mut connections = 0;
        while time < Duration::from_secs(300) {
            time += pauses.after(Duration::ZERO);
            connections += 1;
        }
        assert!(connections < 250, "{connections}");
    }

    #[test]
    fn an_outage_is_told_once_and_each_new_one_again() {
        let timings =
            StreamTimings { first_pause: Duration::ZERO, longest_pause: Duration::ZERO, ..Default::default() };
        let mut attempts = 0;
        let mut told = Vec::new();
        let connection = |up_since: &mut UpSince| {
            attempts += 1;
            match attempts {
                3 => *up_since = Some(Instant::now()),
                5 => return Err(Disconnect::Over),
                _ => {}
            }
            Err(Disconnect::Lost(attempts.to_string()))
        };
        keep_connected(timings, &Stopper::default(), connection, |reason| {
            told.push(reason);
            Ok(())
        });
        assert_eq!(told, ["1", "3"]);
    }
}
