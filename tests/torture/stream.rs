//! The private stream and the bot's waiting: what the exchange pushes arrives late, twice, out of order or not at all.

use std::cell::RefCell;
use std::rc::Rc;

use hmac::{Hmac, KeyInit, Mac};
use recompra::bybit::frame::{Frame, parse_frame};
use recompra::core::Timestamp;
use recompra::engine::ports::{Clock, Feed, Signal, StopWish};
use recompra::simulation::account::Push;
use recompra::simulation::stream::{Channel, Session};
use sha2::Sha256;

use super::conditions::Kind;
use super::faults::Fault;
use super::invariants;
use super::world::{ClockHandle, Link, World};

/// A silent connection is given up after this long: a ping every 20 s, and 10 s for its answer.
const NOTICED: i64 = 30_000;

impl World {
    /// Sends a push down the stream.
    pub(crate) fn stream(&mut self, push: &Push) {
        let Link::Up(session) = &self.link else { return };
        let Some(mut text) = session.private_message(push, &self.exchange) else { return };
        if self.stream_condition(Kind::SilentStream).is_some() {
            return self.say("condition: the stream is silent");
        }
        if self.faults.hit(Fault::FrameLost) {
            self.say("fault: a frame is lost");
            return;
        }
        if self.faults.hit(Fault::FrameUnreadable) {
            text.truncate(text.len() / 2);
        }
        let twice = self.faults.hit(Fault::FrameTwice);
        for _ in 0..=usize::from(twice) {
            let delay = if self.faults.hit(Fault::FrameLate) { self.faults.number(1_000, 8_000) } else { 0 };
            let due = self.now + 20 + delay;
            let in_order = self.signals.back().map_or(due, |(last, _)| due.max(*last));
            if self.faults.hit(Fault::FrameReordered) && !self.signals.is_empty() {
                let place = self.faults.number(0, self.signals.len() as i64 - 1);
                let place = usize::try_from(place).unwrap_or(0);
                let due = self.signals[place].0;
                self.signals.insert(place, (due, text.clone()));
            } else {
                self.signals.push_back((in_order, text.clone()));
            }
        }
        if self.faults.hit(Fault::StreamDropped) {
            self.drop_link("dropped");
        } else if self.faults.hit(Fault::StreamMute) {
            self.say("fault: the stream falls mute");
            self.silence = (self.now, i64::MAX);
            self.signals.clear();
            self.link = Link::Mute(self.now + NOTICED);
        }
    }

    fn drop_link(&mut self, why: &str) {
        self.say(&format!("the stream is {why}"));
        self.signals.clear();
        if matches!(self.link, Link::Up(_)) {
            self.silence = (self.now, i64::MAX);
        }
        self.ready.push_back(Signal::StreamDown(why.to_owned()));
        let pause = if self.faults.ceased { 500 } else { self.faults.number(100, 30_000) };
        self.link = Link::Down(self.now + pause);
    }

    /// A connection that was to come up or to be given up.
    pub(crate) fn change_link(&mut self) {
        match self.link {
            Link::Mute(_) => self.drop_link("found dead"),
            Link::Down(_) => {
                if let Some(until) = self.stream_condition(Kind::StreamDown) {
                    self.link = Link::Down(until);
                    return;
                }
                self.link = Link::Up(self.connect());
                self.ready.push_back(Signal::StreamUp);
                self.silence.1 = self.now;
            }
            Link::Up(_) => {}
        }
    }

    fn connect(&self) -> Session {
        let mut session = Session::new(Channel::Private, "1".to_owned());
        let expires = self.now + 10_000;
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(b"secret");
        let sign = mac.map(|mut mac| {
            mac.update(format!("GET/realtime{expires}").as_bytes());
            hex::encode(mac.finalize().into_bytes())
        });
        let sign = sign.unwrap_or_default();
        let now = Timestamp(self.now);
        session.receive(&format!(r#"{{"op":"auth","args":["key",{expires},"{sign}"]}}"#), &self.exchange, now);
        session.receive(r#"{"op":"subscribe","args":["order","execution"]}"#, &self.exchange, now);
        session
    }

    /// What has arrived.
    fn arrived(&mut self) -> Option<Signal> {
        if let Some(signal) = self.ready.pop_front() {
            return Some(signal);
        }
        if self.signals.front().is_none_or(|(due, _)| *due > self.now) {
            return None;
        }
        let (_, text) = self.signals.pop_front()?;
        if self.options.trace {
            self.say(&format!("frame {text}"));
        }
        self.heard(&text);
        match parse_frame(&text, "BTCUSDT") {
            Ok(Frame::Rows { events, unreadable }) => {
                if !unreadable.is_empty() {
                    self.missed();
                }
                Some(Signal::Frame(events))
            }
            Ok(_) => Some(Signal::Frame(Vec::new())),
            Err(_) => {
                self.missed();
                self.ready.pop_front()
            }
        }
    }

    /// As the stream's thread does: what cannot be read counts as a connection that was down for a moment.
    fn missed(&mut self) {
        self.ready.push_back(Signal::StreamDown("a frame cannot be read".to_owned()));
        self.ready.push_back(Signal::StreamUp);
    }
}

/// Where the bot waits, and time passes.
pub(crate) struct FeedHandle {
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) clock: ClockHandle,
}

impl Feed for FeedHandle {
    fn wait(&mut self, until: Timestamp) -> Option<Signal> {
        loop {
            self.world.borrow_mut().bot_looks();
            if let Some(signal) = self.world.borrow_mut().arrived() {
                return Some(signal);
            }
            let left = until.0 - self.clock.now().0;
            if left <= 0 {
                return None;
            }
            let world = &mut *self.world.borrow_mut();
            if let Some(signal) = idle(world) {
                return Some(signal);
            }
            let arrival = world.signals.front().map_or(i64::MAX, |(due, _)| due - world.now);
            let point = match (world.faults.ceased, world.conditions.calm) {
                (true, _) => left,
                (false, true) => 5_000,
                (false, false) => 1_000,
            };
            let change = match world.link {
                Link::Down(at) | Link::Mute(at) => at - world.now,
                Link::Up(_) => i64::MAX,
            };
            let step = left.min(arrival).min(point).min(change).min(600_000);
            world.pass(step);
        }
    }
}

/// What may happen while the bot waits for nothing in particular.
fn idle(world: &mut World) -> Option<Signal> {
    world.crash_if(Fault::CrashWaiting);
    if matches!(world.link, Link::Up(_)) && world.stream_condition(Kind::StreamDown).is_some() {
        world.drop_link("dropped for a while");
        return world.ready.pop_front();
    }
    if let Some(signal) = world.comes_to_pass() {
        return Some(signal);
    }
    if world.conditions.restart(world.now) {
        world.say("somebody restarts the bot");
        return Some(Signal::Stop(StopWish::Leave));
    }
    if let Some(signal) = world.person_looks() {
        world.say("a person resumes");
        return Some(signal);
    }
    if world.faults.hit(Fault::Stop) {
        world.say("fault: stopped");
        return Some(Signal::Stop(StopWish::Leave));
    }
    if world.faults.ceased && !world.settled {
        match invariants::unsettled(world) {
            None => {
                world.say("settled");
                world.settled = true;
                return Some(Signal::Stop(StopWish::Leave));
            }
            Some(why) if world.now > world.faults_end + world.time_to_settle() => {
                world.broken(7, format!("still not settled: {why}"));
            }
            Some(_) => {}
        }
    }
    None
}
