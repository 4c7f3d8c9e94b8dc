use serde_json::{Value, json};
use stub::wire::Wire;
use stub::{Options, Outcome, Plan, Stub};

use crate::client::{Talk, http, post};

#[tokio::test]
async fn an_answer_is_the_same_in_a_stream_and_as_a_whole() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let brief = Plan::new()
        .call("exec", json!({"command": "echo \"ä€𝄞\"", "n": 1.5, "deep": {"a": [null, true]}}))
        .change(|step| step.say = Some("a text of more than sixteen bytes: ä€𝄞".to_owned()))
        .thinking("let me think about that for a while")
        .say("done")
        .to_brief();
    for wire in Wire::ALL {
        let mut answers = Vec::new();
        for stream in [true, false] {
            let mut talk = Talk { stream, ..Talk::new(&stub.url(), wire) };
            talk.user(&brief);
            let said = talk.ask().await;
            assert_eq!(said.text, "a text of more than sixteen bytes: ä€𝄞");
            assert_eq!(said.calls[0].arguments["command"], "echo \"ä€𝄞\"");
            talk.result(&said.calls[0].id, "ok");
            let last = talk.ask().await;
            assert_eq!((last.text.as_str(), last.calls.len()), ("done", 0));
            answers.push((said.text, said.calls, said.stop, talk.messages));
        }
        assert_eq!(answers[0].0, answers[1].0, "{wire}");
        assert_eq!(answers[0].1, answers[1].1, "{wire}");
        assert_eq!(answers[0].2, answers[1].2, "{wire}");
        if wire != Wire::Openai {
            assert_eq!(answers[0].3, answers[1].3, "raw answers, byte for byte");
        }
    }
    assert_eq!(stub.journal().invalid, 0);
}

#[tokio::test]
async fn what_the_stub_said_must_come_back_unchanged() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let brief = Plan::new()
        .call("exec", json!({"command": "ls"}))
        .change(|step| step.say = Some("I look".to_owned()))
        .thinking("hm")
        .say("done")
        .to_brief();
    #[rustfmt::skip]
    let table: [(Wire, &str, Value, &str); 15] = [
        (Wire::Anthropic, "/content/0/thinking",  json!("hmm"), "Invalid `signature` in"),
        (Wire::Anthropic, "/content/0/signature", json!("c3R1YgAA"), "Invalid `signature`"),
        (Wire::Anthropic, "/content/1/text",      json!("I looked"), "is not the one that was"),
        (Wire::Anthropic, "/content/2/name",      json!("read"), "is not the one that was issued"),
        (Wire::Anthropic, "/content/2/input",     json!({"command": "ls "}), "is not the one"),
        (Wire::Openai, "/content",                json!("I looked"), "is not the one that was"),
        (Wire::Openai, "/tool_calls/0/function/name", json!("read"), "is not the one"),
        (Wire::Openai, "/tool_calls/0/function/arguments", json!("{}"), "is not the one"),
        (Wire::Responses, "/1/encrypted_content", json!("x"), "could not be verified"),
        (Wire::Responses, "/1/encrypted_content", Value::Null, "not persisted"),
        (Wire::Responses, "/2/content/0/text",    json!("I looked"), "is not the one that was"),
        (Wire::Responses, "/3/arguments",         json!("{}"), "is not the one that was issued"),
        (Wire::Google, "/parts/1/text",           json!("I looked"), "is not the one that was"),
        (Wire::Google, "/parts/2/thoughtSignature", json!("c3R1"), "Corrupted thought signature"),
        (Wire::Google, "/parts/2/functionCall/args", json!({}), "Corrupted thought signature"),
    ];
    for (wire, pointer, changed, error) in table {
        let at = if wire == Wire::Responses { "" } else { "/1" };
        let mut talk = Talk::new(&stub.url(), wire);
        talk.user(&brief);
        let said = talk.ask().await;
        talk.result(&said.calls[0].id, "ok");
        let mut messages = Value::Array(std::mem::take(&mut talk.messages));
        *messages.pointer_mut(&format!("{at}{pointer}")).unwrap() = changed;
        let Value::Array(messages) = messages else { unreachable!() };
        talk.messages = messages;
        let response = talk.send().await.unwrap();
        assert!(response.status().is_client_error(), "{wire} {pointer}");
        let text = response.text().await.unwrap();
        assert!(text.contains(error), "{wire} {pointer}: {text}");
    }
}

#[tokio::test]
async fn usage_tells_what_the_cache_held() {
    let stub = Stub::start(Options { cache_min: 128, ..Options::default() }).await.unwrap();
    let brief = Plan::new().say("one").say("two").to_brief() + &"x".repeat(4_000);
    let mut talk = Talk::new(&stub.url(), Wire::Openai);
    talk.user(&brief);
    let first = talk.ask().await.usage;
    talk.user("more");
    let second = talk.ask().await.usage;
    assert_eq!(first["prompt_tokens_details"]["cached_tokens"], 0);
    let prompt = first["prompt_tokens"].as_u64().unwrap();
    let whole_steps = prompt / 128 * 128;
    assert_eq!(second["prompt_tokens_details"]["cached_tokens"], whole_steps);

    let mut talk = Talk::new(&stub.url(), Wire::Anthropic);
    talk.user(&brief);
    let mut body = talk.body();
    body["cache_control"] = json!({"type": "ephemeral"});
    let mut usages = Vec::new();
    for _ in 0..2 {
        let text = post(&stub.url(), Wire::Anthropic, &body).await.text().await.unwrap();
        let last = text.lines().rfind(|line| line.contains("message_delta") && line.contains('{'));
        let data = last.unwrap().strip_prefix("data: ").unwrap();
        usages.push(serde_json::from_str::<Value>(data).unwrap()["usage"].clone());
    }
    let written = usages[0]["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(written > 1_000, "{}", usages[0]);
    assert_eq!(usages[1]["cache_read_input_tokens"], written);
    assert_eq!(usages[1]["cache_creation_input_tokens"], 0);
    assert_eq!(usages[1]["input_tokens"], 0);
    let entry = stub.journal().requests.pop().unwrap();
    assert_eq!((entry.usage.cache_read, entry.outcome), (written, Outcome::Completed));
}

#[tokio::test]
async fn the_journal_tells_who_asked_what() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let mut talk = Talk::new(&stub.url(), Wire::Anthropic);
    talk.key = Some("key-1".to_owned());
    talk.user(&Plan::new().call("exec", json!({})).say("end").to_brief());
    let said = talk.ask().await;
    talk.key = Some("key-2".to_owned());
    talk.result(&said.calls[0].id, "the output");
    talk.user("[Subagent result] task=tsk_1 name=a outcome=completed\nbody");
    talk.ask().await;
    let refused = post(&stub.url(), Wire::Openai, &json!({"model": "stub-1"})).await;
    assert_eq!(refused.status(), 400);

    let url = format!("{}/journal?since=1", stub.url());
    let text = http().get(url).send().await.unwrap().text().await.unwrap();
    let told: stub::Snapshot = serde_json::from_str(&text).unwrap();
    let all = stub.journal();
    assert_eq!((all.invalid, all.open_streams, all.requests.len()), (1, 0, 3));
    assert_eq!(told.requests, all.requests[1..]);
    let entry = &all.requests[1];
    assert_eq!(entry.idempotency_key.as_deref(), Some("key-2"));
    assert_eq!((entry.messages, entry.status, entry.verdict.as_str()), (3, 200, "ok"));
    assert_eq!(
        (entry.tool_results[0].name.as_str(), entry.results.as_slice()),
        ("exec", &["tsk_1".to_owned()][..])
    );
    assert_eq!((entry.answer.kind.as_str(), entry.answer.step), ("directive", Some(1)));
    assert_eq!(all.requests[0].prefix_hash, entry.prefix_hash);
    assert_ne!(all.requests[0].conversation, entry.conversation);
    assert!(all.requests[2].verdict.contains("'messages'"), "{}", all.requests[2].verdict);
    assert!(all.answered_twice().is_empty());

    let reset = http().post(format!("{}/journal/reset", stub.url())).send().await.unwrap();
    assert_eq!(reset.status(), 200);
    assert_eq!(stub.journal(), stub::Snapshot::default());
}

#[tokio::test]
async fn an_answer_ends_at_the_output_limit() {
    let stub = Stub::start(Options::default()).await.unwrap();
    for (wire, stop) in Wire::ALL.into_iter().zip(["max_tokens", "length", "", "MAX_TOKENS"]) {
        let mut talk = Talk { stream: false, ..Talk::new(&stub.url(), wire) };
        talk.user(&Plan::new().say(&"eight by".repeat(9)).to_brief());
        let mut body = talk.body();
        // OpenAI's newer wire takes no limit below 16.
        let (limit, words) = match wire {
            Wire::Responses => (16, "eight by".repeat(8)),
            _ => (1, "eigh".to_owned()),
        };
        match wire {
            Wire::Responses => body["max_output_tokens"] = limit.into(),
            Wire::Google => body["generationConfig"] = json!({"maxOutputTokens": limit}),
            _ => body["max_tokens"] = limit.into(),
        }
        let text = post(&stub.url(), wire, &body).await.text().await.unwrap();
        let (words, stop) = match wire {
            Wire::Responses => (words, "max_output_tokens"),
            _ => (words, stop),
        };
        assert!(text.contains(&format!("\"{words}\"")), "{wire}: {text}");
        assert!(text.contains(stop), "{wire}: {text}");
    }
}
