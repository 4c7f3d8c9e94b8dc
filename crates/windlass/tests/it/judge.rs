//! What must hold after any story: judged from the database and the stub's journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use machine::check::{self, World};
use machine::limits::RECOVERIES_MAX;
use machine::rows::{
    EntryKind, InboxKind, InboxState, NodeState, Outcome, Place, StepKind, StepState, Task,
};
use store::{Reader, Reads};

use crate::house::House;

/// Checks that nothing was lost, doubled or left open, whatever was killed when.
pub async fn all_is_well(house: &House, limits: &machine::Limits) -> World {
    let reader = Reader::open(&house.database()).unwrap();
    let world = reader.snapshot().await.unwrap();
    let broken = check::check(&world, limits);
    assert!(broken.is_empty(), "{broken:#?}");
    nothing_is_open(&world);
    every_result_arrived_once(&world);
    nothing_opaque_ran_twice(&world);
    no_answer_was_asked_for_again(house, &world);
    assert_eq!(house.stub.journal().invalid, 0, "the stub has refused a request");
    nothing_is_said_to_run(house);
    world
}

/// The invariants, between any two commits: also while work goes on.
pub async fn every_promise(house: &House) {
    let reader = Reader::open(&house.database()).unwrap();
    let world = reader.snapshot().await.unwrap();
    let broken = check::check(&world, &machine::Limits::default());
    assert!(broken.is_empty(), "{broken:#?}\n{}", house.log());
}

/// Waits until every run has made a step since it was taken over, if it was often before: one that
/// is cut at the same step again and again is given up, and that is another story.
pub async fn all_have_gone_on(house: &House) {
    let reader = Reader::open(&house.database()).unwrap();
    for _ in 0..1_200 {
        let world = reader.snapshot().await.unwrap();
        let mut open = world.runs.iter().filter(|run| !run.phase.ended());
        if open.all(|run| run.recoveries < RECOVERIES_MAX) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a run makes no step\n{}", house.log());
}

/// The announce of a task, as it stands in its requester's transcript.
pub async fn read_by(house: &House, world: &World, task: &Task) -> String {
    let session = world.sessions.iter().find(|row| row.key == task.requester_key).unwrap();
    let reader = Reader::open(&house.database()).unwrap();
    let page = reader.history(session.session_id, None, 100).await.unwrap();
    let announce = page.entries.into_iter().find(|entry| entry.kind == EntryKind::Announce);
    announce.expect("the result is in the transcript").body
}

/// Counts rows of a table, with the shell that users have.
pub fn count(house: &House, table: &str, which: &str) -> u64 {
    let question = format!("select count(*) from {table} where {which}");
    let mut shell = Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(&question).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().unwrap_or_else(|_| panic!("{question}: {output:?}"))
}

fn nothing_is_open(world: &World) {
    for run in &world.runs {
        assert!(run.phase.ended(), "{} is {:?}", run.id, run.phase);
    }
    // What a stop has held waits for a person, not for the gateway.
    for row in world.inbox.iter().filter(|row| row.place != Place::Hold) {
        assert_ne!(row.state, InboxState::Queued, "{} of {} waits", row.id, row.session_key);
    }
}

/// The result of each task that has completed is in its requester's transcript exactly once.
fn every_result_arrived_once(world: &World) {
    let heard = |task: &&Task| {
        task.outcome == Some(Outcome::Completed) && task.announce.reaches_requester()
    };
    for task in world.tasks.iter().filter(heard) {
        let arrived = world.inbox.iter().filter(|row| {
            row.kind == InboxKind::Announce
                && row.task == Some(task.id)
                && row.session_key == task.requester_key
                && row.state == InboxState::Consumed
        });
        assert_eq!(arrived.count(), 1, "the result of {}", task.id);
    }
    let announces = world.entries.iter().filter(|entry| entry.kind == EntryKind::Announce).count();
    let consumed = world
        .inbox
        .iter()
        .filter(|row| row.kind == InboxKind::Announce && row.state == InboxState::Consumed)
        .count();
    assert_eq!(announces, consumed);
}

/// An opaque call is one step, and a step that was cut is closed as unknown: it is never begun
/// again.
fn nothing_opaque_ran_twice(world: &World) {
    let mut calls = BTreeMap::new();
    for step in world.steps.iter().filter(|step| step.kind == StepKind::Tool) {
        *calls.entry((step.run, step.asked_by, step.call_id.clone())).or_insert(0) += 1;
    }
    assert!(calls.values().all(|count| *count == 1), "{calls:?}");
}

/// The stub was asked each question until its answer was committed, and not once more.
fn no_answer_was_asked_for_again(house: &House, world: &World) {
    let mut done = BTreeMap::new();
    for step in world.steps.iter().filter(|step| step.kind == StepKind::Model) {
        done.insert(format!("{}-{}", step.run, step.n), step.state == StepState::Done);
    }
    let mut answered: BTreeMap<(String, String), String> = BTreeMap::new();
    let journal = house.stub.journal();
    for entry in &journal.requests {
        let key = entry.idempotency_key.clone().expect("every request has a key");
        let run = key.rsplit_once('-').expect("run and step").0.to_owned();
        let question = (run, entry.conversation.clone());
        if let Some(before) = answered.get(&question) {
            panic!("{key} asks again what {before} has answered, and that was committed");
        }
        if done.get(&key).copied().unwrap_or(false) {
            answered.insert(question, key);
        }
    }
}

/// When all is over, no view of the file says that anything runs.
fn nothing_is_said_to_run(house: &House) {
    let question = "select (select count(*) from v_runs where activity <> 'idle') || ' ' ||
                           (select count(*) from v_sessions where activity <> 'idle')";
    let mut shell = Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(question).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0 0\n", "{output:?}");
}

/// Every run that holds a slot holds it for the gateway that lives: what a killed one had is taken
/// over in the commit in which the next one says that it is there.
pub async fn only_the_living_runs(house: &House) {
    let reader = Reader::open(&house.database()).unwrap();
    for _ in 0..200 {
        let newest = reader.nodes(1).await.unwrap().remove(0);
        if newest.pid != house.pid() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        for run in reader.snapshot().await.unwrap().runs {
            let held = run.slot.is_none() || run.node == Some(newest.id);
            assert!(held, "{} runs for a gateway that is gone: {:?}", run.id, run.node);
        }
        return;
    }
    panic!("the gateway has not said that it is there\n{}", house.log());
}

/// Looks at the file again and again while it is fought over, and compares what it says with the
/// processes that there are.
#[derive(Debug)]
pub struct Sampler {
    done: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Samples>,
}

/// What a sampler has seen.
#[derive(Debug, Default)]
pub struct Samples {
    /// Looks at which something was said to run.
    pub running: u32,
    /// Of those, looks at which it ran in a process that was gone.
    pub gone: u32,
    /// For how long at most a dead process was said to be at work.
    pub longest: Duration,
}

impl Sampler {
    pub fn start(house: &House) -> Sampler {
        let done = Arc::new(AtomicBool::new(false));
        let (path, end) = (house.database(), Arc::clone(&done));
        let task = tokio::spawn(async move {
            let mut samples = Samples::default();
            let mut gone: BTreeMap<u32, Instant> = BTreeMap::new();
            while !end.load(Ordering::Relaxed) {
                sample(&path, &mut samples, &mut gone).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            samples
        });
        Sampler { done, task }
    }

    pub async fn stop(self) -> Samples {
        self.done.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn sample(path: &Path, samples: &mut Samples, gone: &mut BTreeMap<u32, Instant>) {
    // While a gateway begins, the file may not be there yet, or be in its hands alone.
    let Ok(reader) = Reader::open(path) else { return };
    let (Ok(nodes), Ok(world)) = (reader.nodes(100).await, reader.snapshot().await) else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let running = nodes.iter().filter(|node| {
        let live = node.state != NodeState::Down && node.lease_until.ms() > now;
        live && world.runs.iter().any(|run| run.slot.is_some() && run.node == Some(node.id))
    });
    for node in running {
        samples.running += 1;
        if is_alive(node.pid) {
            continue;
        }
        samples.gone += 1;
        let since = *gone.entry(node.pid).or_insert_with(Instant::now);
        samples.longest = samples.longest.max(since.elapsed());
    }
}

/// Is there such a process, and not only its name?
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
