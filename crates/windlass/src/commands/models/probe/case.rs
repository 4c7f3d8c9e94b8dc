//! What a model is asked when it is probed, and how far that may go.

use std::time::Duration;

use types::word_enum;

/// Model calls of one case: a good model needs three, one that tries again twice as many.
pub const CALLS_MAX: u32 = 12;

/// Time of one case: its sub-agents take two seconds, and the rest is the model's.
pub const TIME_MAX: Duration = Duration::from_secs(180);

/// Tokens of one answer at most: room for thoughts, and none of the cases wants a long text.
pub const OUTPUT_MAX: u64 = 4_096;

word_enum! {
    /// Work that a model is given.
    pub enum Case {
        /// It falls into parts by itself, and nobody speaks of sub-agents.
        Unasked = "unasked",
        /// It is to be delegated, in so many words.
        Told = "told",
        /// The first sub-agent fails.
        Failure = "failure",
    }
}

impl Case {
    /// The message of the person.
    pub fn message(self) -> &'static str {
        match self {
            Case::Unasked => {
                "The depots in Lisbon, Oslo and Turin each have a stock code: WL- and six letters \
                 and digits. Find out all three. Each look-up is a few minutes of work of its own \
                 and has nothing to do with the other two. Answer with one line for each depot, \
                 and with no code that has not been looked up."
            }
            Case::Told => {
                "Delegate this. Have one sub-agent look up the berth number of the port of Genoa, \
                 and another that of Riga, at the same time; each number is WL- and six letters \
                 and digits. When both have reported, answer with both numbers, and with no \
                 number that was not reported to you."
            }
            Case::Failure => {
                "Have a sub-agent look up the seal number of container 7; it is WL- and six \
                 letters and digits. If that fails, have it tried once more. Then tell me the \
                 number, or that it could not be found."
            }
        }
    }

    /// How the case is called where its findings are shown.
    pub fn title(self) -> &'static str {
        match self {
            Case::Unasked => "work in three parts, delegation not mentioned",
            Case::Told => "told to delegate to two",
            Case::Failure => "told to delegate, and the first sub-agent fails",
        }
    }
}

/// The words that look like a code of these cases: `WL-` and six letters and digits, one digit at
/// least, so that `WL-XXXXXX` as a form to fill in is none.
pub fn codes(text: &str) -> Vec<String> {
    let mut codes = Vec::new();
    let upper = text.to_uppercase();
    for (at, _) in upper.match_indices("WL-") {
        let code: String =
            upper[at + 3..].chars().take_while(char::is_ascii_alphanumeric).collect();
        if code.len() == 6 && code.contains(|c: char| c.is_ascii_digit()) {
            codes.push(format!("WL-{code}"));
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_to_fill_in_is_no_code() {
        #[rustfmt::skip]
        let table: [(&str, &[&str]); 6] = [
            ("Oslo: wl-3fa9c1.",            &["WL-3FA9C1"]),
            ("**WL-3FA9C1** and WL-7B0000", &["WL-3FA9C1", "WL-7B0000"]),
            ("WL-XXXXXX, WL-______",        &[]),
            ("WL-3FA9C12",                  &[]),
            ("ÄWL-3FA9C1",                  &["WL-3FA9C1"]),
            ("",                            &[]),
        ];
        for (text, expected) in table {
            assert_eq!(codes(text), expected, "{text}");
        }
        for case in Case::ALL {
            assert_eq!(codes(case.message()), [""; 0], "a model could repeat it");
        }
    }
}
