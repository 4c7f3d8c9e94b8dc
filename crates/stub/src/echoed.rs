//! Whether a gateway returns the stub's words as they were.
//!
//! Calls and thinking carry a seal; plain text has no place for one. So the stub remembers what it
//! last said to a conversation, and refuses one that goes on with other words in its place. After
//! a restart it knows no texts, and takes what comes.

use std::collections::{HashMap, VecDeque};

use crate::conversation::{Conversation, Event};
use crate::wire::Refusal;

/// Most answers kept; the oldest go first.
const ANSWERS_MAX: usize = 20_000;

/// Longest text kept, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub struct Echoed {
    /// By the digest of the messages that were answered.
    texts: HashMap<String, Vec<String>>,
    oldest: VecDeque<String>,
}

impl Echoed {
    /// Remembers an answer to the conversation `digest`.
    pub fn remember(&mut self, digest: &str, text: &str) {
        if text.len() > TEXT_BYTES_MAX {
            return;
        }
        let known = self.texts.entry(digest.to_owned()).or_insert_with(|| {
            self.oldest.push_back(digest.to_owned());
            Vec::new()
        });
        if !known.iter().any(|known| known == text) {
            known.push(text.to_owned());
        }
        if self.oldest.len() > ANSWERS_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.texts.remove(&oldest);
        }
    }

    /// Refuses a conversation in which an answer of ours has been changed. A beginning of it is
    /// let through: that is what a client has that left in the middle.
    pub fn check(&self, talk: &Conversation) -> Result<(), Refusal> {
        for event in &talk.events {
            let Event::Assistant { before, text } = event else { continue };
            let Some(known) = self.texts.get(before) else { continue };
            if !known.iter().any(|known| known.starts_with(text.as_str())) {
                let start: String = text.chars().take(40).collect();
                return Err(Refusal::bad(format!(
                    "messages: the assistant text {start:?} is not the one that was issued: \
                     answers must come back unchanged"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(before: &str, text: &str) -> Conversation {
        let (before, text) = (before.to_owned(), text.to_owned());
        let events = vec![Event::Assistant { before, text }];
        Conversation { events, ..Conversation::default() }
    }

    #[test]
    fn only_changed_words_are_refused() {
        let mut echoed = Echoed::default();
        echoed.remember("a", "one two");
        echoed.remember("a", "three");
        for (before, text, fine) in [
            ("a", "one two", true),
            ("a", "three", true),
            ("a", "one", true),
            ("a", "one  two", false),
            ("a", "one two ", false),
            ("b", "anything", true),
        ] {
            assert_eq!(echoed.check(&talk(before, text)).is_ok(), fine, "{before} {text:?}");
        }
    }

    #[test]
    fn the_oldest_answers_are_forgotten() {
        let mut echoed = Echoed::default();
        for number in 0..=ANSWERS_MAX {
            echoed.remember(&number.to_string(), "x");
        }
        assert!(echoed.check(&talk("0", "y")).is_ok());
        assert!(echoed.check(&talk("1", "y")).is_err());
    }
}
