//! A conversation in the strict form that every wire wants: turns that pair.
//!
//! ```text
//!  user ─▶ assistant (calls a, b) ─▶ results of a, b, then words ─▶ assistant ─▶ …
//! ```
//!
//! A provider refuses a history with a call that has no result, or a result without its call,
//! and would refuse it again on every later turn. So a missing result is said to be missing, and
//! a result whose call has gone becomes words. Nothing is dropped but what is empty.
//!
//! An assistant message goes back as it came to the model that said it. Another model or wire
//! sees its text and calls, with ids and names that any provider accepts: thoughts are signed by
//! who had them, and refused by everyone else.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::RawValue;
use types::{AssistantMessage, Hash, Message, StopReason, ToolCall, ToolResult, Usage, Wire};

use crate::anthropic::blocks::{Kept, kept};
use crate::error::Fault;
use crate::{google, openai_responses};

/// Longest call id and tool name that all providers take.
const ID_LEN_MAX: usize = 40;
const NAME_LEN_MAX: usize = 64;

/// One side's part of a conversation. Two turns of the user never follow each other.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    User {
        /// One for each call of the assistant's turn before, in the order of the calls.
        answers: Vec<Answer<'a>>,
        texts: Vec<Cow<'a, str>>,
    },
    Assistant(Said<'a>),
}

/// The result of a call, under the id that the provider gets to see.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub call_id: Cow<'a, str>,
    /// The tool, as the call named it.
    pub name: Cow<'a, str>,
    pub text: &'a str,
    pub is_error: bool,
}

/// What the assistant said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// By this model, on this wire: [`AssistantMessage::raw`] goes back.
    Here(&'a AssistantMessage),
    /// By another one: text and calls are told.
    Elsewhere(&'a AssistantMessage),
}

impl<'a> Said<'a> {
    pub fn message(self) -> &'a AssistantMessage {
        match self {
            Said::Here(message) | Said::Elsewhere(message) => message,
        }
    }

    /// Returns the id under which this wire knows a call of this message.
    pub fn call_id(self, id: &'a str) -> Cow<'a, str> {
        match self {
            Said::Here(_) => id.into(),
            Said::Elsewhere(_) => portable_id(id),
        }
    }

    fn name(self, name: &'a str) -> Cow<'a, str> {
        match self {
            Said::Here(_) => name.into(),
            Said::Elsewhere(_) => portable_name(name),
        }
    }

    /// Nothing to show: providers refuse a message without content.
    fn is_empty(self) -> bool {
        let message = self.message();
        if !message.calls.is_empty() || !message.text.trim().is_empty() {
            return false;
        }
        let raw = message.raw.get();
        match (self, message.wire) {
            (Said::Here(_), Wire::AnthropicMessages) => {
                matches!(kept(&message.raw), Kept::Part(blocks) if blocks.is_empty())
            }
            (Said::Here(_), Wire::OpenaiResponses) => openai_responses::request::is_bare(raw),
            (Said::Here(_), Wire::GoogleGenerativeAi) => google::request::is_bare(raw),
            _ => true,
        }
    }
}

/// Brings `messages` into turns for `wire`. `asked` is who gets to see them, as in
/// [`AssistantMessage::asked`].
pub(crate) fn turns<'a>(messages: &'a [Message], wire: Wire, asked: &str) -> Vec<Turn<'a>> {
    let is_own = |message: &AssistantMessage| {
        message.wire == wire && message.asked.as_deref().is_none_or(|by| by == asked)
    };
    let mut turns = Vec::new();
    let mut last = None;
    let mut results = Vec::new();
    let mut texts = Vec::new();
    for message in messages {
        match message {
            Message::User(text) if text.trim().is_empty() => {}
            Message::User(text) => texts.push(Cow::from(text)),
            Message::ToolResult(result) => results.push(result),
            Message::Assistant(message) => {
                let said = match is_own(message) {
                    true => Said::Here(message),
                    false => Said::Elsewhere(message),
                };
                if said.is_empty() {
                    continue;
                }
                let results = std::mem::take(&mut results);
                turns.extend(user_turn(last, results, std::mem::take(&mut texts)));
                turns.push(Turn::Assistant(said));
                last = Some(said);
            }
        }
    }
    turns.extend(user_turn(last, results, texts));
    turns
}

fn user_turn<'a>(
    asked: Option<Said<'a>>,
    mut results: Vec<&'a ToolResult>,
    texts: Vec<Cow<'a, str>>,
) -> Option<Turn<'a>> {
    let mut answers = Vec::new();
    if let Some(said) = asked {
        for call in &said.message().calls {
            let place = results.iter().position(|result| result.call_id == call.id);
            let result = place.map(|place| results.remove(place));
            answers.push(Answer {
                call_id: said.call_id(&call.id),
                name: said.name(&call.name),
                text: result.map_or("No result of this call was recorded.", |r| &r.text),
                is_error: result.is_none_or(|r| r.is_error),
            });
        }
    }
    let orphan = |r: &ToolResult| {
        Cow::from(format!("[Result of an earlier call of `{}`]\n{}", r.name, r.text))
    };
    let texts: Vec<_> = results.into_iter().map(orphan).chain(texts).collect();
    let empty = answers.is_empty() && texts.is_empty();
    (!empty).then_some(Turn::User { answers, texts })
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Returns `id`, or if some provider would refuse it, a digest of it.
fn portable_id(id: &str) -> Cow<'_, str> {
    if !id.is_empty() && id.len() <= ID_LEN_MAX && is_plain(id) {
        return id.into();
    }
    let digest = Hash::of(id).to_string();
    format!("call_{}", &digest[..32]).into()
}

/// Returns `name` with every character replaced that some provider would refuse.
pub(crate) fn portable_name(name: &str) -> Cow<'_, str> {
    if !name.is_empty() && name.len() <= NAME_LEN_MAX && is_plain(name) {
        return name.into();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().map(plain).take(NAME_LEN_MAX).collect();
    if name.is_empty() { "unnamed".into() } else { name.into() }
}

/// Returns `arguments` byte for byte if they are a JSON object. Anything else is wrapped into
/// one, so that the model sees what it wrote and the provider sees JSON.
pub(crate) fn object_arguments(arguments: &str) -> Box<RawValue> {
    let trimmed = arguments.trim();
    if trimmed.starts_with('{')
        && let Ok(raw) = RawValue::from_string(trimmed.to_owned())
    {
        return raw;
    }
    let object = match trimmed {
        "" => serde_json::json!({}),
        broken => serde_json::json!({ "invalid_json": broken }),
    };
    serde_json::value::to_raw_value(&object).unwrap_or_default()
}

/// A token is about four bytes, of JSON too.
const BYTES_PER_TOKEN: u64 = 4;

/// A provider that does not count must not make a budget endless, so the bytes are counted.
pub(crate) fn estimated_usage(request_bytes: usize, raw_bytes: usize) -> Usage {
    Usage {
        input: request_bytes as u64 / BYTES_PER_TOKEN,
        output: raw_bytes as u64 / BYTES_PER_TOKEN,
        ..Usage::default()
    }
}

/// What the arguments of a call are said to be that was cut off before the first of them.
const CUT_OFF: &str = "(cut off at the output limit)";

/// Makes a call unfit to be carried out that was cut off before its arguments: nothing written
/// would otherwise mean that there are none.
pub(crate) fn mark_cut(last: Option<&mut String>, stop: StopReason) {
    if let (Some(arguments), StopReason::Length) = (last, stop)
        && arguments.trim().is_empty()
    {
        CUT_OFF.clone_into(arguments);
    }
}

/// Refuses calls that could not be answered: without a name, or two under one id.
pub(crate) fn check_calls(calls: &[ToolCall]) -> Result<(), Fault> {
    let mut ids = BTreeSet::new();
    for ToolCall { id, name, .. } in calls {
        if name.is_empty() {
            return Err(Fault::invalid_reply(format!("call `{id}` names no tool")));
        }
        if id.is_empty() {
            return Err(Fault::invalid_reply(format!("a call of `{name}` has no id")));
        }
        if !ids.insert(id) {
            return Err(Fault::invalid_reply(format!("two calls have the id `{id}`")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assistant(wire: Wire, text: &str, calls: &[&str]) -> Message {
        let call = |id: &&str| ToolCall {
            id: (*id).to_owned(),
            name: "exec".to_owned(),
            arguments: "{}".to_owned(),
        };
        Message::Assistant(AssistantMessage {
            wire,
            model: "m".to_owned(),
            asked: None,
            text: text.to_owned(),
            calls: calls.iter().map(call).collect(),
            stop: StopReason::End,
            raw: RawValue::from_string("[]".to_owned()).unwrap(),
        })
    }

    fn result(id: &str) -> Message {
        Message::ToolResult(ToolResult {
            call_id: id.to_owned(),
            name: "exec".to_owned(),
            text: format!("did {id}"),
            is_error: false,
        })
    }

    fn user(text: &str) -> Message {
        Message::User(text.to_owned())
    }

    /// Prints each turn in one line.
    fn shape(messages: &[Message], wire: Wire) -> Vec<String> {
        let line = |turn: &Turn<'_>| match turn {
            Turn::User { answers, texts } => {
                let answer = |a: &Answer<'_>| format!("{}={}", a.call_id, a.text);
                let answers: Vec<_> = answers.iter().map(answer).collect();
                format!("user [{}] {}", answers.join(", "), texts.join(" + "))
            }
            Turn::Assistant(said) => format!("assistant {}", said.message().text),
        };
        turns(messages, wire, "p/m").iter().map(line).collect()
    }

    #[test]
    fn results_come_in_the_order_of_the_calls_and_words_after_them() {
        let messages = [
            user("one"),
            user("two"),
            assistant(Wire::Scripted, "ok", &["a", "b"]),
            user("three"),
            result("b"),
            result("a"),
            assistant(Wire::Scripted, "", &[]),
            user("four"),
        ];
        assert_eq!(
            shape(&messages, Wire::Scripted),
            ["user [] one + two", "assistant ok", "user [a=did a, b=did b] three + four"]
        );
    }

    #[test]
    fn a_spoiled_history_is_mended() {
        let messages = [
            result("lost"),
            assistant(Wire::Scripted, "ok", &["a", "b"]),
            result("b"),
            result("b"),
            user(" \n"),
        ];
        assert_eq!(
            shape(&messages, Wire::Scripted),
            [
                "user [] [Result of an earlier call of `exec`]\ndid lost",
                "assistant ok",
                "user [a=No result of this call was recorded., b=did b] \
                 [Result of an earlier call of `exec`]\ndid b",
            ]
        );
    }

    #[test]
    fn ids_of_another_wire_are_made_portable_on_both_sides() {
        let messages = [assistant(Wire::OpenaiCompletions, "", &["a:0"]), result("a:0")];
        let lines = shape(&messages, Wire::AnthropicMessages);
        let portable = portable_id("a:0");
        assert!(is_plain(&portable) && portable.len() <= ID_LEN_MAX);
        assert_eq!(lines[1], format!("user [{portable}=did a:0] "));
        assert_eq!(shape(&messages, Wire::OpenaiCompletions)[1], "user [a:0=did a:0] ");
        assert_ne!(portable_id("a.0"), portable);
        assert_eq!(portable_name("a.b c"), "a_b_c");
    }

    #[test]
    fn arguments_are_always_an_object() {
        for (arguments, expected) in [
            (r#" {"b": 1.0e3,"a":9007199254740993} "#, r#"{"b": 1.0e3,"a":9007199254740993}"#),
            ("", "{}"),
            (r#"{"a":"#, r#"{"invalid_json":"{\"a\":"}"#),
            ("[1]", r#"{"invalid_json":"[1]"}"#),
            ("{} {}", r#"{"invalid_json":"{} {}"}"#),
        ] {
            assert_eq!(object_arguments(arguments).get(), expected);
        }
    }
}
