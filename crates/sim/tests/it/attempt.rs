//! `tasks retry`: what has ended without being completed is carried again, once, by whom it was.

use machine::attempt::Retry;
use machine::event::{Act, Change, Command, ModelFailure, Overflow};
use machine::rows::{InboxKind, InboxState, Outcome, Place, Task, TaskKind};
use machine::run::Phase;
use machine::{Answer, Event};
use serde_json::Value;
use sim::plan::limits;
use sim::script::{spawn, wait};
use types::{
    FailureClass, FlowRequest, FlowTask, InternalCall, RunId, SessionKey, SpawnRequest, TaskId,
    WaitFor,
};

use crate::bench::{Bench, main_session};

fn retry(task: TaskId) -> Retry {
    Retry { task, owner: "owner".to_owned(), below: None, idem_key: None }
}

fn ask(bench: &mut Bench, asked: Retry) -> Value {
    match bench.apply(Event::RetryTask(asked)) {
        Answer::Told { text, .. } => serde_json::from_str(&text).expect("the answer is JSON"),
        other => panic!("a retry is answered {other:?}"),
    }
}

fn again(bench: &mut Bench, task: TaskId) -> Value {
    ask(bench, retry(task))
}

fn fail(bench: &mut Bench, run: RunId) {
    bench.pin(run);
    let (token, step) = (bench.token(run), bench.run(run).next_step - 1);
    let (class, message) = (FailureClass::Auth, "no key".to_owned());
    let failure = ModelFailure {
        class,
        message,
        retry_after_ms: None,
        paid: false,
        overflow: Overflow::default(),
    };
    bench.apply(Event::ModelFailed { run, token, step, failure });
}

/// A parent with one child, which has failed; the parent is at work.
fn failed_child(request: SpawnRequest) -> (Bench, RunId, Task) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    bench.call(parent, "s", InternalCall::spawn(request));
    let child = bench.tasks()[0].run;
    fail(&mut bench, child);
    assert_eq!(bench.outcomes(), [Some(Outcome::Failed)]);
    let task = bench.tasks()[0].clone();
    (bench, parent, task)
}

fn newest(bench: &Bench) -> Task {
    bench.tasks().iter().max_by_key(|task| task.id).expect("there is a task").clone()
}

fn announces(bench: &Bench, task: TaskId) -> usize {
    let rows = bench.disk.world.inbox.iter();
    rows.filter(|row| row.kind == InboxKind::Announce && row.task == Some(task)).count()
}

/// The same session goes on, knows what was before, and its result comes once.
#[test]
fn the_session_that_knows_the_work_goes_on_with_it() {
    let request = SpawnRequest { task_name: Some("dig".to_owned()), ..spawn("dig here") };
    let (mut bench, _, first) = failed_child(request);
    let told = again(&mut bench, first.id);
    let second = newest(&bench);
    assert_eq!(told["status"], "accepted", "{told}");
    assert_eq!(told["taskId"], second.id.to_string());
    assert_eq!((second.attempt, second.retry_of), (2, Some(first.id)));
    assert_eq!(second.session_key, first.session_key, "never a second session");
    assert_eq!(second.requester_key, main_session());
    assert_eq!(second.task_name.as_deref(), Some("dig"));
    assert_eq!(bench.disk.world.sessions.len(), 2);

    let brief = bench.body(&first.session_key, &format!("brief:{}", second.id));
    for part in ["attempt 2", "(failed): no key", "stands above", "dig here"] {
        assert!(brief.contains(part), "no `{part}` in {brief}");
    }
    bench.say(second.run, "found it");
    assert_eq!(newest(&bench).outcome, Some(Outcome::Completed));
    assert_eq!((announces(&bench, first.id), announces(&bench, second.id)), (1, 1));
    // The first stays as it ended.
    assert_eq!(bench.tasks()[0].outcome, Some(Outcome::Failed));
}

/// However often it is asked for, and of whichever attempt, one is carried at a time.
#[test]
fn a_retry_is_idempotent() {
    let (mut bench, _, first) = failed_child(spawn("dig"));
    again(&mut bench, first.id);
    let second = newest(&bench);
    let told = again(&mut bench, first.id);
    assert_eq!((&told["status"], &told["taskId"]), (&"duplicate".into(), &told["taskId"]));
    assert_eq!(told["taskId"], second.id.to_string());
    assert_eq!(again(&mut bench, second.id)["code"], "open");
    assert_eq!(bench.tasks().len(), 2);

    // The first attempt again means the newest: what it had done counts.
    fail(&mut bench, second.run);
    let told = again(&mut bench, first.id);
    let third = newest(&bench);
    assert_eq!((third.attempt, third.retry_of), (3, Some(second.id)), "{told}");
    let brief = bench.body(&first.session_key, &format!("brief:{}", third.id));
    assert_eq!(brief.matches("The task, as it was given").count(), 1, "{brief}");
    bench.say(third.run, "found it");
    for task in [first.id, second.id, third.id] {
        let told = again(&mut bench, task);
        assert_eq!(told["code"], "completed");
        assert!(told["error"].as_str().unwrap().contains("windlass agent --session-key"), "{told}");
    }
}

/// An answer that was lost is given again, also when the attempt has ended meanwhile.
#[test]
fn a_key_names_one_attempt() {
    let (mut bench, _, first) = failed_child(spawn("dig"));
    let keyed = |task| Retry { idem_key: Some("k".to_owned()), ..retry(task) };
    assert_eq!(ask(&mut bench, keyed(first.id))["status"], "accepted");
    let second = newest(&bench);
    fail(&mut bench, second.run);
    let told = ask(&mut bench, keyed(first.id));
    assert_eq!((&told["status"], &told["outcome"]), (&"duplicate".into(), &"failed".into()));
    assert_eq!(bench.tasks().len(), 2);
    // Another work cannot have it.
    let parent = bench.open(&main_session());
    let other = SpawnRequest { task_name: Some("other".to_owned()), ..spawn("fill") };
    bench.call(parent, "o", InternalCall::spawn(other));
    let other = newest(&bench);
    fail(&mut bench, other.run);
    assert_eq!(ask(&mut bench, keyed(other.id))["code"], "idempotency_conflict");
}

/// What was stopped before it had begun is carried for the first time.
#[test]
fn what_never_began_begins() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    let named = |brief: &str, name: &str| SpawnRequest {
        session: Some("thread:plan".parse().unwrap()),
        resume_if_exists: true,
        task_name: Some(name.to_owned()),
        ..spawn(brief)
    };
    bench.call(parent, "a", InternalCall::spawn(named("first", "a")));
    bench.call(parent, "b", InternalCall::spawn(named("second", "b")));
    let waits = newest(&bench);
    bench.apply(Event::StopTask { task: waits.id, by: "owner".to_owned() });
    assert_eq!(newest(&bench).outcome, Some(Outcome::Cancelled));
    assert_eq!(again(&mut bench, waits.id)["status"], "accepted");
    let second = newest(&bench);
    let brief = bench.body(&waits.session_key, &format!("brief:{}", second.id));
    assert!(brief.contains("It had not begun then.") && brief.ends_with("second"), "{brief}");
}

/// Each refusal says what decides and what to do instead.
#[test]
fn what_cannot_be_carried_again_says_why() {
    type Spoil = fn(&mut Bench, RunId, &Task) -> Retry;
    #[rustfmt::skip]
    let table: [(&str, &str, Spoil); 6] = [
        ("task_not_found", "windlass tasks list", |_, _, _| retry(TaskId::new(uuid::Uuid::nil()))),
        ("task_not_found", "no task", |_, _, task| {
            Retry { owner: "somebody".to_owned(), ..retry(task.id) }
        }),
        ("task_not_found", "below agent:ops:main", |_, _, task| {
            Retry { below: Some("agent:ops:main".parse().unwrap()), ..retry(task.id) }
        }),
        ("session_archived", "windlass sessions restore agent:main:subagent:", |bench, _, task| {
            change(bench, &task.session_key, Change::Archive);
            retry(task.id)
        }),
        ("session_not_found", "windlass spawn", |bench, _, task| {
            change(bench, &task.session_key, Change::Delete);
            retry(task.id)
        }),
        ("draining", "draining", |bench, _, task| {
            bench.apply(Event::Drain);
            retry(task.id)
        }),
    ];
    for (code, words, spoil) in table {
        let (mut bench, parent, task) = failed_child(spawn("dig"));
        let asked = spoil(&mut bench, parent, &task);
        let told = ask(&mut bench, asked);
        assert_eq!(told["code"], code, "{told}");
        assert!(told["error"].as_str().unwrap().contains(words), "{told}");
        assert_eq!(bench.tasks().len(), 1, "nothing is stored");
    }
}

fn change(bench: &mut Bench, session: &SessionKey, change: Change) {
    let by = "owner".to_owned();
    let answer = bench.apply(Event::Change { session: session.clone(), by, change });
    assert!(matches!(answer, Answer::Changed(_)), "{answer:?}");
}

/// Limits hold for attempts as for spawns, and name their keys.
#[test]
fn a_retry_needs_room() {
    let (mut bench, parent, task) = failed_child(spawn("dig"));
    bench.limits.children_max = 1;
    bench.call(parent, "o", InternalCall::spawn(spawn("fill")));
    let told = again(&mut bench, task.id);
    assert_eq!(told["code"], "children_exceeded", "{told}");
    assert!(told["error"].as_str().unwrap().contains("maxChildrenPerAgent is 1"), "{told}");
    bench.limits.children_max = 5;
    bench.limits.tasks_per_tree_max = 1;
    assert_eq!(again(&mut bench, task.id)["code"], "tree_exceeded");
    bench.limits.tasks_per_tree_max = 9;
    bench.limits.spawn_depth_max = 0;
    assert_eq!(again(&mut bench, task.id)["code"], "depth_exceeded");
}

/// A middle agent whose own task has ended hears nothing any more: whoever asked for its work does.
#[test]
fn the_result_goes_to_whoever_stands_for_the_requester() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    bench.call(parent, "s", InternalCall::spawn(spawn("lead")));
    let lead = bench.tasks()[0].clone();
    bench.call(lead.run, "s", InternalCall::spawn(spawn("leaf")));
    let leaf = newest(&bench);
    bench.call(lead.run, "y", InternalCall::Yield(wait(WaitFor::All)));
    fail(&mut bench, leaf.run);
    // While the lead is at work, it is its requester.
    assert_eq!(again(&mut bench, leaf.id)["requesterSessionKey"], lead.session_key.to_string());
    let second = newest(&bench);
    assert_eq!(second.parent, Some(lead.id));
    fail(&mut bench, lead.run);
    fail(&mut bench, second.run);
    let told = again(&mut bench, leaf.id);
    assert_eq!(told["requesterSessionKey"], main_session().to_string(), "{told}");
    let third = newest(&bench);
    assert_eq!((third.parent, third.depth), (None, 1));
    bench.say(third.run, "found it");
    let heard = |row: &&machine::rows::InboxRow| row.task == Some(third.id);
    let mut row = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    let row = row.rfind(heard).expect("an announce");
    assert_eq!((&row.session_key, row.place), (&main_session(), Place::Steer));
    assert!(row.state != InboxState::Dead);
}

/// Nothing is born below a stop that is under way, and a flow tries again by itself.
#[test]
fn below_a_stop_and_in_a_flow_nothing_is_carried_again() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    let task = FlowTask::of("a".parse().unwrap(), "part");
    let flow = InternalCall::StartFlow(Box::new(FlowRequest::of("flow", vec![task])));
    bench.call(parent, "f", flow);
    let node = bench.tasks().iter().find(|t| t.kind == TaskKind::FlowNode).unwrap().clone();
    fail(&mut bench, node.run);
    for task in bench.tasks().to_vec() {
        let told = again(&mut bench, task.id);
        assert_eq!(told["code"], "not_retriable", "{told}");
        assert!(told["error"].as_str().unwrap().contains("windlass flow run"), "{told}");
    }
}

/// A person types it in the conversation that has asked for the work, once for each key.
#[test]
fn a_person_types_it() {
    let (mut bench, parent, first) = failed_child(spawn("dig"));
    let typed = |key: &str, task| {
        Event::Command(Command {
            session: main_session(),
            owner: "owner".to_owned(),
            origin: "web".to_owned(),
            idem_key: key.to_owned(),
            text: "/tasks retry".to_owned(),
            act: Act::Retry(task),
        })
    };
    for key in ["a", "a"] {
        let Answer::Commanded(told) = bench.apply(typed(key, first.id)) else {
            panic!("no answer")
        };
        assert!(told.answer.starts_with("Carried again: tsk_"), "{}", told.answer);
        assert!(told.answer.contains("attempt 2"), "{}", told.answer);
    }
    assert_eq!(bench.tasks().len(), 2);
    let Answer::Commanded(told) = bench.apply(typed("b", first.id)) else { panic!("no answer") };
    assert!(told.answer.starts_with("It is carried again already"), "{}", told.answer);
    assert_eq!(bench.phase(parent), Phase::AwaitingModel);
}
