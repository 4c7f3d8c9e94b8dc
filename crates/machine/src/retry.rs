//! Retries of model calls, by class of failure.
//!
//! What concerns all runs of a model (a rate limit, an empty account, an overload) is not retried
//! by each of them: it closes the gate of the model, in `gate`.

use std::time::Duration;

use types::FailureClass;

/// First wait, before any doubling.
const DELAY_MS_MIN: u64 = 1_000;

/// Longest wait that we choose ourselves. A provider may ask for more.
const DELAY_MS_MAX: u64 = 30_000;

/// Retries of a call whose failure passes by itself: with the delays above, about two minutes.
const RETRIES_PASSING: u32 = 6;

/// Retries of a call whose provider cannot be reached, before another is asked: about three
/// seconds.
pub const RETRIES_BEFORE_ANOTHER: u32 = 2;

/// Retries of a call whose failure may be chance: a model that has written nonsense.
const RETRIES_CHANCE: u32 = 2;

/// Longest `retry-after` that is waited for. Beyond it a person should know.
const RETRY_AFTER_MS_MAX: i64 = 15 * 60 * 1_000;

/// Returns how long to wait before the next attempt at a model call, or none if there is to be no
/// other.
///
/// | argument         | meaning                                        | unit, range   |
/// |------------------|------------------------------------------------|---------------|
/// | `class`          | why the call has failed                        |               |
/// | `retries`        | retries already made for this model call       | count, from 0 |
/// | `retry_after_ms` | the provider's `retry-after`, zero if none     | ms            |
/// | `jitter`         | a draw from the uniform distribution, injected | `[0, 1)`      |
pub fn after_failure(
    class: FailureClass,
    retries: u32,
    retry_after_ms: i64,
    jitter: f64,
) -> Option<Duration> {
    let max = match class {
        FailureClass::Network => RETRIES_PASSING,
        FailureClass::InvalidReply | FailureClass::Internal => RETRIES_CHANCE,
        FailureClass::RateLimit
        | FailureClass::Overload
        | FailureClass::Quota
        | FailureClass::Budget
        | FailureClass::Auth
        | FailureClass::BadRequest
        | FailureClass::Overflow
        | FailureClass::UnknownModel
        | FailureClass::WrongModel => 0,
    };
    if retries >= max || retry_after_ms > RETRY_AFTER_MS_MAX {
        return None;
    }
    let floor = Duration::from_millis(u64::try_from(retry_after_ms).unwrap_or(0));
    Some(delay(retries, floor, jitter))
}

/// Returns how long to wait before retry number `attempt`.
///
/// | argument  | meaning                                        | unit, range   |
/// |-----------|------------------------------------------------|---------------|
/// | `attempt` | retries already made for this model call       | count, from 0 |
/// | `floor`   | the provider's `retry-after`, zero if none     | duration      |
/// | `jitter`  | a draw from the uniform distribution, injected | `[0, 1)`      |
///
/// The wait doubles from 1 s to a cap of 30 s, and the draw scales it to between half and all of
/// that: enough spread to break up a herd, without the near-zero waits of full jitter. `floor`
/// wins even over the cap, because a retry that comes sooner is sure to be refused.
///
/// # Panics
///
/// If `jitter` is outside `[0, 1)`: the caller drew it wrong.
///
/// # Source
///
/// "Equal jitter" in M. Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015.
///
/// # Examples
///
/// ```
/// # use machine::retry::delay;
/// # use std::time::Duration;
/// assert_eq!(delay(0, Duration::ZERO, 0.0), Duration::from_millis(500));
/// assert_eq!(delay(9, Duration::ZERO, 0.5), Duration::from_millis(22_500));
/// assert_eq!(delay(0, Duration::from_secs(60), 0.9), Duration::from_secs(60));
/// ```
pub fn delay(attempt: u32, floor: Duration, jitter: f64) -> Duration {
    assert!((0.0..1.0).contains(&jitter), "jitter {jitter} is outside [0, 1)");

    let doubled = DELAY_MS_MIN.saturating_mul(2_u64.saturating_pow(attempt));
    let capped = Duration::from_millis(doubled.min(DELAY_MS_MAX));
    let spread = capped.mul_f64(0.5 + jitter / 2.0);
    spread.max(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_by_class() {
        use FailureClass::*;

        #[rustfmt::skip]
        let table = [
            // class       retries  after_ms   again
            (Network,      0,       0,         true),
            (Network,      5,       0,         true),
            (Network,      6,       0,         false),
            (Network,      0,       60_000,    true),
            (Network,      0,       7_200_000, false),
            (RateLimit,    0,       0,         false),
            (Quota,        0,       0,         false),
            (Overload,     0,       0,         false),
            (InvalidReply, 1,       0,         true),
            (InvalidReply, 2,       0,         false),
            (Internal,     1,       0,         true),
            (Auth,         0,       0,         false),
            (BadRequest,   0,       0,         false),
            (Overflow,     0,       0,         false),
            (UnknownModel, 0,       0,         false),
        ];

        for (class, retries, after, again) in table {
            let delay = after_failure(class, retries, after, 0.5);
            assert_eq!(delay.is_some(), again, "{class} after {retries} retries");
            assert!(delay.is_none_or(|delay| delay.as_millis() as i64 >= after));
        }
    }
}
