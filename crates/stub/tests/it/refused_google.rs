//! What the wire `google-generative-ai` refuses, in the provider's words.

use serde_json::{Value, json};
use stub::wire::Wire;
use stub::{Options, Stub};

use crate::client::{http, post};

const UNSIGNED: &str = "skip_thought_signature_validator";

fn call(name: &str) -> Value {
    json!({"functionCall": {"name": name, "args": {}}})
}

fn response(name: &str) -> Value {
    json!({"functionResponse": {"name": name, "response": {"output": "done"}}})
}

fn signed(name: &str) -> Value {
    let mut call = call(name);
    call["thoughtSignature"] = UNSIGNED.into();
    call
}

fn user(text: &str) -> Value {
    json!({"role": "user", "parts": [{"text": text}]})
}

/// A request with everything in it that may be wrong.
fn valid() -> Value {
    json!({
        "systemInstruction": {"parts": [{"text": "be good"}]},
        "generationConfig": {"maxOutputTokens": 100},
        "contents": [
            user("hello"),
            {"role": "model", "parts": [{"text": "hi"}, signed("a"), call("b")]},
            {"role": "user", "parts": [response("a"), response("b")]},
            user("and?"),
        ],
        "tools": [{"functionDeclarations": [
            {"name": "a", "parametersJsonSchema": {"type": "object"}}, {"name": "b"}]}],
    })
}

/// Where, what (a null takes it away), and the words that answer it.
#[rustfmt::skip]
fn table() -> Vec<(&'static str, Value, &'static str)> {
    let gone = Value::Null;
    vec![
        ("/messages", json!([]), "Unknown name \"messages\": Cannot find field."),
        ("/contents", gone.clone(), "contents is not specified"),
        ("/contents", json!([]), "contents is not specified"),
        ("/generationConfig/max_tokens", json!(1), "Unknown name \"maxTokens\""),
        ("/generationConfig/maxOutputTokens", json!(0), "supported range is from 1"),
        ("/generationConfig/thinkingConfig", json!({"thinkingBudget": 1, "thinkingLevel": "LOW"}),
         "only one of thinking budget and thinking level"),
        ("/systemInstruction/parts", json!([]), "must not be empty"),
        ("/tools/0/functionDeclarations/0/name", json!("1a"), "Invalid function name"),
        ("/tools/0/functionDeclarations/1/name", json!("a"), "Duplicate function declaration"),
        ("/tools/0/functionDeclarations/0/parameters", json!({"type": "OBJECT"}), "exclusive"),
        ("/tools/0/functionDeclarations/0/parametersJsonSchema", json!({}), "of type OBJECT"),
        ("/contents/0/role", json!("assistant"), "Please use a valid role: user, model."),
        ("/contents/0/parts", json!([]), "contents.parts must not be empty"),
        ("/contents/0/parts/0", json!({}), "must have one initialized field"),
        ("/contents/0/parts/0", json!({"text": "x", "inlineData": {}}), "already set"),
        ("/contents/0/parts/0/words", json!("x"), "Unknown name \"words\""),
        ("/contents/0", gone.clone(), "function call turn comes immediately after a user turn"),
        ("/contents/1/parts/1", call("a"), "missing a thought_signature"),
        ("/contents/1/parts/1/thoughtSignature", json!("c3R1"), "Corrupted thought signature"),
        ("/contents/1/parts/1/functionCall/args", json!("{}"), "expected object"),
        ("/contents/1/parts/1/functionCall/name", json!("c"), "does not match the function call"),
        ("/contents/1/parts/1/functionCall/id", json!("x"), "does not match the function call"),
        ("/contents/1/parts/2", gone.clone(), "number of function response parts is equal"),
        ("/contents/2/parts/1", gone.clone(), "number of function response parts is equal"),
        ("/contents/2", gone.clone(), "number of function response parts is equal"),
        ("/contents/2/parts/-", json!({"text": "x"}), "no words among function responses"),
        ("/contents/1", gone.clone(), "comes immediately after a function call turn"),
        ("/contents/2/parts/0/functionResponse/name", json!(""), "Name cannot be empty"),
        ("/contents/2/parts/0/functionResponse/id", json!("x"), "no function call with that id"),
        ("/contents/2/parts/0/functionResponse/response", gone.clone(), "response: required"),
        ("/contents/3/role", json!("model"), "end with a user role or a function response"),
        ("/contents/-", user("again"), "alternate between user and model"),
        ("/contents/0/parts/0", call("a"), "cannot be in a content of this role"),
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
    let fine = post(&stub.url(), Wire::Google, &valid()).await;
    assert_eq!(fine.status(), 200, "{}", fine.text().await.unwrap());
    let count = table().len() as u64;
    for (pointer, value, words) in table() {
        let response = post(&stub.url(), Wire::Google, &edited(pointer, &value)).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 400, "{pointer} {value}: expected {words:?}, got {text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{pointer}: expected {words:?}, got {message:?}");
        assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
    }
    assert_eq!(stub.journal().invalid, count);
}

#[tokio::test]
async fn keys_models_methods_and_windows_are_checked() {
    let options =
        Options { api_keys: vec!["right".to_owned()], context_window: 300, ..Options::default() };
    let stub = Stub::start(options).await.unwrap();
    let long = json!({"contents": [user(&"x".repeat(1_500))]});
    for (key, path, body, status, words) in [
        ("", "stub-1:generateContent", valid(), 403, "unregistered callers"),
        ("wrong", "stub-1:generateContent", valid(), 400, "API_KEY_INVALID"),
        ("right", "nobody:generateContent", valid(), 404, "models/nobody is not found"),
        ("right", "stub-1:embedContent", valid(), 404, "no method"),
        ("right", "stub-1:streamGenerateContent", valid(), 400, "alt=sse"),
        ("right", "stub-1:generateContent", long, 400, "The input token count"),
        ("right", "stub-1:generateContent", valid(), 200, "stub heard"),
    ] {
        let url = format!("{}/v1beta/models/{path}", stub.url());
        let mut request = http().post(url).json(&body);
        if !key.is_empty() {
            request = request.header("x-goog-api-key", key);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{key} {path}");
        let text = response.text().await.unwrap();
        assert!(text.contains(words), "{key} {path}: {text}");
    }
}
