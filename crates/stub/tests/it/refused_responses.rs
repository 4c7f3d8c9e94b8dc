//! What the wire `openai-responses` refuses, in the provider's words.

use serde_json::{Value, json};
use stub::wire::Wire;
use stub::{Options, Stub};

use crate::client::post;

fn call(id: &str) -> Value {
    json!({"type": "function_call", "call_id": id, "name": "exec", "arguments": "{}"})
}

fn output(id: &str) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": "done"})
}

/// A request with everything in it that may be wrong.
fn valid() -> Value {
    json!({
        "model": "stub-1",
        "max_output_tokens": 100,
        "input": [
            {"role": "user", "content": "hello"},
            {"type": "message", "role": "assistant",
             "content": [{"type": "output_text", "text": "hi", "annotations": []}]},
            call("a"), call("b"),
            output("b"), output("a"),
            {"role": "user", "content": [{"type": "input_text", "text": "and?"}]},
        ],
        "tools": [{"type": "function", "name": "exec", "parameters": {"type": "object"}}],
    })
}

/// Where, what (a null takes it away), and the words that answer it.
#[rustfmt::skip]
fn table() -> Vec<(&'static str, Value, &'static str)> {
    let reasoning = |content: Value| json!({"type": "reasoning", "id": "rs_1", "summary": [],
                                            "encrypted_content": content});
    vec![
        ("/model", Value::Null, "Missing required parameter: 'model'"),
        ("/model", json!("x"), "The model `x` does not exist"),
        ("/max_tokens", json!(1), "Unknown parameter: 'max_tokens'"),
        ("/max_output_tokens", json!(15), "Expected a value >= 16, but got 15"),
        ("/max_output_tokens", json!(200_000), "exceeds the context window"),
        ("/previous_response_id", json!("resp_1"), "'resp_1' not found"),
        ("/include", json!(["thoughts"]), "Supported values are: 'file_search_call.results'"),
        ("/reasoning", json!({"effort": "much"}), "Supported values are: 'none'"),
        ("/input", json!([]), "Invalid 'input': empty array"),
        ("/input", Value::Null, "Missing required parameter: 'input'"),
        ("/tools/0/type", json!("magic"), "supported values are: 'function'"),
        ("/tools/0/name", json!("a b"), "string does not match pattern"),
        ("/tools/0/parameters", json!({"type": "array"}), "must be a JSON Schema of"),
        ("/input/0/role", json!("tool"), "Invalid value: 'tool'"),
        ("/input/0/content", Value::Null, "'input[0].content'"),
        ("/input/6/content/0/type", json!("output_text"), "Supported values are: 'input_text'"),
        ("/input/1/content/0/type", json!("input_text"), "Supported values are: 'output_text'"),
        ("/input/1/id", json!("item_1"), "begins with 'msg'"),
        ("/input/2/id", json!("call_1"), "begins with 'fc'"),
        ("/input/2/arguments", json!("{"), "expected valid JSON"),
        ("/input/2/name", json!(""), "string does not match pattern"),
        ("/input/2/call_id", json!("x".repeat(65)), "with length 65"),
        ("/input/2/call_id", json!("b"), "Duplicate function call with call_id 'b'"),
        ("/input/2", Value::Null, "No tool call found for function call output with call_id a."),
        ("/input/5", Value::Null, "No tool output found for function call a."),
        ("/input/5", output("b"), "Duplicate output found for function call with call_id b."),
        ("/input/5", output("z"), "No tool call found for function call output with call_id z."),
        ("/input/-", call("c"), "No tool output found for function call c."),
        ("/input/2/type", json!("magic_call"), "Invalid value: 'magic_call'"),
        ("/input/1", json!({"type": "item_reference", "id": "msg_1"}), "'msg_1' not found"),
        ("/input/1", reasoning(Value::Null), "Items are not persisted when `store` is set to"),
        ("/input/1", reasoning(json!("gAAA")), "could not be verified"),
        ("/input/-", json!({"role": "assistant", "content": "x"}), "must end with"),
        ("/input/2/id", json!("fc_str0123456789ab0"),
         "without its required 'reasoning' item: 'rs_st0123456789ab'"),
    ]
}

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

#[tokio::test]
async fn every_malformed_request_is_refused_in_the_provider_s_words() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let fine = post(&stub.url(), Wire::Responses, &valid()).await;
    assert_eq!(fine.status(), 200, "{}", fine.text().await.unwrap());
    let count = table().len() as u64;
    for (pointer, value, words) in table() {
        let response = post(&stub.url(), Wire::Responses, &edited(pointer, &value)).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_client_error(), "{pointer} {value}: expected {words:?}, got {text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{pointer}: expected {words:?}, got {message:?}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    assert_eq!(stub.journal().invalid, count);
}
