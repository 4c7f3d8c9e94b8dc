//! Why a model call gave no answer, cut by what is done next.

use crate::word_enum;

word_enum! {
    /// Class of a failed model call. The retry policy (`machine::retry`) is a function of it.
    pub enum FailureClass {
        /// The provider limits our rate: wait as long as it says.
        RateLimit = "rate_limit",
        /// The account has no quota left: waiting does not help.
        Quota = "quota",
        /// The provider is overloaded or broken on its side (5xx).
        Overload = "overload",
        /// No connection, a time-out, or a stream that was cut or stalled.
        Network = "network",
        /// The answer makes no sense: broken JSON, no end, repeated call ids.
        InvalidReply = "invalid_reply",
        /// The credentials are missing or refused.
        Auth = "auth",
        /// The provider refuses the request as malformed.
        BadRequest = "bad_request",
        /// The prompt does not fit the model's window.
        Overflow = "overflow",
        /// No such model.
        UnknownModel = "unknown_model",
        /// A budget allows no further call.
        Budget = "budget",
        /// Our own fault: a panic in an adapter.
        Internal = "internal",
        /// Another model has answered than was asked.
        WrongModel = "wrong_model",
    }
}

/// Tokens that a provider names when it refuses a prompt as too long, as far as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflow {
    /// What the prompt held.
    pub sent: Option<u64>,
    /// The window of the model.
    pub window: Option<u64>,
}
