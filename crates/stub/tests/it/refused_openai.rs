use serde_json::{Value, json};
use stub::wire::Wire;
use stub::{Options, Stub};

use crate::client::{http, post};

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "exec", "arguments": arguments}})
}

/// A request with everything in it that may be wrong.
fn valid() -> Value {
    json!({
        "model": "stub-1",
        "messages": [
            {"role": "system", "content": "be good"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": null,
             "tool_calls": [call("a", "{}"), call("b", "{}")]},
            {"role": "tool", "tool_call_id": "b", "content": "two"},
            {"role": "tool", "tool_call_id": "a", "content": "one"},
            {"role": "user", "content": [{"type": "text", "text": "and?"}]},
        ],
        "tools": [{"type": "function",
                   "function": {"name": "exec", "parameters": {"type": "object"}}}],
    })
}

/// Sets the value at a pointer; a null in the table takes it away instead.
fn edited(pointer: &str, value: &Value) -> Value {
    let mut body = valid();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (body.pointer_mut(parent).unwrap(), value) {
        (Value::Object(map), Value::Null) => drop(map.shift_remove(key).unwrap()),
        (Value::Object(map), value) => drop(map.insert(key.to_owned(), value.clone())),
        (Value::Array(list), Value::Null) => drop(list.remove(key.parse().unwrap())),
        (Value::Array(list), value) if key == "-" => list.push(value.clone()),
        (Value::Array(list), value) => list[key.parse::<usize>().unwrap()] = value.clone(),
        (other, _) => panic!("{other} has no parts"),
    }
    body
}

/// Where, what, and the status, code and words that answer it.
type Row = (&'static str, Value, u16, Option<&'static str>, &'static str);

#[rustfmt::skip]
fn heads() -> Vec<Row> {
    let gone = Value::Null;
    let bad = Some("invalid_value");
    let kind = Some("invalid_type");
    let need = Some("missing_required_parameter");
    let empty = Some("empty_array");
    vec![
        ("/model", gone.clone(), 400, None, "you must provide a model parameter"),
        ("/model", json!("claude"), 404, Some("model_not_found"),
         "The model `claude` does not exist"),
        ("/model", json!(1), 400, kind,
         "Invalid type for 'model': expected a string, but got a number"),
        ("/max_token", json!(1), 400, None, "Unrecognized request argument supplied: max_token"),
        ("/max_tokens", json!(0), 400, Some("integer_below_min_value"), "integer below minimum"),
        ("/max_tokens", json!("9"), 400, kind, "expected an integer"),
        ("/max_tokens", json!(200_000), 400, Some("context_length_exceeded"),
         "maximum context length is 200000 tokens"),
        ("/n", json!(2), 400, None, "'n' must be 1"),
        ("/stream", json!(1), 400, kind, "Invalid type for 'stream': expected a boolean"),
        ("/stream_options", json!({"include_usage": true}), 400, None,
         "only allowed when 'stream' is enabled"),
        ("/messages", gone.clone(), 400, need, "Missing required parameter: 'messages'"),
        ("/messages", json!([]), 400, empty, "Invalid 'messages': empty array"),
        ("/messages", json!({}), 400, kind, "Invalid type for 'messages': expected an array"),
        ("/tools", json!([]), 400, empty, "Invalid 'tools': empty array"),
        ("/tools/0/type", json!("magic"), 400, bad, "Supported values are: 'function'"),
        ("/tools/0/function/name", json!("a b"), 400, bad, "string does not match pattern"),
        ("/tools/0/function/name", gone.clone(), 400, need, "'tools[0].function.name'"),
        ("/tools/0/function/parameters/type",
         json!("array"), 400, Some("invalid_function_parameters"),
         "got 'type: \"array\"'"),
        ("/tools/0/function/parameters/type",
         gone.clone(), 400, Some("invalid_function_parameters"),
         "got 'type: null'"),
        ("/tools/-", valid()["tools"][0].clone(), 400, bad, "is not unique"),
    ]
}

/// The same, of messages.
#[rustfmt::skip]
fn messages() -> Vec<Row> {
    let gone = Value::Null;
    let bad = Some("invalid_value");
    let kind = Some("invalid_type");
    let need = Some("missing_required_parameter");
    let empty = Some("empty_array");
    vec![
        ("/messages/1/role", json!("person"), 400, bad,
         "Invalid value: 'person'. Supported values are"),
        ("/messages/1/role", gone.clone(), 400, need, "'messages[1].role'"),
        ("/messages/1/content", gone.clone(), 400, need, "'messages[1].content'"),
        ("/messages/1/content", json!(5), 400, kind, "expected a string or an array"),
        ("/messages/1/content", json!([]), 400, empty, "expected a non-empty array"),
        ("/messages/1/content", json!([{"type": "refusal", "refusal": "x"}]), 400, bad,
         "Invalid value: 'refusal'"),
        ("/messages/1/content", json!([{"type": "image_url"}]), 400, need,
         "'messages[1].content[0].image_url'"),
        ("/messages/5/content/0/text", gone.clone(), 400, need, "'messages[5].content[0].text'"),
        ("/messages/2/tool_calls", gone.clone(), 400, None,
         "Invalid value for 'content': expected a string, got null"),
        ("/messages/2/tool_calls", json!([]), 400, empty,
         "Invalid 'messages[2].tool_calls': empty array"),
        ("/messages/2/tool_calls/0/id", gone.clone(), 400, need, "'messages[2].tool_calls[0].id'"),
        ("/messages/2/tool_calls/0/id", json!("b"), 400, bad, "duplicate tool call id 'b'"),
        ("/messages/2/tool_calls/0/id", json!("x".repeat(41)), 400, Some("string_above_max_length"),
         "with length 41"),
        ("/messages/2/tool_calls/0/type", json!("x"), 400, bad, "Supported values are: 'function'"),
        ("/messages/2/tool_calls/0/function/name", json!(""), 400, bad,
         "string does not match pattern"),
        ("/messages/2/tool_calls/0/function/arguments", json!({}), 400, kind,
         "expected a string, but got an object instead"),
        ("/messages/2/tool_calls/0/function/arguments", json!("{\"a\":"), 400, bad,
         "expected valid JSON"),
        ("/messages/2/tool_calls/-", call("c", "{}"), 400, None,
         "did not have response messages: c"),
        ("/messages/4", gone.clone(), 400, None, "did not have response messages: a"),
        ("/messages/3/role", json!("user"), 400, None, "did not have response messages: a, b"),
        ("/messages/4/tool_call_id", json!("b"), 400, None,
         "has been answered by an earlier message"),
        ("/messages/4/tool_call_id", json!("z"), 400, None,
         "not found in 'tool_calls' of previous message"),
        ("/messages/4/tool_call_id", gone.clone(), 400, need, "'messages[4].tool_call_id'"),
        ("/messages/2", gone.clone(), 400, None, "must be a response to a preceeding message"),
        ("/messages/-", json!({"role": "tool", "tool_call_id": "a", "content": "x"}), 400, None,
         "must be a response to a preceeding message"),
        ("/messages/-", json!({"role": "assistant", "tool_calls": [call("d", "{}")]}), 400, None,
         "did not have response messages: d"),
    ]
}

#[tokio::test]
async fn every_malformed_request_is_refused_in_the_provider_s_words() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let fine = post(&stub.url(), Wire::Openai, &valid()).await;
    assert_eq!(fine.status(), 200, "{}", fine.text().await.unwrap());
    let table: Vec<_> = heads().into_iter().chain(messages()).collect();
    let count = table.len() as u64;
    for (pointer, value, status, code, words) in table {
        let response = post(&stub.url(), Wire::Openai, &edited(pointer, &value)).await;
        let (got, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(got, status, "{pointer} {value}: expected {words:?}, got {text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        let error = &error["error"];
        assert_eq!(error["type"], "invalid_request_error", "{error}");
        assert_eq!(error["code"].as_str(), code, "{pointer} {value}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "{pointer}: expected {words:?}, got {message:?}");
    }
    assert_eq!(stub.journal().invalid, count);
}

#[tokio::test]
async fn keys_sizes_and_windows_are_checked() {
    let options = Options {
        api_keys: vec!["right".to_owned(), "other".to_owned()],
        context_window: 300,
        body_limit: 2_000,
        ..Options::default()
    };
    let stub = Stub::start(options).await.unwrap();
    let url = format!("{}/v1/chat/completions", stub.url());
    let long =
        json!({"model": "stub-1", "messages": [{"role": "user", "content": "x".repeat(1_500)}]});
    #[rustfmt::skip]
    let table = [
        // key, body, status, code, words
        (None,          valid().to_string(), 401, None,
         "You didn't provide an API key"),
        (Some("wrong"), valid().to_string(), 401, Some("invalid_api_key"),
         "Incorrect API key provided"),
        (Some("right"), "{".to_owned(),      400, None,
         "could not parse the JSON body"),
        (Some("right"), "x".repeat(2_001),   413, Some("request_too_large"),
         "exceeds the maximum size"),
        (Some("other"), long.to_string(),    400, Some("context_length_exceeded"),
         "maximum context length is 300 tokens"),
    ];
    for (key, body, status, code, words) in table {
        let mut request = http().post(&url).body(body);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{words}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["code"].as_str(), code, "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "expected {words:?}, got {message:?}");
    }
    let fine = http().post(&url).bearer_auth("other").body(valid().to_string()).send().await;
    assert_eq!(fine.unwrap().status(), 200);
}
