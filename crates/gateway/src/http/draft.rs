//! What of a growing answer is shown on a stream that cannot take anything back. Pure.
//!
//! An agent may speak before it uses a tool, and a model call may be cut and made again: what was
//! shown then is not the beginning of the answer. It stays, and what comes follows after a blank
//! line. So whatever happened, the stream ends with the whole answer.

use machine::finish::NO_REPLY;

/// The text of one run, as its client has it.
#[derive(Debug, Default)]
pub struct Draft {
    /// The model call that speaks, and what it has said so far.
    step: Option<u32>,
    text: String,
    /// The last paragraphs that were shown, since the last blank line of ours.
    shown: String,
}

impl Draft {
    /// Takes a piece of text of model call `step`; returns what is to be shown.
    pub fn piece(&mut self, step: u32, text: &str) -> Option<String> {
        if self.step != Some(step) {
            self.step = Some(step);
            self.text.clear();
        }
        self.text.push_str(text);
        if NO_REPLY.starts_with(self.text.trim()) {
            return None;
        }
        let text = self.text.clone();
        self.show(&text)
    }

    /// What the call has said so far was never said.
    pub fn dropped(&mut self) {
        self.step = None;
    }

    /// The run is over: returns what is missing of its answer.
    pub fn end(&mut self, answer: &str) -> Option<String> {
        if answer == self.shown || answer.is_empty() {
            return None;
        }
        if self.shown.starts_with(answer) {
            // More was shown than is the answer.
            return Some(format!("\n\n{answer}"));
        }
        self.show(answer)
    }

    fn show(&mut self, text: &str) -> Option<String> {
        if let Some(rest) = text.strip_prefix(self.shown.as_str()) {
            let rest = rest.to_owned();
            self.shown.push_str(&rest);
            return (!rest.is_empty()).then_some(rest);
        }
        if self.shown.starts_with(text) {
            // It says again what is shown already.
            return None;
        }
        self.shown = text.to_owned();
        Some(format!("\n\n{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces by step (`!` is a call that was cut), the answer, and all that is shown.
    #[test]
    fn the_stream_ends_with_the_answer() {
        type Piece = (u32, &'static str);
        let table: [(&[Piece], &str, &str); 9] = [
            (&[(0, "hel"), (0, "lo")], "hello", "hello"),
            (&[], "hello", "hello"),
            (&[(0, "hel")], "hello", "hello"),
            (
                &[(0, "I look."), (2, "There"), (2, " it is.")],
                "There it is.",
                "I look.\n\nThere it is.",
            ),
            (&[(0, "hel"), (0, "!"), (0, "he"), (0, "llo")], "hello", "hello"),
            (&[(0, "hel"), (0, "!"), (0, "good day")], "good day", "hel\n\ngood day"),
            (&[(0, "NO"), (0, "_REPLY")], "", ""),
            (&[(0, "NO"), (0, "_REPORT")], "NO_REPORT", "NO_REPORT"),
            (&[(0, "hello and"), (0, "!")], "hello", "hello and\n\nhello"),
        ];
        for (pieces, answer, expected) in table {
            let mut draft = Draft::default();
            let mut shown = String::new();
            for (step, text) in pieces {
                if *text == "!" {
                    draft.dropped();
                } else {
                    shown.extend(draft.piece(*step, text));
                }
            }
            shown.extend(draft.end(answer));
            assert_eq!(shown, expected, "{pieces:?}");
            assert!(shown.ends_with(answer));
        }
    }
}
