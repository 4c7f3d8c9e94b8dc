//! How far a message has come, in the words of a receipt.

use types::word_enum;

use crate::rows::{InboxState, Outcome};

word_enum! {
    pub enum Receipt {
        /// It is kept, and waits in the inbox.
        Accepted = "accepted",
        /// It is in the transcript.
        Delivered = "delivered",
        /// A model call has seen it.
        Started = "started",
        /// The run that has taken it in has answered.
        Replied = "replied",
        /// No answer to it will come.
        Failed = "failed",
    }
}

/// The run that has taken a message in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    pub outcome: Option<Outcome>,
    /// Has a model been called since?
    pub called: bool,
}

/// The one place where the word is found, from the row's state and the run that has taken it in.
pub fn of(state: InboxState, taker: Option<Taker>) -> Receipt {
    match (state, taker) {
        (InboxState::Queued, _) => Receipt::Accepted,
        (InboxState::Consumed, Some(Taker { outcome, called })) => match outcome {
            Some(Outcome::Completed) => Receipt::Replied,
            Some(_) => Receipt::Failed,
            None if called => Receipt::Started,
            None => Receipt::Delivered,
        },
        _ => Receipt::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_each_place() {
        let taker = |outcome, called| Some(Taker { outcome, called });
        #[rustfmt::skip]
        let table = [
            (InboxState::Queued,    None,                                   "accepted"),
            // One that waits for its debounce has a run already.
            (InboxState::Queued,    taker(None, true),                      "accepted"),
            (InboxState::Consumed,  taker(None, false),                     "delivered"),
            (InboxState::Consumed,  taker(None, true),                      "started"),
            (InboxState::Consumed,  taker(Some(Outcome::Completed), true),  "replied"),
            (InboxState::Consumed,  taker(Some(Outcome::NoResult), true),   "failed"),
            (InboxState::Consumed,  taker(Some(Outcome::Cancelled), false), "failed"),
            (InboxState::Cancelled, None,                                   "failed"),
            (InboxState::Dead,      None,                                   "failed"),
        ];
        for (state, taker, word) in table {
            assert_eq!(of(state, taker).as_str(), word, "{state} {taker:?}");
        }
    }
}
