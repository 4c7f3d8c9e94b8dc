//! Why a model call gave no answer.

use std::fmt;
use std::time::Duration;

use types::{FailureClass, Overflow};

/// Longest reason that an error carries, in characters: it is stored with the run and shown to
/// people, and a provider may answer with a whole web page.
const REASON_CHARS_MAX: usize = 500;

/// A failed model call: who failed, how, and whether it may be charged.
///
/// What to do next follows from [`ProviderError::class`] alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Sentence { provider, fault })]
pub struct ProviderError {
    provider: String,
    fault: Fault,
    paid: bool,
}

impl ProviderError {
    /// Names the provider by its id in the configuration. `paid` says that bytes of an answer had
    /// come.
    pub(crate) fn new(provider: &str, fault: Fault, paid: bool) -> ProviderError {
        ProviderError { provider: provider.to_owned(), fault, paid }
    }

    /// A call that was refused before anything went out.
    pub fn refused(who: &str, class: FailureClass, reason: &str) -> ProviderError {
        ProviderError::new(who, Fault::new(class, reason), false)
    }

    pub fn class(&self) -> FailureClass {
        self.fault.class
    }

    /// How long the provider asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.fault.retry_after
    }

    /// What a refusal as too long says of the numbers.
    pub fn overflow(&self) -> Overflow {
        self.fault.overflow
    }

    /// Tells whether any bytes of an answer had come, so that the call may be charged.
    pub fn paid(&self) -> bool {
        self.paid
    }
}

/// What went wrong, before it is known whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub class: FailureClass,
    /// In one line, bounded.
    pub reason: String,
    pub retry_after: Option<Duration>,
    pub overflow: Overflow,
}

impl Fault {
    pub fn new(class: FailureClass, reason: impl AsRef<str>) -> Fault {
        let overflow = Overflow::default();
        Fault { class, reason: excerpt(reason.as_ref()), retry_after: None, overflow }
    }

    pub fn network(reason: impl AsRef<str>) -> Fault {
        Fault::new(FailureClass::Network, reason)
    }

    pub fn invalid_reply(reason: impl AsRef<str>) -> Fault {
        Fault::new(FailureClass::InvalidReply, reason)
    }
}

/// Returns the beginning of `text` in one line.
pub(crate) fn excerpt(text: &str) -> String {
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
            chars += 1;
        }
        for c in word.chars() {
            if chars >= REASON_CHARS_MAX {
                line.push('…');
                return line;
            }
            line.push(c);
            chars += 1;
        }
    }
    line
}

struct Sentence<'a> {
    provider: &'a str,
    fault: &'a Fault,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.fault.class {
            FailureClass::RateLimit => "is limiting our rate",
            FailureClass::Quota => "has no quota left for this account",
            FailureClass::Overload => "is overloaded or broken",
            FailureClass::Network => "gave no whole answer",
            FailureClass::InvalidReply => "sent an answer that makes no sense",
            FailureClass::Auth => "refused the credentials",
            FailureClass::BadRequest => "refused the request",
            FailureClass::Overflow => "says that the prompt does not fit the model's window",
            FailureClass::UnknownModel => "does not know the model",
            FailureClass::WrongModel => "answered as another model",
            FailureClass::Budget => "was not asked: a budget is used up",
            FailureClass::Internal => "could not be asked",
        };
        write!(f, "{} {verb}: {}", self.provider, self.fault.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_party_and_the_reason() {
        let fault = Fault::new(FailureClass::RateLimit, "HTTP 429: too many\n\ttokens");
        let error = ProviderError::new("work", fault, false);
        assert_eq!(error.to_string(), "work is limiting our rate: HTTP 429: too many tokens");
    }

    #[test]
    fn a_reason_is_bounded_and_stays_text() {
        assert_eq!(excerpt("é".repeat(10_000).as_str()).chars().count(), REASON_CHARS_MAX + 1);
        assert_eq!(excerpt("a ".repeat(10_000).as_str()).chars().count(), REASON_CHARS_MAX + 1);
        assert_eq!(excerpt(" a\u{1b}[31mb \r\n"), "a [31mb");
        assert_eq!(excerpt(""), "");
    }
}
