//! A small client of all wires, which keeps a conversation as a gateway would.

mod assemble;

use std::sync::Once;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use stub::wire::Wire;

use assemble::{
    anthropic, from_chunks, from_events, from_frames, from_pieces, google, openai, responses,
};

/// A client without TLS. The library wants to know a provider of it all the same.
pub fn http() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().build().unwrap()
}

/// Posts `body` where `wire` takes requests.
pub async fn post(url: &str, wire: Wire, body: &Value) -> Response {
    send(url, wire, true, body, None).await.unwrap()
}

async fn send(
    url: &str,
    wire: Wire,
    stream: bool,
    body: &Value,
    key: Option<&str>,
) -> reqwest::Result<Response> {
    let path = match wire {
        Wire::Anthropic => "/v1/messages",
        Wire::Openai => "/v1/chat/completions",
        Wire::Responses => "/v1/responses",
        Wire::Google if stream => "/v1beta/models/stub-1:streamGenerateContent?alt=sse",
        Wire::Google => "/v1beta/models/stub-1:generateContent",
    };
    let mut request = http().post(format!("{url}{path}")).json(body);
    if wire == Wire::Anthropic {
        request = request.header("anthropic-version", "2023-06-01");
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub id: String,
    pub name: String,
    pub arguments: Value,
}

/// One answer, as it was put together from its frames.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub text: String,
    pub calls: Vec<Call>,
    pub stop: String,
    pub usage: Value,
}

/// A conversation.
pub struct Talk {
    pub wire: Wire,
    pub url: String,
    pub stream: bool,
    pub key: Option<String>,
    pub messages: Vec<Value>,
    /// What the next user message will hold, where results and words are parts of one.
    pub pending: Vec<Value>,
}

impl Talk {
    pub fn new(url: &str, wire: Wire) -> Talk {
        let (url, messages) = (url.to_owned(), Vec::new());
        Talk { wire, url, stream: true, key: None, messages, pending: Vec::new() }
    }

    pub fn user(&mut self, text: &str) {
        match self.wire {
            Wire::Anthropic => self.pending.push(json!({"type": "text", "text": text})),
            Wire::Google => self.pending.push(json!({"text": text})),
            Wire::Openai | Wire::Responses => {
                self.messages.push(json!({"role": "user", "content": text}));
            }
        }
    }

    pub fn result(&mut self, id: &str, text: &str) {
        match self.wire {
            Wire::Anthropic => self
                .pending
                .push(json!({"type": "tool_result", "tool_use_id": id, "content": text})),
            Wire::Openai => {
                self.messages.push(json!({"role": "tool", "tool_call_id": id, "content": text}))
            }
            Wire::Responses => self
                .messages
                .push(json!({"type": "function_call_output", "call_id": id, "output": text})),
            Wire::Google => {
                let parts = self.messages.iter().flat_map(|m| m["parts"].as_array().unwrap());
                let call = parts.map(|part| &part["functionCall"]).find(|call| call["id"] == id);
                let response = json!({"output": text});
                self.pending.push(json!({"functionResponse":
                    {"id": id, "name": call.unwrap()["name"], "response": response}}));
            }
        }
    }

    pub fn body(&mut self) -> Value {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() && self.wire == Wire::Anthropic {
            self.messages.push(json!({"role": "user", "content": pending}));
        } else if !pending.is_empty() {
            let (words, responses): (Vec<Value>, Vec<Value>) =
                pending.into_iter().partition(|part| part.get("text").is_some());
            for parts in [responses, words].into_iter().filter(|parts| !parts.is_empty()) {
                self.messages.push(json!({"role": "user", "parts": parts}));
            }
        }
        let schema = json!({"type": "object"});
        match self.wire {
            Wire::Anthropic => json!({
                "model": "stub-1", "max_tokens": 4096, "stream": self.stream, "system": "be good",
                "tools": [{"name": "exec", "input_schema": schema}], "messages": self.messages,
            }),
            Wire::Openai => {
                let system = json!({"role": "system", "content": "be good"});
                let messages: Vec<_> =
                    std::iter::once(system).chain(self.messages.iter().cloned()).collect();
                let mut body = json!({
                    "model": "stub-1", "stream": self.stream, "messages": messages,
                    "tools": [{"type": "function",
                               "function": {"name": "exec", "parameters": schema}}],
                });
                if self.stream {
                    body["stream_options"] = json!({"include_usage": true});
                }
                body
            }
            Wire::Responses => json!({
                "model": "stub-1", "stream": self.stream, "store": false,
                "include": ["reasoning.encrypted_content"], "instructions": "be good",
                "tools": [{"type": "function", "name": "exec", "parameters": schema}],
                "input": self.messages,
            }),
            Wire::Google => json!({
                "systemInstruction": {"parts": [{"text": "be good"}]},
                "tools": [{"functionDeclarations":
                           [{"name": "exec", "parametersJsonSchema": schema}]}],
                "contents": self.messages,
            }),
        }
    }

    pub async fn send(&mut self) -> reqwest::Result<Response> {
        let body = self.body();
        send(&self.url, self.wire, self.stream, &body, self.key.as_deref()).await
    }

    /// Asks, and takes the answer into the conversation.
    pub async fn ask(&mut self) -> Said {
        let response = self.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        let (messages, said) = match (self.wire, self.stream) {
            (Wire::Anthropic, true) => anthropic(&from_frames(&text)),
            (Wire::Anthropic, false) => anthropic(&serde_json::from_str(&text).unwrap()),
            (Wire::Openai, true) => openai(&from_chunks(&text)),
            (Wire::Openai, false) => openai(&serde_json::from_str(&text).unwrap()),
            (Wire::Responses, true) => responses(&from_events(&text)),
            (Wire::Responses, false) => responses(&serde_json::from_str(&text).unwrap()),
            (Wire::Google, true) => google(&from_pieces(&text)),
            (Wire::Google, false) => google(&serde_json::from_str(&text).unwrap()),
        };
        self.messages.extend(messages);
        said
    }
}
