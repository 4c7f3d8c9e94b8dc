//! Levels of thinking in requests: each wire in its own words, and nothing where none is wanted.

use serde_json::{Value, json};
use types::{Message, Thinking, Wire};

use super::{ASKED, assistant, request, result, user};
use crate::openai_chat::request::{Dialect, Limit};
use crate::{ModelRequest, anthropic, google, openai_chat, openai_responses};

fn asking(model: &str, level: Option<Thinking>, messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        model: model.to_owned(),
        thinking: level,
        max_output_tokens: 8_192,
        ..request(messages)
    }
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn claude(model: &str, level: Thinking) -> Value {
    let ask = asking(model, Some(level), vec![user("hello")]);
    parse(&anthropic::request::body(&ask, ASKED).unwrap())
}

#[test]
fn anthropic_is_given_tokens_or_an_effort() {
    for (model, level, thinking, effort) in [
        ("claude-sonnet-4-5", Thinking::Off, Value::Null, Value::Null),
        (
            "claude-sonnet-4-5",
            Thinking::Medium,
            json!({"type": "enabled", "budget_tokens": 3_276}),
            Value::Null,
        ),
        ("claude-opus-4-6", Thinking::Max, json!({"type": "adaptive"}), json!("max")),
        ("claude-opus-4-6", Thinking::Xhigh, json!({"type": "adaptive"}), json!("high")),
        ("claude-opus-4-7", Thinking::Xhigh, json!({"type": "adaptive"}), json!("xhigh")),
    ] {
        let body = claude(model, level);
        assert_eq!(body["thinking"], thinking, "{model} {level}");
        assert_eq!(body["output_config"]["effort"], effort, "{model} {level}");
    }
}

/// The last answer has calls and no thought: thinking would be refused until the turn is over.
#[test]
fn anthropic_is_not_told_to_think_in_the_middle_of_a_turn_that_began_without() {
    let call = r#"[{"type":"tool_use","id":"t1","name":"exec","input":{}}]"#;
    let thought = r#"[{"type":"thinking","thinking":"x","signature":"a"},
        {"type":"tool_use","id":"t1","name":"exec","input":{}}]"#;
    let own = |raw| assistant(Wire::AnthropicMessages, "", &[("t1", "{}")], raw);
    let foreign = assistant(Wire::OpenaiCompletions, "", &[("t1", "{}")], "{}");
    for (answer, thinks) in [(own(call), false), (own(thought), true), (foreign, false)] {
        let messages = vec![user("go"), answer.clone(), result("t1", "done", false)];
        let ask = asking("claude-sonnet-4-5", Some(Thinking::High), messages);
        let body = parse(&anthropic::request::body(&ask, ASKED).unwrap());
        assert_eq!(body.get("thinking").is_some(), thinks, "{answer:?}");
        // The next turn of the person ends that.
        let mut messages = ask.messages.clone();
        messages.push(assistant(
            Wire::AnthropicMessages,
            "ok",
            &[],
            r#"[{"type":"text","text":"ok"}]"#,
        ));
        messages.push(user("and?"));
        let body =
            parse(&anthropic::request::body(&ModelRequest { messages, ..ask }, ASKED).unwrap());
        assert!(body.get("thinking").is_some());
    }
}

#[test]
fn chat_completions_say_it_in_the_words_of_who_serves_them() {
    let body = |dialect, level| {
        let ask = asking("gpt-5-mini", Some(level), vec![user("hello")]);
        parse(&openai_chat::request::body(&ask, ASKED, Limit::MaxTokens, dialect).unwrap())
    };
    let openai = body(Dialect::Openai, Thinking::High);
    assert_eq!(openai["reasoning_effort"], "high");
    assert!(openai.get("enable_thinking").is_none() && openai.get("thinking").is_none());
    let dashscope = body(Dialect::Dashscope, Thinking::Low);
    assert_eq!(
        (&dashscope["enable_thinking"], &dashscope["thinking_budget"]),
        (&json!(true), &json!(1_638))
    );
    assert_eq!(body(Dialect::Dashscope, Thinking::Off)["enable_thinking"], false);
    assert_eq!(body(Dialect::Zai, Thinking::Max)["thinking"], json!({"type": "enabled"}));
    assert_eq!(body(Dialect::Zai, Thinking::Off)["thinking"], json!({"type": "disabled"}));
    for (host, dialect) in [
        ("dashscope-intl.aliyuncs.com", Dialect::Dashscope),
        ("api.z.ai", Dialect::Zai),
        ("api.openai.com", Dialect::Openai),
        ("openrouter.ai", Dialect::Openai),
    ] {
        assert_eq!(Dialect::of_host(host), dialect, "{host}");
    }
}

#[test]
fn responses_and_gemini_say_it_in_theirs() {
    let responses = |level| {
        let ask = asking("gpt-5-mini", level, vec![user("hello")]);
        parse(&openai_responses::request::body(&ask, ASKED).unwrap())
    };
    assert_eq!(responses(Some(Thinking::Low))["reasoning"], json!({"effort": "low"}));
    assert!(responses(None).get("reasoning").is_none());
    let gemini = |model, level| {
        let ask = asking(model, Some(level), vec![user("hello")]);
        let body = parse(&google::request::body(&ask, ASKED).unwrap());
        body["generationConfig"]["thinkingConfig"].clone()
    };
    for (model, level, expected) in [
        ("gemini-2.5-flash", Thinking::Off, json!({"thinkingBudget": 0})),
        ("gemini-2.5-pro", Thinking::Off, json!({"thinkingBudget": 128})),
        ("gemini-2.5-pro", Thinking::High, json!({"thinkingBudget": 4_915})),
        ("gemini-3-pro", Thinking::Minimal, json!({"thinkingLevel": "low"})),
        ("gemini-3-pro", Thinking::Max, json!({"thinkingLevel": "high"})),
    ] {
        assert_eq!(gemini(model, level), expected, "{model} {level}");
    }
}
