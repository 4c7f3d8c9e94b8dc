//! `/approve` and `/deny`: what a person says to a call that waits.

use super::{Command, one_word};
use crate::approvals::Decision;

/// `[id] [always]`, or with OpenClaw's words for what is decided.
pub(super) fn read(rest: &str) -> Option<Command> {
    let words: Vec<String> = rest.split_whitespace().map(str::to_ascii_lowercase).collect();
    let decided = |word: &str| match word {
        "always" => Some(Decision::AllowAlways),
        "once" => Some(Decision::AllowOnce),
        word => word.parse().ok(),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (id, decision) = match words.as_slice() {
        [] => (None, Decision::AllowOnce),
        [one] => decided(one).map_or((Some(*one), Decision::AllowOnce), |it| (None, it)),
        [id, word] => (Some(*id), decided(word)?),
        _ => return None,
    };
    Some(Command::Approve { id: id.map(str::to_owned), decision })
}

pub(super) fn deny(rest: &str) -> Option<Command> {
    if !rest.is_empty() && !one_word(rest) {
        return None;
    }
    let id = (!rest.is_empty()).then(|| rest.to_ascii_lowercase());
    Some(Command::Approve { id, decision: Decision::Deny })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_a_call_that_waits() {
        use Decision::*;
        for (text, id, decision) in [
            ("", None, AllowOnce),
            ("always", None, AllowAlways),
            ("apr_12", Some("apr_12"), AllowOnce),
            ("APR_12 always", Some("apr_12"), AllowAlways),
            ("apr_12 allow-once", Some("apr_12"), AllowOnce),
            ("apr_12 deny", Some("apr_12"), Deny),
        ] {
            let id = id.map(str::to_owned);
            assert_eq!(read(text), Some(Command::Approve { id, decision }), "{text}");
        }
        assert_eq!(read("apr_12 perhaps"), None);
        assert_eq!(read("a b c"), None);
        let id = Some("apr_12".to_owned());
        assert_eq!(deny("apr_12"), Some(Command::Approve { id, decision: Deny }));
        assert_eq!(deny("apr_12 now"), None);
    }
}
