//! A model that follows a script, in process: for demonstrations and tests.
//!
//! What it says is a function of the request alone, so a gateway that is killed and started
//! again gets the same answer to the same question. Only the accounting of the prompt cache
//! remembers anything, as a provider's does.

mod demo;
mod script;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use types::usage::estimate_tokens;
use types::{
    AssistantMessage, FailureClass, Hash, Message, Prefix, StopReason, ToolCall, Usage, Wire,
};

pub use script::{Action, CallTemplate, Failure, Rule, Script, When};

use crate::error::Fault;
use crate::{Delta, ModelRequest, Provider, ProviderError, Reply};

/// How errors name this provider.
const ID: &str = "scripted";

/// Most pieces that a text is streamed in.
const PIECES_MAX: usize = 20;

/// Most prefixes that count as cached. A gateway has one for each agent and depth.
const PREFIXES_MAX: usize = 1_024;

/// The provider that follows a [`Script`].
#[derive(Debug)]
pub struct Scripted {
    script: Script,
    cached: Mutex<BTreeSet<Hash>>,
}

impl Scripted {
    pub fn new(script: Script) -> Scripted {
        Scripted { script, cached: Mutex::default() }
    }

    fn usage(&self, request: &ModelRequest, output: u64) -> Usage {
        let Prefix { system, tools } = request.prefix.as_ref();
        let prefix = format!("{system}\n{}", json!(tools));
        let prefix_tokens = estimate_tokens(&prefix);
        let input = request.messages.iter().map(|m| estimate_tokens(&text_of(m))).sum();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= PREFIXES_MAX {
            cached.clear();
        }
        match cached.insert(Hash::of(format!("{}\n{prefix}", request.model))) {
            true => Usage { input, output, cache_read: 0, cache_write: prefix_tokens },
            false => Usage { input, output, cache_read: prefix_tokens, cache_write: 0 },
        }
    }
}

#[async_trait]
impl Provider for Scripted {
    async fn call(
        &self,
        request: &ModelRequest,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        let failed = |fault, paid| ProviderError::new(ID, fault, paid);
        let Some(step) = self.script.step(request) else {
            let fault = Fault::new(FailureClass::BadRequest, "no rule of the script matches");
            return Err(failed(fault, false));
        };
        let action = step.action;
        if let Some(Failure { class, reason, retry_after_ms }) = action.fail {
            pause(step.delay).await;
            let retry_after = retry_after_ms.map(Duration::from_millis);
            return Err(failed(Fault { retry_after, ..Fault::new(class, reason) }, false));
        }
        let text = action.say.unwrap_or_default();
        say(&text, step.delay, on_delta).await;

        let calls = tool_calls(&request.messages, action.call);
        let raw = json!({ "text": text, "calls": calls });
        let raw = serde_json::value::to_raw_value(&raw)
            .map_err(|e| failed(Fault::new(FailureClass::Internal, e.to_string()), false))?;
        let usage = self.usage(request, estimate_tokens(raw.get()));
        let stop = if calls.is_empty() { StopReason::End } else { StopReason::ToolCalls };
        let model = request.model.clone();
        let (wire, asked) = (Wire::Scripted, None);
        let message = AssistantMessage { wire, model, asked, text, calls, stop, raw };
        Ok(Reply { message, usage })
    }

    fn wire(&self) -> Wire {
        Wire::Scripted
    }
}

/// Streams `text` word by word over `delay`.
async fn say(text: &str, delay: Duration, on_delta: &mut (dyn FnMut(Delta) + Send)) {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    if words.is_empty() {
        return pause(delay).await;
    }
    let pieces = words.chunks(words.len().div_ceil(PIECES_MAX));
    let share = delay / u32::try_from(pieces.len()).unwrap_or(1);
    for piece in pieces {
        pause(share).await;
        on_delta(Delta::Text(piece.concat()));
    }
}

/// No delay is no sleep: the shortest lasts until the timer's next millisecond.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// Gives every call an id that no other place of any conversation has, yet always the same here.
fn tool_calls(messages: &[Message], calls: Vec<CallTemplate>) -> Vec<ToolCall> {
    if calls.is_empty() {
        return Vec::new();
    }
    let mut history = String::new();
    for message in messages {
        // Lengths keep two histories apart that only differ in where a message ends.
        let text = text_of(message);
        history.push_str(&format!("{} {text}", text.len()));
    }
    let digest = Hash::of(history).to_string();
    let numbered = calls.into_iter().enumerate();
    let call = |(place, call): (usize, CallTemplate)| ToolCall {
        id: format!("call_{}_{place}", &digest[..16]),
        name: call.name,
        arguments: call.arguments.to_string(),
    };
    numbered.map(call).collect()
}

fn text_of(message: &Message) -> String {
    match message {
        Message::User(text) => text.clone(),
        Message::Assistant(message) => format!("{}{}", message.text, message.raw.get()),
        Message::ToolResult(result) => format!("{}{}", result.call_id, result.text),
    }
}

#[cfg(test)]
mod tests;
