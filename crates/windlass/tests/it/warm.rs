//! Cold starts: what a delegation costs at the provider, and what a warm session shares.

use std::collections::BTreeSet;

use serde_json::json;
use stub::Plan;
use stub::journal::Entry;

use crate::house::{House, WIRES};
use crate::judge;
use crate::threads::{one_prefix_each, requests_of, spawning, spoken};

/// Tokens that were read from the cache, and all of the prompt.
fn read_of_all(entry: &Entry) -> (u64, u64) {
    let usage = entry.usage;
    (usage.cache_read, usage.input + usage.cache_read + usage.cache_write())
}

/// A coordinator with three agents delegates twenty times to one of them: its bootstrap is written
/// to the cache once and read nineteen times.
#[tokio::test]
async fn twenty_delegations_write_one_bootstrap_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |config| {
            config["agents"]["entries"] = json!({
                "main": { "default": true, "subagents": { "allowAgents": ["*"] } },
                "ops": {}, "scribe": {},
            });
        })
        .await;
        let workspace = house.folder.path().join("workspace-ops");
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::write(workspace.join("AGENTS.md"), "Rules of the house.\n".repeat(400)).unwrap();
        house.start().await;
        let mut plan = Plan::named("root");
        for n in 1..=20 {
            let child = Plan::new().say(&format!("answer {n}"));
            plan =
                spawning(plan, &format!("part-{n}"), child, json!({ "agentId": "ops" })).yield_();
        }
        house.ask(&plan.say("done").to_brief()).await;

        let world = judge::all_is_well(&house, &Default::default()).await;
        let requests = requests_of(&house, &world);
        one_prefix_each(&requests);
        let of_ops = |entries: &&Vec<Entry>, key: &types::SessionKey| {
            key.agent.as_str() == "ops" && entries.len() == 1
        };
        let mut children: Vec<&Entry> = requests
            .iter()
            .filter(|(key, entries)| of_ops(entries, key))
            .map(|(_, entries)| &entries[0])
            .collect();
        children.sort_by_key(|entry| entry.seq);
        assert_eq!(children.len(), 20, "{wire}");
        let prefixes: BTreeSet<&str> = children.iter().map(|e| e.prefix_hash.as_str()).collect();
        assert_eq!(prefixes.len(), 1, "{wire}: one bootstrap for all");
        // The tools are those of the coordinator; the rest of the bootstrap is new once.
        let (tools, all) = read_of_all(children[0]);
        let read: u64 = children[1..].iter().map(|entry| read_of_all(entry).0).sum();
        println!(
            "{wire}: of the first prompt's {all} tokens {tools} were warm; the 19 after it read \
             {read} from the cache"
        );
        assert!(tools * 100 < all * 80, "{wire}: {tools} of {all} were warm before");
        for entry in &children[1..] {
            let (read, all) = read_of_all(entry);
            assert!(read * 100 >= all * 95, "{wire}: {read} of {all} tokens were read");
        }
    }
}

/// The second task takes the session of the first from the pool, sees nothing of it, and begins
/// with the same bytes.
#[tokio::test]
async fn a_session_of_the_pool_begins_anew_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let pool = || json!({ "reuse": "pool" });
        let one = Plan::new().say("the secret is 4711");
        let two = Plan::new().say("nothing known");
        let plan = spawning(Plan::named("root"), "one", one, pool()).yield_();
        let plan = spawning(plan, "two", two, pool()).yield_().say("{results}");
        let answer = house.ask(&plan.to_brief()).await;
        assert!(answer.contains("nothing known"), "{answer}");

        let world = judge::all_is_well(&house, &Default::default()).await;
        let keys: BTreeSet<_> = world.tasks.iter().map(|task| &task.session_key).collect();
        assert_eq!((keys.len(), world.tasks.len()), (1, 2), "{wire}: one session for both");
        let requests = requests_of(&house, &world);
        one_prefix_each(&requests);
        let child = &requests[keys.first().copied().unwrap()];
        assert_eq!(spoken(child), [1, 1], "{wire}: a brief and nothing before it");
    }
}

/// A branch knows what its requester knew, on both wires, also after a kill.
#[tokio::test]
async fn a_branch_knows_what_its_requester_knew_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        house.ask(&Plan::named("before").say("remember 4711").to_brief()).await;
        let child =
            Plan::new().call("exec", json!({ "command": "printf '%s' ok" })).say("<{last}>");
        let plan = Plan::named("root").call("exec", json!({ "command": "printf '%s' first" }));
        let plan = spawning(plan, "branch", child, json!({ "context": "fork" }));
        let answer = house.ask(&plan.yield_().say("{results}").to_brief()).await;
        assert!(answer.contains("ok"), "{answer}");

        let world = judge::all_is_well(&house, &Default::default()).await;
        let requests = requests_of(&house, &world);
        let task = world.tasks.first().expect("the branch");
        let first = &requests[&task.session_key][0];
        // Two messages from before, the request, the call and its result; then its own.
        assert!(first.messages >= 5, "{wire}: {} messages", first.messages);
        assert!(first.tool_results.iter().any(|result| result.text.contains("first")), "{wire}");
    }
}
