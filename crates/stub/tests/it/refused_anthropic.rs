use serde_json::{Value, json};
use stub::wire::Wire;
use stub::{Options, Stub};

use crate::client::{http, post};

/// A request with everything in it that may be wrong.
fn valid() -> Value {
    json!({
        "model": "stub-1",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "be good", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "exec", "description": "run", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "I run two"},
                {"type": "tool_use", "id": "a", "name": "exec", "input": {}},
                {"type": "tool_use", "id": "b", "name": "exec", "input": {"x": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "one"},
                {"type": "tool_result", "tool_use_id": "b", "is_error": true,
                 "content": [{"type": "text", "text": "two"}]},
                {"type": "text", "text": "and?"},
            ]},
        ],
    })
}

/// What is put where, or taken away; and what the provider says to that.
enum Edit {
    Set(&'static str, Value),
    Remove(&'static str),
    Push(&'static str, Value),
}

use Edit::{Push, Remove, Set};

fn edited(edit: &Edit) -> Value {
    let mut body = valid();
    match edit {
        Set(pointer, value) | Push(pointer, value) if body.pointer(pointer).is_some() => {
            let target = body.pointer_mut(pointer).unwrap();
            match (edit, target) {
                (Push(..), Value::Array(list)) => list.push(value.clone()),
                (_, target) => *target = value.clone(),
            }
        }
        Set(pointer, value) | Push(pointer, value) => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        Remove(pointer) => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match body.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.shift_remove(key).unwrap()),
                Value::Array(list) => drop(list.remove(key.parse().unwrap())),
                other => panic!("{other} has no parts"),
            }
        }
    }
    body
}

#[rustfmt::skip]
fn heads() -> Vec<(Edit, u16, &'static str)> {
    vec![
        (Remove("/model"), 400, "model: Field required"),
        (Set("/model", json!("gpt-5")), 404, "model: gpt-5"),
        (Set("/model", json!(7)), 400, "model: Input should be a valid string"),
        (Remove("/max_tokens"), 400, "max_tokens: Field required"),
        (Set("/max_tokens", json!(0)), 400, "max_tokens: must be greater than or equal to 1"),
        (Set("/max_tokens", json!("9")), 400, "max_tokens: Input should be a valid integer"),
        (Set("/max_tokens", json!(200_000)), 400, "exceed context limit"),
        (Set("/max_token", json!(9)), 400, "max_token: Extra inputs are not permitted"),
        (Set("/stream", json!("yes")), 400, "stream: Input should be a valid boolean"),
        (Set("/thinking", json!({"type": "enabled", "budget_tokens": 10})), 400,
         "greater than or equal to 1024"),
        (Set("/thinking", json!({"type": "enabled", "budget_tokens": 1024})), 400,
         "must be greater than `thinking.budget_tokens`"),
        (Remove("/messages"), 400, "messages: Field required"),
        (Set("/messages", json!([])), 400, "messages: at least one message is required"),
        (Set("/messages", json!("x")), 400, "messages: Input should be a valid list"),
        (Set("/system", json!(7)), 400, "system: Input should be"),
        (Set("/system/0/text", json!("")), 400, "system: text content blocks must be non-empty"),
        (Set("/system/0/type", json!("image")), 400, "system.0.type: Input should be 'text'"),
        // Tools.
        (Set("/tools/0/name", json!("a b")), 400,
         "tools.0.custom.name: String should match pattern"),
        (Set("/tools/0/name", json!("")), 400, "tools.0.custom.name: String should match pattern"),
        (Set("/tools/0/name", json!("x".repeat(65))), 400, "String should match pattern"),
        (Remove("/tools/0/name"), 400, "tools.0.name: Field required"),
        (Remove("/tools/0/input_schema"), 400, "tools.0.custom.input_schema: Field required"),
        (Set("/tools/0/input_schema/type", json!("string")), 400,
         "input_schema.type: Input should be 'object'"),
        (Remove("/tools/0/input_schema/type"), 400, "input_schema.type: Field required"),
        (Set("/tools/0/inputSchema", json!({})), 400, "tools.0.custom.inputSchema: Extra inputs"),
        (Push("/tools", json!({"name": "exec", "input_schema": {"type": "object"}})), 400,
         "Tool names must be unique"),
        (Remove("/tools"), 400, "must define tools"),
        // Roles and their order.
        (Remove("/messages/0"), 400, "first message must use the \"user\" role"),
        (Set("/messages/0/role", json!("system")), 400, "Unexpected role \"system\""),
        (Set("/messages/0/role", json!("tool")), 400,
         "messages.0.role: Input should be 'user' or 'assistant'"),
        (Set("/messages/0/name", json!("x")), 400, "messages.0.name: Extra inputs"),
        (Push("/messages", json!({"role": "user", "content": "again"})), 400,
         "multiple \"user\" roles in a row"),
        (Push("/messages", json!({"role": "assistant", "content": "so"})), 400,
         "does not support assistant message prefill"),
    ]
}

#[rustfmt::skip]
fn contents() -> Vec<(Edit, u16, &'static str)> {
    let text = |text: &str| json!({"type": "text", "text": text});
    vec![
        (Remove("/messages/0/content"), 400, "messages.0.content: Field required"),
        (Set("/messages/0/content", json!("")), 400, "text content blocks must be non-empty"),
        (Set("/messages/0/content", json!(" \n")), 400, "must contain non-whitespace text"),
        (Set("/messages/0/content", json!([])), 400,
         "messages.0: all messages must have non-empty content"),
        (Set("/messages/0/content", json!([text("")])), 400,
         "text content blocks must be non-empty"),
        (Set("/messages/0/content", json!([{"type": "text"}])), 400,
         "messages.0.content.0.text.text: Field required"),
        (Set("/messages/0/content", json!([{"type": "video"}])), 400,
         "Input tag 'video' found using 'type'"),
        (Set("/messages/0/content", json!([{"text": "x"}])), 400,
         "messages.0.content.0.type: Field required"),
        (Set("/messages/1/content/0/foo", json!(1)), 400,
         "messages.1.content.0.text.foo: Extra inputs"),
        (Set("/messages/0/content", json!([{"type": "thinking", "thinking": "x"}])), 400,
         "Input tag 'thinking'"),
        (Set("/messages/1/content/0", json!({"type": "thinking", "thinking": "x"})), 400,
         "thinking.signature: Field required"),
        (Set("/messages/1/content/0",
         json!({"type": "thinking", "thinking": "x", "signature": "y"})), 400,
         "Invalid `signature` in `thinking` block"),
    ]
}

#[rustfmt::skip]
fn calls_and_marks() -> Vec<(Edit, u16, &'static str)> {
    let text = |text: &str| json!({"type": "text", "text": text});
    let mark = json!({"type": "ephemeral"});
    vec![
        (Set("/messages/1/content/1/input", json!("{}")), 400,
         "tool_use.input: Input should be a valid dictionary"),
        (Remove("/messages/1/content/1/input"), 400, "tool_use.input: Field required"),
        (Set("/messages/1/content/1/name", json!("a.b")), 400,
         "tool_use.name: String should match pattern"),
        (Set("/messages/1/content/1/id", json!("a:b")), 400,
         "tool_use.id: String should match pattern"),
        (Set("/messages/1/content/1/id", json!("b")), 400, "`tool_use` ids must be unique"),
        (Remove("/messages/2/content/0"), 400,
         "without `tool_result` blocks immediately after: a."),
        (Remove("/messages/2/content/1"), 400,
         "without `tool_result` blocks immediately after: b."),
        (Set("/messages/2/content", json!("ignore that")), 400, "immediately after: a, b."),
        (Remove("/messages/1/content/2"), 400,
         "unexpected `tool_use_id` found in `tool_result` blocks: b"),
        (Set("/messages/0/content", json!([{"type": "tool_result", "tool_use_id": "z"}])), 400,
         "unexpected `tool_use_id` found in `tool_result` blocks: z"),
        (Push("/messages/2/content", json!({"type": "tool_result", "tool_use_id": "a"})), 400,
         "Found multiple `tool_result` blocks with id: a"),
        (Set("/messages/2/content",
         json!([text("first"), {"type": "tool_result", "tool_use_id": "a"},
          {"type": "tool_result", "tool_use_id": "b"}])), 400,
         "immediately after: a, b."),
        (Set("/messages/2/content/1/content/0/text", json!("")), 400,
         "text content blocks must be non-empty"),
        (Set("/messages/2/content/0/is_error", json!("no")), 400,
         "is_error: Input should be a valid boolean"),
        (Set("/messages/2/content/0/content", json!(7)), 400,
         "tool_result.content: Input should be a valid list"),
        (Push("/messages/2/content",
         json!({"type": "tool_use", "id": "c", "name": "exec", "input": {}})), 400,
         "can only be in `assistant` messages"),
        (Push("/messages/1/content", json!({"type": "tool_result", "tool_use_id": "a"})), 400,
         "can only be in `user` messages"),
        // Cache marks.
        (Set("/system/0/cache_control", json!({"type": "forever"})), 400,
         "cache_control.type: Input should be 'ephemeral'"),
        (Set("/system/0/cache_control", json!({"type": "ephemeral", "ttl": "2h"})), 400,
         "Input should be '5m' or '1h'"),
        (Set("/messages/0/content",
         json!(vec![json!({"type": "text", "text": "x", "cache_control": mark}); 4])), 400,
         "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    ]
}

#[tokio::test]
async fn every_malformed_request_is_refused_in_the_provider_s_words() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let fine = post(&stub.url(), Wire::Anthropic, &valid()).await;
    assert_eq!(fine.status(), 200, "{}", fine.text().await.unwrap());
    let table: Vec<_> = heads().into_iter().chain(contents()).chain(calls_and_marks()).collect();
    let count = table.len() as u64;
    for (edit, status, words) in table {
        let body = edited(&edit);
        let response = post(&stub.url(), Wire::Anthropic, &body).await;
        let (got, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(got, status, "expected {words:?}, got {text} for {body}");
        let error: Value = serde_json::from_str(&text).unwrap();
        let class = if status == 404 { "not_found_error" } else { "invalid_request_error" };
        assert_eq!((&error["type"], &error["error"]["type"]), (&"error".into(), &class.into()));
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "expected {words:?}, got {message:?}");
    }
    assert_eq!(stub.journal().invalid, count);
}

#[tokio::test]
async fn keys_versions_sizes_and_windows_are_checked() {
    let options = Options {
        api_keys: vec!["right".to_owned()],
        context_window: 150,
        body_limit: 2_000,
        ..Options::default()
    };
    let stub = Stub::start(options).await.unwrap();
    let url = format!("{}/v1/messages", stub.url());
    let long = json!({"model": "stub-1", "max_tokens": 10,
                      "messages": [{"role": "user", "content": "x".repeat(800)}]});
    let huge = "x".repeat(2_001);
    #[rustfmt::skip]
    let table = [
        // key, version, body, status, class and words
        (None,          true,  valid().to_string(),  401, "authentication_error",
         "x-api-key header is required"),
        (Some("wrong"), true,  valid().to_string(),  401, "authentication_error",
         "invalid x-api-key"),
        (Some("right"), false, valid().to_string(),  400, "invalid_request_error",
         "anthropic-version: header is required"),
        (Some("right"), true,  "{".to_owned(),       400, "invalid_request_error",
         "not valid JSON"),
        (Some("right"), true,  huge,                 413, "request_too_large",
         "exceeds the maximum size"),
        (Some("right"), true,  long.to_string(),     400, "invalid_request_error",
         "prompt is too long: 208 tokens > 150 maximum"),
    ];
    for (key, version, body, status, class, words) in table {
        let mut request = http().post(&url).body(body);
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        if version {
            request = request.header("anthropic-version", "2023-06-01");
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{words}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["type"], class, "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "expected {words:?}, got {message:?}");
    }
}
