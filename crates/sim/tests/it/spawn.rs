//! `sessions_spawn`: what it refuses, with which code, and what it takes for a duplicate.

use machine::limits::AllowAgents;
use machine::rows::{InboxKind, InboxState, LaneName, Outcome};
use machine::run::Phase;
use machine::{Event, Limits};
use sim::plan::limits;
use sim::script::{internal, spawn, wait};
use types::{AgentId, Announce, InternalCall, SpawnRequest, TaskTarget, WaitFor};

use crate::bench::{Bench, main_session};

fn ask(bench: &mut Bench, id: &str, request: SpawnRequest) -> serde_json::Value {
    let run = bench.open(&main_session());
    bench.call(run, id, InternalCall::spawn(request))
}

/// Each refusal has its code, and names the key that decides.
#[test]
fn refusals() {
    type Change = fn(&mut Limits);
    let agent = |id: &str| Some(id.parse::<AgentId>().unwrap());
    let plain = || spawn("count the lakes");

    #[rustfmt::skip]
    let table: [(&str, Change, SpawnRequest, &str); 7] = [
        // code               limits                                    request                                                   names
        ("agent_not_allowed", |_| {},                                   SpawnRequest { agent: agent("nobody"), ..plain() },       "agents.entries"),
        ("agent_not_allowed", forbid_agents,                            SpawnRequest { agent: agent("ops"), ..plain() },          "allowAgents"),
        ("invalid_argument",  require_agent,                            plain(),                                                  "requireAgentId"),
        ("model_unavailable", |_| {},                                   SpawnRequest { model: Some("x".into()), ..plain() },      "models.providers"),
        ("depth_exceeded",    |limits| limits.spawn_depth_max = 0,      plain(),                                                  "maxSpawnDepth is 0"),
        ("children_exceeded", |limits| limits.children_max = 0,         plain(),                                                  "maxChildrenPerAgent is 0"),
        ("tree_exceeded",     |limits| limits.tasks_per_tree_max = 0,   plain(),                                                  "maxTasksPerTree is 0"),
    ];

    for (code, change, request, names) in table {
        let mut limits = limits();
        change(&mut limits);
        let mut bench = Bench::new(limits);
        bench.send(&main_session(), "go");
        let reply = ask(&mut bench, "c", request);
        assert_eq!(reply["status"], "error", "{code}: {reply}");
        assert_eq!(reply["code"], code, "{reply}");
        assert!(reply["error"].as_str().unwrap().contains(names), "{code}: {reply}");
        assert!(bench.tasks().is_empty(), "{code}: a refused spawn leaves a task");
    }
}

fn forbid_agents(limits: &mut Limits) {
    for agent in limits.agents.values_mut() {
        agent.allow_agents = AllowAgents::These(Vec::new());
    }
}

fn require_agent(limits: &mut Limits) {
    limits.agents.values_mut().for_each(|agent| agent.require_agent = true);
}

/// What is the same task, and what is another.
#[test]
fn duplicates() {
    let named =
        |name: &str, brief: &str| SpawnRequest { task_name: Some(name.to_owned()), ..spawn(brief) };
    let keyed = |key: &str, brief: &str| SpawnRequest {
        idempotency_key: Some(key.to_owned()),
        ..spawn(brief)
    };

    #[rustfmt::skip]
    let table = [
        // first                 then                      status
        (spawn("Count  lakes"),  spawn("count lakes "),    "duplicate"),
        (spawn("count lakes"),   spawn("count rivers"),    "accepted"),
        (named("a", "count"),    named("a", "another"),    "duplicate"),
        (named("a", "count"),    named("b", "count"),      "accepted"),
        (named("a", "count"),    spawn("count"),           "duplicate"),
        (spawn("count"),         named("a", "count"),      "accepted"),
        (keyed("k", "count"),    keyed("k", "another"),    "duplicate"),
        (keyed("k", "count"),    keyed("l", "rivers"),     "accepted"),
    ];

    for (first, then, status) in table {
        let mut bench = Bench::new(limits());
        bench.send(&main_session(), "go");
        let (one, two) = (format!("{first:?}"), format!("{then:?}"));
        let earlier = ask(&mut bench, "c1", first);
        let reply = ask(&mut bench, "c2", then);
        assert_eq!(reply["status"], status, "{one}, then {two}");
        assert_eq!(reply["taskId"] == earlier["taskId"], status == "duplicate");
        // The call that goes on with it, for whoever is impatient.
        let call = format!("sessions_send {{\"sessionKey\":{}", earlier["childSessionKey"]);
        let told = reply["note"].as_str().unwrap().contains(&call);
        assert_eq!(told, status == "duplicate", "{reply}");
        assert_eq!(bench.tasks().len(), 1 + usize::from(status == "accepted"));
    }
}

/// An idempotency key answers the same after the task has ended; a brief does not.
#[test]
fn what_an_ended_task_still_answers_to() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let request = SpawnRequest {
        idempotency_key: Some("k".to_owned()),
        announce: Announce::None,
        ..spawn("count")
    };
    let first = ask(&mut bench, "c1", request.clone());
    let child = bench.tasks()[0].run;
    bench.say(child, "42");
    assert_eq!(ask(&mut bench, "c2", request)["taskId"], first["taskId"]);
    assert_eq!(ask(&mut bench, "c3", spawn("count"))["status"], "accepted");
}

/// A draining gateway starts no child: the calls wait for the next start, and are done there.
#[test]
fn a_spawn_while_draining_is_done_after_the_restart() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.pin(run);
    bench.apply(Event::Drain);
    bench.answer(run, "", vec![internal("c", InternalCall::spawn(spawn("count")))]);
    assert!(bench.tasks().is_empty());

    bench.restart();
    let started = bench.done.actions.iter().any(|action| {
        matches!(action, machine::Action::StartTool(start) if start.call_id == "c" && start.again)
    });
    assert!(started, "{:?}", bench.done.actions);
}

/// Children have a lane of their own, and a brief that never began ends with its task.
#[test]
fn the_brief_of_a_child_that_never_ran_is_cancelled() {
    let mut limits = limits();
    limits.lanes.insert(LaneName::Subagent, 1);
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    ask(&mut bench, "c1", spawn("first"));
    ask(&mut bench, "c2", spawn("second"));
    let second = bench.tasks()[1].clone();
    assert_eq!(bench.run(second.run).lane, LaneName::Subagent);
    assert_eq!(bench.run(second.run).started, None);

    bench.apply(Event::StopTask { task: second.id, by: "owner".to_owned() });
    let brief = bench.disk.world.inbox.iter().find(|row| row.session_key == second.session_key);
    assert_eq!(brief.unwrap().state, InboxState::Cancelled);
}

/// To steer a child that has ended is to go on with it: a task of its own, with its announce, in
/// the old session and with all that was said there.
#[test]
fn an_ended_child_is_resumed_as_a_new_task() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let named = SpawnRequest { task_name: Some("lakes".to_owned()), ..spawn("count lakes") };
    ask(&mut bench, "c", named);
    let first = bench.tasks()[0].clone();
    bench.say(first.run, "12");

    let top = bench.open(&main_session());
    let steer = |message: &str| InternalCall::Steer {
        target: TaskTarget(first.id.to_string()),
        message: message.to_owned(),
    };
    let reply = bench.call(top, "s", steer("and the ponds?"));
    assert_eq!(reply["resumed"], true, "{reply}");
    let second = bench.tasks()[1].clone();
    assert_eq!(second.session_key, first.session_key);
    assert_eq!(second.task_name.as_deref(), Some("lakes"));
    // While it is open it is steered like any other.
    let reply = bench.call(top, "s2", steer("the large ones"));
    assert_eq!(reply["resumed"], serde_json::Value::Null, "{reply}");

    bench.call(top, "y", InternalCall::Yield(wait(WaitFor::All)));
    bench.say(second.run, "7");
    bench.say(second.run, "7 large ones");
    assert_eq!(bench.tasks()[1].outcome, Some(Outcome::Completed));
    assert_eq!(bench.phase(top), Phase::AwaitingModel);
    let heard = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    assert_eq!(heard.count(), 2);
}

/// A parent cannot fill the inbox of a child that does not come to read it.
#[test]
fn steering_a_busy_child_has_a_bound() {
    let mut bench = Bench::new(Limits { queued_rows_max: 3, ..limits() });
    bench.send(&main_session(), "go");
    let top = bench.open(&main_session());
    bench.call(top, "c", InternalCall::spawn(spawn("count lakes")));
    let child = bench.tasks()[0].clone();
    let steer = |n: u32| InternalCall::Steer {
        target: TaskTarget(child.id.to_string()),
        message: format!("word {n}"),
    };
    let waiting = u32::try_from(bench.queued(&child.session_key).len()).unwrap();
    for n in waiting..3 {
        assert_eq!(bench.call(top, &format!("s{n}"), steer(n))["status"], "accepted");
    }
    let refused = bench.call(top, "s3", steer(3));
    assert_eq!(refused["code"], "queue_full", "{refused}");
    assert_eq!(bench.queued(&child.session_key).len(), 3);
}
