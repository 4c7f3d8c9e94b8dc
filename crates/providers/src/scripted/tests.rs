//! The demonstration as its gateway plays it, and scripts as data.

use std::sync::Arc;

use types::ToolResult;

use super::*;
use crate::Sampling;

fn request(messages: &[Message]) -> ModelRequest {
    ModelRequest {
        model: "demo".to_owned(),
        prefix: Arc::new(Prefix { system: "Be brief.".to_owned(), tools: Vec::new() }),
        messages: messages.to_vec(),
        max_output_tokens: 1_000,
        thinking: None,
        sampling: Sampling::default(),
        idempotency_key: "k".to_owned(),
        conversation: "s-1".to_owned(),
    }
}

fn user(text: &str) -> Message {
    Message::User(text.to_owned())
}

fn script(json: &str) -> Scripted {
    Scripted::new(serde_json::from_str(json).unwrap())
}

async fn answer(provider: &Scripted, messages: &[Message]) -> Reply {
    provider.call(&request(messages), &mut |_| ()).await.unwrap()
}

/// Gives each call of `reply` the result that `tool` makes of it.
fn take(messages: &mut Vec<Message>, reply: Reply, tool: impl Fn(&ToolCall) -> String) {
    let calls = reply.message.calls.clone();
    messages.push(Message::Assistant(reply.message));
    messages.extend(calls.iter().map(|call| {
        let (call_id, name) = (call.id.clone(), call.name.clone());
        Message::ToolResult(ToolResult { call_id, name, text: tool(call), is_error: false })
    }));
}

fn names(reply: &Reply) -> Vec<&str> {
    reply.message.calls.iter().map(|call| call.name.as_str()).collect()
}

/// A result as the gateway announces it; the second line is not the child's.
fn announce(text: &str) -> Message {
    let bytes = text.len();
    user(&format!(
        "[Subagent result] task=tsk_1 name=x outcome=completed bytes={bytes}\nIt is done.\n\
         <result>\n{text}\n</result>\nThe session is kept."
    ))
}

/// Plays one helper to its end and returns its last words.
async fn helper(provider: &Scripted, brief: &str) -> String {
    let mut messages = vec![user(&format!("[Subagent Context] Depth 1.\n{brief}"))];
    for expected in ["write", "exec", "read"] {
        let reply = answer(provider, &messages).await;
        assert_eq!(names(&reply), [expected]);
        take(&mut messages, reply, |_| "ok".to_owned());
    }
    let reply = answer(provider, &messages).await;
    assert!(reply.message.calls.is_empty());
    reply.message.text
}

#[tokio::test(start_paused = true)]
async fn the_demonstration_from_the_question_to_the_answer() {
    let provider = Scripted::new(Script::demo());
    let mut messages = vec![user("research tea, analyse {tea}, draft a page")];

    let reply = answer(&provider, &messages).await;
    assert_eq!(names(&reply), ["sessions_spawn"; 3]);
    let mut results = Vec::new();
    for call in &reply.message.calls {
        let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap();
        let task = arguments["task"].as_str().unwrap();
        assert!(task.ends_with("The request: research tea, analyse {tea}, draft a page"));
        results.push(helper(&provider, task).await);
    }
    take(&mut messages, reply, |_| "accepted".to_owned());

    let reply = answer(&provider, &messages).await;
    assert_eq!(names(&reply), ["sessions_yield"]);
    take(&mut messages, reply, |_| "waiting".to_owned());

    // One result, a note of the system and a question of the person come before the rest.
    messages.push(user("[System] The wait has timed out."));
    let reply = answer(&provider, &messages).await;
    assert_eq!(names(&reply), ["sessions_yield"]);
    take(&mut messages, reply, |_| "waiting".to_owned());

    messages.extend(results.iter().map(|result| announce(result)));
    let reply = answer(&provider, &messages).await;
    assert!(reply.message.calls.is_empty());
    let text = &reply.message.text;
    assert!(results.iter().all(|result| text.contains(result)), "{text}");
    assert!(!text.contains("[Subagent result]") && !text.contains("[System]"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_person_who_asks_meanwhile_starts_nothing_new() {
    let provider = Scripted::new(Script::demo());
    let mut messages = vec![user("plan it")];
    for _ in 0..2 {
        let reply = answer(&provider, &messages).await;
        take(&mut messages, reply, |_| "ok".to_owned());
    }
    messages.extend([announce("one"), user("how is it going?")]);
    let reply = answer(&provider, &messages).await;
    assert_eq!(names(&reply), ["sessions_yield"]);
    take(&mut messages, reply, |_| "ok".to_owned());
    messages.extend([announce("two"), announce("three")]);
    let text = answer(&provider, &messages).await.message.text;
    assert!(text.ends_with("two\n\nthree"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_demonstration_whose_spawns_are_refused_says_so() {
    let provider = Scripted::new(Script::demo());
    let mut messages = vec![user("plan it")];
    let reply = answer(&provider, &messages).await;
    take(&mut messages, reply, |_| "too deep".to_owned());
    for message in &mut messages {
        if let Message::ToolResult(result) = message {
            result.is_error = true;
        }
    }
    let reply = answer(&provider, &messages).await;
    assert!(reply.message.calls.is_empty());
    assert!(reply.message.text.contains("too deep"), "{}", reply.message.text);
}

/// A gateway that was restarted asks a new process.
#[tokio::test(start_paused = true)]
async fn the_answer_is_a_function_of_the_request() {
    let messages = [user("plan it")];
    let one = answer(&Scripted::new(Script::demo()), &messages).await;
    let two = answer(&Scripted::new(Script::demo()), &messages).await;
    assert_eq!(one.message, two.message);

    let other = answer(&Scripted::new(Script::demo()), &[user("plan that")]).await;
    assert_ne!(one.message.calls[0].id, other.message.calls[0].id);
}

#[tokio::test(start_paused = true)]
async fn rules_are_data() {
    let provider = script(
        r#"{"rules": [
            {"when": {"model": "broken"}, "fail": {"class": "rate_limit", "retryAfterMs": 1500}},
            {"when": {"text": "TIME", "turn": 0}, "call": [{"name": "exec", "arguments": {"command": ["date", "{last}"]}}]},
            {"when": {"text": "time"}, "say": "It is {tools} {now}."},
            {"when": {"system": "brief", "text": "hello"}, "say": "Hi."}
        ]}"#,
    );
    let mut messages = vec![user("what time is it")];
    let reply = answer(&provider, &messages).await;
    assert_eq!(reply.message.calls[0].arguments, r#"{"command":["date","what time is it"]}"#);
    take(&mut messages, reply, |_| "noon".to_owned());
    assert_eq!(answer(&provider, &messages).await.message.text, "It is noon {now}.");
    assert_eq!(answer(&provider, &[user("Hello")]).await.message.text, "Hi.");

    let broken = ModelRequest { model: "broken".to_owned(), ..request(&messages) };
    let error = provider.call(&broken, &mut |_| ()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::RateLimit);
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1_500)));

    let error = provider.call(&request(&[user("?")]), &mut |_| ()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::BadRequest);
    assert!(serde_json::from_str::<Script>(r#"{"rules": [{"sya": "x"}]}"#).is_err());
}

#[tokio::test(start_paused = true)]
async fn text_streams_over_the_delay_and_the_factor_scales_it() {
    for (factor, expected_ms) in [("1.0", 900), ("0.0", 0), ("2.0", 1_800), ("-3.0", 0)] {
        let provider = script(&format!(
            r#"{{"delayFactor": {factor}, "rules": [{{"say": "one two  three", "delayMs": 900}}]}}"#
        ));
        let mut said = Vec::new();
        let begin = tokio::time::Instant::now();
        let request = request(&[user("go")]);
        let reply = provider.call(&request, &mut |delta| said.push(delta)).await.unwrap();
        // A sleep ends at the next whole millisecond.
        let elapsed = begin.elapsed().as_millis().abs_diff(expected_ms);
        assert!(elapsed <= 5, "{factor}: off by {elapsed} ms");
        let said: String = said
            .iter()
            .map(|delta| match delta {
                Delta::Text(text) | Delta::Thinking(text) => text.as_str(),
            })
            .collect();
        assert_eq!(said, reply.message.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefix_is_written_to_the_cache_once() {
    let provider = script(r#"{"rules": [{"say": "x"}]}"#);
    let first = answer(&provider, &[user("a")]).await.usage;
    let second = answer(&provider, &[user("b")]).await.usage;
    assert!(first.cache_write > 0 && first.cache_read == 0, "{first:?}");
    assert_eq!((second.cache_read, second.cache_write), (first.cache_write, 0));
}

#[tokio::test(start_paused = true)]
async fn the_built_in_models_are_told_apart_by_name() {
    let provider = Scripted::new(Script::built_in());
    let began = tokio::time::Instant::now();
    let asked = ModelRequest { model: "echo".to_owned(), ..request(&[user("say {this} back")]) };
    let reply = provider.call(&asked, &mut |_| ()).await.unwrap();
    assert_eq!(reply.message.text, "say {this} back");
    assert!(reply.message.calls.is_empty());
    assert_eq!(began.elapsed(), Duration::ZERO);

    let reply = answer(&provider, &[user("say {this} back")]).await;
    assert_eq!(names(&reply), ["sessions_spawn"; 3]);
    assert!(began.elapsed() > Duration::ZERO);
}
