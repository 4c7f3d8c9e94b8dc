//! Sessions with a name: the same conversation tomorrow, after a kill, and for nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use machine::check::World;
use serde_json::{Value, json};
use stub::Plan;
use stub::journal::Entry;
use types::SessionKey;

use crate::house::{House, WIRES};
use crate::judge;

const THREAD: &str = "agent:main:thread:budget";

/// A plan whose next step spawns `plan` with more arguments.
pub fn spawning(before: Plan, name: &str, plan: Plan, args: Value) -> Plan {
    let mut after = before.spawn([(name, plan)]);
    let step = after.steps.last_mut().expect("the step that spawns");
    for (key, value) in args.as_object().expect("arguments are an object") {
        step.spawn[0].args.insert(key.clone(), value.clone());
    }
    after
}

/// The requests of each session, in order.
pub fn requests_of(house: &House, world: &World) -> BTreeMap<SessionKey, Vec<Entry>> {
    let session: BTreeMap<String, &SessionKey> =
        world.runs.iter().map(|run| (run.id.to_string(), &run.session_key)).collect();
    let mut found: BTreeMap<SessionKey, Vec<Entry>> = BTreeMap::new();
    for entry in house.stub.journal().requests {
        let key = entry.idempotency_key.clone().expect("every request has a key");
        let run = key.rsplit_once('-').expect("run and step").0;
        found.entry(session[run].clone()).or_default().push(entry);
    }
    found
}

/// How many messages each request had, the system prompt not counted.
pub fn spoken(entries: &[Entry]) -> Vec<usize> {
    let system = |entry: &Entry| usize::from(entry.wire.starts_with("openai"));
    entries.iter().map(|entry| entry.messages - system(entry)).collect()
}

/// A session sends one bootstrap all its life, whatever has opened its runs or ended them.
pub fn one_prefix_each(requests: &BTreeMap<SessionKey, Vec<Entry>>) {
    for (key, entries) in requests {
        let prefixes: BTreeSet<&str> = entries.iter().map(|e| e.prefix_hash.as_str()).collect();
        assert_eq!(prefixes.len(), 1, "{key} has sent {} bootstraps", prefixes.len());
    }
}

fn budget(answer: &str) -> Plan {
    let child = Plan::new().say(answer);
    let args = json!({ "sessionKey": "thread:budget", "resumeIfExists": true });
    spawning(Plan::named("root"), "budget", child, args).yield_().say("{results}")
}

/// 'budget' twice around a SIGKILL, then a person in the same thread: one session, one bootstrap,
/// and next to nothing is written to the provider's cache for the second.
#[tokio::test]
async fn one_thread_around_a_kill_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        let workspace = house.folder.path().join("workspace");
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::write(workspace.join("AGENTS.md"), "Rules of the house.\n".repeat(300)).unwrap();
        house.start().await;
        let first = house.ask(&budget("the first is 42").to_brief()).await;
        assert!(first.contains("the first is 42"), "{first}");
        house.kill();
        // The bootstrap was pinned when the session began.
        std::fs::write(workspace.join("AGENTS.md"), "Other rules.\n").unwrap();
        house.start().await;
        let second = house.ask(&budget("the second is 7").to_brief()).await;
        assert!(second.contains("the second is 7"), "{second}");
        let brief = Plan::named("person").say("still here").to_brief();
        let said = house.ok(&["agent", "--session-key", "thread:budget", "-m", &brief]).await;
        assert_eq!(said.trim(), "still here");

        let world = judge::all_is_well(&house, &Default::default()).await;
        let ids: BTreeSet<_> = world
            .runs
            .iter()
            .filter(|run| run.session_key.to_string() == THREAD)
            .map(|run| run.session_id)
            .collect();
        assert_eq!((ids.len(), world.tasks.len()), (1, 2), "{wire}");
        let requests = requests_of(&house, &world);
        one_prefix_each(&requests);
        let thread = &requests[&THREAD.parse::<SessionKey>().unwrap()];
        assert_eq!(spoken(thread), [1, 3, 5], "{wire}: the whole history goes with each prompt");
        let two = thread[1].usage;
        let all = two.input + two.cache_read + two.cache_write();
        println!("{wire}: of {all} tokens {} read, {} written", two.cache_read, two.cache_write());
        assert!(two.cache_write() * 20 < all, "{wire}: {two:?}");
        assert!(two.cache_read * 100 >= all * 95, "{wire}: {two:?}");
    }
}

/// A person puts a thread away: a spawn that may go on with it takes it back, with its history; so
/// does the person.
#[tokio::test]
async fn a_thread_comes_back_from_the_archive() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    house.ask(&budget("the first is 42").to_brief()).await;
    house.ok(&["sessions", "archive", THREAD]).await;
    house.terminate().await;
    house.start().await;
    let second = house.ask(&budget("the second is 7").to_brief()).await;
    assert!(second.contains("the second is 7"), "{second}");
    house.ok(&["sessions", "archive", THREAD]).await;
    house.ok(&["sessions", "restore", THREAD]).await;
    let brief = Plan::named("person").say("still here").to_brief();
    let said = house.ok(&["agent", "--session-key", "thread:budget", "-m", &brief]).await;
    assert_eq!(said.trim(), "still here");
    let world = judge::all_is_well(&house, &Default::default()).await;
    let requests = requests_of(&house, &world);
    one_prefix_each(&requests);
    assert_eq!(spoken(&requests[&THREAD.parse::<SessionKey>().unwrap()]), [1, 3, 5]);
}

/// A thread of somebody else is not there, whether it is or not.
#[tokio::test]
async fn a_thread_of_another_owner_is_not_found() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    house.ask(&budget("mine").to_brief()).await;
    house.terminate().await;
    let change = format!("update sessions set owner = 'bob' where key = '{THREAD}'");
    let output = Command::new("sqlite3").arg(house.database()).arg(change).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    house.start().await;
    let child = Plan::new().say("never said");
    let args = json!({ "sessionKey": "thread:budget", "resumeIfExists": true });
    let plan = spawning(Plan::named("root"), "again", child, args).say("{last}");
    let answer = house.ask(&plan.to_brief()).await;
    assert!(answer.contains("session_not_found"), "{answer}");
    assert!(!answer.contains("bob"), "{answer}");
}

/// Twenty spawns of one name in one answer: one session, twenty answers, one after the other.
#[tokio::test]
async fn twenty_briefs_of_one_name() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["defaults"]["subagents"] = json!({ "maxChildrenPerAgent": 20 });
    })
    .await;
    house.start().await;
    let mut plan = Plan::named("root").spawn_many(20, "leaf", Plan::new().say("<{name}>"));
    let args = json!({ "sessionKey": "thread:budget", "resumeIfExists": true });
    for (key, value) in args.as_object().unwrap() {
        plan.steps[0].spawn[0].args.insert(key.clone(), value.clone());
    }
    let answer = house.ask(&plan.yield_().say("{results}").to_brief()).await;
    for n in 1..=20 {
        assert_eq!(answer.matches(&format!("<root.leaf-{n}>")).count(), 1, "{answer}");
    }
    let world = judge::all_is_well(&house, &Default::default()).await;
    let keys: BTreeSet<_> = world.tasks.iter().map(|task| &task.session_key).collect();
    assert_eq!((keys.len(), world.tasks.len()), (1, 20));
    one_prefix_each(&requests_of(&house, &world));
}
