//! Sessions with a name: made once, gone on with by those who may, one task at a time.

use std::collections::BTreeSet;

use machine::Limits;
use machine::rows::{EntryKind, InboxKind, InboxState, Lifecycle, Outcome, Session, Task};
use machine::run::{Phase, WaitKind};
use serde_json::Value;
use sim::plan::{inbound, limits};
use sim::script::{Said, internal, spawn, wait};
use sim::{Plan, Sim};
use types::{
    Access, AgentId, Announce, FlowRequest, FlowTask, InternalCall, Reuse, SessionKey,
    SpawnRequest, TaskTarget, WaitFor, WhenBusy,
};

use crate::bench::{Bench, key, main_session};

fn named(name: &str, brief: &str) -> SpawnRequest {
    SpawnRequest { session: Some(name.parse().unwrap()), resume_if_exists: true, ..spawn(brief) }
}

fn open_limits() -> Limits {
    let mut limits = limits();
    (limits.children_max, limits.tasks_per_tree_max) = (30, 100);
    limits
}

fn started() -> Bench {
    let mut bench = Bench::new(open_limits());
    bench.send(&main_session(), "go");
    bench
}

fn ask(bench: &mut Bench, from: &SessionKey, id: &str, request: SpawnRequest) -> Value {
    let run = bench.open(from);
    bench.call(run, id, InternalCall::spawn(request))
}

fn session<'a>(bench: &'a Bench, key: &SessionKey) -> &'a Session {
    bench.disk.world.sessions.iter().find(|row| row.key == *key).unwrap()
}

fn last_task(bench: &Bench) -> Task {
    bench.tasks().last().unwrap().clone()
}

fn briefs_in(bench: &Bench, key: &SessionKey) -> usize {
    let id = session(bench, key).session_id;
    let entries = bench.disk.world.entries.iter();
    entries.filter(|e| e.session_id == id && e.kind == EntryKind::Brief).count()
}

/// There or not, told to go on or not, whose, idle or busy: what comes of it.
#[test]
fn what_a_name_opens() {
    let budget = || named("thread:budget", "again");
    let strict = || SpawnRequest { resume_if_exists: false, ..budget() };
    let busy = |what| SpawnRequest { when_busy: Some(what), ..budget() };
    let other_model = || SpawnRequest { model: Some("other".into()), ..budget() };
    let folder = || SpawnRequest { cwd: Some("elsewhere".into()), ..budget() };
    let reading = || SpawnRequest { access: Access::ReadOnly, ..budget() };

    #[rustfmt::skip]
    let table = [
        // before      request                       status      code                reused
        ("nothing",    budget(),                     "accepted", "",                 false),
        ("nothing",    strict(),                     "accepted", "",                 false),
        ("idle",       budget(),                     "accepted", "",                 true),
        ("idle",       strict(),                     "error",    "session_exists",   false),
        ("archived",   strict(),                     "error",    "session_exists",   false),
        ("archived",   budget(),                     "accepted", "",                 true),
        ("busy",       budget(),                     "accepted", "",                 true),
        ("busy",       busy(WhenBusy::Queue),        "accepted", "",                 true),
        ("busy",       busy(WhenBusy::Fresh),        "accepted", "",                 false),
        ("busy",       busy(WhenBusy::Refuse),       "error",    "busy",             false),
        ("another's",  budget(),                     "error",    "session_not_found", false),
        ("another's",  strict(),                     "error",    "session_not_found", false),
        ("nothing",    named("cron:nightly", "x"),   "error",    "session_not_found", false),
        ("nothing",    named("telegram:direct:7", "x"), "error", "session_not_found", false),
        ("nothing",    named("main", "x"),           "error",    "session_not_found", false),
        ("idle",       other_model(),                "error",    "invalid_argument", false),
        ("idle",       folder(),                     "error",    "invalid_argument", false),
        ("idle",       reading(),                    "error",    "invalid_argument", false),
    ];

    for (before, request, status, code, reused) in table {
        let mut bench = started();
        bench.limits.models.insert("other".to_owned(), 2_000);
        let said = format!("{before}: {request:?}");
        bring_about(&mut bench, before);
        let tasks = bench.tasks().len();
        let reply = ask(&mut bench, &main_session(), "c", request);
        assert_eq!(reply["status"], status, "{said}: {reply}");
        if status == "error" {
            assert_eq!(reply["code"], code, "{said}: {reply}");
            assert_eq!(bench.tasks().len(), tasks, "{said}: a refused spawn leaves a task");
        } else {
            assert_eq!(reply["reused"], reused, "{said}: {reply}");
        }
    }
}

fn bring_about(bench: &mut Bench, before: &str) {
    let thread = key("agent:main:thread:budget");
    match before {
        "nothing" => return,
        "another's" => {
            let message = inbound(&thread, "my own budget");
            bench.send_as(machine::event::Inbound { owner: "bob".to_owned(), ..message });
        }
        _ => {
            ask(bench, &main_session(), "before", named("thread:budget", "the first"));
        }
    }
    if before != "busy" {
        let run = bench.open(&thread);
        bench.say(run, "42");
    }
    if before == "archived" {
        let put_away = session(bench, &thread).clone();
        let at = Some(bench.at.now);
        let row = Session { lifecycle: Lifecycle::Archived, archived: at, ..put_away };
        machine::Rows::put_session(&mut bench.disk, &row);
    }
}

/// For another owner it is the same whether there is such a session or not.
#[test]
fn what_belongs_to_another_is_not_there() {
    let mut bench = started();
    bring_about(&mut bench, "another's");
    let theirs = ask(&mut bench, &main_session(), "a", named("thread:budget", "x"));
    let none = ask(&mut bench, &main_session(), "b", named("hook:none", "x"));
    let words = |reply: &Value, key: &str| reply["error"].as_str().unwrap().replace(key, "KEY");
    assert_eq!(words(&theirs, "agent:main:thread:budget"), words(&none, "agent:main:hook:none"),);
}

/// The same conversation: its history, its prefix, one run at a time.
#[test]
fn a_thread_goes_on_with_its_whole_history() {
    let mut bench = started();
    let thread = key("agent:main:thread:budget");
    let first = ask(&mut bench, &main_session(), "a", named("thread:budget", "the first"));
    let run = bench.open(&thread);
    bench.say(run, "42");
    bench.restart();
    let again = ask(&mut bench, &main_session(), "b", named("thread:budget", "the second"));
    assert_eq!(first["sessionId"], again["sessionId"]);
    assert_ne!(first["taskId"], again["taskId"]);
    assert_eq!(again["context"], "continued");
    assert!(again["reuseReason"].as_str().unwrap().contains("whole history"), "{again}");
    let run = bench.open(&thread);
    assert_eq!(bench.phase(run), Phase::AwaitingModel, "its prefix is not rendered again");
    assert_eq!(briefs_in(&bench, &thread), 2);
    assert_eq!(bench.disk.world.episodes.iter().filter(|e| e.n > 1).count(), 0);
}

/// Twenty spawns of one name: one session, twenty tasks, one after the other, in order.
#[test]
fn twenty_briefs_of_one_name_wait_for_each_other() {
    let mut bench = started();
    let thread = key("agent:main:thread:budget");
    let main = bench.open(&main_session());
    let calls = (0..20).map(|n| {
        let request = named("thread:budget", &format!("brief {n}"));
        internal(&format!("c{n}"), InternalCall::spawn(request))
    });
    bench.answer(main, "", calls.collect());
    let sessions: BTreeSet<&SessionKey> =
        bench.tasks().iter().map(|task| &task.session_key).collect();
    assert_eq!(sessions.len(), 1);
    let reply = bench.result(main, "c7");
    assert_eq!(reply["lane"]["ahead"], 7, "{reply}");
    assert!(reply["reuseReason"].as_str().unwrap().contains("behind 7 others"), "{reply}");
    for n in 0..20 {
        let task = bench.tasks()[n].clone();
        assert_eq!(bench.open(&thread), task.run, "task {n}");
        assert_eq!(briefs_in(&bench, &thread), n + 1);
        bench.say(task.run, "done");
    }
    assert!(bench.outcomes().iter().all(|outcome| *outcome == Some(Outcome::Completed)));
}

/// A brief that comes while the session waits for its own children does not end that wait.
#[test]
fn a_brief_waits_for_the_end_of_a_run_that_waits() {
    let mut bench = started();
    let thread = key("agent:main:thread:budget");
    bench.send_as(machine::event::Inbound {
        origin: "chat".to_owned(),
        ..inbound(&thread, "plan it")
    });
    let talk = bench.open(&thread);
    let calls = vec![
        internal("s", InternalCall::spawn(spawn("part of it"))),
        internal("y", InternalCall::Yield(wait(WaitFor::All))),
    ];
    bench.answer(talk, "", calls);
    let below = last_task(&bench);
    ask(&mut bench, &main_session(), "c", named("thread:budget", "and this"));
    assert_eq!(bench.phase(talk), Phase::Waiting(WaitKind::Children));
    bench.say(below.run, "a part");
    bench.say(talk, "planned");
    assert_eq!(bench.open(&thread), last_task(&bench).run);
}

/// Whoever would wait for itself is told so.
#[test]
fn circles_are_refused() {
    let mut bench = started();
    let (left, right) = (key("agent:main:thread:left"), key("agent:main:thread:right"));
    let itself = ask(&mut bench, &main_session(), "i", named("main", "me"));
    assert_eq!(itself["code"], "session_not_found", "{itself}");
    for agent in bench.limits.agents.values_mut() {
        agent.allow_reuse_main = true;
    }
    let itself = ask(&mut bench, &main_session(), "j", named("main", "me"));
    assert_eq!(itself["code"], "wait_cycle", "{itself}");

    ask(&mut bench, &main_session(), "l", named("thread:left", "left"));
    ask(&mut bench, &main_session(), "r", named("thread:right", "right"));
    let above = ask(&mut bench, &left, "m", named("main", "up"));
    assert_eq!(above["code"], "wait_cycle", "{above}");
    let there = ask(&mut bench, &left, "a", named("thread:right", "over to you"));
    assert_eq!(there["status"], "accepted", "{there}");
    let back = ask(&mut bench, &right, "b", named("thread:left", "and back"));
    assert_eq!(back["code"], "wait_cycle", "{back}");
    let quiet = SpawnRequest { announce: Announce::None, ..named("thread:left", "and back") };
    let back = ask(&mut bench, &right, "q", quiet);
    assert_eq!(back["status"], "accepted", "nobody waits for it: {back}");
}

/// Depth is that of the work, not of the session that does it.
#[test]
fn a_thread_spawns_no_deeper_than_others() {
    let mut bench = started();
    bench.limits.spawn_depth_max = 2;
    let thread = key("agent:main:thread:budget");
    ask(&mut bench, &main_session(), "a", named("thread:budget", "at depth one"));
    let run = bench.open(&thread);
    bench.say(run, "42");
    ask(&mut bench, &main_session(), "m", spawn("in the middle"));
    let middle = last_task(&bench).session_key;
    ask(&mut bench, &middle, "b", named("thread:budget", "at depth two"));
    let task = last_task(&bench);
    assert_eq!((task.session_key, task.depth), (thread.clone(), 2));
    let deeper = ask(&mut bench, &thread, "c", spawn("at depth three"));
    assert_eq!(deeper["code"], "depth_exceeded", "{deeper}");
}

/// A session that one tree has made and another goes on with works for the other.
#[test]
fn children_belong_to_the_tree_that_asks() {
    let mut bench = started();
    let (thread, plan) = (key("agent:main:thread:budget"), key("agent:main:thread:plan"));
    ask(&mut bench, &main_session(), "a", named("thread:budget", "for main"));
    let run = bench.open(&thread);
    bench.say(run, "42");
    bench.send(&plan, "go");
    ask(&mut bench, &plan, "b", named("thread:budget", "for the plan"));
    ask(&mut bench, &thread, "c", spawn("below"));
    let below = last_task(&bench);
    assert_eq!(below.root_key, plan);
    let run = bench.open(&thread);
    assert_eq!(bench.run(run).root_key, plan);
    // Each requester finds its own task by the key of the session.
    let target = TaskTarget(thread.to_string());
    let main = bench.open(&main_session());
    let reply = bench.call(main, "k", InternalCall::Kill { target: target.clone() });
    assert_eq!(reply["status"], "already_ended", "{reply}");
    let planner = bench.open(&plan);
    let reply = bench.call(planner, "k", InternalCall::Kill { target });
    assert_eq!(reply["status"], "stopped", "{reply}");
    assert_eq!(bench.tasks()[2].outcome, Some(Outcome::Cancelled), "what is below it, too");
}

/// A task that is stopped in line takes nothing with it, and its requester hears of it; a session
/// that is stopped ends all that stands in line.
#[test]
fn a_stop_in_line() {
    let mut bench = started();
    let thread = key("agent:main:thread:budget");
    for n in 0..3 {
        ask(&mut bench, &main_session(), &format!("c{n}"), named("thread:budget", &format!("{n}")));
    }
    let (first, second) = (bench.tasks()[0].run, bench.tasks()[1].id);
    let main = bench.open(&main_session());
    let steer = InternalCall::Steer {
        target: TaskTarget(second.to_string()),
        message: "and this".to_owned(),
    };
    let early = bench.call(main, "s", steer);
    assert_eq!(early["code"], "busy", "{early}");
    bench.call(main, "k", InternalCall::Kill { target: TaskTarget(second.to_string()) });
    assert_eq!(bench.outcomes(), [None, Some(Outcome::Cancelled), None]);
    assert_eq!(bench.open(&thread), first, "the run before it goes on");
    let announced = |bench: &Bench| {
        let rows = bench.disk.world.inbox.iter();
        rows.filter(|row| row.kind == InboxKind::Announce).count()
    };
    assert_eq!(announced(&bench), 1);
    let cancelled = bench.disk.world.inbox.iter().find(|row| row.task == Some(second)).unwrap();
    assert_eq!(cancelled.state, InboxState::Cancelled);

    bench.apply(machine::Event::Stop {
        session: thread.clone(),
        run: None,
        by: "owner".to_owned(),
    });
    assert!(bench.outcomes().iter().all(|outcome| *outcome == Some(Outcome::Cancelled)));
    assert_eq!(session(&bench, &thread).open_run, None);
    assert_eq!(announced(&bench), 3);
}

/// `reuse: "key"` and `"main"`: by argument, by configuration, or not at all.
#[test]
fn standing_helpers() {
    let reuse = |reuse| SpawnRequest { reuse: Some(reuse), ..spawn("count") };
    let by_key =
        |key: &str| SpawnRequest { reuse_key: Some(key.parse().unwrap()), ..reuse(Reuse::Key) };
    let mut bench = started();
    let none = ask(&mut bench, &main_session(), "a", reuse(Reuse::Key));
    assert_eq!(none["code"], "invalid_argument");
    assert!(none["error"].as_str().unwrap().contains("agents.defaults.subagents.reuseKey"));
    let made = ask(&mut bench, &main_session(), "b", by_key("scout"));
    assert_eq!(made["childSessionKey"], "agent:main:subagent:scout", "{made}");
    assert_eq!(made["reused"], false);

    let ops: AgentId = "ops".parse().unwrap();
    let agent = bench.limits.agents.get_mut(&ops).unwrap();
    (agent.reuse, agent.reuse_key) = (Reuse::Key, Some("helper".parse().unwrap()));
    let to_ops = |brief: &str| SpawnRequest { agent: Some(ops.clone()), ..spawn(brief) };
    for (id, brief, reused) in [("c", "one", false), ("d", "two", true)] {
        let reply = ask(&mut bench, &main_session(), id, to_ops(brief));
        assert_eq!(reply["childSessionKey"], "agent:ops:subagent:helper", "{reply}");
        assert_eq!(reply["reused"], reused);
    }
    let fresh = SpawnRequest { reuse: Some(Reuse::Never), ..to_ops("three") };
    assert_eq!(ask(&mut bench, &main_session(), "e", fresh)["reused"], false);

    let main = |brief: &str| SpawnRequest { reuse: Some(Reuse::Main), ..to_ops(brief) };
    let refused = ask(&mut bench, &main_session(), "f", main("four"));
    assert!(refused["error"].as_str().unwrap().contains("allowReuseMain is false"), "{refused}");
    bench.limits.agents.get_mut(&ops).unwrap().allow_reuse_main = true;
    let first = ask(&mut bench, &main_session(), "g", main("five"));
    assert_eq!(first["childSessionKey"], "agent:ops:main", "{first}");
    let busy = ask(&mut bench, &main_session(), "h", main("six"));
    assert_eq!(busy["reused"], false, "a busy main session is left alone: {busy}");
    let row = session(&bench, &key("agent:ops:main"));
    assert_eq!((row.depth, &row.parent_key), (0, &None));
}

/// Tasks of a flow that name one session are done there, one after the other; the next flow goes on
/// with it.
#[test]
fn nodes_of_a_flow_share_a_thread() {
    let mut bench = started();
    let thread = key("agent:main:thread:budget");
    let node = |id: &str| FlowTask {
        session_key: Some("thread:budget".parse().unwrap()),
        ..FlowTask::of(id.parse().unwrap(), &format!("do {id}"))
    };
    for (n, name) in ["first", "second"].into_iter().enumerate() {
        let flow = FlowRequest::of(name, vec![node("a"), node("b")]);
        let main = bench.open(&main_session());
        let reply = bench.call(main, name, InternalCall::StartFlow(Box::new(flow)));
        assert_eq!(reply["status"], "accepted", "{reply}");
        for _ in 0..2 {
            let run = bench.open(&thread);
            bench.say(run, "done");
        }
        assert_eq!(briefs_in(&bench, &thread), 2 * (n + 1));
    }
    assert!(bench.outcomes().iter().all(|outcome| *outcome == Some(Outcome::Completed)));
    let ours = |row: &&Session| row.key.scope != types::Scope::Main;
    assert_eq!(bench.disk.world.sessions.iter().filter(ours).count(), 1);
}

/// What an agent may not see it cannot set to work by its name.
#[test]
fn a_name_shows_no_more_than_may_be_seen() {
    let mut bench = started();
    bench.send(&key("agent:main:thread:budget"), "hello");
    bench.limits.send.visibility = machine::limits::Visibility::Tree;
    let reply = ask(&mut bench, &main_session(), "c", named("thread:budget", "x"));
    assert_eq!(reply["code"], "forbidden", "{reply}");
    assert!(reply["error"].as_str().unwrap().contains("tools.sessions.visibility"), "{reply}");
}

/// The same name twice with everything going wrong in between: one session, both briefs in it.
#[test]
fn one_name_twice_around_crashes() {
    for seed in 0..300 {
        let script = Box::new(|asked: &sim::script::Asked<'_>| {
            let spawned = asked.children().len();
            match (asked.depth, spawned) {
                (0, 0 | 1) => {
                    let request = named("thread:budget", &format!("brief {spawned}"));
                    let calls = vec![
                        internal(&format!("s{}", asked.step), InternalCall::spawn(request)),
                        internal(
                            &format!("y{}", asked.step),
                            InternalCall::Yield(wait(WaitFor::All)),
                        ),
                    ];
                    Said::Calls(calls)
                }
                _ => Said::Text("done".to_owned()),
            }
        });
        let plan = Plan { limits: open_limits(), renames: false, ..Plan::of(seed) };
        let (letters, stops, orders) = (Vec::new(), Vec::new(), Vec::new());
        let plan = Plan { letters, stops, orders, ..plan };
        let mut sim = Sim::new(plan, script);
        sim.send(&main_session(), "budget, twice");
        sim.run_to_idle();
        let world = &sim.disk.world;
        let keys: BTreeSet<&SessionKey> =
            world.tasks.iter().map(|task| &task.session_key).collect();
        assert_eq!((world.tasks.len(), keys.len()), (2, 1), "seed {seed}");
        assert_eq!(world.sessions.len(), 2, "seed {seed}");
    }
}
