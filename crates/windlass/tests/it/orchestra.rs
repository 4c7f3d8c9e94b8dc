//! The plug is pulled in the middle of everything at once: a tree, a standing helper that siblings
//! write to, a thread and a warm session that are gone on with, a branch, flows, work that must
//! hand something in, a provider that refuses, work that is stopped and work that is late, and a
//! person who types commands meanwhile.

use std::time::Duration;

use machine::check::World;
use machine::rows::{FlowNodeState, Outcome, Task, TaskKind};
use serde_json::{Value, json};
use stub::{Failure, Fault, FaultRule, Plan, Spawn, Step};

use crate::house::{House, Phone};
use crate::judge;
use crate::kill::{Dice, rounds, seed, wire};

/// Kills of one household at most, so that both wires have their share.
const PER_HOUSE: u32 = 10;

/// All that orchestration can do, killed at random moments: whatever was accepted is done once,
/// whatever was asked is answered once, and nobody hears a word twice.
#[tokio::test]
async fn all_of_it_survives_being_killed_at_random() {
    let rounds = rounds(10);
    let mut dice = Dice(seed());
    let (mut done, mut houses) = (0, 0);
    while done < rounds {
        done += survive(wire(houses), (rounds - done).min(PER_HOUSE), &mut dice).await;
        houses += 1;
    }
}

/// One command after another that must not run twice, with an answer between each.
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

/// Two levels of work, as in every fleet. The result of one leaf is also for the person.
fn tree() -> Plan {
    let leaf = |n: u32| busy(&format!("leaf{n}"), 2).say("<{name}>");
    let for_the_person = json!({ "announce": "person" });
    let leaves = vec![
        child("l1", leaf(1), json!({})),
        child("l2", leaf(2), json!({})),
        child("l3", leaf(3), for_the_person),
    ];
    Plan::new().step(spawning(leaves)).yield_().say("{results}")
}

/// Stopped by the person, in the middle: it would go on for a while.
fn doomed() -> Plan {
    let below = |name: &str| busy(name, 40).say("never");
    Plan::new().spawn([("d1", below("d1")), ("d2", below("d2"))]).yield_().say("never")
}

/// Requests that the provider refuses, and says when to come back: those of one child. And one
/// that it does not understand: that of a flow's task, which is tried again. Each knows its own
/// brief by the name in it.
fn refusals() -> Vec<FaultRule> {
    let of = |failure, times, name: &str| {
        let rule = FaultRule::times(Fault::Error(failure), times);
        FaultRule { contains: Some(format!("{{\"name\":\"{name}\",")), ..rule }
    };
    let later = Failure { retry_after_s: Some(1), ..Failure::status(429) };
    vec![of(later, 3, "root.limited"), of(Failure::status(400), 1, "waves.shaky")]
}

/// Says that it is done before what it has to hand in is there.
fn handing_in() -> Spawn {
    let plan = Plan::new()
        .say("it is done")
        .call("write", json!({ "path": "handed-in.md", "content": "all of it\n" }))
        .say("<{name}>");
    child("handing", plan, json!({ "deliverables": ["handed-in.md"] }))
}

/// The arguments of `flows` for tasks of a name, a plan, and what they depend on.
fn flow(name: &str, tasks: &[(&str, Plan, &[&str])]) -> (&'static str, Value) {
    let task = |(id, plan, after): &(&str, Plan, &[&str])| {
        let plan = Plan { name: format!("{name}.{id}"), ..plan.clone() };
        json!({ "id": id, "task": plan.to_brief(), "dependsOn": after, "retries": 1 })
    };
    let tasks: Vec<Value> = tasks.iter().map(task).collect();
    ("flows", json!({ "action": "start", "name": name, "onFailure": "continue", "tasks": tasks }))
}

/// Waves of work, one of which is tried again.
fn waves() -> (&'static str, Value) {
    let works = |name: &str| busy(name, 1).say("<{name}>");
    let tasks: [(&str, Plan, &[&str]); 4] = [
        ("first", works("first"), &[]),
        ("shaky", Plan::new().say("<{name}>"), &[]),
        ("then", works("then"), &["first", "shaky"]),
        ("last", works("last"), &["first"]),
    ];
    flow("waves", &tasks)
}

/// A flow that the person cancels, in the middle.
fn ebb() -> (&'static str, Value) {
    let tasks: [(&str, Plan, &[&str]); 2] =
        [("e1", busy("e1", 40).say("never"), &[]), ("e2", Plan::new().say("never"), &["e1"])];
    flow("ebb", &tasks)
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
        // The answer that comes by itself may come before this is said, while, or after: what is
        // said next is the same.
        .say("<{name}>")
        .say("<{name}>")
        .say("<{name}>")
}

/// Work in the thread of one name: the second brief waits for the first to be done.
fn in_thread(name: &str) -> Spawn {
    let thread = json!({ "sessionKey": "thread:plan", "resumeIfExists": true });
    child(name, busy(name, 1).say("<{name}>"), thread)
}

/// Work in a session of the pool: the second goes on in that of the first.
fn warm(name: &str) -> Spawn {
    child(name, Plan::new().say("<{name}>"), json!({ "reuse": "pool" }))
}

/// What a person asks for. Its parts hold commands that must not run twice; the stub knows each
/// part by its name.
fn job() -> Plan {
    let standing = json!({ "reuse": "key", "reuseKey": "helper" });
    let helper = child("helper", Plan::new().say("<{name}>"), standing);
    let first = spawning(vec![helper, warm("warm1")]);
    let then = spawning(vec![
        warm("warm2"),
        child("tree", tree(), json!({})),
        child("asker1", asker(1), json!({})),
        child("asker2", asker(2), json!({})),
        child("limited", Plan::new().say("<{name}>"), json!({})),
        child("late", busy("late", 40).say("never"), json!({ "runTimeoutSeconds": 12 })),
        child("doomed", doomed(), json!({})),
        in_thread("plan1"),
        in_thread("plan2"),
        handing_in(),
        child("branch", Plan::new().say("<{name}>"), json!({ "context": "fork" })),
    ]);
    let flows = Plan::new().calls([waves(), ebb()]).steps.remove(0).call;
    Plan::named("root")
        .step(first)
        .step(Step { when_results: Some(2), call: flows, ..then })
        .say_when_results(15, "all: {results}")
}

/// The parts of the job whose answers are in its answer.
const ANSWERED: [&str; 15] = [
    "root.helper",
    "root.warm1",
    "root.warm2",
    "root.tree.l1",
    "root.tree.l2",
    "root.tree.l3",
    "root.asker1",
    "root.asker2",
    "root.limited",
    "root.plan1",
    "root.plan2",
    "root.handing",
    "root.branch",
    "waves.then",
    "waves.last",
];

/// Lives through one household. Returns how often it was killed while work was open.
async fn survive(wire: &str, kills: u32, dice: &mut Dice) -> u32 {
    let mut house = House::build(wire, |config| {
        config["agents"]["defaults"]["subagents"] = json!({ "maxChildrenPerAgent": 20 });
    })
    .await;
    house.stub.set_faults(refusals());
    house.start().await;
    let phone = house.phone();
    let asked = tokio::spawn(async move { phone.say("main", "job", &job().to_brief()).await });
    let person = tokio::spawn(a_person(house.phone()));
    let mut done = 0;
    while done < kills && !asked.is_finished() {
        tokio::time::sleep(Duration::from_millis(500 + dice.below(1_000))).await;
        judge::all_have_gone_on(&house).await;
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
    let flows = phone.insist(&["flow", "list", "--json"]).await;
    let flows = flows.lines().map(|line| serde_json::from_str(line).unwrap());
    let ebb = flows.into_iter().find(|flow: &Value| flow["name"] == "ebb").expect("the flow");
    let cancel = ["flow", "cancel", ebb["flowId"].as_str().unwrap()];
    phone.insist(&cancel).await;
    assert!(phone.insist(&cancel).await.contains("it had ended before"));
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

    how_tasks_ended(house, &world);
    which_sessions_were_taken(&world);
    flows_were_carried_out(&world);

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

/// Who worked has completed, and what was stopped or late has ended so.
fn how_tasks_ended(house: &House, world: &World) {
    for (name, outcome) in [
        ("doomed", Outcome::Cancelled),
        ("d1", Outcome::Cancelled),
        ("d2", Outcome::Cancelled),
        ("late", Outcome::TimedOut),
        ("limited", Outcome::Completed),
        ("handing", Outcome::Completed),
    ] {
        assert_eq!(task(world, name).outcome, Some(outcome), "{name}");
    }
    let told = |what: &str| judge::count(house, "inbox", &format!("idem_key like '{what}:%'"));
    assert_eq!(told("deadline-warning"), 1, "a late run is warned once");
    assert_eq!(told("missing"), 1, "who hands nothing in is told once");
    assert_eq!(told("person"), 1, "the person is told once");
}

/// The only task of a name.
fn task<'a>(world: &'a World, name: &str) -> &'a Task {
    let of_name = world.tasks.iter().filter(|task| task.task_name.as_deref() == Some(name));
    let tasks: Vec<&Task> = of_name.collect();
    assert_eq!(tasks.len(), 1, "{name} was begun {} times", tasks.len());
    tasks[0]
}

/// A name, and the pool, lead to a session that was there.
fn which_sessions_were_taken(world: &World) {
    let session = |name: &str| task(world, name).session_key.to_string();
    assert_eq!([session("plan1"), session("plan2")], ["agent:main:thread:plan"; 2]);
    assert_eq!(session("helper"), "agent:main:subagent:helper");
    assert_eq!(session("warm1"), session("warm2"));
    let branches = world.transcripts.iter().filter(|row| row.base.is_some());
    assert_eq!(branches.count(), 1, "one branch");
}

fn flows_were_carried_out(world: &World) {
    assert_eq!(world.flows.len(), 2, "each flow is begun once");
    for node in &world.flow_nodes {
        let (state, attempts) = match node.name.as_str() {
            // The provider may have refused a run that was cut then, and went on.
            "shaky" => (FlowNodeState::Completed, 2),
            "e1" => (FlowNodeState::Cancelled, 1),
            "e2" => (FlowNodeState::Skipped, 0),
            _ => (FlowNodeState::Completed, 1),
        };
        assert!(node.state == state && node.attempt <= attempts, "{node:?}");
    }
}

/// A command that was cut is not run again, and none is run below a stop.
fn every_command_ran_once(house: &House) {
    for entry in std::fs::read_dir(house.folder.path().join("workspace")).unwrap() {
        let path = entry.unwrap().path();
        // Those that every workspace begins with.
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 1, "{} ran twice: {text:?}", path.display());
    }
}
