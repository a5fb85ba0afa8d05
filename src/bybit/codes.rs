//! What a `retCode` or an HTTP status asks the receiver to do.
//!
//! Goes in: a code or a status, and what kind of call it answers. Comes out: a [`FaultKind`]. A code that is not
//! listed is a refusal: Bybit said no, so the request was not done. Whoever may have done it did not say anything
//! that can be read: that is [`FaultKind::Unknown`].
//!
//! Source: <https://bybit-exchange.github.io/docs/v5/error>.

use std::time::Duration;

use crate::core::Timestamp;
use crate::engine::ports::FaultKind;

/// The quiet time after which Bybit lifts the ban of an address that asked too much.
const BAN: Duration = Duration::from_secs(600);

/// Whether a call changes something. It decides what an unreadable answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// A question: asking again does no harm.
    Question,
    /// A create, a cancel: it may have been done although the answer is missing.
    Act,
}

/// What a `retCode` other than 0 asks for; `until` is when the exchange takes requests again, if it is about that.
pub fn kind_of_code(code: i64, until: Timestamp) -> FaultKind {
    match code {
        10_002 | -1 => FaultKind::ClockOff,
        10_003 | 10_004 | 10_005 | 10_007 | 10_009 | 10_010 | 10_024 | 10_027 | 33_004 | -2_015 => {
            FaultKind::KeyRefused
        }
        10_028 | 10_029 | 170_121 | 170_157 | 170_209 => FaultKind::ConfigurationRefused,
        10_008 | 100_028 | 110_066 | 110_088 | 110_123 | 110_125 | 110_132 | 170_219 | 170_241 | 170_348 => {
            FaultKind::PersonMustAct
        }
        170_151 | 170_159 => FaultKind::NotTrading,
        10_006 | 10_429 | 170_005 | 170_222 => FaultKind::RateLimited { until },
        10_000 | 10_014 | 10_016 | 170_001 | 170_007 | 170_032 | 170_035 | 170_146 | 170_147 | 170_149 | 170_150
        | 170_234 => FaultKind::Unknown,
        110_072 | 170_141 => FaultKind::AlreadyThere,
        110_001 | 110_008 | 110_010 | 170_139 | 170_142 | 170_143 | 170_190 | 170_213 => FaultKind::NotOpen,
        110_079 | 170_191 | 170_212 => FaultKind::Busy,
        110_004 | 110_007 | 110_012 | 170_033 | 170_131 => FaultKind::InsufficientFunds,
        170_130 | 170_132 | 170_133 | 170_134 | 170_137 | 170_148 | 170_192 | 170_193 | 170_194 | 170_341 | 170_371
        | 170_372 => FaultKind::Filter,
        170_136 | 170_140 => FaultKind::BelowMinimum,
        170_124 | 170_197 | 170_198 | 170_381 | 170_382 | 170_810 => FaultKind::Size,
        170_217 | 170_218 => FaultKind::MakerOnly,
        _ => FaultKind::Refused,
    }
}

/// What an answer asks for whose body says nothing readable, with a sentence for people. `until` is when to ask again
/// after a plain rate limit.
pub fn kind_of_status(status: u16, call: CallKind, now: Timestamp, until: Timestamp) -> (FaultKind, &'static str) {
    match status {
        401 => (FaultKind::KeyRefused, "HTTP 401: the key is refused; check the key and its environment"),
        403 => (
            FaultKind::RateLimited { until: now.after(BAN) },
            "HTTP 403: too many requests from this address (waiting 10 minutes), or Bybit does not serve this \
             country (then only another host or place helps)",
        ),
        429 => (FaultKind::RateLimited { until }, "HTTP 429: too many requests"),
        400 | 404 | 405 | 410 | 413 | 414 | 415 | 431 => {
            (FaultKind::Refused, "HTTP refusal without a readable answer; check that rest_url is Bybit's V5 API")
        }
        500..=599 => (FaultKind::Unknown, "HTTP server error"),
        _ if call == CallKind::Question => {
            (FaultKind::Malformed, "the answer is not Bybit's; check rest_url and the network (captive portal, proxy)")
        }
        _ => (FaultKind::Unknown, "the answer is not Bybit's, so what became of the request is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_table_has_its_kind() {
        let until = Timestamp(7);
        let table: [(FaultKind, &[i64]); 15] = [
            (FaultKind::KeyRefused, &[10003, 10004, 10005, 10007, 10009, 10010, 10024, 10027, -2015, 33004]),
            (FaultKind::ConfigurationRefused, &[10028, 10029, 170121, 170157, 170209]),
            (FaultKind::ClockOff, &[10002, -1]),
            (
                FaultKind::PersonMustAct,
                &[10008, 100028, 110066, 110088, 110123, 110125, 110132, 170219, 170241, 170348],
            ),
            (FaultKind::NotTrading, &[170151, 170159]),
            (FaultKind::RateLimited { until }, &[10006, 10429, 170005, 170222]),
            (
                FaultKind::Unknown,
                &[10000, 10014, 10016, 170001, 170007, 170032, 170035, 170146, 170147, 170149, 170150, 170234],
            ),
            (FaultKind::AlreadyThere, &[170141, 110072]),
            (FaultKind::NotOpen, &[170213, 110001, 170139, 170142, 170143, 170190, 110008, 110010]),
            (FaultKind::Busy, &[170191, 170212, 110079]),
            (FaultKind::InsufficientFunds, &[170131, 170033, 110004, 110007, 110012]),
            (
                FaultKind::Filter,
                &[170130, 170132, 170133, 170134, 170137, 170148, 170192, 170193, 170194, 170341, 170371, 170372],
            ),
            (FaultKind::BelowMinimum, &[170136, 170140]),
            (FaultKind::Size, &[170124, 170197, 170198, 170381, 170382, 170810]),
            (FaultKind::MakerOnly, &[170217, 170218]),
        ];
        for (kind, codes) in table {
            for code in codes {
                assert_eq!(kind_of_code(*code, until), kind, "{code}");
            }
        }
        for code in [1, -3, 10001, 170_999, i64::MAX, i64::MIN] {
            assert_eq!(kind_of_code(code, until), FaultKind::Refused, "{code}");
        }
    }

    #[test]
    fn an_unreadable_answer_to_an_act_is_never_taken_for_a_refusal_unless_http_refused_it() {
        let (now, until) = (Timestamp(1_000), Timestamp(2_000));
        let kind = |status, call| kind_of_status(status, call, now, until).0;
        for status in [200, 204, 301, 302, 307, 408, 499, 500, 502, 503, 504, 520, 599, 999] {
            assert_eq!(kind(status, CallKind::Act), FaultKind::Unknown, "{status}");
        }
        assert_eq!(kind(200, CallKind::Question), FaultKind::Malformed);
        assert_eq!(kind(502, CallKind::Question), FaultKind::Unknown);
        assert_eq!(kind(404, CallKind::Act), FaultKind::Refused);
        assert_eq!(kind(401, CallKind::Act), FaultKind::KeyRefused);
        assert_eq!(kind(429, CallKind::Act), FaultKind::RateLimited { until });
    }

    #[test]
    fn a_403_waits_ten_minutes_and_names_both_causes() {
        let (kind, message) = kind_of_status(403, CallKind::Question, Timestamp(1_000), Timestamp(2_000));
        assert_eq!(kind, FaultKind::RateLimited { until: Timestamp(601_000) });
        assert!(message.contains("10 minutes") && message.contains("country"));
    }
}
