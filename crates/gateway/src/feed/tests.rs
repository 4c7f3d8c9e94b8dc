//! What is shown of runs, read downwards.

use insta::assert_snapshot;
use machine::rows::Outcome;
use protocol::agent::RunPhase;
use serde_json::json;
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp(1_000);

fn run() -> RunId {
    RunId::new(Uuid::from_u128(7))
}

fn feed() -> Feed {
    let mut feed = Feed::default();
    let session = "agent:main:main".parse().unwrap();
    feed.watch(
        run(),
        Names { wire_id: "k1".to_owned(), session, spawned_by: None, reasoning: Reasoning::Off },
    );
    feed
}

fn end(outcome: Outcome, text: Option<&str>, error: Option<&str>) -> RunEnded {
    RunEnded {
        run: run(),
        wire_id: "k1".to_owned(),
        session: "agent:main:main".parse().unwrap(),
        session_id: types::SessionId::new(Uuid::from_u128(1)),
        outcome,
        text: text.map(str::to_owned),
        error: error.map(str::to_owned),
    }
}

/// The `chat` events, and only what changes in them.
fn chat(out: &[Out]) -> String {
    let states = out.iter().filter_map(|out| match &out.event {
        Event::Chat(chat) => {
            let state = serde_json::to_value(&chat.state).unwrap();
            let said = chat_text(&chat.state);
            let (delta, replace) = (&state["deltaText"], &state["replace"]);
            Some(format!("{} {} {delta} {replace} {said:?}", chat.seq, state["state"]))
        }
        _ => None,
    });
    states.collect::<Vec<_>>().join("\n")
}

fn chat_text(state: &ChatState) -> String {
    match state {
        ChatState::Status { .. } => String::new(),
        ChatState::Delta { message, .. }
        | ChatState::Final { message, .. }
        | ChatState::Aborted { message, .. }
        | ChatState::Error { message, .. } => {
            message.as_ref().map(ChatMessage::words).unwrap_or_default()
        }
    }
}

#[test]
fn a_draft_grows_and_the_next_call_replaces_it() {
    let mut feed = feed();
    let mut out = Vec::new();
    feed.delta(run(), 0, "let ");
    feed.delta(run(), 0, "me see");
    out.extend(feed.flush(NOW));
    feed.delta(run(), 0, "…");
    out.extend(feed.flush(NOW));
    assert!(!feed.dirty() && feed.flush(NOW).is_empty());
    feed.delta(run(), 2, "found");
    out.extend(feed.flush(NOW));
    out.extend(feed.ended(&end(Outcome::Completed, Some("found it"), None), Facts::default(), NOW));
    feed.delta(run(), 2, "too late");
    assert!(feed.flush(NOW).is_empty() && feed.knows(run()));
    assert_snapshot!(chat(&out), @r#"
    1 "delta" "let me see" null "let me see"
    2 "delta" "…" null "let me see…"
    3 "delta" "found" true "found"
    4 "final" null null "found it"
    "#);
}

#[test]
fn a_call_that_is_tried_again_takes_its_draft_back() {
    let mut feed = feed();
    assert!(feed.dropped(run(), NOW).is_empty(), "nothing was shown");
    feed.delta(run(), 0, "hel");
    let mut out = feed.flush(NOW);
    feed.delta(run(), 0, "lo");
    out.extend(feed.dropped(run(), NOW));
    feed.delta(run(), 0, "good day");
    out.extend(feed.flush(NOW));
    assert_snapshot!(chat(&out), @r#"
    1 "delta" "hel" null "hel"
    2 "delta" "" true ""
    3 "delta" "good day" null "good day"
    "#);
}

#[test]
fn a_yield_speaks_and_does_not_end() {
    let mut feed = feed();
    feed.delta(run(), 0, "I ask");
    let mut out = feed.flush(NOW);
    out.extend(feed.yielded(run(), "three are at work", NOW));
    feed.delta(run(), 3, "all done");
    out.extend(feed.flush(NOW));
    assert_snapshot!(chat(&out), @r#"
    1 "delta" "I ask" null "I ask"
    2 "delta" "three are at work" true "three are at work"
    3 "delta" "all done" true "all done"
    "#);
}

#[test]
fn every_outcome_has_one_end() {
    use Outcome::*;
    let class = Some(FailureClass::Overflow);
    let facts = Facts { error_class: class, ..Facts::default() };
    let lines: Vec<String> = [
        (Completed, Some("hi"), None),
        (Completed, None, None),
        (Completed, Some("hal"), Some("its answer was cut")),
        (NoResult, None, None),
        (Failed, None, Some("the prompt is too long")),
        (TimedOut, None, None),
        (Cancelled, None, Some("stopped by operator")),
        (Interrupted, None, None),
    ]
    .into_iter()
    .map(|(outcome, text, error)| {
        let out = feed().ended(&end(outcome, text, error), facts.clone(), NOW);
        let [agent, chat] = &out[..] else { panic!("{out:?}") };
        let [agent, chat] = [agent, chat].map(|out| out.event.encode().get().to_owned());
        let of = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            let field = |name: &str| value.get(name).map(|v| format!("{v} "));
            let data = value.get("data").map(Value::to_string);
            [field("state"), field("errorMessage"), field("errorKind"), data]
                .into_iter()
                .flatten()
                .collect::<String>()
        };
        format!("{outcome}: {}| {}", of(&chat), of(&agent))
    })
    .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    completed: "final" | {"phase":"end","endedAt":1000,"stopReason":"stop"}
    completed: "final" | {"phase":"end","endedAt":1000,"stopReason":"stop"}
    completed: "final" | {"phase":"end","endedAt":1000,"stopReason":"length"}
    no_result: "error" "the model gave no answer" "context_length" | {"phase":"error","endedAt":1000,"error":"the model gave no answer"}
    failed: "error" "the prompt is too long" "context_length" | {"phase":"error","endedAt":1000,"error":"the prompt is too long"}
    timed_out: "error" "the run was ended at its time limit" "timeout" | {"phase":"error","endedAt":1000,"error":"the run was ended at its time limit"}
    cancelled: "aborted" "stopped by operator" | {"phase":"end","endedAt":1000,"aborted":true,"stopReason":"aborted"}
    interrupted: "error" "the run was interrupted and could not be continued" "context_length" | {"phase":"error","endedAt":1000,"error":"the run was interrupted and could not be continued"}
    "#);
}

#[test]
fn what_may_become_silence_is_held_back() {
    let mut feed = feed();
    for piece in ["NO", "_REP"] {
        feed.delta(run(), 0, piece);
        assert!(!feed.dirty() && feed.flush(NOW).is_empty());
    }
    feed.delta(run(), 0, "ORT");
    let out = feed.flush(NOW);
    assert_snapshot!(chat(&out), @r#"1 "delta" "NO_REPORT" null "NO_REPORT""#);
}

fn call() -> Call {
    Call { id: "c1".to_owned(), tool: "read".to_owned(), args: json!({"path": "a.md"}) }
}

/// The `agent` events: who gets them, the stream, and its data without times.
fn agent(out: &[Out]) -> String {
    let lines = out.iter().filter_map(|out| {
        let event = out.event.encode().get().to_owned();
        let mut event: Value = serde_json::from_str(&event).unwrap();
        for name in ["startedAt", "endedAt"] {
            event["data"].as_object_mut()?.remove(name);
        }
        Some(format!("{:?} {} {}", out.audience, event["stream"], event["data"]))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn text_comes_before_the_tool_it_announces() {
    let mut feed = feed();
    feed.delta(run(), 0, "I look");
    let mut out = feed.tool_started(run(), call(), NOW);
    let later = Timestamp(NOW.ms() + 250);
    let known = Call { args: Value::Null, ..call() };
    out.extend(feed.tool_finished(run(), known, (false, json!("words")), later));
    assert_snapshot!(agent(&out), @r#"
    Readers "assistant" {"text":"I look","delta":"I look"}
    Readers "item" {"itemId":"tool:c1","toolCallId":"c1","name":"read","kind":"tool","phase":"start","title":"a.md","status":"running"}
    Tools "tool" {"phase":"start","name":"read","toolCallId":"c1","args":{"path":"a.md"}}
    Readers "item" {"itemId":"tool:c1","toolCallId":"c1","name":"read","kind":"tool","phase":"end","title":"a.md","status":"completed","durationMs":250}
    Tools "tool" {"phase":"result","name":"read","toolCallId":"c1","isError":false,"result":"words"}
    "#);
}

#[test]
fn a_call_that_the_gateway_carried_out_itself_has_both_ends_too() {
    let out = feed().tool_finished(run(), call(), (true, Value::Null), NOW);
    assert_snapshot!(agent(&out), @r#"
    Readers "item" {"itemId":"tool:c1","toolCallId":"c1","name":"read","kind":"tool","phase":"start","title":"a.md","status":"running"}
    Tools "tool" {"phase":"start","name":"read","toolCallId":"c1","args":{"path":"a.md"}}
    Readers "item" {"itemId":"tool:c1","toolCallId":"c1","name":"read","kind":"tool","phase":"end","title":"a.md","status":"failed","durationMs":0}
    Tools "tool" {"phase":"result","name":"read","toolCallId":"c1","isError":true,"result":null}
    "#);
}

#[test]
fn thinking_is_shown_as_the_session_wants_it() {
    let told = |reasoning| {
        let mut feed = Feed::default();
        let session = "agent:main:main".parse().unwrap();
        let wire_id = "k1".to_owned();
        feed.watch(run(), Names { wire_id, session, spawned_by: None, reasoning });
        let mut out = Vec::new();
        for piece in ["Let me ", "see."] {
            feed.thought(run(), 0, piece);
            out.extend(feed.flush(NOW));
        }
        feed.delta(run(), 0, "Done.");
        out.extend(feed.flush(NOW));
        agent(&out)
    };
    let streamed = r#"
    WHO "thinking" {"text":"Let me ","delta":"Let me "}
    WHO "thinking" {"text":"Let me see.","delta":"see."}
    Readers "assistant" {"text":"Done.","delta":"Done."}"#;
    let streamed = |who| streamed.trim_start().replace("\n    ", "\n").replace("WHO", who);
    assert_eq!(told(Reasoning::Off), streamed("Thoughts"));
    assert_eq!(told(Reasoning::Stream), streamed("Readers"));
    assert_snapshot!(told(Reasoning::On), @r#"
    Readers "thinking" {"text":"Let me see.","delta":"Let me see."}
    Readers "assistant" {"text":"Done.","delta":"Done."}
    "#);
}

#[test]
fn what_a_run_does_is_said_in_words_that_old_clients_know() {
    let mut feed = feed();
    let mut out = Vec::new();
    for phase in [RunPhase::Queued, RunPhase::StartingModel] {
        out.extend(feed.status(run(), crate::phase::status(phase, None), NOW));
    }
    let lines: Vec<String> = out.iter().map(|out| out.event.encode().get().to_owned()).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    {"runId":"k1","seq":1,"ts":1000,"sessionKey":"agent:main:main","stream":"run_status","data":{"phase":"queued"}}
    {"runId":"k1","seq":2,"ts":1000,"sessionKey":"agent:main:main","stream":"run_status","data":{"phase":"starting_model"}}
    {"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":1,"state":"status","phase":"starting_model"}
    "#);
}

/// Pieces of the second draft were missed: it is not shown as if it began in its middle.
#[test]
fn a_draft_with_a_hole_is_shown_no_more_and_the_next_one_is() {
    let mut feed = feed();
    feed.delta(run(), 0, "first");
    let mut out = feed.flush(NOW);
    assert_eq!(feed.missed(), [run()]);
    feed.delta(run(), 2, "middle of the second");
    assert!(!feed.dirty());
    feed.delta(run(), 4, "third");
    out.extend(feed.flush(NOW));
    assert_snapshot!(chat(&out), @r#"
    1 "delta" "first" null "first"
    2 "delta" "third" true "third"
    "#);
    let late = RunId::new(Uuid::from_u128(8));
    let (wire_id, session) = ("k2".to_owned(), "agent:main:main".parse().unwrap());
    let reasoning = Reasoning::Off;
    feed.watch_late(late, Names { wire_id, session, spawned_by: None, reasoning });
    feed.delta(late, 0, "who knows what came before");
    assert!(!feed.dirty());
}
