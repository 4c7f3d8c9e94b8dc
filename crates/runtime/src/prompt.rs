//! From entries to the messages of a request. Pure: a retry and a restart send the same bytes.
//!
//! Whatever varies (time, sender, channel) was written into an entry when it was taken in, so
//! nothing is computed here.

use machine::context;
use machine::rows::EntryKind;
use types::{AssistantMessage, Message, ToolResult};

/// An entry as the store keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub seq: i64,
    pub kind: EntryKind,
    pub body: &'a str,
    /// Bytes of text that are shown at most; an answer goes back as it came.
    pub bytes_max: Option<u64>,
}

/// An entry that cannot be read: the database was changed by someone else, or we have a bug.
#[derive(Debug, thiserror::Error)]
#[error("entry {seq} ({kind}) cannot be read: {source}")]
pub struct BadEntry {
    seq: i64,
    kind: EntryKind,
    source: serde_json::Error,
}

/// Reads one entry as a message.
pub fn message(line: Line<'_>) -> Result<Message, BadEntry> {
    let Line { seq, kind, body, bytes_max } = line;
    let bad = |source| BadEntry { seq, kind, source };
    let shown = |text: String| {
        let cut = bytes_max.and_then(|max| context::clip(&text, max));
        cut.unwrap_or(text)
    };
    Ok(match kind {
        EntryKind::Assistant => {
            Message::Assistant(serde_json::from_str::<AssistantMessage>(body).map_err(bad)?)
        }
        EntryKind::ToolResult => {
            let result = serde_json::from_str::<ToolResult>(body).map_err(bad)?;
            Message::ToolResult(ToolResult { text: shown(result.text), ..result })
        }
        EntryKind::User
        | EntryKind::Agent
        | EntryKind::Reply
        | EntryKind::Announce
        | EntryKind::Brief
        | EntryKind::Cron
        | EntryKind::Hook
        | EntryKind::System => Message::User(shown(body.to_owned())),
    })
}

/// Puts the messages in the order in which every wire takes them: an answer's results directly
/// behind it, in the order of its calls.
pub fn in_order(messages: Vec<Message>) -> Vec<Message> {
    let mut ordered: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let place = match &message {
            Message::ToolResult(result) => place_of(&ordered, result),
            _ => ordered.len(),
        };
        ordered.insert(place, message);
    }
    ordered
}

/// Finds the place of a result among those of its answer: tools end in any order, and a request
/// whose order depended on that would not be the same after a restart.
fn place_of(ordered: &[Message], result: &ToolResult) -> usize {
    let answer = ordered.iter().rposition(|message| matches!(message, Message::Assistant(_)));
    let Some(answer) = answer else { return ordered.len() };
    let Message::Assistant(message) = &ordered[answer] else { return ordered.len() };
    let rank = |id: &str| message.calls.iter().position(|call| call.id == id);
    let own = rank(&result.call_id);
    let before = ordered[answer + 1..].iter().take_while(|message| match message {
        Message::ToolResult(other) => rank(&other.call_id) < own,
        _ => false,
    });
    answer + 1 + before.count()
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use types::{StopReason, ToolCall, Wire};

    use super::*;

    fn answer(ids: &[&str]) -> Message {
        let call = |id: &&str| ToolCall {
            id: (*id).to_owned(),
            name: "read".to_owned(),
            arguments: "{}".to_owned(),
        };
        Message::Assistant(AssistantMessage {
            wire: Wire::Scripted,
            model: "m".to_owned(),
            asked: None,
            text: String::new(),
            calls: ids.iter().map(call).collect(),
            stop: StopReason::ToolCalls,
            raw: RawValue::from_string("[]".to_owned()).unwrap(),
        })
    }

    fn result(id: &str) -> Message {
        Message::ToolResult(ToolResult {
            call_id: id.to_owned(),
            name: "read".to_owned(),
            text: String::new(),
            is_error: false,
        })
    }

    fn shape(messages: &[Message]) -> String {
        let words = messages.iter().map(|message| match message {
            Message::User(text) => text.clone(),
            Message::Assistant(_) => "answer".to_owned(),
            Message::ToolResult(result) => result.call_id.clone(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn results_follow_in_the_order_of_their_calls() {
        let user = |text: &str| Message::User(text.to_owned());
        let messages = vec![
            user("q"),
            answer(&["a", "b", "c"]),
            result("c"),
            result("a"),
            result("b"),
            user("x"),
            answer(&["a"]),
            result("a"),
        ];
        assert_eq!(shape(&in_order(messages)), "q answer a b c x answer a");
    }
}
