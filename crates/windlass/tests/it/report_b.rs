//! What people have reported: a child fails, its requester takes it for gone and starts another,
//! and in the end four do the same work. Here it fails in every way a hundred times, and the
//! requester is impatient; there is one child, and the work is done once.

use machine::Limits;
use machine::check::World;
use machine::rows::{EntryKind, Outcome, StepKind, StepState};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::{Failure, Fault, FaultRule, Plan};
use types::{AssistantMessage, SessionKey, ToolResult};

use crate::house::{House, WIRES, late};
use crate::judge;
use crate::look::until;
use crate::threads::{one_prefix_each, requests_of};

/// Gateways, and runs of each.
const HOUSES: usize = 4;
const RUNS: usize = 25;

/// Kills of each gateway while its runs are at work.
const KILLS: usize = 2;

/// What goes wrong in a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// The provider refuses its request: the run fails.
    Refused,
    /// It is not done when its time is over.
    TimeOver,
    /// The provider is overloaded, and its gate closes for a while.
    Overloaded,
    /// The answer breaks off.
    Cut,
    /// The answer stops in the middle, and the line stays open.
    Stalled,
}

impl Wrong {
    const ALL: [Wrong; 5] =
        [Wrong::Refused, Wrong::TimeOver, Wrong::Overloaded, Wrong::Cut, Wrong::Stalled];

    fn of(n: usize) -> Wrong {
        Wrong::ALL[n % Wrong::ALL.len()]
    }

    /// Does the run end with it? Else it gets over it.
    fn lasts(self) -> bool {
        matches!(self, Wrong::Refused | Wrong::TimeOver)
    }

    /// What the child does at first: it comes to nothing, or works in spite of what goes wrong.
    fn child(self, n: usize) -> Plan {
        match self {
            Wrong::Refused => Plan::new().say("never said").failing(400, 100),
            Wrong::TimeOver => late(3_600_000, "never said"),
            Wrong::Overloaded | Wrong::Cut | Wrong::Stalled => work(n),
        }
    }

    /// What strikes the first attempt of a child that gets over it.
    fn fault(self, n: usize) -> Option<FaultRule> {
        let fault = match self {
            Wrong::Refused | Wrong::TimeOver => return None,
            Wrong::Overloaded => Fault::Error(Failure::status(529)),
            Wrong::Cut => Fault::Cut { after_tokens: 3 },
            Wrong::Stalled => Fault::Stall { after_tokens: 1 },
        };
        // The child's whole name is in its own brief and nowhere else.
        let contains = Some(format!("{}.work", name(n)));
        Some(FaultRule { contains, ..FaultRule::times(fault, 1) })
    }
}

fn name(n: usize) -> String {
    format!("r{n}x")
}

/// The work itself: it leaves a mark each time it is done.
fn work(n: usize) -> Plan {
    Plan::new()
        .call("exec", json!({ "command": format!("echo done >> w{n}.log") }))
        .say(&format!("<work {n} is done>"))
}

/// An orchestrator that asks for the work four times at once. If the child has failed, it looks
/// how that stands, and does as it is told: it goes on with the same one.
fn orchestrator(n: usize) -> Plan {
    let wrong = Wrong::of(n);
    let child = wrong.child(n);
    let mut plan = Plan::named(&name(n)).spawn(vec![("work", child); 4]);
    let more = match wrong {
        Wrong::TimeOver => Some(("runTimeoutSeconds", json!(1))),
        // A gate that closes is closed for all who ask the same model.
        Wrong::Overloaded => Some(("model", json!("stub/stub-2"))),
        _ => None,
    };
    if let Some((argument, value)) = more {
        for spawn in &mut plan.steps[0].spawn {
            spawn.args.insert(argument.to_owned(), value.clone());
        }
    }
    plan = plan.yield_();
    if wrong.lasts() {
        let key = json!({ "$result": { "name": "sessions_spawn", "pointer": "/childSessionKey" } });
        let send = json!({ "sessionKey": key, "mode": "resume", "message": work(n).to_brief() });
        plan = plan
            .call("session_status", json!({ "sessionKey": key }))
            .call("sessions_send", send)
            .yield_();
    }
    plan.say("{results}")
}

fn thread(n: usize) -> String {
    format!("thread:r{n}")
}

fn key(n: usize) -> SessionKey {
    format!("agent:main:{}", thread(n)).parse().unwrap()
}

/// The first of the gateways is killed when some of its children are at work, the others later.
async fn kill_in_the_middle(house: &mut House, kill: usize) {
    let ended = RUNS * kill / KILLS / 2;
    until(house, "some are at work, and some have ended", |world| {
        let done = world.tasks.iter().filter(|task| task.outcome.is_some()).count();
        let busy = world.runs.iter().any(|run| run.slot.is_some());
        done >= ended && busy || done >= RUNS
    })
    .await;
    house.kill();
    house.start().await;
}

async fn a_gateway_of_faults(wire: &str, runs: std::ops::Range<usize>) {
    let mut house = House::build(wire, |config| {
        let provider = &mut config["models"]["providers"]["stub"];
        provider["timeoutSeconds"] = json!(3);
        provider["models"] = json!([{ "id": "stub-1" }, { "id": "stub-2" }]);
        config["agents"]["defaults"]["maxConcurrent"] = json!(30);
        config["agents"]["defaults"]["subagents"] = json!({ "maxConcurrent": 30 });
    })
    .await;
    house.start().await;
    house.stub.set_faults(runs.clone().filter_map(|n| Wrong::of(n).fault(n)).collect());
    for n in runs.clone() {
        let (session, brief) = (thread(n), orchestrator(n).to_brief());
        house.ok(&["agent", "--session-key", &session, "--message", &brief, "--no-wait"]).await;
    }
    for kill in 0..KILLS {
        kill_in_the_middle(&mut house, kill).await;
    }
    until(&house, "all is quiet", |world| world.runs.iter().all(|run| run.phase.ended())).await;
    let world = judge::all_is_well(&house, &Limits::default()).await;
    one_prefix_each(&requests_of(&house, &world));
    for n in runs.clone() {
        it_was_struck(&house, &world, n);
        one_child_did_it(&house, &world, n).await;
    }
    let unknown = world
        .steps
        .iter()
        .filter(|step| step.kind == StepKind::Tool && step.state == StepState::Unknown);
    let marks: usize = runs.clone().map(|n| marks(&house, n)).sum();
    assert!(marks + unknown.count() >= runs.len(), "work was lost: {marks} of {}", runs.len());
}

/// What was to go wrong has gone wrong: in the outcome, or else at the stub.
fn it_was_struck(house: &House, world: &World, n: usize) {
    let wrong = Wrong::of(n);
    let first = world.tasks.iter().find(|task| task.requester_key == key(n)).unwrap();
    match wrong {
        Wrong::Refused => assert_eq!(first.outcome, Some(Outcome::Failed), "{n}"),
        Wrong::TimeOver => assert_eq!(first.outcome, Some(Outcome::TimedOut), "{n}"),
        Wrong::Overloaded | Wrong::Cut | Wrong::Stalled => {
            let step = format!("{}-", first.run);
            let journal = house.stub.journal();
            let mut asked = journal.requests.iter().filter(|entry| {
                entry.idempotency_key.as_ref().is_some_and(|key| key.starts_with(&step))
            });
            let struck = asked.any(|entry| !entry.faults.is_empty());
            assert!(struck, "{n} {wrong:?}: no request of {} was struck", first.run);
            assert_eq!(first.outcome, Some(Outcome::Completed), "{n} {wrong:?}");
        }
    }
}

/// How often the work was done.
fn marks(house: &House, n: usize) -> usize {
    let path = house.folder.path().join("workspace").join(format!("w{n}.log"));
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

async fn one_child_did_it(house: &House, world: &World, n: usize) {
    let wrong = Wrong::of(n);
    let tasks: Vec<_> = world.tasks.iter().filter(|task| task.requester_key == key(n)).collect();
    assert_eq!(tasks.len(), 1 + usize::from(wrong.lasts()), "{n} {wrong:?}");
    assert!(tasks.iter().all(|task| task.session_key == tasks[0].session_key), "{n} {wrong:?}");
    let sessions = world.sessions.iter().filter(|s| s.parent_key.as_ref() == Some(&key(n)));
    assert_eq!(sessions.count(), 1, "{n} {wrong:?}: one child session, not four");
    assert!(marks(house, n) <= 1, "{n} {wrong:?}: the work was done twice");

    let session = world.sessions.iter().find(|session| session.key == key(n)).unwrap();
    let reader = Reader::open(&house.database()).unwrap();
    let entries = reader.entries(session.session_id, 0, 1_000).await.unwrap();
    let result_of = |tool: &str| -> Vec<Value> {
        let results = entries.iter().filter(|entry| entry.kind == EntryKind::ToolResult);
        let results = results.filter_map(|e| serde_json::from_str::<ToolResult>(&e.body).ok());
        let named = results.filter(|result| result.name == tool);
        named.map(|result| serde_json::from_str(&result.text).unwrap()).collect()
    };
    let spawned = result_of("sessions_spawn");
    let statuses: Vec<&str> = spawned.iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "duplicate", "duplicate", "duplicate"], "{n}");
    for duplicate in &spawned[1..] {
        assert_eq!(duplicate["taskId"], spawned[0]["taskId"], "{n}");
        assert_eq!(duplicate["childSessionKey"], spawned[0]["childSessionKey"], "{n}");
        assert!(duplicate["note"].as_str().unwrap().contains("sessions_send"), "{duplicate}");
    }
    if wrong.lasts() {
        let status = &result_of("session_status")[0];
        assert_eq!(status["resumable"], true, "{n}: {status}");
        let note = status["note"].as_str().unwrap();
        assert!(
            note.contains("The session is alive: continue it with sessions_send"),
            "{n}: {note}"
        );
        let told = entries.iter().find(|entry| entry.kind == EntryKind::Announce).unwrap();
        let advice = format!("sessions_send {{\"sessionKey\":\"{}\"", tasks[0].session_key);
        assert!(told.body.contains(&advice), "{n}: {}", told.body);
    }
    let said = entries.iter().rev().find(|entry| entry.kind == EntryKind::Assistant).unwrap();
    let said: AssistantMessage = serde_json::from_str(&said.body).unwrap();
    let result = format!("<work {n} is done>");
    assert_eq!(said.text.matches(&result).count(), 1, "{n} {wrong:?}: {}", said.text);
}

#[tokio::test]
async fn a_hundred_children_fail_and_each_work_is_done_once() {
    let houses = (0..HOUSES).map(|house| {
        let first = house * RUNS;
        a_gateway_of_faults(WIRES[house % 2], first..first + RUNS)
    });
    futures::future::join_all(houses).await;
}
