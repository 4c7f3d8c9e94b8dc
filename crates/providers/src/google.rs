//! The wire `google-generative-ai`: `POST /models/MODEL:streamGenerateContent`.
//!
//! # Source
//!
//! "Generating content", "Function calling" and "Thought signatures" in the Gemini API's
//! documentation.

pub(crate) mod request;
pub(crate) mod stream;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName};
use types::{Message, Wire};

use crate::http::{Endpoint, Post};
use crate::{Delta, ModelRequest, Provider, ProviderError, Reply};

/// Versions of the API that a base URL may end with.
const VERSIONS: [&str; 3] = ["v1beta", "v1", "v1alpha"];

/// A provider that speaks Google's Gemini API.
#[derive(Clone, Debug)]
pub struct Google {
    endpoint: Endpoint,
}

impl Google {
    /// The base URL may end with a version, such as `/v1beta`, or not.
    pub fn new(endpoint: Endpoint) -> Google {
        Google { endpoint }
    }
}

#[async_trait]
impl Provider for Google {
    async fn call(
        &self,
        request: &ModelRequest,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        let asked = self.endpoint.asked(&request.model);
        let body = request::body(request, &asked)
            .map_err(|fault| ProviderError::new(self.endpoint.id(), fault, false))?;
        let mut headers = HeaderMap::new();
        headers.extend(self.endpoint.key_header(HeaderName::from_static("x-goog-api-key")));
        let turn = request.messages.iter().filter(|m| matches!(m, Message::Assistant(_))).count();
        let decoder = stream::Decoder::new(&request.model, turn, body.len());
        let versioned = VERSIONS.iter().any(|version| self.endpoint.base_ends_with(version));
        let version = if versioned { None } else { Some(VERSIONS[0]) };
        let method = format!("{}:streamGenerateContent", request.model);
        // A model that is not one of Google's own has its kind before its name.
        let kind = if request.model.contains('/') { None } else { Some("models") };
        let path: Vec<&str> = version.into_iter().chain(kind).chain(method.split('/')).collect();
        let mut url = self.endpoint.url(&path);
        url.query_pairs_mut().append_pair("alt", "sse");
        let idempotency_key = request.idempotency_key.clone();
        let post = Post { url, asked, headers, body, idempotency_key };
        self.endpoint.stream(post, decoder, on_delta).await
    }

    fn wire(&self) -> Wire {
        Wire::GoogleGenerativeAi
    }
}
