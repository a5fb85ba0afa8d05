//! Conditions: what is wrong for a while, not once. A fault of [`super::faults`] is a single event; a condition holds for a
//! drawn stretch of time for one endpoint or a class of them. They are drawn from a random stream of their own, in every
//! second seed, so that the other half of the seeds means what it meant before there were conditions.
//!
//! `RECOMPRA_CONDITIONS=slow:realtime` runs every seed with that one alone; the scope may be left out, and several are
//! joined with `+`.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use recompra::core::strategy::Goal;
use recompra::core::{Decimal, Timestamp};
use recompra::engine::ports::{Signal, StopWish};
use recompra::http::{Method, Request, Response};
use serde_json::{Value, json};

use super::world::World;

macro_rules! kinds {
    ($($name:ident => $text:literal, $scopes:expr;)*) => {
        /// One kind of condition.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($name,)*
        }

        /// Every kind, its name, and for what it can hold.
        const KINDS: &[(Kind, &str, &[Scope])] = &[$((Kind::$name, $text, $scopes),)*];
    };
}

kinds! {
    NoRule => "no-rule", ANY;
    NotFound => "404", ANY;
    Unauthorised => "401", ANY;
    TooMany => "429", ANY;
    Forbidden => "403", ANY;
    ServerError => "5xx", ANY;
    Html => "html", ANY;
    Unanswered => "unanswered", ANY;
    Slow => "slow", ANY;
    Stale => "stale", &[LISTS, REALTIME, HISTORY, EXECUTIONS];
    HiddenOrders => "hidden-orders", &[LISTS];
    HiddenExecutions => "hidden-executions", &[LISTS];
    HiddenAll => "hidden-all", &[LISTS];
    Lacks => "lacks-a-field", EACH;
    Null => "a-field-is-null", EACH;
    TickerEmpty => "ticker-empty", &[TICKERS];
    TickerLacksLast => "ticker-lacks-last", &[TICKERS];
    TickerLacksBid => "ticker-lacks-bid", &[TICKERS];
    TickerLacksAsk => "ticker-lacks-ask", &[TICKERS];
    KeyRefused => "key-refused", &[Scope::Private, Scope::Acts, KEY, REALTIME, BALANCE];
    NotTrading => "not-trading", &[INSTRUMENTS];
    Paused => "paused", &[CREATE];
    WrongTime => "wrong-time", &[TIME];
    SilentStream => "silent-stream", &[Scope::Stream];
    StreamDown => "stream-down", &[Scope::Stream];
    TightAccount => "tight-account", &[Scope::World];
    CloseBelowMinimum => "close-below-minimum", &[Scope::World];
    Suspended => "suspended-for-days", &[Scope::World];
}

/// What today's engine cannot bear: a condition (`kind`, `kind:scope`, `*:scope` or `*`), the invariants that it breaks, and
/// why. Of 8, 9, 12 and 13 these are passed over in the seeds that have the condition; one that breaks another invariant is
/// not drawn. Nothing is excused where conditions are asked for by name. As the engine learns to bear them, lines go.
const NOT_YET: &[(&str, &[u8], &str)] = &[(
    "suspended-for-days",
    &[2],
    "what was forgotten is looked for at a start alone: a buy that was filled while the machine slept counts as empty",
)];

fn matches(pattern: &str, kind: Kind, scope: Scope) -> bool {
    let (of_kind, of_scope) = pattern.split_once(':').unwrap_or((pattern, "*"));
    let name = KINDS.iter().find(|(other, _, _)| *other == kind).map_or("", |(_, name, _)| *name);
    (of_kind == "*" || of_kind == name) && (of_scope == "*" || of_scope == scope.name())
}

/// Whether an invariant is one of those that conditions brought.
const fn is_of_bounds(invariant: u8) -> bool {
    matches!(invariant, 8 | 9 | 12 | 13)
}

/// What a condition holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One path.
    Path(&'static str),
    /// Every `GET`.
    Questions,
    /// Every `POST`.
    Acts,
    /// What needs no signature.
    Market,
    /// What needs one.
    Private,
    /// The lists of orders and executions.
    Lists,
    /// Every request.
    All,
    /// The private stream.
    Stream,
    /// The account, the machine, the user: these come to pass once.
    World,
}

const TIME: Scope = Scope::Path("/v5/market/time");
const INSTRUMENTS: Scope = Scope::Path("/v5/market/instruments-info");
const TICKERS: Scope = Scope::Path("/v5/market/tickers");
const BALANCE: Scope = Scope::Path("/v5/account/wallet-balance");
const KEY: Scope = Scope::Path("/v5/user/query-api");
const REALTIME: Scope = Scope::Path("/v5/order/realtime");
const HISTORY: Scope = Scope::Path("/v5/order/history");
const EXECUTIONS: Scope = Scope::Path("/v5/execution/list");
const CREATE: Scope = Scope::Path("/v5/order/create");
const CANCEL: Scope = Scope::Path("/v5/order/cancel");
const LISTS: Scope = Scope::Lists;
const EACH: &[Scope] = &[TIME, INSTRUMENTS, TICKERS, BALANCE, KEY, REALTIME, HISTORY, EXECUTIONS, CREATE, CANCEL];
const ANY: &[Scope] = &[
    LISTS,
    TIME,
    INSTRUMENTS,
    TICKERS,
    BALANCE,
    KEY,
    REALTIME,
    HISTORY,
    EXECUTIONS,
    CREATE,
    CANCEL,
    Scope::Questions,
    Scope::Acts,
    Scope::Market,
    Scope::Private,
    Scope::All,
];

/// Codes that the table of the exchange's codes has no rule for, and two that a person must look after.
const NO_RULE: [i64; 8] = [10_001, 10_008, 10_017, 10_018, 170_999, 12_345, 110_125, -1];
const KEY_CODES: [i64; 5] = [10_003, 10_005, 10_009, 10_010, 33_004];
const PAUSED: [i64; 3] = [170_209, 170_151, 170_159];

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::Path(path) => path.rsplit('/').next().unwrap_or(path),
            Self::Questions => "questions",
            Self::Acts => "acts",
            Self::Market => "market",
            Self::Private => "private",
            Self::Lists => "lists",
            Self::All => "all",
            Self::Stream => "stream",
            Self::World => "world",
        }
    }

    fn covers(self, request: &Request) -> bool {
        let market = request.path.starts_with("/v5/market");
        match self {
            Self::Path(path) => request.path == path,
            Self::Questions => request.method == Method::Get,
            Self::Acts => request.method == Method::Post,
            Self::Market => market,
            Self::Private => !market,
            Self::Lists => [REALTIME, HISTORY, EXECUTIONS].iter().any(|list| list.covers(request)),
            Self::All => true,
            Self::Stream | Self::World => false,
        }
    }

    /// Whether a part of what it holds for is needed to place and cancel orders.
    fn touches_acts(self) -> bool {
        matches!(self, Self::Acts | Self::Private | Self::All | CREATE | CANCEL)
    }

    fn touches_lists(self) -> bool {
        matches!(self, Self::Questions | Self::Private | Self::Lists | Self::All | REALTIME | HISTORY | EXECUTIONS)
    }

    fn touches_ticker(self) -> bool {
        matches!(self, Self::Questions | Self::Market | Self::All | TICKERS)
    }
}

/// Which conditions a seed has.
#[derive(Clone, Copy, Default)]
pub(crate) enum Draw {
    /// None.
    #[default]
    Never,
    /// A few in every second seed, of those that the engine can bear.
    EverySecondSeed,
    /// These alone, in every seed.
    Only(&'static str),
}

/// One condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    kind: Kind,
    scope: Scope,
    from: i64,
    until: i64,
    /// For its details.
    detail: u64,
}

impl Condition {
    fn name(&self) -> String {
        let kind = KINDS.iter().find(|(kind, _, _)| *kind == self.kind).map_or("", |(_, name, _)| *name);
        format!("{kind}:{}", self.scope.name())
    }

    fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[usize::try_from(self.detail % from.len() as u64).unwrap_or(0)]
    }

    /// How long an answer takes, in milliseconds.
    fn slowness(&self) -> i64 {
        1_000 + i64::try_from(self.detail % 8_001).unwrap_or(0)
    }
}

/// What is wrong for a while in one seed.
pub(crate) struct Conditions {
    all: Vec<Condition>,
    /// Whether there is nothing besides the conditions: then it can be told how long work may take.
    pub(crate) calm: bool,
    /// Whether the invariants that are not yet held by the engine are to be checked.
    pub(crate) strict: bool,
    /// Whether requests take no longer than next door.
    near: bool,
    /// When somebody stops the bot and starts it again.
    restarts: Vec<i64>,
    /// Those of the world that have come to pass.
    passed: BTreeSet<Kind>,
    /// Lists as they were when they were asked for, by their query.
    stale: BTreeMap<String, (i64, Vec<u8>)>,
    /// While requests are sent together: how long has been waited for the slowest so far.
    pub(crate) together: Option<i64>,
    /// Those that have shown.
    pub(crate) shown: BTreeSet<String>,
}

impl Conditions {
    /// No conditions.
    pub(crate) fn none() -> Self {
        Self {
            all: Vec::new(),
            calm: false,
            strict: false,
            near: false,
            restarts: Vec::new(),
            passed: BTreeSet::new(),
            stale: BTreeMap::new(),
            together: None,
            shown: BTreeSet::new(),
        }
    }

    /// No conditions and no faults, and every invariant looked after.
    pub(crate) fn calm() -> Self {
        Self { calm: true, strict: true, ..Self::none() }
    }

    /// A seed's own, counted from this moment.
    pub(crate) fn drawn(seed: u64, draw: Draw, begin: i64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x0C04_D171_0425);
        let wanted: Vec<(Kind, Scope)> = match draw {
            Draw::Never => return Self::none(),
            Draw::EverySecondSeed if seed.is_multiple_of(2) => return Self::none(),
            Draw::EverySecondSeed => {
                let bearable = bearable();
                let count = rng.random_range(1..=3);
                (0..count).map(|_| bearable[rng.random_range(0..bearable.len())]).collect()
            }
            Draw::Only(names) => names.split('+').map(|name| one_of(&named(name), &mut rng)).collect(),
        };
        let mut conditions = Self::none();
        conditions.strict = matches!(draw, Draw::Only(_));
        conditions.calm = rng.random_bool(0.6) || conditions.strict;
        conditions.near = rng.random_bool(0.8);
        let together = (rng.random_range(2_000..120_000), length(&mut rng));
        for (kind, scope) in wanted {
            let own = (rng.random_range(2_000..300_000), length(&mut rng));
            // Those that are asked for by name are asked for at once.
            let (from, length) = if conditions.strict { together } else { own };
            let from = begin + from;
            conditions.all.push(Condition { kind, scope, from, until: from + length, detail: rng.random() });
        }
        if rng.random_bool(0.3) {
            let during = conditions.all.first().map_or(begin, |first| first.from + (first.until - first.from) / 3);
            conditions.restarts.push(during);
        }
        conditions
    }

    /// Lets each hold for so long, in milliseconds.
    pub(crate) fn last(&mut self, length: i64) {
        self.all.iter_mut().for_each(|one| one.until = one.from + length);
    }

    /// This one alone, from soon on, and nothing else.
    pub(crate) fn for_an_hour(name: &str, detail: u64, begin: i64) -> Self {
        let from = begin + 20_000;
        let all = named(name).into_iter().map(|(kind, scope)| Condition {
            kind,
            scope,
            from,
            until: from + 3_600_000,
            detail,
        });
        Self { all: all.collect(), near: true, ..Self::calm() }
    }

    /// When the last one is over.
    pub(crate) fn end(&self) -> Option<i64> {
        self.all.iter().map(|condition| condition.until).max()
    }

    fn active(&self, now: i64) -> impl Iterator<Item = &Condition> {
        self.all.iter().filter(move |condition| (condition.from..condition.until).contains(&now))
    }

    fn holds(&self, kind: Kind, now: i64) -> Option<&Condition> {
        self.active(now).find(|condition| condition.kind == kind)
    }

    /// Whether, within so long before now, anything was wrong that is like this.
    fn any(&self, now: i64, before: i64, like: impl Fn(&Condition) -> bool) -> bool {
        self.all.iter().any(|one| one.from <= now && now < one.until + before && like(one))
    }

    /// Whether orders cannot be placed or cancelled freely, or could not a short while ago.
    pub(crate) fn disturb_acts(&self, now: i64) -> bool {
        let pause = 700_000;
        self.any(now, pause, |one| {
            // An exchange that says "too many requests" is obeyed, whatever it was asked for.
            let quiet = matches!(one.kind, Kind::TooMany | Kind::Forbidden);
            // Nor does it take what is signed by a time that it has told wrongly itself.
            let unsigned = one.kind == Kind::WrongTime;
            quiet || unsigned || (one.scope.touches_acts() && one.kind != Kind::Slow)
        })
    }

    /// Whether what became of an order may be impossible to know.
    pub(crate) fn disturb_knowledge(&self, now: i64) -> bool {
        self.any(now, 60_000, |one| one.scope.touches_lists() || one.scope == Scope::Stream)
    }

    /// Whether a journal that was lost may have been rebuilt from lists that lacked something.
    pub(crate) fn ever_disturb_lists(&self) -> bool {
        self.all.iter().any(|one| one.scope.touches_lists())
    }

    /// Whether the last price may be impossible to have.
    pub(crate) fn disturb_price(&self, now: i64) -> bool {
        self.any(now, 60_000, |one| {
            let optional = matches!(one.kind, Kind::TickerLacksBid | Kind::TickerLacksAsk | Kind::Slow);
            one.scope.touches_ticker() && !optional
        })
    }

    /// Whether today's engine is excused from this invariant in this seed.
    pub(crate) fn excuse(&self, invariant: u8) -> bool {
        let excused = |pattern: &str| {
            pattern == "*" || self.all.iter().any(|condition| matches(pattern, condition.kind, condition.scope))
        };
        !self.strict
            && NOT_YET.iter().any(|(pattern, invariants, _)| invariants.contains(&invariant) && excused(pattern))
    }

    /// How long a request takes there or back, if that is not for the faults to say.
    pub(crate) fn way(&self) -> Option<i64> {
        self.near.then_some(1)
    }

    /// Whether somebody restarts the bot now.
    pub(crate) fn restart(&mut self, now: i64) -> bool {
        let due = self.restarts.iter().position(|at| *at <= now);
        due.map(|place| self.restarts.swap_remove(place)).is_some()
    }
}

/// How long a condition holds, in milliseconds: mostly minutes, and an hour now and then.
fn length(rng: &mut SmallRng) -> i64 {
    let (second, minute) = (1_000, 60_000);
    let (from, to) = match rng.random_range(0..16) {
        0..=4 => (3 * second, 30 * second),
        5..=11 => (30 * second, 5 * minute),
        12..=14 => (5 * minute, 20 * minute),
        _ => (60 * minute, 75 * minute),
    };
    rng.random_range(from..to)
}

fn one_of<T: Copy>(all: &[T], rng: &mut SmallRng) -> T {
    all[rng.random_range(0..all.len())]
}

/// Those that a name stands for.
fn named(name: &str) -> Vec<(Kind, Scope)> {
    let (kind, scope) = name.split_once(':').map_or((name, None), |(kind, scope)| (kind, Some(scope)));
    let found: Vec<_> = KINDS
        .iter()
        .filter(|(_, text, _)| *text == kind)
        .flat_map(|(kind, _, scopes)| scopes.iter().map(|scope| (*kind, *scope)))
        .filter(|(_, of)| scope.is_none_or(|scope| of.name() == scope))
        .collect();
    assert!(!found.is_empty(), "there is no condition {name:?}");
    found
}

/// Every one that the engine can bear, by its name.
pub(crate) fn names() -> Vec<String> {
    let name = |(kind, scope): (Kind, Scope)| Condition { kind, scope, from: 0, until: 0, detail: 0 }.name();
    bearable().into_iter().map(name).collect()
}

/// Those that are drawn.
fn bearable() -> Vec<(Kind, Scope)> {
    let all = KINDS.iter().flat_map(|(kind, _, scopes)| scopes.iter().map(|scope| (*kind, *scope)));
    let unbearable = |(kind, scope): &(Kind, Scope)| {
        let mut breaks = NOT_YET.iter().filter(|(pattern, _, _)| matches(pattern, *kind, *scope));
        breaks.any(|(_, invariants, _)| !invariants.iter().all(|invariant| is_of_bounds(*invariant)))
    };
    all.filter(|one| !unbearable(one)).collect()
}

fn refusal(code: i64) -> Response {
    let body = json!({ "retCode": code, "retMsg": "simulated condition", "result": {}, "time": 0 });
    Response { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn page(status: u16, body: &str) -> Response {
    Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

impl World {
    fn conditions_on(&self, request: &Request) -> Vec<Condition> {
        if self.faults.ceased {
            return Vec::new();
        }
        self.conditions.active(self.now).filter(|condition| condition.scope.covers(request)).cloned().collect()
    }

    fn condition_shows(&mut self, condition: &Condition) {
        let name = condition.name();
        self.say(&format!("condition: {name}"));
        self.conditions.shown.insert(name);
    }

    /// Whether the stream is away or says nothing, for a while.
    pub(crate) fn stream_condition(&mut self, kind: Kind) -> Option<i64> {
        if self.faults.ceased {
            return None;
        }
        let condition = self.conditions.holds(kind, self.now).cloned()?;
        self.conditions.shown.insert(condition.name());
        Some(condition.until)
    }

    /// What comes to pass in the world, while the bot waits.
    pub(crate) fn comes_to_pass(&mut self) -> Option<Signal> {
        let passed = &self.conditions.passed;
        let due = self.conditions.active(self.now).find(|one| one.scope == Scope::World && !passed.contains(&one.kind));
        let condition = due.filter(|_| !self.faults.ceased).cloned()?;
        match condition.kind {
            Kind::TightAccount => {
                let part = Decimal::new(30 + i64::try_from(condition.detail % 120).unwrap_or(0), 2);
                let wanted = (self.parameters.max_capital * part).round_dp(2);
                let free = self.exchange.accounts()[0].holding("USDT").free();
                let (more, now) = (wanted - free, self.time());
                let _ = self.exchange.adjust_balance(0, "USDT", more, now);
                self.told();
            }
            Kind::CloseBelowMinimum => {
                let held =
                    self.mirror.cycle.as_ref().map(|cycle| cycle.held().quantity).filter(|held| !held.is_zero())?;
                let book = self.exchange.book_mut("BTCUSDT")?;
                let worth = held * book.bid();
                book.listing_mut().instrument.min_notional = (worth * Decimal::new(15, 1)).round_dp(0);
                self.meddled = true;
                self.goal = Goal::Close;
            }
            Kind::Suspended => {
                let jump = condition.pick(&[1, 3, 8, 20]) * 24 * 3_600_000_i64;
                self.suspend(jump);
            }
            _ => return None,
        }
        self.condition_shows(&condition);
        self.conditions.passed.insert(condition.kind);
        (condition.kind == Kind::CloseBelowMinimum).then_some(Signal::Stop(StopWish::Close))
    }

    /// How long a request goes unanswered, if it does.
    pub(crate) fn goes_unanswered(&mut self, request: &Request) -> Option<i64> {
        let condition = self.conditions_on(request).into_iter().find(|one| one.kind == Kind::Unanswered)?;
        self.condition_shows(&condition);
        Some(condition.pick(&[50, 10_000]))
    }

    /// What is answered instead of what the exchange would say.
    pub(crate) fn refused_for_a_while(&mut self, request: &Request) -> Option<Response> {
        for condition in self.conditions_on(request) {
            let response = match condition.kind {
                Kind::NoRule => refusal(condition.pick(&NO_RULE)),
                Kind::NotFound => page(404, "<html>Not Found</html>"),
                Kind::Unauthorised => page(401, ""),
                Kind::TooMany => page(429, "<html>Too Many Requests</html>"),
                Kind::Forbidden => page(403, "<html>Forbidden</html>"),
                Kind::KeyRefused => refusal(condition.pick(&KEY_CODES)),
                Kind::Paused => refusal(condition.pick(&PAUSED)),
                Kind::ServerError | Kind::Html => {
                    // Half of them have done what they were asked to.
                    if condition.detail >> 32 & 1 == 0 {
                        self.exchange.handle(request, Timestamp(self.now));
                        self.told();
                    }
                    let status = condition.pick(&[500, 502, 503, 504]);
                    if condition.kind == Kind::Html { page(200, "<!DOCTYPE html>") } else { page(status, "") }
                }
                _ => continue,
            };
            self.condition_shows(&condition);
            return Some(response);
        }
        None
    }

    /// What becomes of an answer on its way.
    pub(crate) fn changed_for_a_while(&mut self, request: &Request, response: &mut Response) {
        for condition in self.conditions_on(request) {
            let changed = match condition.kind {
                Kind::Slow => {
                    let time = condition.slowness();
                    // Requests that were sent together are under way at once.
                    let waited = self.conditions.together.unwrap_or(0);
                    self.conditions.together = self.conditions.together.map(|waited| waited.max(time));
                    self.pass((time - waited).max(0));
                    true
                }
                Kind::Stale => self.as_it_was(request, response, &condition),
                Kind::HiddenOrders | Kind::HiddenExecutions | Kind::HiddenAll => hide(request, response, &condition),
                Kind::Lacks => change_a_field(response, &condition, |_| None),
                Kind::Null => change_a_field(response, &condition, |_| Some(Value::Null)),
                Kind::TickerEmpty => edit(response, |body| body["result"]["list"] = json!([])),
                Kind::TickerLacksLast => lack(response, &condition, "lastPrice"),
                Kind::TickerLacksBid => lack(response, &condition, "bid1Price"),
                Kind::TickerLacksAsk => lack(response, &condition, "ask1Price"),
                Kind::NotTrading => {
                    let status = condition.pick(&["Break", "PreLaunch", "Settling", ""]);
                    edit(response, |body| body["result"]["list"][0]["status"] = json!(status))
                }
                Kind::WrongTime => {
                    let off: i64 = condition.pick(&[3_600_000, -3_000, 3_000, -60_000, 86_400_000]);
                    // The far ones are over soon.
                    let over = off.abs() > 10_000 && self.now > condition.from + 60_000;
                    !over && wrong_time(response, self.now + off)
                }
                _ => false,
            };
            if changed {
                self.condition_shows(&condition);
            }
        }
    }

    /// An answer as it was a while ago.
    fn as_it_was(&mut self, request: &Request, response: &mut Response, condition: &Condition) -> bool {
        let age = condition.pick(&[3_000, 15_000, 60_000, 600_000]);
        let of = |name: &str| request.query.split('&').find(|part| part.starts_with(name)).unwrap_or("").to_owned();
        let query = format!("{} {} {}", request.path, of("orderLinkId"), of("cursor"));
        match self.conditions.stale.get(&query) {
            Some((at, body)) if self.now - at < age => {
                let changed = response.body != *body;
                response.body.clone_from(body);
                changed
            }
            _ => {
                self.conditions.stale.insert(query, (self.now, response.body.clone()));
                false
            }
        }
    }
}

/// Changes the body of an answer that is as the exchange gave it.
fn edit(response: &mut Response, change: impl FnOnce(&mut Value)) -> bool {
    let Ok(mut body) = serde_json::from_slice::<Value>(&response.body) else { return false };
    if response.status != 200 || body["retCode"] != 0 {
        return false;
    }
    change(&mut body);
    response.body = body.to_string().into_bytes();
    true
}

/// Changes one field of a result, or of each of its rows: another one for each detail.
fn change_a_field(response: &mut Response, condition: &Condition, change: impl Fn(&Value) -> Option<Value>) -> bool {
    let mut changed = false;
    let edited = edit(response, |body| {
        let Some(result) = body["result"].as_object_mut() else { return };
        let mut names: Vec<String> = result.keys().cloned().collect();
        let row = result.get("list").and_then(|list| list[0].as_object());
        names.extend(row.iter().flat_map(|row| row.keys()).map(|name| format!("list/{name}")));
        let Some(name) = usize::try_from(condition.detail).ok().and_then(|place| names.get(place)) else { return };
        let mut change = |object: &mut serde_json::Map<String, Value>, name: &str| {
            let Some(before) = object.remove(name) else { return };
            if let Some(after) = change(&before) {
                object.insert(name.to_owned(), after);
            }
            changed = true;
        };
        match name.strip_prefix("list/") {
            None => change(result, name),
            Some(name) => {
                let rows = result.get_mut("list").and_then(Value::as_array_mut);
                rows.into_iter().flatten().filter_map(Value::as_object_mut).for_each(|row| change(row, name));
            }
        }
    });
    edited && changed
}

fn lack(response: &mut Response, condition: &Condition, field: &str) -> bool {
    edit(response, |body| {
        let Some(row) = body.pointer_mut("/result/list/0").and_then(Value::as_object_mut) else { return };
        match condition.detail % 3 {
            0 => drop(row.remove(field)),
            1 => drop(row.insert(field.to_owned(), Value::Null)),
            _ => drop(row.insert(field.to_owned(), json!(""))),
        }
    })
}

fn wrong_time(response: &mut Response, time: i64) -> bool {
    edit(response, |body| {
        body["result"] = json!({ "timeSecond": (time / 1000).to_string(), "timeNano": format!("{time}000000") });
        body["time"] = json!(time);
    })
}

/// Leaves out what came after the condition began.
fn hide(request: &Request, response: &mut Response, condition: &Condition) -> bool {
    let executions = request.path.ends_with("execution/list");
    let hidden = match condition.kind {
        Kind::HiddenOrders => !executions,
        Kind::HiddenExecutions => executions,
        _ => true,
    };
    let field = if executions { "execTime" } else { "createdTime" };
    let mut fewer = false;
    let edited = hidden
        && edit(response, |body| {
            if let Some(rows) = body.pointer_mut("/result/list").and_then(Value::as_array_mut) {
                let before = rows.len();
                rows.retain(|row| {
                    row[field].as_str().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0) < condition.from
                });
                fewer = rows.len() < before;
            }
        });
    edited && fewer
}
