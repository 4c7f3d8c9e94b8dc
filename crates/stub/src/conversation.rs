//! A request as the script sees it: who said what, free of either wire.
//!
//! The stub remembers no conversation. Where a plan stands is computed from these events alone,
//! so a stub that was restarted goes on where it was.

use std::collections::BTreeSet;

/// A user-role text that begins a line with this carries the result of a sub-agent.
pub const RESULT_MARK: &str = "[Subagent result]";

/// What a request holds, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub system: String,
    pub events: Vec<Event>,
    /// Names the messages; cache marks are not part of it.
    pub digest: String,
    /// Names tools and system prompt.
    pub prefix: String,
    /// Messages as the wire counts them.
    pub messages: usize,
    pub tools: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// One text block of a user message.
    User(String),
    ToolResult {
        call_id: String,
        /// The tool, as the call before named it.
        name: String,
        text: String,
    },
    /// One assistant message. `before` names the messages that it answered.
    Assistant { before: String, text: String },
}

/// The result of one sub-agent, as its parent reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The value of `task=` in the mark's line, or the whole line.
    pub task: String,
    pub body: String,
    /// The body had its length and its frame, so what follows it is not part of it.
    framed: bool,
}

impl Conversation {
    /// Returns the user-role text that came last, a result included.
    pub fn newest_text(&self) -> Option<&str> {
        self.texts().next_back().map(|(_, text)| text)
    }

    /// Returns the user-role texts with their places, oldest first.
    pub fn texts(&self) -> impl DoubleEndedIterator<Item = (usize, &str)> {
        self.events.iter().enumerate().filter_map(|(at, event)| match event {
            Event::User(text) => Some((at, text.as_str())),
            _ => None,
        })
    }

    /// Returns the results that arrived after event `anchor`, each task once, oldest first.
    pub fn results_after(&self, anchor: usize) -> Vec<Arrived> {
        let mut seen = BTreeSet::new();
        let texts = self.texts().filter(|(at, _)| *at > anchor);
        texts
            .flat_map(|(_, text)| arrived(text))
            .filter(|result| seen.insert(result.task.clone()))
            .collect()
    }

    /// Returns, for each assistant message after `anchor`, how many distinct results it had
    /// seen: all that the walk through a plan needs to know.
    pub fn results_at_each_turn(&self, anchor: usize) -> Vec<u32> {
        let mut seen = BTreeSet::new();
        let mut turns = Vec::new();
        for event in self.events.iter().skip(anchor + 1) {
            match event {
                Event::User(text) => seen.extend(arrived(text).into_iter().map(|r| r.task)),
                Event::Assistant { .. } => turns.push(seen.len() as u32),
                Event::ToolResult { .. } => {}
            }
        }
        turns
    }

    /// Returns what came in last: the newest user text (of a result, its body) or tool result.
    pub fn last_heard(&self) -> String {
        let heard = self.events.iter().rev().find_map(|event| match event {
            Event::User(text) => Some(match arrived(text).pop() {
                Some(result) => result.body,
                None => text.clone(),
            }),
            Event::ToolResult { text, .. } => Some(text.clone()),
            Event::Assistant { .. } => None,
        });
        heard.unwrap_or_default()
    }
}

/// Says whether `text` is a result and no words of a person.
pub fn is_result(text: &str) -> bool {
    text.trim_start().starts_with(RESULT_MARK)
}

/// Reads the results in one text; several may have been merged into it.
///
/// A mark's line that says `bytes=N` is followed by exactly so much text between `<result>` and
/// `</result>`, which may hold anything, marks of others included. Without it, a body lasts until
/// the next mark.
pub fn arrived(text: &str) -> Vec<Arrived> {
    let mut results: Vec<Arrived> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        if let Some(words) = line.strip_prefix(RESULT_MARK) {
            let word = |key| words.split_whitespace().find_map(|word| word.strip_prefix(key));
            let task = word("task=").unwrap_or(line).to_owned();
            match word("bytes=").and_then(|bytes| framed(after, bytes.parse().ok()?)) {
                Some((body, after)) => {
                    rest = after;
                    results.push(Arrived { task, body: body.to_owned(), framed: true });
                }
                None => results.push(Arrived { task, body: String::new(), framed: false }),
            }
        } else if let Some(result) = results.last_mut().filter(|result| !result.framed) {
            if !result.body.is_empty() {
                result.body.push('\n');
            }
            result.body.push_str(line);
        }
    }
    results
}

/// Returns the `bytes` of text in the frame that `text` begins with, and what comes after it.
fn framed(text: &str, bytes: usize) -> Option<(&str, &str)> {
    let (head, inside) = text.split_once("<result>\n")?;
    // The frame is that of this mark only if no other mark stands before it.
    if head.lines().any(|line| line.starts_with(RESULT_MARK)) {
        return None;
    }
    let (body, after) = inside.split_at_checked(bytes)?;
    Some((body, after.strip_prefix("\n</result>")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Event {
        Event::Assistant { before: String::new(), text: String::new() }
    }

    #[test]
    fn results_are_read_from_marked_lines_and_counted_once() {
        let two = "[Subagent result] task=tsk_1 name=a outcome=completed\n\none\nmore\n\
                   [Subagent result] task=tsk_2 outcome=failed\ntwo";
        let again = "[Subagent result] task=tsk_1 name=a outcome=completed\nonce more";
        let conversation = Conversation {
            events: vec![
                Event::User("go [Subagent result] task=tsk_9 is no line of its own".to_owned()),
                said(),
                Event::User(two.to_owned()),
                said(),
                Event::User(again.to_owned()),
                said(),
            ],
            ..Conversation::default()
        };
        let results = conversation.results_after(0);
        let read: Vec<_> = results.iter().map(|r| (r.task.as_str(), r.body.as_str())).collect();
        assert_eq!(read, [("tsk_1", "one\nmore"), ("tsk_2", "two")]);
        assert_eq!(conversation.results_at_each_turn(0), [0, 2, 2]);
        assert_eq!(conversation.last_heard(), "once more");
    }

    #[test]
    fn a_framed_result_may_quote_others() {
        let quoted = "all: [x]\n[Subagent result] task=tsk_9 bytes=1\n<result>\nq\n</result>\nend";
        let text = format!(
            "[Subagent result] task=tsk_1 name=a outcome=completed bytes={}\nIt completed.\n\
             session=agent:main:x 3 s\n<result>\n{quoted}\n</result>\nIts whole answer is short.\n\
             [Subagent result] task=tsk_2 name=- outcome=no_result bytes=0\n<result>\n\n</result>\n\
             [Subagent result] task=tsk_3 bytes=99\n<result>\nshort\n</result>\n",
            quoted.len()
        );
        let results = arrived(&text);
        let read: Vec<_> = results.iter().map(|r| (r.task.as_str(), r.body.as_str())).collect();
        let broken = "<result>\nshort\n</result>";
        assert_eq!(read, [("tsk_1", quoted), ("tsk_2", ""), ("tsk_3", broken)]);
    }
}
