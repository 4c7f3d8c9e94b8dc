//! How answers are drawn, in requests: each wire in its own words, and nothing where it is refused.

use serde_json::{Value, json};
use types::Thinking;

use super::{ASKED, request, user};
use crate::openai_chat::request::{Dialect, Limit};
use crate::{ModelRequest, Sampling, anthropic, google, openai_chat, openai_responses};

fn asking(model: &str, thinking: Option<Thinking>) -> ModelRequest {
    ModelRequest {
        model: model.to_owned(),
        thinking,
        max_output_tokens: 8_192,
        sampling: Sampling { temperature: Some(0.2), top_p: Some(0.9) },
        ..request(vec![user("hello")])
    }
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn each_wire_is_told_in_its_own_words() {
    let plain = asking("m-1", None);
    let (max, openai) = (Limit::MaxTokens, Dialect::Openai);
    let bodies = [
        parse(&anthropic::request::body(&plain, ASKED).unwrap()),
        parse(&openai_chat::request::body(&plain, ASKED, max, openai).unwrap()),
        parse(&openai_responses::request::body(&plain, ASKED).unwrap()),
    ];
    for body in bodies {
        assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.2), &json!(0.9)), "{body}");
    }
    let body = parse(&google::request::body(&plain, ASKED).unwrap());
    let config = &body["generationConfig"];
    assert_eq!((&config["temperature"], &config["topP"]), (&json!(0.2), &json!(0.9)), "{body}");
}

/// A provider that would refuse the request is not told: the answer is worth more than how it is
/// drawn.
#[test]
fn who_refuses_it_is_not_told() {
    let (max, openai) = (Limit::MaxTokens, Dialect::Openai);
    let thinks = asking("claude-sonnet-4-5", Some(Thinking::Low));
    let o3 = asking("o3-mini", None);
    for body in [
        parse(&anthropic::request::body(&thinks, ASKED).unwrap()),
        parse(&openai_chat::request::body(&o3, ASKED, max, openai).unwrap()),
        parse(&openai_responses::request::body(&asking("gpt-5-mini", None), ASKED).unwrap()),
    ] {
        assert!(body.get("temperature").is_none() && body.get("top_p").is_none(), "{body}");
    }
    let chat = asking("gpt-5-chat-latest", None);
    let body = parse(&openai_chat::request::body(&chat, ASKED, max, openai).unwrap());
    assert_eq!(body["temperature"], 0.2, "{body}");
    // Nothing is said where nothing was.
    let silent = ModelRequest { sampling: Sampling::default(), ..asking("m-1", None) };
    let body = parse(&anthropic::request::body(&silent, ASKED).unwrap());
    assert!(body.get("temperature").is_none() && body.get("top_p").is_none(), "{body}");
}
