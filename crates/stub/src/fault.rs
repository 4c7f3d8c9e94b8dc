//! What goes wrong on purpose: which fault, how often, for whom.
//!
//! A fault comes from the command line, from `POST /faults`, from a script's rule or from a step
//! of a directive; it has the same JSON form everywhere:
//!
//! ```json
//! {"kind":"error","status":429,"retry_after_s":1,"times":2}
//! ```
//!
//! | `kind`        | fields                    | what the client sees             |
//! |---------------|---------------------------|----------------------------------|
//! | `latency`     | `ms`                      | nothing for so long              |
//! | `slow`        | `ms` per token            | a trickle                        |
//! | `error`       | `status`, `retry_after_s` | that status, in the wire's shape |
//! | `error_event` | `after_tokens`, `status`  | an error inside a 200 stream     |
//! | `stall`       | `after_tokens`            | silence, the connection open     |
//! | `cut`         | `after_tokens`            | a close in the middle of a frame |
//! | `garbage`     | `after_tokens`            | a frame that is no JSON          |
//! | `flood`       | `bytes`                   | so much filler before the answer |
//!
//! The two errors also take `class` and `message`, in place of the provider's own.
//!
//! All take `times` (so often, then never again; without it, always), `probability` (drawn from
//! the seed and the request's number), and `model` and `contains` (only requests for that model,
//! only when the newest user text contains that).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::digest;
use crate::wire::Refusal;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    Latency { ms: u64 },
    Slow { ms: u64 },
    Error(Failure),
    ErrorEvent { after_tokens: u64, failure: Failure },
    Stall { after_tokens: u64 },
    Cut { after_tokens: u64 },
    Garbage { after_tokens: u64 },
    Flood { bytes: u64 },
}

/// An error answer, before a wire gives it its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub status: u16,
    pub retry_after_s: Option<u64>,
    /// Replaces the `type` that the provider uses for `status`.
    pub class: Option<String>,
    pub message: Option<String>,
}

/// A fault, and when it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawFault", into = "RawFault")]
pub struct FaultRule {
    pub fault: Fault,
    pub times: Option<u32>,
    pub probability: Option<f64>,
    pub model: Option<String>,
    pub contains: Option<String>,
}

impl FaultRule {
    /// A fault that strikes every time.
    pub fn always(fault: Fault) -> FaultRule {
        FaultRule { fault, times: None, probability: None, model: None, contains: None }
    }

    /// A fault that strikes the next `times` requests it fits.
    pub fn times(fault: Fault, times: u32) -> FaultRule {
        FaultRule { times: Some(times), ..FaultRule::always(fault) }
    }
}

impl Failure {
    pub fn status(status: u16) -> Failure {
        Failure { status, retry_after_s: None, class: None, message: None }
    }
}

/// The JSON form: flat, with every field optional, so that a misspelt one is an error.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
}

/// A fault whose JSON does not say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    #[error(
        "unknown fault kind `{0}`; expected one of latency, slow, error, error_event, stall, \
         cut, garbage, flood"
    )]
    Kind(String),
    #[error("fault `{kind}` needs `{field}`")]
    Missing { kind: String, field: &'static str },
    #[error("fault `{kind}` needs a status between 400 and 599, got {status}")]
    Status { kind: String, status: u16 },
    #[error("a fault's probability lies between 0 and 1")]
    Probability,
}

impl TryFrom<RawFault> for FaultRule {
    type Error = FaultError;

    fn try_from(raw: RawFault) -> Result<FaultRule, FaultError> {
        let missing = |field| FaultError::Missing { kind: raw.kind.clone(), field };
        let after_tokens = raw.after_tokens.unwrap_or(1);
        let failure = || {
            let status = raw.status.ok_or_else(|| missing("status"))?;
            if !(400..600).contains(&status) {
                return Err(FaultError::Status { kind: raw.kind.clone(), status });
            }
            let (class, message) = (raw.class.clone(), raw.message.clone());
            Ok(Failure { status, retry_after_s: raw.retry_after_s, class, message })
        };
        let fault = match raw.kind.as_str() {
            "latency" => Fault::Latency { ms: raw.ms.ok_or_else(|| missing("ms"))? },
            "slow" => Fault::Slow { ms: raw.ms.ok_or_else(|| missing("ms"))? },
            "error" => Fault::Error(failure()?),
            "error_event" => Fault::ErrorEvent { after_tokens, failure: failure()? },
            "stall" => Fault::Stall { after_tokens },
            "cut" => Fault::Cut { after_tokens },
            "garbage" => Fault::Garbage { after_tokens },
            "flood" => Fault::Flood { bytes: raw.bytes.ok_or_else(|| missing("bytes"))? },
            _ => return Err(FaultError::Kind(raw.kind)),
        };
        if raw.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(FaultError::Probability);
        }
        let RawFault { times, probability, model, contains, .. } = raw;
        Ok(FaultRule { fault, times, probability, model, contains })
    }
}

impl From<FaultRule> for RawFault {
    fn from(rule: FaultRule) -> RawFault {
        let FaultRule { fault, times, probability, model, contains } = rule;
        let mut raw = RawFault { times, probability, model, contains, ..RawFault::default() };
        raw.kind = fault.kind().to_owned();
        match fault {
            Fault::Latency { ms } | Fault::Slow { ms } => raw.ms = Some(ms),
            Fault::Stall { after_tokens }
            | Fault::Cut { after_tokens }
            | Fault::Garbage { after_tokens } => raw.after_tokens = Some(after_tokens),
            Fault::Flood { bytes } => raw.bytes = Some(bytes),
            Fault::Error(failure) => raw.fail_with(failure),
            Fault::ErrorEvent { after_tokens, failure } => {
                raw.after_tokens = Some(after_tokens);
                raw.fail_with(failure);
            }
        }
        raw
    }
}

impl RawFault {
    fn fail_with(&mut self, failure: Failure) {
        self.status = Some(failure.status);
        self.retry_after_s = failure.retry_after_s;
        self.class = failure.class;
        self.message = failure.message;
    }
}

impl Fault {
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Latency { .. } => "latency",
            Fault::Slow { .. } => "slow",
            Fault::Error(_) => "error",
            Fault::ErrorEvent { .. } => "error_event",
            Fault::Stall { .. } => "stall",
            Fault::Cut { .. } => "cut",
            Fault::Garbage { .. } => "garbage",
            Fault::Flood { .. } => "flood",
        }
    }

    /// Says whether this fault only slows an answer, so that another may strike as well.
    pub fn is_pace(&self) -> bool {
        matches!(self, Fault::Latency { .. } | Fault::Slow { .. })
    }
}

/// What a request shows to a rule.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub seq: u64,
    pub model: &'a str,
    pub newest: &'a str,
}

/// The faults that hold for all requests, with how often each struck.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    rules: Vec<(FaultRule, u32)>,
}

impl Faults {
    pub fn new(seed: u64, rules: Vec<FaultRule>) -> Faults {
        Faults { seed, rules: rules.into_iter().map(|rule| (rule, 0)).collect() }
    }

    /// Replaces all rules; the counts begin again.
    pub fn set(&mut self, rules: Vec<FaultRule>) {
        *self = Faults::new(self.seed, rules);
    }

    /// Returns what strikes this request: every fault of pace, and the first other one.
    pub fn strike(&mut self, target: Target<'_>) -> Vec<Fault> {
        let mut struck: Vec<Fault> = Vec::new();
        for (index, (rule, count)) in self.rules.iter_mut().enumerate() {
            let taken = !rule.fault.is_pace() && struck.iter().any(|fault| !fault.is_pace());
            let spent = rule.times.is_some_and(|times| *count >= times);
            if taken || spent || !rule.fits(target) {
                continue;
            }
            if rule.probability.is_some_and(|p| draw(self.seed, index, target.seq) >= p) {
                continue;
            }
            *count += 1;
            struck.push(rule.fault.clone());
        }
        struck
    }
}

impl FaultRule {
    pub fn fits(&self, target: Target<'_>) -> bool {
        self.model.as_deref().is_none_or(|model| model == target.model)
            && self.contains.as_deref().is_none_or(|text| target.newest.contains(text))
    }
}

/// Draws from `[0, 1)`: the same for the same seed, rule and request.
fn draw(seed: u64, rule: usize, seq: u64) -> f64 {
    let digits = digest(format!("{seed} {rule} {seq}"));
    // 32 bits are exact in an f64.
    let bits = u32::from_str_radix(&digits[..8], 16).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// How an answer goes out: the sum of the faults that struck.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    pub latency: Duration,
    pub ms_per_token: u64,
    pub ending: Ending,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Ending {
    #[default]
    Whole,
    Error(Failure),
    ErrorEvent {
        after_tokens: u64,
        failure: Failure,
    },
    Stall {
        after_tokens: u64,
    },
    Cut {
        after_tokens: u64,
    },
    Garbage {
        after_tokens: u64,
    },
    Flood {
        bytes: u64,
    },
}

impl Pace {
    /// Adds `fault`. The first ending wins.
    pub fn add(&mut self, fault: Fault) {
        let ending = match fault {
            Fault::Latency { ms } => {
                self.latency += Duration::from_millis(ms);
                return;
            }
            Fault::Slow { ms } => {
                self.ms_per_token += ms;
                return;
            }
            Fault::Error(failure) => Ending::Error(failure),
            Fault::ErrorEvent { after_tokens, failure } => {
                Ending::ErrorEvent { after_tokens, failure }
            }
            Fault::Stall { after_tokens } => Ending::Stall { after_tokens },
            Fault::Cut { after_tokens } => Ending::Cut { after_tokens },
            Fault::Garbage { after_tokens } => Ending::Garbage { after_tokens },
            Fault::Flood { bytes } => Ending::Flood { bytes },
        };
        if self.ending == Ending::Whole {
            self.ending = ending;
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        let mut refusal = Refusal::of_status(failure.status);
        refusal.retry_after_s = failure.retry_after_s;
        if let Some(class) = failure.class {
            refusal.class = Some(class);
        }
        if let Some(message) = failure.message {
            refusal.message = message;
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(seq: u64) -> Target<'static> {
        Target { seq, model: "m", newest: "hello there" }
    }

    #[test]
    fn json_goes_in_and_out_and_says_what_is_wrong() {
        for text in [
            r#"{"kind":"latency","ms":5}"#,
            r#"{"kind":"error","status":429,"retry_after_s":1,"times":2}"#,
            r#"{"kind":"cut","after_tokens":3,"probability":0.5,"model":"m","contains":"x"}"#,
            r#"{"kind":"flood","bytes":10}"#,
        ] {
            let rule: FaultRule = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        }
        for (text, error) in [
            (r#"{"kind":"boom"}"#, "unknown fault kind `boom`"),
            (r#"{"kind":"slow"}"#, "fault `slow` needs `ms`"),
            (r#"{"kind":"error","status":200}"#, "between 400 and 599"),
            (r#"{"kind":"cut","probability":2}"#, "between 0 and 1"),
            (r#"{"kind":"cut","after_token":2}"#, "unknown field `after_token`"),
        ] {
            let got = serde_json::from_str::<FaultRule>(text).unwrap_err().to_string();
            assert!(got.contains(error), "{text}: {got}");
        }
    }

    #[test]
    fn counts_run_out_and_pace_joins_an_ending() {
        let stall = Fault::Stall { after_tokens: 1 };
        let cut = Fault::Cut { after_tokens: 1 };
        let latency = Fault::Latency { ms: 1 };
        let rules = vec![
            FaultRule::times(stall.clone(), 1),
            FaultRule::times(cut.clone(), 1),
            FaultRule::always(latency.clone()),
            FaultRule { model: Some("other".to_owned()), ..FaultRule::always(cut.clone()) },
        ];
        let mut faults = Faults::new(0, rules);
        assert_eq!(faults.strike(target(1)), [stall, latency.clone()]);
        assert_eq!(faults.strike(target(2)), [cut, latency.clone()]);
        assert_eq!(faults.strike(target(3)), [latency]);
    }

    #[test]
    fn probability_follows_the_seed() {
        let struck = |seed| {
            let rule = FaultRule {
                probability: Some(0.25),
                ..FaultRule::always(Fault::Cut { after_tokens: 1 })
            };
            let mut faults = Faults::new(seed, vec![rule]);
            (0..1_000).filter(|seq| !faults.strike(target(*seq)).is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(struck(7), struck(7));
        assert_ne!(struck(7), struck(8));
        assert!((200..300).contains(&struck(7).len()), "{} of 1000 at 0.25", struck(7).len());
    }
}
