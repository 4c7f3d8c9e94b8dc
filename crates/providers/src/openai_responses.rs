//! The wire `openai-responses`: `POST /responses`, without anything kept at the provider.
//!
//! # Source
//!
//! "Create a model response" and "Streaming events" in OpenAI's API reference. Others that speak
//! it: OpenRouter, vLLM, llama.cpp, Ollama.

pub(crate) mod request;
pub(crate) mod stream;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use types::Wire;

use crate::http::{Endpoint, Post};
use crate::{Delta, ModelRequest, Provider, ProviderError, Reply};

/// A provider that speaks OpenAI's Responses.
#[derive(Clone, Debug)]
pub struct OpenaiResponses {
    endpoint: Endpoint,
}

impl OpenaiResponses {
    /// The base URL holds the version: `https://api.openai.com/v1`.
    pub fn new(endpoint: Endpoint) -> OpenaiResponses {
        OpenaiResponses { endpoint }
    }
}

#[async_trait]
impl Provider for OpenaiResponses {
    async fn call(
        &self,
        request: &ModelRequest,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        let asked = self.endpoint.asked(&request.model);
        let body = request::body(request, &asked)
            .map_err(|fault| ProviderError::new(self.endpoint.id(), fault, false))?;
        let mut headers = HeaderMap::new();
        headers.extend(self.endpoint.key_header(AUTHORIZATION));
        let decoder = stream::Decoder::new(&request.model, body.len());
        let post = Post {
            url: self.endpoint.url(&["responses"]),
            asked,
            headers,
            body,
            idempotency_key: request.idempotency_key.clone(),
        };
        self.endpoint.stream(post, decoder, on_delta).await
    }

    fn wire(&self) -> Wire {
        Wire::OpenaiResponses
    }
}
