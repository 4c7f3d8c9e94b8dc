//! The wire `openai-completions`: `POST /chat/completions`, and its many dialects.
//!
//! # Source
//!
//! "Create chat completion" in OpenAI's API reference. The dialects are those of OpenRouter,
//! Groq, DeepSeek, Gemini's compatible endpoint, vLLM, llama.cpp and Ollama.

pub(crate) mod request;
pub(crate) mod stream;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use types::{Message, Wire};

use crate::http::{Endpoint, Post};
use crate::{Delta, ModelRequest, Provider, ProviderError, Reply};

/// A provider that speaks OpenAI's Chat Completions.
#[derive(Clone, Debug)]
pub struct OpenaiChat {
    endpoint: Endpoint,
}

impl OpenaiChat {
    /// The base URL holds the version: `https://api.openai.com/v1`.
    pub fn new(endpoint: Endpoint) -> OpenaiChat {
        OpenaiChat { endpoint }
    }
}

#[async_trait]
impl Provider for OpenaiChat {
    async fn call(
        &self,
        request: &ModelRequest,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        let limit = match self.endpoint.host() {
            "api.openai.com" => request::Limit::MaxCompletionTokens,
            _ => request::Limit::MaxTokens,
        };
        let asked = self.endpoint.asked(&request.model);
        let dialect = request::Dialect::of_host(self.endpoint.host());
        let body = request::body(request, &asked, limit, dialect)
            .map_err(|fault| ProviderError::new(self.endpoint.id(), fault, false))?;
        let mut headers = HeaderMap::new();
        headers.extend(self.endpoint.key_header(AUTHORIZATION));
        let turn = request.messages.iter().filter(|m| matches!(m, Message::Assistant(_))).count();
        let decoder = stream::Decoder::new(&request.model, turn, body.len());
        let post = Post {
            url: self.endpoint.url(&["chat", "completions"]),
            asked,
            headers,
            body,
            idempotency_key: request.idempotency_key.clone(),
        };
        self.endpoint.stream(post, decoder, on_delta).await
    }

    fn wire(&self) -> Wire {
        Wire::OpenaiCompletions
    }
}
