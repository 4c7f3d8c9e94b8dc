//! Lanes and gates of the running gateway: who waits, for what, and who is told.

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use stub::{Failure, Fault, FaultRule, Plan};

use crate::house::{House, late};
use crate::judge;

/// Sends a message to each of these sessions, without waiting for the answers.
async fn crowd(house: &House, numbers: Range<usize>) {
    for n in numbers {
        let session = format!("thread:t{n}");
        let message = format!("number {n}");
        house.ok(&["agent", "--session-key", &session, "--message", &message, "--no-wait"]).await;
    }
}

/// Returns `status` once so many wait at the gate, or as it stands after a while: a message that is
/// accepted is still on its way to the gate.
async fn all_at_the_gate(house: &House, count: u64) -> serde_json::Value {
    let mut status = json!({});
    for _ in 0..100 {
        status = house.json(&["status", "--json"]).await.remove(0);
        if status["gates"][0]["waiting"] == count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    status
}

/// One session is refused with a `retry-after`. While it lasts nobody else asks, nobody holds a
/// slot, and `status` and `doctor` say why; afterwards one finds out, and all are answered.
#[tokio::test]
async fn a_rate_limit_is_found_out_by_one() {
    // Long enough that nine short commands fit into it on a machine that is busy with others.
    let seconds = 20;
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let refused = Fault::Error(Failure { retry_after_s: Some(seconds), ..Failure::status(429) });
    house.stub.set_faults(vec![FaultRule::times(refused, 1)]);
    // Until it is refused, nobody could know that the others had better wait.
    crowd(&house, 0..1).await;
    all_at_the_gate(&house, 1).await;
    crowd(&house, 1..8).await;

    let status = all_at_the_gate(&house, 8).await;
    let gate = &status["gates"][0];
    assert_eq!(gate["gate"], "stub/default/stub-1", "{status}");
    assert_eq!((gate["kind"].as_str(), gate["waiting"].as_u64()), (Some("rate"), Some(8)));
    assert_eq!(status["runs"], json!({"queued": 0, "running": 0, "waiting": 8}));
    let words = house.ok(&["status"]).await;
    assert!(words.contains("resumes in") && words.contains("8 runs wait"), "{words}");
    let doctor = house.ok(&["doctor"]).await;
    assert!(doctor.contains("stub/default/stub-1: 8 runs wait, resumes at"), "{doctor}");
    assert_eq!(house.stub.journal().requests.len(), 1, "one has asked for all");

    house.quiet().await;
    let journal = house.stub.journal();
    let first = &journal.requests[0];
    let opened = first.at_ms + seconds * 1_000;
    let early = journal.requests.iter().skip(1).filter(|entry| entry.at_ms < opened);
    assert_eq!(early.count(), 0, "somebody has asked before the time");
    // The one that finds out is alone until it is answered.
    let probe = &journal.requests[1];
    assert!(probe.end_ms.is_some_and(|end| journal.requests[2].at_ms >= end), "two have probed");
    assert_eq!(journal.requests.len(), 9, "eight answers, and the refusal");
    judge::all_is_well(&house, &Default::default()).await;
}

/// `limits.concurrent` holds for all sessions together, and across a kill.
#[tokio::test]
async fn an_account_is_asked_so_often_at_a_time() {
    let mut house = House::build("openai-completions", |config| {
        config["models"]["providers"]["stub"]["limits"] = json!({ "concurrent": 2 });
    })
    .await;
    house.start().await;
    let slow = late(400, "there");
    for n in 0..6 {
        let (session, brief) = (format!("thread:t{n}"), slow.to_brief());
        house.ok(&["agent", "--session-key", &session, "--message", &brief, "--no-wait"]).await;
    }
    house.kill();
    house.stub.reset_journal();
    house.start().await;
    house.quiet().await;
    let journal = house.stub.journal();
    for entry in &journal.requests {
        let at = entry.at_ms;
        let open = journal
            .requests
            .iter()
            .filter(|other| other.at_ms <= at && other.end_ms.is_none_or(|end| end > at));
        assert!(open.count() <= 2, "more than two calls were out at {at}");
    }
    judge::all_is_well(&house, &Default::default()).await;
}

/// One session hangs in the only slot. Whoever comes after it is told how it stands, and by whom
/// the slot is held; a draining gateway refuses what is new, and the next start goes on.
#[tokio::test]
async fn who_waits_for_a_slot_is_told() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["defaults"]["maxConcurrent"] = json!(1);
    })
    .await;
    house.start().await;
    let brief = late(6_000, "at last").to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    house.ok(&["agent", "--session-key", "thread:b", "--message", "hello", "--no-wait"]).await;
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    let words = house.ok(&["status"]).await;
    let line = "agent:main:thread:b waits for a slot of main";
    assert!(words.contains(line) && words.contains("held by agent:main:main"), "{words}");
    house.quiet().await;
    let question = "select subject = (select id from runs where session_key like '%thread:b'), \
                    json_extract(detail, '$.place'), json_extract(detail, '$.holders') \
                    from journal where kind = 'queue.wait'";
    let mut shell = Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(question).output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout);
    assert!(lines.starts_with("1|1|[\"agent:main:main\"]\n"), "{lines}");
}

/// A hundred sessions are listed by page, and a tree is counted without being read.
#[tokio::test]
async fn lists_are_paged_where_the_rows_are() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let brief = Plan::named("r").spawn([("a", Plan::new().say("done"))]).yield_().say("{results}");
    house.ask(&brief.to_brief()).await;
    crowd(&house, 0..5).await;
    house.quiet().await;
    let page = house.json(&["sessions", "list", "--limit", "3", "--json"]).await;
    assert_eq!(page.len(), 3);
    let status = house.json(&["status", "--json"]).await.remove(0);
    assert_eq!(status["sessions"]["count"], 7);
    assert_eq!(status["activity"], json!({ "idle": 7 }));
    assert_eq!(status["tasks"], json!({ "open": 0, "ended": 1 }));
}
