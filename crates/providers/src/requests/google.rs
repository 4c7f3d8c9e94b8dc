//! Requests of the wire `google-generative-ai`.

use super::*;
use crate::google;

const RAW: &str = concat!(
    r#"[{"text":"hm","thought":true}, {"functionCall":{"name":"exec","args":{"b": 1.0e3}},"#,
    r#""thoughtSignature":"a+/="},{"functionCall":{"id":"fn_2","name":"read","args":{}}}]"#,
);

fn google_of(model: &str, messages: Vec<Message>) -> String {
    let request = ModelRequest { model: model.to_owned(), ..request(messages) };
    String::from_utf8(google::request::body(&request, ASKED).unwrap()).unwrap()
}

#[test]
fn a_request() {
    let mut messages = mixed();
    let calls = [("call_0_0", r#"{"b": 1.0e3}"#), ("fn_2", "{}")];
    messages.push(assistant(Wire::GoogleGenerativeAi, "", &calls, RAW));
    messages.push(result("fn_2", "two", false));
    insta::assert_snapshot!(lines(&google_of("m-1", messages)), @r#"
    {"systemInstruction":{"parts":[
    {"text":"Be brief."}]},"tools":[
    {"functionDeclarations":[
    {"name":"exec","description":"does exec","parametersJsonSchema":{"type":"object"}},
    {"name":"read","description":"does read","parametersJsonSchema":{"type":"object"}}]}],"generationConfig":{"maxOutputTokens":1000},"contents":[
    {"role":"user","parts":[
    {"text":"one"},
    {"text":"two"}]},
    {"role":"model","parts":[
    {"functionCall":{"name":"exec","args":{"b": 1.0e3,"a":1}},"thoughtSignature":"skip_thought_signature_validator"}]},
    {"role":"user","parts":[
    {"functionResponse":{"name":"exec","response":{"output":"done"}}}]},
    {"role":"user","parts":[
    {"text":"three"}]},
    {"role":"model","parts":[
    {"functionCall":{"name":"exec","args":{"b": 1.0e3}},"thoughtSignature":"skip_thought_signature_validator"}]},
    {"role":"user","parts":[
    {"functionResponse":{"name":"exec","response":{"error":""}}}]},
    {"role":"model","parts":[
    {"text":"so"},
    {"functionCall":{"name":"exec","args":{"invalid_json":"{broken"}},"thoughtSignature":"skip_thought_signature_validator"},
    {"functionCall":{"name":"exec","args":{}}}]},
    {"role":"user","parts":[
    {"functionResponse":{"name":"exec","response":{"output":"first"}}},
    {"functionResponse":{"name":"exec","response":{"output":"second"}}}]},
    {"role":"user","parts":[
    {"text":"four"}]},
    {"role":"model","parts":[
    {"text":"hm","thought":true}, {"functionCall":{"name":"exec","args":{"b": 1.0e3}},"thoughtSignature":"a+/="},
    {"functionCall":{"id":"fn_2","name":"read","args":{}}}]},
    {"role":"user","parts":[
    {"functionResponse":{"name":"exec","response":{"error":"No result of this call was recorded."}}},
    {"functionResponse":{"id":"fn_2","name":"exec","response":{"output":"two"}}}]}]}
    "#);
}

/// Older models know no signatures.
#[test]
fn calls_of_others_are_marked_as_unsigned_for_models_that_check() {
    for (model, marks) in [
        ("gemini-3-pro-preview", 3),
        ("gemini-flash-latest", 3),
        ("gemini-2.5-pro", 0),
        ("gemma-3-27b-it", 0),
    ] {
        let body = google_of(model, mixed());
        assert_eq!(body.matches("skip_thought_signature_validator").count(), marks, "{model}");
    }
}
