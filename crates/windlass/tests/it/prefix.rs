//! One prefix for all of a session's life, whatever began its runs, and nearly all of each prompt
//! from the cache.

use serde_json::json;
use stub::Plan;
use stub::journal::Entry;

use crate::house::{House, WIRES};
use crate::judge;
use crate::threads::{requests_of, spawning};

const THREAD: &str = "agent:main:thread:work";

/// The stub's cache counts OpenAI's prefixes in steps of so many tokens.
const STEP: u64 = 128;

async fn say(house: &House, plan: &Plan) -> String {
    house.ok(&["agent", "--session-key", THREAD, "--message", &plan.to_brief()]).await
}

/// Read from the cache, and all that was sent.
fn read_of_all(entry: &Entry) -> (u64, u64) {
    let usage = entry.usage;
    (usage.cache_read, usage.input + usage.cache_read + usage.cache_write())
}

/// A person, the result of a child, a message of another agent's session, a command in between, a
/// kill and a restart: the bytes before the conversation are one and the same, and from the second
/// turn on 95 % of what is sent comes from the cache.
#[tokio::test]
async fn whatever_begins_a_run_the_prefix_is_the_same_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |config| {
            config["agents"]["entries"] = json!({
                "main": { "default": true },
                "ops": { "subagents": { "allowAgents": ["*"] } },
            });
        })
        .await;
        house.start().await;
        // A conversation of some length, as it is when it costs something.
        let long = "All that is known so far. ".repeat(600);
        say(&house, &Plan::new().say(&long)).await;
        let child = Plan::new().say("from the child");
        let spawned = spawning(Plan::new(), "part", child, json!({})).yield_().say("{results}");
        assert!(say(&house, &spawned).await.contains("from the child"));
        let letter = Plan::new().say("an answer to ops").to_brief();
        let send = json!({ "sessionKey": THREAD, "message": letter, "timeoutSeconds": 60 });
        let brief = Plan::new().call("sessions_send", send).say("{tools}").to_brief();
        let told = house.ok(&["agent", "--agent", "ops", "--message", &brief]).await;
        assert!(told.contains("an answer to ops"), "{told}");
        house.ok(&["agent", "--session-key", THREAD, "--message", "/status"]).await;
        house.kill();
        house.start().await;
        say(&house, &Plan::new().say("after the restart")).await;

        let world = judge::all_is_well(&house, &Default::default()).await;
        let requests = requests_of(&house, &world);
        let entries = &requests[&THREAD.parse().unwrap()];
        assert!(entries.len() >= 5, "{wire}: {} requests", entries.len());
        for entry in entries {
            assert_eq!(entry.prefix_hash, entries[0].prefix_hash, "{wire}: request {}", entry.seq);
        }
        let step = if wire.starts_with("openai") { STEP } else { 0 };
        let (mut read, mut sent) = (0, 0);
        for pair in entries.windows(2) {
            // All that was sent before is found again: no byte before the newest message differs.
            let (found, all) = read_of_all(&pair[1]);
            let before = read_of_all(&pair[0]).1.saturating_sub(step);
            let before = if step == 0 { pair[0].usage.cache_read } else { before };
            assert!(found >= before, "{wire}: request {} has read {found}", pair[1].seq);
            read += found;
            sent += all;
        }
        // The first turn has written the long answer, which the second reads for the first time.
        let (new, all) = read_of_all(&entries[1]);
        let (read, sent) = (read - new, sent - all);
        println!("{wire}: {read} of {sent} tokens were read from the cache");
        assert!(read * 100 >= sent * 95, "{wire}: {read} of {sent} tokens were read");
    }
}
