//! One bootstrap for all of a session's life: whatever ends its runs, the next request begins with
//! the same bytes, and the provider has them already.

use machine::check::World;
use machine::rows::Outcome;
use serde_json::json;
use stub::Plan;
use stub::cache::Usage;
use stub::journal::Entry;
use types::SessionKey;

use crate::house::{House, WIRES, late};
use crate::judge;
use crate::look::{run_of, until};
use crate::threads::{one_prefix_each, requests_of, spawning};

const THREAD: &str = "agent:main:thread:work";
const RULES: &str = "Rules of the house.\n";

/// The stub's cache counts OpenAI's prefixes in steps of so many tokens.
const STEP: u64 = 128;

fn all(usage: Usage) -> u64 {
    usage.input + usage.cache_read + usage.cache_write()
}

/// Each request finds what the one before it had sent in the cache: all of it, bootstrap and
/// conversation. Requests in `anew` begin a conversation anew, and find the bootstrap.
fn nothing_is_sent_twice(entries: &[Entry], anew: &[u64], what: &str) {
    let first = entries.first().expect("a request").usage;
    assert!(all(first) > 2_000, "{what}: the bootstrap is so small that it proves nothing");
    for pair in entries.windows(2) {
        let (before, now) = (pair[0].usage, pair[1].usage);
        let step = if pair[1].wire.starts_with("openai") { STEP } else { 0 };
        let least = match (anew.contains(&pair[1].seq), pair[1].wire.starts_with("openai")) {
            (true, _) => RULES.len() as u64 * 300 / 4,
            // What is behind the last mark is new each time: there is nothing behind it.
            (false, false) => before.cache_read + before.cache_write(),
            (false, true) => all(before).saturating_sub(step),
        };
        assert!(
            now.cache_read >= least,
            "{what}: request {} has read {} of {}, and {least} had been sent",
            pair[1].seq,
            now.cache_read,
            all(now),
        );
    }
}

fn thread() -> SessionKey {
    THREAD.parse().unwrap()
}

async fn say(house: &House, plan: &Plan) -> String {
    house.ok(&["agent", "--session-key", THREAD, "--message", &plan.to_brief()]).await
}

/// Sends a message that nobody waits for, and waits until its run is at its model.
async fn begin(house: &House, plan: &Plan) {
    let brief = plan.to_brief();
    house.ok(&["agent", "--session-key", THREAD, "--message", &brief, "--no-wait"]).await;
    until(house, "the run is at its model", |world| {
        world.runs.iter().any(|run| run.session_key == thread() && run.slot.is_some())
    })
    .await;
}

async fn built(wire: &str) -> (House, std::path::PathBuf) {
    let mut house = House::build(wire, |_| {}).await;
    let workspace = house.folder.path().join("workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    let rules = workspace.join("AGENTS.md");
    std::fs::write(&rules, RULES.repeat(300)).unwrap();
    house.start().await;
    (house, rules)
}

fn pinned(world: &World, key: &SessionKey) -> usize {
    let ids = world.runs.iter().filter(|run| run.session_key == *key).map(|run| run.session_id);
    let ids: std::collections::BTreeSet<_> = ids.collect();
    let episodes = world.episodes.iter().filter(|episode| ids.contains(&episode.session_id));
    let hashes: std::collections::BTreeSet<_> =
        episodes.map(|episode| episode.prefix_hash.expect("it is pinned")).collect();
    hashes.len()
}

/// A yield and its wake, a stop, a kill in the middle, a message into the run, one of an agent, a
/// reset: the bootstrap was sent once.
#[tokio::test]
async fn a_continued_session_does_not_send_its_bootstrap_again_on_both_wires() {
    for wire in WIRES {
        let (mut house, rules) = built(wire).await;
        let child = Plan::new().say("from the child");
        let plan = Plan::named("t").spawn([("child", child)]).yield_().say("woken: {results}");
        assert!(say(&house, &plan).await.contains("from the child"));
        // A file that changes does not change what a session has begun with.
        std::fs::write(&rules, "Other rules.\n").unwrap();

        begin(&house, &late(3_600_000, "never said")).await;
        house.ok(&["agent", "--session-key", THREAD, "--message", "/stop"]).await;
        assert_eq!(say(&house, &Plan::new().say("after the stop")).await.trim(), "after the stop");

        let look = Plan::new().call("exec", json!({ "command": "printf '%s' seen" }));
        begin(&house, &look.step(late(1_500, "after the kill").steps.remove(0))).await;
        house.kill();
        house.start().await;
        house.quiet().await;

        begin(&house, &late(1_500, "steered into").say("and heard")).await;
        let into = Plan::new().say("the one that steers").to_brief();
        house.ok(&["agent", "--session-key", THREAD, "--message", &into]).await;
        house.quiet().await;

        let letter = Plan::new().say("an answer to an agent").to_brief();
        let send = json!({ "sessionKey": THREAD, "message": letter, "timeoutSeconds": 60 });
        let brief = Plan::new().call("sessions_send", send).say("{tools}").to_brief();
        assert!(house.ask(&brief).await.contains("an answer to an agent"));

        std::fs::write(&rules, RULES.repeat(300)).unwrap();
        house.ok(&["agent", "--session-key", THREAD, "--message", "/reset"]).await;
        let before = house.stub.journal().requests.last().unwrap().seq;
        assert_eq!(say(&house, &Plan::new().say("begun anew")).await.trim(), "begun anew");

        let world = judge::all_is_well(&house, &Default::default()).await;
        let requests = requests_of(&house, &world);
        one_prefix_each(&requests);
        let entries = &requests[&thread()];
        assert!(entries.len() >= 10, "{wire}: {} requests", entries.len());
        let anew: Vec<u64> = entries.iter().map(|e| e.seq).filter(|seq| *seq > before).collect();
        assert_eq!(anew.len(), 1, "{wire}");
        nothing_is_sent_twice(entries, &anew, wire);
        assert_eq!(pinned(&world, &thread()), 1, "{wire}: one pinned prompt");
    }
}

/// A branch is killed in the middle of its run, ends it, and is continued: it has one bootstrap
/// and the history of its requester, each time.
#[tokio::test]
async fn a_branch_is_killed_in_its_run_and_continued_on_both_wires() {
    for wire in WIRES {
        let (mut house, _) = built(wire).await;
        say(&house, &Plan::named("before").say("remember 4711")).await;
        let branch = Plan::new()
            .call("exec", json!({ "command": "printf '%s' one" }))
            .say("<{last}>")
            .after_ms(1_500);
        let child =
            json!({ "$result": { "name": "sessions_spawn", "pointer": "/childSessionKey" } });
        let more = Plan::new().say("continued").to_brief();
        let plan = spawning(Plan::named("r"), "branch", branch, json!({ "context": "fork" }));
        let plan = plan
            .yield_()
            .call(
                "sessions_send",
                json!({
                    "sessionKey": child, "message": more, "mode": "resume",
                }),
            )
            .yield_()
            .say("{results}");
        let (brief, mut key) = (plan.to_brief(), vec!["agent", "--session-key", THREAD]);
        key.extend(["--idempotency-key", "job", "--message", &brief]);
        let mut asking = house.command(&key);
        let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
        until(&house, "the branch has used its tool", |world| {
            run_of(world, "branch").is_some_and(|run| run.next_step >= 3)
        })
        .await;
        house.kill();
        house.start().await;
        let answer = String::from_utf8(asked.await.unwrap().stdout).unwrap();
        assert!(answer.contains("one") && answer.contains("continued"), "{wire}: {answer}");
        house.quiet().await;

        let world = judge::all_is_well(&house, &Default::default()).await;
        // What continues it has its name, too.
        let branch = &world.tasks[0];
        assert_eq!(branch.outcome, Some(Outcome::Completed));
        let of_branch = world.tasks.iter().filter(|task| task.session_key == branch.session_key);
        assert_eq!((of_branch.count(), world.tasks.len()), (2, 2), "{wire}: one child session");
        let requests = requests_of(&house, &world);
        one_prefix_each(&requests);
        let entries = &requests[&branch.session_key];
        // A message and its answer from before, and then the request with the brief.
        assert!(entries[0].messages >= 3, "{wire}: {} messages", entries[0].messages);
        nothing_is_sent_twice(entries, &[], wire);
        assert_eq!(pinned(&world, &branch.session_key), 1, "{wire}: one pinned prompt");
    }
}
