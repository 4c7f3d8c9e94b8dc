//! A small client of both wires, which keeps a conversation as a gateway would.

use std::sync::Once;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use stub::wire::Wire;

pub const BOTH: [Wire; 2] = [Wire::Anthropic, Wire::Openai];

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
    send(url, wire, body, None).await.unwrap()
}

async fn send(url: &str, wire: Wire, body: &Value, key: Option<&str>) -> reqwest::Result<Response> {
    let path = match wire {
        Wire::Anthropic => "/v1/messages",
        Wire::Openai => "/v1/chat/completions",
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
    /// What the next user message of the Anthropic wire will hold.
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
            Wire::Openai => self.messages.push(json!({"role": "user", "content": text})),
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
        }
    }

    pub fn body(&mut self) -> Value {
        if !self.pending.is_empty() {
            let content = std::mem::take(&mut self.pending);
            self.messages.push(json!({"role": "user", "content": content}));
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
        }
    }

    pub async fn send(&mut self) -> reqwest::Result<Response> {
        let body = self.body();
        send(&self.url, self.wire, &body, self.key.as_deref()).await
    }

    /// Asks, and takes the answer into the conversation.
    pub async fn ask(&mut self) -> Said {
        let response = self.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        let (message, said) = match (self.wire, self.stream) {
            (Wire::Anthropic, true) => anthropic(&from_frames(&text)),
            (Wire::Anthropic, false) => anthropic(&serde_json::from_str(&text).unwrap()),
            (Wire::Openai, true) => openai(&from_chunks(&text)),
            (Wire::Openai, false) => openai(&serde_json::from_str(&text).unwrap()),
        };
        self.messages.push(message);
        said
    }
}

fn anthropic(message: &Value) -> (Value, Said) {
    let blocks = message["content"].as_array().unwrap();
    let of = |kind: &str| blocks.iter().filter(|b| b["type"] == kind).collect::<Vec<_>>();
    let call = |block: &&Value| Call {
        id: block["id"].as_str().unwrap().to_owned(),
        name: block["name"].as_str().unwrap().to_owned(),
        arguments: block["input"].clone(),
    };
    let said = Said {
        text: of("text").iter().map(|block| block["text"].as_str().unwrap()).collect(),
        calls: of("tool_use").iter().map(call).collect(),
        stop: message["stop_reason"].as_str().unwrap().to_owned(),
        usage: message["usage"].clone(),
    };
    (json!({"role": "assistant", "content": blocks}), said)
}

fn openai(completion: &Value) -> (Value, Said) {
    let choice = &completion["choices"][0];
    let message = &choice["message"];
    let call = |call: &Value| Call {
        id: call["id"].as_str().unwrap().to_owned(),
        name: call["function"]["name"].as_str().unwrap().to_owned(),
        arguments: serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap(),
    };
    let said = Said {
        text: message["content"].as_str().unwrap_or("").to_owned(),
        calls: message["tool_calls"].as_array().into_iter().flatten().map(call).collect(),
        stop: choice["finish_reason"].as_str().unwrap().to_owned(),
        usage: completion["usage"].clone(),
    };
    (message.clone(), said)
}

/// Returns the data of each frame, and checks that nothing else is in the stream.
pub fn data(text: &str) -> Vec<&str> {
    let body = text.strip_suffix("\n\n").expect("a stream ends with a whole frame");
    body.split("\n\n")
        .map(|frame| {
            let data = frame.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            if let Some(event) = frame.lines().find_map(|line| line.strip_prefix("event: ")) {
                let value: Value = serde_json::from_str(data).unwrap();
                assert_eq!(value["type"], event, "an event's name and type are the same");
            }
            data
        })
        .collect()
}

fn add(target: &mut Value, piece: &Value) {
    let text = target.as_str().unwrap_or("").to_owned() + piece.as_str().unwrap();
    *target = text.into();
}

/// Puts an Anthropic message together, as the provider's documentation says.
fn from_frames(text: &str) -> Value {
    let mut message = Value::Null;
    let mut json_parts = Value::Null;
    for data in data(text) {
        let event: Value = serde_json::from_str(data).unwrap();
        let at = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let blocks = message["content"].as_array_mut().unwrap();
                assert_eq!(blocks.len(), at);
                blocks.push(event["content_block"].clone());
                json_parts = "".into();
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], &mut message["content"][at]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add(&mut block["text"], &delta["text"]),
                    "thinking_delta" => add(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => add(&mut block["signature"], &delta["signature"]),
                    "input_json_delta" => add(&mut json_parts, &delta["partial_json"]),
                    other => panic!("unknown delta {other}"),
                }
            }
            "content_block_stop" if message["content"][at]["type"] == "tool_use" => {
                message["content"][at]["input"] =
                    serde_json::from_str(json_parts.as_str().unwrap()).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => return message,
            _ => {}
        }
    }
    panic!("the stream has no message_stop: {text}");
}

/// Puts an OpenAI completion together.
fn from_chunks(text: &str) -> Value {
    let mut choice = json!({"message": {"role": "assistant", "content": null}});
    let mut usage = Value::Null;
    let data = data(text);
    let (done, chunks) = data.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    for chunk in chunks {
        let chunk: Value = serde_json::from_str(chunk).unwrap();
        if !chunk["usage"].is_null() {
            usage = chunk["usage"].clone();
        }
        let Some(part) = chunk["choices"].get(0) else { continue };
        if !part["finish_reason"].is_null() {
            choice["finish_reason"] = part["finish_reason"].clone();
        }
        let (delta, message) = (&part["delta"], &mut choice["message"]);
        if delta["content"].as_str().is_some_and(|piece| !piece.is_empty()) {
            add(&mut message["content"], &delta["content"]);
        }
        if !delta["reasoning_content"].is_null() {
            add(&mut message["reasoning_content"], &delta["reasoning_content"]);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().unwrap() as usize;
            if call.get("id").is_some() {
                let mut call = call.clone();
                call.as_object_mut().unwrap().shift_remove("index");
                if at == 0 {
                    message["tool_calls"] = json!([]);
                }
                message["tool_calls"].as_array_mut().unwrap().push(call);
            } else {
                let target = &mut message["tool_calls"][at]["function"]["arguments"];
                add(target, &call["function"]["arguments"]);
            }
        }
    }
    if choice["message"]["tool_calls"].is_null() && choice["message"]["content"].is_null() {
        choice["message"]["content"] = "".into();
    }
    json!({"choices": [choice], "usage": usage})
}
