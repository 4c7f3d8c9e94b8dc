//! The plug is pulled in the middle of everything at once: a tree, a standing helper that siblings
//! write to, a provider that refuses, work that is stopped and work that is late, and a person who
//! types commands meanwhile.

use std::time::Duration;

use machine::rows::{Outcome, TaskKind};
use serde_json::{Value, json};
use stub::{Failure, Fault, FaultRule, Plan, Spawn, Step};

use crate::house::{House, Phone, WIRES};
use crate::judge;
use crate::kill::{Dice, rounds, seed};

/// Kills of one household at most, so that both wires have their share.
const PER_HOUSE: u32 = 10;

/// All that orchestration can do, killed at random moments: whatever was accepted is done once,
/// whatever was asked is answered once, and nobody hears a word twice.
#[tokio::test]
async fn all_of_it_survives_being_killed_at_random() {
    let rounds = rounds();
    let mut dice = Dice(seed());
    let (mut done, mut houses) = (0, 0);
    while done < rounds {
        done += survive(WIRES[houses % 2], (rounds - done).min(PER_HOUSE), &mut dice).await;
        houses += 1;
    }
}

/// One command after another that must not run twice, with an answer between each. Answers are
/// short against the time between kills: a run that is cut at one step four times in a row is
/// given up.
fn busy(name: &str, steps: u32) -> Plan {
    (0..steps).fold(Plan::new(), |plan, n| {
        let command = format!("echo {n} >> {name}-{n}.log");
        plan.call("exec", json!({ "command": command })).after_ms(400)
    })
}

fn child(name: &str, plan: Plan, args: Value) -> Spawn {
    let args = args.as_object().cloned().unwrap_or_default();
    Spawn { name: Some(name.to_owned()), plan: Some(plan.steps), args, ..Spawn::default() }
}

fn spawning(children: Vec<Spawn>) -> Step {
    Step { spawn: children, ..Step::default() }
}

/// Two levels of work, as in every fleet.
fn tree() -> Plan {
    let leaf = |n: u32| busy(&format!("leaf{n}"), 2).say("<{name}>");
    Plan::new().spawn([("l1", leaf(1)), ("l2", leaf(2)), ("l3", leaf(3))]).yield_().say("{results}")
}

/// Stopped by the person, in the middle: it would go on for a while.
fn doomed() -> Plan {
    let below = |name: &str| busy(name, 40).say("never");
    Plan::new().spawn([("d1", below("d1")), ("d2", below("d2"))]).yield_().say("never")
}

/// Requests that the provider refuses, and says when to come back. They are those of one child.
fn refusals() -> FaultRule {
    let refusal = Failure { retry_after_s: Some(1), ..Failure::status(429) };
    let rule = FaultRule::times(Fault::Error(refusal), 3);
    FaultRule { contains: Some("too much for its provider".to_owned()), ..rule }
}

fn limited() -> Spawn {
    let task = Some("This is too much for its provider.".to_owned());
    Spawn { task, ..child("limited", Plan::new().say("<{name}>"), json!({})) }
}

/// What a message asks its reader to say.
fn please_say(text: &str) -> String {
    Plan::new().say(text).to_brief()
}

/// Writes to its sibling, waits for one answer, and lets the other one come.
fn asker(n: u32) -> Plan {
    let send = |say: String, wait: u32| {
        let to = json!({ "label": "root.helper", "timeoutSeconds": wait });
        let mut arguments = to.as_object().cloned().unwrap_or_default();
        arguments.insert("message".to_owned(), json!(please_say(&say)));
        ("sessions_send", Value::Object(arguments))
    };
    Plan::new()
        .calls([send(format!("waited-for-{n}"), 300)])
        .calls([send(format!("by-itself-{n}"), 0)])
        .say("<{name}>")
}

/// What a person asks for. Its parts hold commands that must not run twice; the stub knows each
/// part by its name.
fn job() -> Plan {
    let helper = Plan::new().say("<{name}>");
    let first = spawning(vec![child("helper", helper, json!({}))]);
    let then = spawning(vec![
        child("tree", tree(), json!({})),
        child("asker1", asker(1), json!({})),
        child("asker2", asker(2), json!({})),
        limited(),
        child("late", busy("late", 40).say("never"), json!({ "runTimeoutSeconds": 12 })),
        child("doomed", doomed(), json!({})),
    ]);
    Plan::named("root")
        .step(first)
        .step(Step { when_results: Some(1), ..then })
        .say_when_results(7, "all: {results}")
}

/// The parts of the job whose answers are in its answer.
const ANSWERED: [&str; 7] = [
    "root.helper",
    "root.tree.l1",
    "root.tree.l2",
    "root.tree.l3",
    "root.asker1",
    "root.asker2",
    "root.limited",
];

/// Lives through one household. Returns how often it was killed while work was open.
async fn survive(wire: &str, kills: u32, dice: &mut Dice) -> u32 {
    let mut house = House::build(wire, |config| {
        config["agents"]["defaults"]["subagents"] = json!({ "maxChildrenPerAgent": 10 });
    })
    .await;
    house.stub.set_faults(vec![refusals()]);
    house.start().await;
    let phone = house.phone();
    let asked = tokio::spawn(async move { phone.say("main", "job", &job().to_brief()).await });
    let person = tokio::spawn(a_person(house.phone()));
    let mut done = 0;
    while done < kills && !(asked.is_finished() && person.is_finished()) {
        tokio::time::sleep(Duration::from_millis(500 + dice.below(1_000))).await;
        done += u32::from(!asked.is_finished());
        house.kill();
        house.start().await;
        judge::only_the_living_runs(&house).await;
        judge::every_promise(&house).await;
    }
    let patience = Duration::from_secs(240);
    let answer = tokio::time::timeout(patience, asked).await.expect("no answer");
    let answer = answer.unwrap_or_else(|why| panic!("{why}\n{}", house.what_was_said("main")));
    tokio::time::timeout(patience, person).await.expect("the person waits").unwrap();
    house.quiet().await;
    what_has_come_of_it(&house, &answer).await;
    done
}

/// Meanwhile the person goes on: every command is sent twice under its key, a while apart, and is
/// answered the same. Whatever fails because the gateway is away is tried again.
async fn a_person(phone: Phone) {
    let side = "thread:side";
    let hello = phone.say(side, "hello", &please_say("hello yourself")).await;
    assert!(hello.contains("hello yourself"), "{hello}");
    let spawn = format!("/subagents spawn main {}", please_say("spawned without a model"));
    for (key, command) in [("status", "/status"), ("new", "/new"), ("spawn", &spawn)] {
        twice(&phone, side, key, command).await;
    }
    let below = "root.doomed.d1";
    while !phone.insist(&["subagents", "list", "--json"]).await.contains(below) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    twice(&phone, "main", "stop", "/subagents kill doomed").await;
}

async fn twice(phone: &Phone, session: &str, key: &str, command: &str) {
    let once = phone.say(session, key, command).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(phone.say(session, key, command).await, once, "{command} under one key");
}

/// Looks at the rows, the files and the stub's journal when all is over.
async fn what_has_come_of_it(house: &House, answer: &str) {
    let world = judge::all_is_well(house, &Default::default()).await;
    for name in ANSWERED {
        assert_eq!(answer.matches(&format!("<{name}>")).count(), 1, "{name} in {answer}");
    }
    assert!(!answer.contains("never"), "what was stopped has gone on: {answer}");

    // Who asked was answered, and what was stopped or late has ended so.
    for (name, outcome, tasks) in [
        ("doomed", Outcome::Cancelled, 1),
        ("d1", Outcome::Cancelled, 1),
        ("d2", Outcome::Cancelled, 1),
        ("late", Outcome::TimedOut, 1),
        ("limited", Outcome::Completed, 1),
    ] {
        let of_name = world.tasks.iter().filter(|task| task.task_name.as_deref() == Some(name));
        let ends: Vec<_> = of_name.map(|task| task.outcome).collect();
        assert_eq!(ends, vec![Some(outcome); tasks], "{name}");
    }
    let warned = "kind = 'system' and idem_key like 'deadline-warning:%'";
    assert_eq!(judge::count(house, "inbox", warned), 1, "a late run is warned once");

    // Each message between siblings was heard once, and answered once, in one of two ways.
    for n in [1, 2] {
        for (say, so) in [("waited-for", (1, 0)), ("by-itself", (0, 1))] {
            let of = |what: &str| format!("{what} and body like '%{say}-{n}%'");
            assert_eq!(judge::count(house, "inbox", &of("kind = 'agent'")), 1, "{say}-{n}");
            let told = judge::count(house, "entries", &of("kind = 'tool_result'"));
            let replies = judge::count(house, "inbox", &of("kind = 'reply'"));
            assert_eq!((told, replies), so, "answers to {say}-{n}");
        }
    }

    // What the person has typed was done once.
    let side = "agent:main:thread:side";
    let of_side = world.transcripts.iter().filter(|row| row.session_key.to_string() == side);
    let ended: Vec<bool> = of_side.map(|row| row.ended.is_some()).collect();
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1, "one /new");
    assert_eq!(ended.len(), 2, "one /new");
    let typed = world.tasks.iter().filter(|task| task.kind == TaskKind::Cli).count();
    assert_eq!(typed, 1, "one spawn without a model");

    let refused = house.stub.journal().requests.iter().filter(|r| r.status == 429).count();
    assert_eq!(refused, 3, "the gate was asked more often than the provider said");
    every_command_ran_once(house);
}

/// A command that was cut is not run again, and none is run below a stop.
fn every_command_ran_once(house: &House) {
    for entry in std::fs::read_dir(house.folder.path().join("workspace")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 1, "{} ran twice: {text:?}", path.display());
    }
}
