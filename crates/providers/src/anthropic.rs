//! The wire `anthropic-messages`: `POST /v1/messages`.
//!
//! # Source
//!
//! "Messages", "Streaming Messages" and "Prompt caching" in Anthropic's API reference, version
//! `2023-06-01`.

pub(crate) mod blocks;
pub(crate) mod request;
pub(crate) mod stream;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use types::Wire;

use crate::http::{Endpoint, Post};
use crate::{Delta, ModelRequest, Provider, ProviderError, Reply};

/// A provider that speaks Anthropic's Messages API.
#[derive(Clone, Debug)]
pub struct Anthropic {
    endpoint: Endpoint,
}

impl Anthropic {
    /// The base URL may end with `/v1` or not: both are in use.
    pub fn new(endpoint: Endpoint) -> Anthropic {
        Anthropic { endpoint }
    }
}

#[async_trait]
impl Provider for Anthropic {
    async fn call(
        &self,
        request: &ModelRequest,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        let path: &[&str] = match self.endpoint.base_ends_with("v1") {
            true => &["messages"],
            false => &["v1", "messages"],
        };
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        headers.extend(self.endpoint.key_header(HeaderName::from_static("x-api-key")));
        let asked = self.endpoint.asked(&request.model);
        let body = request::body(request, &asked)
            .map_err(|fault| ProviderError::new(self.endpoint.id(), fault, false))?;
        let post = Post {
            url: self.endpoint.url(path),
            asked,
            headers,
            body,
            idempotency_key: request.idempotency_key.clone(),
        };
        self.endpoint.stream(post, stream::Decoder::new(&request.model), on_delta).await
    }

    fn wire(&self) -> Wire {
        Wire::AnthropicMessages
    }
}
