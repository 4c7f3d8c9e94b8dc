//! Models: one streamed call to a provider, whatever its dialect.
//!
//! ```text
//!  ModelRequest ─▶ request (pure) ─▶ http ─▶ sse ─▶ stream (pure) ─▶ Reply
//!                                     │
//!                                     └─▶ refusal (pure) ─▶ ProviderError
//! ```
//!
//! Both ends of a wire are pure functions of bytes, so recorded streams can be cut at every byte
//! in tests. Only [`http`] waits, and only it knows sockets and time-outs.
//!
//! # Invariants
//!
//! - An answer is whole or it is an error: a stream that is cut never yields a [`Reply`].
//! - What a model said goes back to it byte for byte; see `conversation` for what another model
//!   or wire gets to see.
//! - A request is a function of the [`ModelRequest`], so a retry sends the same bytes.
//! - Unknown events, blocks and fields are kept or ignored. They never abort a stream.
//! - Every buffer has a bound: the event, the answer, the reason in an error.
//! - No error and no log line holds a key.
//!
//! # Not here
//!
//! Whether and when to call again is decided in `machine::retry` by
//! [`FailureClass`](types::FailureClass); which model to call, in the gateway's configuration.

pub mod error;
mod sse;
pub mod http;
mod overflow;
mod refusal;
mod conversation;
pub mod anthropic;
pub mod google;
pub mod openai_chat;
pub mod openai_responses;
pub mod scripted;
pub mod replay;
pub mod thinking;

#[cfg(test)]
mod requests;
#[cfg(test)]
mod recorded;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use types::{AssistantMessage, Message, Prefix, Thinking, Usage, Wire};

pub use anthropic::Anthropic;
pub use error::ProviderError;
pub use google::Google;
pub use http::{ApiKey, BadEndpoint, Endpoint, HttpConfig};
pub use openai_chat::OpenaiChat;
pub use openai_responses::OpenaiResponses;
pub use scripted::{Script, Scripted};

/// A model provider: the port that the driver calls.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// Makes one streamed call. `on_delta` is called as text arrives; the answer does not need
    /// it, so a caller may ignore what it gets.
    ///
    /// Dropping the future closes the connection, which stops the provider's work.
    async fn call(
        &self,
        request: &ModelRequest,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError>;

    fn wire(&self) -> Wire;
}

/// All that a model gets to see, and how much it may say.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The model, as the provider names it.
    pub model: String,
    pub prefix: Arc<Prefix>,
    pub messages: Vec<Message>,
    pub max_output_tokens: u32,
    /// How long to think before the answer; the provider's own default if none.
    pub thinking: Option<Thinking>,
    pub sampling: Sampling,
    /// The same for every retry of one call.
    pub idempotency_key: String,
    /// The same for every call of one session: tells a provider where its cache of it is.
    pub conversation: String,
}

/// How an answer is drawn; the provider's own defaults if none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
}

impl Sampling {
    /// What is left for a model that refuses to be told, as it is while it thinks.
    pub(crate) fn unless(self, refuses: bool) -> Sampling {
        if refuses { Sampling::default() } else { self }
    }
}

/// A piece of an answer that is still being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    Text(String),
    Thinking(String),
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub message: AssistantMessage,
    pub usage: Usage,
}
