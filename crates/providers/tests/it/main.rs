//! Providers over real connections, against a server on loopback that says what it is told to.

mod conformance;
mod failures;
mod server;
mod switch;

use std::sync::Arc;
use std::time::Duration;

use providers::{
    Anthropic, ApiKey, Endpoint, Google, HttpConfig, ModelRequest, OpenaiChat, OpenaiResponses,
    Provider, Sampling,
};
use types::{Message, Prefix, Wire};

const KEY: &str = "sk-do-not-print";

fn config(base_url: &str) -> HttpConfig {
    let mut config = HttpConfig::new("work", base_url).api_key(ApiKey::new(KEY));
    config.stall_timeout = Duration::from_millis(400);
    config.reply_bytes_max = 64 << 10;
    config
}

fn provider(wire: Wire, config: HttpConfig) -> Arc<dyn Provider> {
    // Every test of this process installs the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = Endpoint::new(config).unwrap();
    match wire {
        Wire::AnthropicMessages => Arc::new(Anthropic::new(endpoint)),
        Wire::OpenaiResponses => Arc::new(OpenaiResponses::new(endpoint)),
        Wire::GoogleGenerativeAi => Arc::new(Google::new(endpoint)),
        Wire::OpenaiCompletions | Wire::Scripted => Arc::new(OpenaiChat::new(endpoint)),
    }
}

fn request(messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        model: "m-1".to_owned(),
        prefix: Arc::new(Prefix { system: "Be brief.".to_owned(), tools: Vec::new() }),
        messages,
        max_output_tokens: 100,
        thinking: None,
        sampling: Sampling::default(),
        idempotency_key: "step-7".to_owned(),
        conversation: "s-1".to_owned(),
    }
}

fn hello() -> ModelRequest {
    request(vec![Message::User("hello".to_owned())])
}
