//! Requests of the wire `openai-responses`.

use super::*;
use crate::openai_responses;

const RAW: &str = concat!(
    r#"[{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"a+/="}, "#,
    r#"{"id":"fc_1","type":"function_call","call_id":"c:1","name":"exec","#,
    r#""arguments":"{\"b\": 1.0e3}","status":"completed"}]"#,
);

fn responses(messages: Vec<Message>) -> String {
    let body = openai_responses::request::body(&request(messages), ASKED).unwrap();
    String::from_utf8(body).unwrap()
}

fn own(raw: &str) -> Vec<Message> {
    let said = assistant(Wire::OpenaiResponses, "", &[("c:1", r#"{"b": 1.0e3}"#)], raw);
    vec![user("one"), said, result("c:1", "", true), user("two")]
}

#[test]
fn a_request() {
    let mut messages = mixed();
    messages.extend(own(RAW));
    insta::assert_snapshot!(lines(&responses(messages)), @r#"
    {"model":"m-1","max_output_tokens":1000,"stream":true,"store":false,"prompt_cache_key":"s-1","tools":[
    {"type":"function","name":"exec","description":"does exec","parameters":{"type":"object"},"strict":false},
    {"type":"function","name":"read","description":"does read","parameters":{"type":"object"},"strict":false}],"instructions":"Be brief.","input":[
    {"type":"message","role":"user","content":"one"},
    {"type":"message","role":"user","content":"two"},
    {"type":"function_call","call_id":"t1","name":"exec","arguments":"{\"b\": 1.0e3,\"a\":1}"},
    {"type":"function_call_output","call_id":"t1","output":"done"},
    {"type":"message","role":"user","content":"three"},
    {"type":"function_call","call_id":"call_7c9d30055291ef7b84cdc4577fa871f8","name":"exec","arguments":"{\"b\": 1.0e3}"},
    {"type":"function_call_output","call_id":"call_7c9d30055291ef7b84cdc4577fa871f8","output":"error: "},
    {"type":"message","role":"assistant","content":"so"},
    {"type":"function_call","call_id":"s1","name":"exec","arguments":"{\"invalid_json\":\"{broken\"}"},
    {"type":"function_call","call_id":"s2","name":"exec","arguments":"{}"},
    {"type":"function_call_output","call_id":"s1","output":"first"},
    {"type":"function_call_output","call_id":"s2","output":"second"},
    {"type":"message","role":"user","content":"four"},
    {"type":"message","role":"user","content":"one"},
    {"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"a+/="},
    {"id":"fc_1","type":"function_call","call_id":"c:1","name":"exec","arguments":"{\"b\": 1.0e3}","status":"completed"},
    {"type":"function_call_output","call_id":"c:1","output":"error: "},
    {"type":"message","role":"user","content":"two"}]}
    "#);
}

/// Only a model that thinks may be asked for its thoughts.
#[test]
fn thoughts_are_asked_for_where_there_are_some() {
    for (model, asks) in [
        ("gpt-5-mini", true),
        ("openai/gpt-5.1", true),
        ("o4-mini", true),
        ("gpt-5-chat-latest", false),
        ("gpt-4.1", false),
    ] {
        let request = ModelRequest { model: model.to_owned(), ..request(own(RAW)) };
        let body = openai_responses::request::body(&request, ASKED).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let included = &body["include"][0];
        assert_eq!(included == "reasoning.encrypted_content", asks, "{model}: {included}");
    }
}

/// What the provider would look up and not find stays here, and so do the ids that ask for it.
#[test]
fn reasoning_goes_back_only_sealed_and_with_what_followed_it() {
    let unsealed = RAW.replace(r#","encrypted_content":"a+/=""#, "");
    let body = responses(own(&unsealed));
    assert!(!body.contains("rs_1") && !body.contains("fc_1"), "{body}");
    assert!(body.contains(r#"{"type":"function_call","call_id":"c:1""#), "{body}");

    let alone = r#"[{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"a+/="}]"#;
    let said = assistant(Wire::OpenaiResponses, "", &[], alone);
    let body = responses(vec![user("one"), said, user("two")]);
    assert!(!body.contains("rs_1"), "{body}");
}

/// Another model, of this provider or another, could not read what is sealed.
#[test]
fn another_model_sees_no_seal() {
    for (asked, sees) in [("work/m-1", true), ("work/m-2", false), ("home/m-1", false)] {
        let mut messages = own(RAW);
        let Message::Assistant(said) = &mut messages[1] else { unreachable!() };
        said.asked = Some(asked.to_owned());
        let body = responses(messages);
        assert_eq!(body.contains("encrypted_content"), sees, "{asked}: {body}");
        assert_eq!(body.contains(r#""call_id":"c:1""#), sees, "{asked}: {body}");
    }
}
