//! Conversations that outgrow their model's window: each next message is answered within five
//! calls, on every wire, whatever fails and whoever is killed on the way.

use std::time::Duration;

use machine::Limits;
use machine::rows::{EpisodeReason, Outcome, Purpose, StepState};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::{Options, Plan, Script, Stub};

use crate::house::House;
use crate::judge;

/// Each dialect, and where it is served.
const WIRES: [(&str, &str); 4] = [
    ("anthropic-messages", ""),
    ("openai-completions", "/v1"),
    ("openai-responses", "/v1"),
    ("google-generative-ai", "/v1beta"),
];

/// What the stub answers to the questions of the gateway itself.
fn asked_by_the_gateway(summary: Value) -> Script {
    serde_json::from_value(json!({ "rules": [
        { "when": { "newest": "This conversation is being compacted." }, "steps": [summary] },
        { "when": { "newest": "is about to be compacted" }, "steps": [{ "say": "NO_REPLY" }] },
    ] }))
    .unwrap()
}

/// A house whose provider has a window of so many tokens, and says so with its refusals; what is
/// configured may be more.
async fn narrow(wire: (&str, &str), window: u64, configured: u64, script: Script) -> House {
    talkative(wire, window, configured, 500, script).await
}

/// The same, with a model that may answer with so many tokens.
async fn talkative(
    wire: (&str, &str),
    window: u64,
    configured: u64,
    answer: u64,
    script: Script,
) -> House {
    let options = Options { context_window: window, cache_min: 64, script, ..Options::default() };
    let stub = Stub::start(options).await.unwrap();
    let base = format!("{}{}", stub.url(), wire.1);
    let mut house = House::build_with(stub, wire.0, |config| {
        let model = json!({ "id": "stub-1", "contextWindow": configured, "maxTokens": answer });
        config["models"]["providers"]["stub"]["models"] = json!([model]);
        config["models"]["providers"]["stub"]["baseUrl"] = json!(base);
        config["agents"]["defaults"]["compaction"] = json!({ "keepRecentTokens": 2_000 });
    });
    house.start().await;
    house
}

fn calls(house: &House) -> usize {
    house.stub.journal().requests.len()
}

/// Fails if more calls than the contract allows were made for a message, and says which.
fn at_most_five(house: &House, before: usize, what: &str) {
    let requests = &house.stub.journal().requests[before..];
    let made: Vec<String> = requests
        .iter()
        .map(|one| {
            format!("{:.60} -> {:.80} {:.20}", one.newest_text, one.verdict, one.answer.text)
        })
        .collect();
    assert!(made.len() <= 5, "{what} took {} calls: {made:#?}", made.len());
}

/// Has a command print so many bytes, and then says something.
fn look(bytes: u32, say: &str) -> String {
    let command = format!("head -c {bytes} /dev/zero | tr '\\0' 'x'");
    Plan::new().call("exec", json!({ "command": command })).say(say).to_brief()
}

async fn compactions(house: &House) -> usize {
    let world = Reader::open(&house.database()).unwrap().snapshot().await.unwrap();
    let of = |reason| world.episodes.iter().filter(|episode| episode.reason == reason).count();
    of(EpisodeReason::Compaction)
}

/// Results that are ten times the window together: no message needs more than five calls, nothing
/// is refused, and everything can still be read.
#[tokio::test]
async fn results_of_ten_windows_leave_a_conversation_alive() {
    for wire in [WIRES[0], WIRES[1]] {
        let script = asked_by_the_gateway(json!({ "say": "so far: much was looked at" }));
        let house = narrow(wire, 40_000, 40_000, script).await;
        for round in 0..14 {
            let before = calls(&house);
            let said = house.ask(&look(120_000, &format!("looked {round}"))).await;
            assert_eq!(said, format!("looked {round}\n"), "{}", wire.0);
            at_most_five(&house, before, &format!("{}: round {round}", wire.0));
        }
        assert!(compactions(&house).await >= 2, "{}", wire.0);
        let before = calls(&house);
        assert_eq!(house.ask("hello").await, "stub heard: hello\n");
        at_most_five(&house, before, wire.0);
        let world = judge::all_is_well(&house, &Limits::default()).await;
        // Each message, the order to look, what was seen, the answer.
        assert!(world.entries.len() >= 14 * 4 + 2, "{} entries", world.entries.len());
        let shown = house.json(&["sessions", "show", "main", "--limit", "200", "--json"]).await;
        assert!(shown.iter().any(|line| line.to_string().contains("looked 0")), "{}", wire.0);
    }
}

/// The provider's window is smaller than the configured one: its refusal, in the words of each
/// wire, is answered with a compaction, and the next message does not run into it again.
#[tokio::test]
async fn a_refusal_as_too_long_is_compacted_and_learnt_from() {
    for wire in WIRES {
        let script = asked_by_the_gateway(json!({ "say": "so far: much was looked at" }));
        let house = narrow(wire, 30_000, 1_000_000, script).await;
        let mut refused = 0;
        for round in 0..6 {
            let before = calls(&house);
            let said = house.ask(&look(40_000, &format!("looked {round}"))).await;
            assert_eq!(said, format!("looked {round}\n"), "{}", wire.0);
            at_most_five(&house, before, &format!("{}: round {round}", wire.0));
            refused = house.stub.journal().invalid;
        }
        assert!((1..=3).contains(&refused), "{}: {refused} refusals", wire.0);
        assert!(compactions(&house).await >= 1, "{}", wire.0);
        judge::every_promise(&house).await;
        let world = Reader::open(&house.database()).unwrap().snapshot().await.unwrap();
        assert!(world.runs.iter().all(|run| run.phase.outcome() == Some(Outcome::Completed)));
    }
}

/// Ten megabytes in one message: the beginning and the end are shown, the rest can be read.
#[tokio::test]
async fn a_paste_of_ten_megabytes_is_answered() {
    let house = narrow(WIRES[0], 60_000, 60_000, Script::default()).await;
    let paste = format!("begin {} end\n", "y".repeat(10_000_000));
    let output = house.run_with_stdin(&["chat"], &paste).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("stub heard: begin yyy"), "{said:.300}");
    assert_eq!(calls(&house), 1);
    let sent = house.stub.journal().requests[0].body_bytes;
    assert!(sent < 150_000, "{sent} bytes were sent");
    assert_eq!(judge::count(&house, "blobs", "bytes = 10000010"), 1, "the whole text is kept");
    assert_eq!(house.ask("and now?").await, "stub heard: and now?\n");
    judge::all_is_well(&house, &Limits::default()).await;
}

/// A summary that is refused, says nothing, or has no end: the message is answered all the same.
#[tokio::test]
async fn no_summary_is_no_reason_not_to_answer() {
    let refused = json!({ "say": "x", "faults": [{ "kind": "error", "status": 400 }] });
    let endless = json!({ "say": "words without end ".repeat(4_000) });
    for (summary, shown) in [
        (refused, "No summary of it could be made"),
        (json!({ "say": " " }), "No summary of it could be made"),
        (endless, "[cut here to make room"),
    ] {
        let script = asked_by_the_gateway(summary);
        let house = talkative(WIRES[0], 40_000, 40_000, 9_000, script).await;
        for round in 0..6 {
            let before = calls(&house);
            assert_eq!(house.ask(&look(60_000, "looked")).await, "looked\n");
            at_most_five(&house, before, &format!("{shown}: round {round}"));
        }
        let said = format!("instr(data, '{shown}') > 0");
        assert!(judge::count(&house, "blobs", &said) >= 1, "{shown}");
    }
}

/// Killed while the summary is made: it is asked for again, once, and the person gets one answer.
#[tokio::test]
async fn a_kill_in_the_middle_of_a_summary_loses_nothing() {
    let summary = json!({ "say": "so far: much was looked at", "delay_ms": 3_000 });
    let mut house = narrow(WIRES[0], 40_000, 40_000, asked_by_the_gateway(summary)).await;
    for _ in 0..3 {
        house.ask(&look(60_000, "looked")).await;
    }
    let asked = |house: &House| {
        let requests = house.stub.journal().requests;
        requests.iter().filter(|one| one.newest_text.contains("is being compacted.")).count()
    };
    let phone = house.phone();
    let mut answer = None;
    for round in 0..3 {
        let (phone, key) = (phone.clone(), format!("round-{round}"));
        let message = look(60_000, "looked again");
        let before = asked(&house);
        let saying =
            tokio::spawn(async move { phone.say("agent:main:main", &key, &message).await });
        for _ in 0..600 {
            if asked(&house) > before || saying.is_finished() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let struck = asked(&house) > before;
        if struck {
            house.kill();
            house.start().await;
        }
        answer = Some(saying.await.unwrap());
        if struck {
            break;
        }
    }
    assert_eq!(answer.as_deref(), Some("looked again\n"));
    assert!(asked(&house) >= 2, "it was asked before the kill, and after it");
    let world = judge::all_is_well(&house, &Limits::default()).await;
    let summaries = world.steps.iter().filter(|step| step.purpose == Purpose::Summary);
    let done = summaries.filter(|step| step.state == StepState::Done).count();
    assert_eq!(done, compactions(&house).await, "each that was paid for is used");
}

/// By hand, with a hint; what has come of it is in the journal, and nothing is said to anybody.
#[tokio::test]
async fn a_person_can_have_a_conversation_compacted() {
    let script = asked_by_the_gateway(json!({ "say": "so far: the map is blue" }));
    let house = narrow(WIRES[0], 200_000, 200_000, script).await;
    for round in 0..3 {
        house.ask(&format!("{} {round}", "a long message ".repeat(400))).await;
    }
    let said = house.ask("/compact keep the map").await;
    assert!(said.contains("is being compacted"), "{said}");
    house.quiet().await;
    assert_eq!(compactions(&house).await, 1);
    let requests = house.stub.journal().requests;
    let asked = requests.iter().find(|one| one.newest_text.contains("is being compacted."));
    assert!(asked.is_some(), "a summary was asked for");
    assert_eq!(judge::count(&house, "journal", "kind = 'context.compacted'"), 1);
    assert_eq!(judge::count(&house, "blobs", "instr(data, 'the map is blue') > 0"), 1);
    let told = house.ok(&["sessions", "compact", "main", "--hint", "again"]).await;
    assert!(told.contains("compacted"), "{told}");
    house.quiet().await;
    assert_eq!(house.ask("go on").await, "stub heard: go on\n");
    judge::all_is_well(&house, &Limits::default()).await;
}

/// Refused in the middle of its work, with the results of three calls that no model has seen yet:
/// they stay with their calls, on every wire, and the message is answered. What the provider has
/// told is shown wherever the window is.
#[tokio::test]
async fn results_of_calls_in_parallel_outlive_a_refusal() {
    for wire in WIRES {
        let script = asked_by_the_gateway(json!({ "say": "so far: much was looked at" }));
        let house = narrow(wire, 30_000, 1_000_000, script).await;
        let before = house.ask("/status").await;
        house.ask(&look(30_000, "looked")).await;
        let print = |letter: &str| {
            let command = format!("head -c 40000 /dev/zero | tr '\\0' '{letter}'");
            ("exec", json!({ "command": command }))
        };
        let plan = Plan::new().calls([print("a"), print("b"), print("c")]).say("seen");
        let made = calls(&house);
        assert_eq!(house.ask(&plan.to_brief()).await, "seen\n", "{}", wire.0);
        at_most_five(&house, made, wire.0);
        let journal = house.stub.journal();
        assert_eq!(journal.invalid, 1, "{}: refused once", wire.0);
        let refused = journal.requests[made..].iter().position(|one| one.verdict != "ok");
        assert_eq!(refused, Some(1), "{}: with the results of its calls", wire.0);
        let last = journal.requests.last().unwrap();
        let shown: Vec<&str> = last.tool_results.iter().map(|result| &result.text[..1]).collect();
        assert_eq!(shown, ["a", "b", "c"], "{}: each result is with its call", wire.0);
        judge::every_promise(&house).await;

        // The Responses API names no number: what it has refused is known to be too much.
        let window = if wire.0 == "openai-responses" { "" } else { "30000 " };
        let told = house.ask("/status").await;
        let words = "its provider takes no more, 1000000 are configured";
        assert!(told.contains(&format!(" of {window}")) && told.contains(words), "{told}");
        assert!(!before.contains(words), "{before}");
        let shown = house.ok(&["context"]).await;
        let of_window = shown.contains(&format!(" of {window}"));
        assert!(of_window && shown.contains("is configured as 1000000."), "{shown}");
        let ask = Plan::new().call("session_status", json!({})).say("{last}");
        let status: Value = serde_json::from_str(&house.ask(&ask.to_brief()).await).unwrap();
        assert_eq!(status["contextLimitConfigured"], 1_000_000, "{status}");
        assert!(status["contextLimit"].as_u64() < Some(60_000), "{status}");
    }
}

/// Whoever watches is told what is done before the answer: notes, a summary, the answer; and a
/// client of OpenClaw's words hears of the notes in those.
#[tokio::test]
async fn what_is_done_before_an_answer_is_told() {
    let script = asked_by_the_gateway(json!({ "say": "so far: much was looked at" }));
    let house = narrow(WIRES[0], 40_000, 40_000, script).await;
    let mut told: Vec<String> = Vec::new();
    for round in 0..12 {
        let brief = look(8_000, &format!("looked {round}"));
        let lines = house.json(&["agent", "--stream", "--json", "--message", &brief]).await;
        let words = lines.iter().filter_map(|line| {
            let payload = &line["payload"];
            match line["event"].as_str()? {
                "agent" if payload["stream"] == "run_status" => {
                    Some(format!("run {}", payload["data"]["phase"].as_str()?))
                }
                "chat" if payload["state"] == "status" => {
                    Some(format!("chat {}", payload["phase"].as_str()?))
                }
                _ => None,
            }
        });
        told.extend(words);
    }
    assert!(judge::count(&house, "steps", "purpose = 'notes'") > 0, "no notes were taken");
    let runs: Vec<&str> = told.iter().filter_map(|word| word.strip_prefix("run ")).collect();
    let notes = runs.iter().position(|phase| *phase == "memory_flushing");
    let notes = notes.unwrap_or_else(|| panic!("no notes are told of: {told:?}"));
    let next: Vec<&str> = runs[notes..].iter().take(3).copied().collect();
    assert_eq!(next, ["memory_flushing", "compacting", "starting_model"], "{told:?}");
    assert!(told.iter().any(|word| word == "chat memory_flushing"), "{told:?}");
    judge::all_is_well(&house, &Limits::default()).await;
}
