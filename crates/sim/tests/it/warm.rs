//! The pool and branches: what is taken, what it forgets, and what a branch begins with.

use std::collections::BTreeSet;
use std::time::Duration;

use machine::context::Span;
use machine::effect::{Action, ModelCall};
use machine::rows::{EpisodeReason, Lifecycle, Session, Task};
use machine::run::Phase;
use machine::{Limits, Tx};
use serde_json::Value;
use sim::plan::limits;
use sim::script::{internal, spawn, wait};
use types::{
    Access, AgentId, Cleanup, EffectClass, InternalCall, Reuse, RunId, SessionId, SessionKey,
    SpawnContext, SpawnRequest, TaskTarget, WaitFor, WhenBusy,
};

use crate::bench::{Bench, main_session};

fn open_limits() -> Limits {
    let mut limits = limits();
    limits.children_max = 30;
    for agent in limits.agents.values_mut() {
        agent.archive_after = Some(Duration::from_secs(3_600));
    }
    limits.models.insert("other".to_owned(), 2_000);
    limits
}

fn started() -> Bench {
    let mut bench = Bench::new(open_limits());
    bench.send(&main_session(), "go");
    bench
}

fn pool(brief: &str) -> SpawnRequest {
    SpawnRequest { reuse: Some(Reuse::Pool), ..spawn(brief) }
}

fn fork(brief: &str) -> SpawnRequest {
    SpawnRequest { context: SpawnContext::Fork, ..spawn(brief) }
}

fn ask(bench: &mut Bench, id: &str, request: SpawnRequest) -> Value {
    let run = bench.open(&main_session());
    bench.call(run, id, InternalCall::spawn(request))
}

fn last_task(bench: &Bench) -> Task {
    bench.tasks().last().unwrap().clone()
}

fn session(bench: &Bench, key: &SessionKey) -> Session {
    bench.disk.world.sessions.iter().find(|row| row.key == *key).unwrap().clone()
}

/// A child that has ended, and whose result the requester has read.
fn warmed(bench: &mut Bench, request: SpawnRequest) -> Task {
    ask(bench, "warm", request);
    let task = last_task(bench);
    bench.say(task.run, "42");
    let main = bench.open(&main_session());
    // At the next model boundary it takes the result in.
    bench.answer(main, "", vec![sim::script::external("look", EffectClass::Pure)]);
    bench.tool_done(main);
    task
}

/// What of an idle child has to be alike, and what keeps it from being taken.
#[test]
fn what_a_spawn_takes_from_the_pool() {
    let ops = || Some("ops".parse::<AgentId>().unwrap());

    #[rustfmt::skip]
    let table: [(&str, SpawnRequest, SpawnRequest, bool); 11] = [
        // what                 the child before                                            the spawn                                                    taken
        ("alike",               pool("a"),                                                  pool("b"),                                                   true),
        ("any child",           spawn("a"),                                                 pool("b"),                                                   true),
        ("not asked for",       pool("a"),                                                  spawn("b"),                                                  false),
        ("kept for itself",     SpawnRequest { reuse: Some(Reuse::Never), ..spawn("a") },   pool("b"),                                                   false),
        ("thrown away",         SpawnRequest { cleanup: Cleanup::Delete, ..spawn("a") },    pool("b"),                                                   false),
        ("a branch",            fork("a"),                                                  pool("b"),                                                   false),
        ("another agent",       pool("a"),                                                  SpawnRequest { agent: ops(), ..pool("b") },                  false),
        ("another model",       pool("a"),                                                  SpawnRequest { model: Some("other".into()), ..pool("b") },   false),
        ("another folder",      pool("a"),                                                  SpawnRequest { cwd: Some("sub".into()), ..pool("b") },       false),
        ("other access",        pool("a"),                                                  SpawnRequest { access: Access::ReadOnly, ..pool("b") },      false),
        ("a named one",         SpawnRequest { reuse: Some(Reuse::Key), reuse_key: Some("x".parse().unwrap()), ..spawn("a") }, pool("b"),        false),
    ];

    for (what, before, request, taken) in table {
        let mut bench = started();
        let first = warmed(&mut bench, before);
        let reply = ask(&mut bench, "c", request);
        assert_eq!(reply["status"], "accepted", "{what}: {reply}");
        let same = reply["childSessionKey"] == first.session_key.to_string();
        assert_eq!((same, &reply["reused"]), (taken, &Value::Bool(taken)), "{what}: {reply}");
    }
}

/// Busy, unread, at work for others, or too old: it is left alone.
#[test]
fn what_is_in_use_is_not_taken() {
    let mut bench = started();
    ask(&mut bench, "a", pool("a"));
    let first = last_task(&bench);
    assert_eq!(ask(&mut bench, "b", pool("b"))["reused"], false, "it is busy");
    let refuse = SpawnRequest { when_busy: Some(WhenBusy::Refuse), ..pool("c") };
    assert_eq!(ask(&mut bench, "c", refuse)["code"], "busy");
    bench.say(first.run, "42");
    // The model has answered before it has read the result.
    assert_eq!(ask(&mut bench, "d", pool("d"))["reused"], false, "it is unread");
    assert_eq!(ask(&mut bench, "e", pool("e"))["reused"], true);
    let last = last_task(&bench);
    bench.say(last.run, "42");
    ask(&mut bench, "f", pool("f"));
    bench.pass(Duration::from_secs(3_601));
    assert_eq!(session(&bench, &last.session_key).lifecycle, Lifecycle::Archived);
    assert_eq!(ask(&mut bench, "g", pool("g"))["reused"], false, "it is put away");

    let mut bench = started();
    let first = warmed(&mut bench, pool("a"));
    let (one, two) = (pool("b"), pool("c"));
    let calls =
        vec![internal("b", InternalCall::spawn(one)), internal("c", InternalCall::spawn(two))];
    let main = bench.open(&main_session());
    bench.answer(main, "", calls);
    let replies = [bench.result(main, "b"), bench.result(main, "c")];
    assert_eq!(replies[0]["childSessionKey"], first.session_key.to_string());
    assert_eq!([&replies[0]["reused"], &replies[1]["reused"]], [true, false], "{replies:?}");
}

/// The earlier task is behind a line: the model does not see it, people do.
#[test]
fn a_taken_session_sees_nothing_of_its_earlier_task() {
    let mut bench = started();
    let first = warmed(&mut bench, pool("the secret is 4711"));
    let reply = ask(&mut bench, "b", SpawnRequest { label: Some("Second".into()), ..pool("b") });
    assert_eq!((&reply["context"], &reply["reused"]), (&"isolated".into(), &true.into()));
    let task = last_task(&bench);
    let row = session(&bench, &task.session_key);
    let episodes: Vec<_> = bench.disk.world.episodes.clone();
    let episode = episodes.iter().find(|e| e.reason == EpisodeReason::Pool).unwrap();
    assert_eq!((episode.session_id, episode.n, episode.first_seq), (row.session_id, 2, 3));
    assert_eq!(row.label.as_deref(), Some("Second"));
    assert_eq!(bench.phase(task.run), Phase::Preparing, "its prefix is rendered anew");
    bench.pin(task.run);
    let call = model_call(&bench, task.run);
    let begins: Vec<i64> = call.shown.spans.iter().map(|span| span.first_seq).collect();
    assert_eq!(begins, [3]);
    // Both episodes have one prefix.
    let hashes: BTreeSet<_> = bench
        .disk
        .world
        .episodes
        .iter()
        .filter(|e| e.session_id == row.session_id)
        .map(|e| e.prefix_hash)
        .collect();
    assert_eq!(hashes.len(), 1);

    // Whoever wants to go on with the first task is told that it is forgotten.
    bench.say(task.run, "done");
    let main = bench.open(&main_session());
    let steer = |task: &Task| InternalCall::Steer {
        target: TaskTarget(task.id.to_string()),
        message: "and?".to_owned(),
    };
    let gone = bench.call(main, "s", steer(&first));
    assert_eq!(gone["code"], "session_reused", "{gone}");
    let there = bench.call(main, "t", steer(&task));
    assert_eq!(there["status"], "accepted", "{there}");
}

fn model_call(bench: &Bench, run: RunId) -> ModelCall {
    let call = bench.done.actions.iter().find_map(|action| match action {
        Action::CallModel(call) if call.run == run => Some(call.clone()),
        _ => None,
    });
    call.expect("the model is called")
}

/// A branch has what its requester knew when it answered, and not that answer.
#[test]
fn a_branch_begins_with_what_its_requester_knew() {
    let mut bench = started();
    let main = bench.open(&main_session());
    // 1 message, 2 answer, 3 result; 4 the answer that branches.
    bench.answer(main, "", vec![sim::script::external("look", EffectClass::Pure)]);
    bench.tool_done(main);
    let reply = ask(&mut bench, "f", fork("count the lakes"));
    assert_eq!((&reply["context"], &reply["reused"]), (&"fork".into(), &false.into()), "{reply}");
    let task = last_task(&bench);
    let home = session(&bench, &main_session()).session_id;
    bench.pin(task.run);
    let call = model_call(&bench, task.run);
    assert_eq!(call.shown.spans[0], span(home, 1, 3));
    // Before its brief it is told what it is.
    let child = session(&bench, &task.session_key).session_id;
    let own = bench.disk.world.entries.iter().filter(|e| e.session_id == child);
    assert_eq!(own.map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["system", "brief"]);
    let entries = bench.disk.tokens_between(home, 1, 3) + bench.disk.tokens_between(child, 1, 2);
    let mut transcripts = bench.disk.world.transcripts.iter();
    let row = transcripts.find(|row| row.session_id == child).unwrap();
    assert_eq!(row.context_tokens, entries + 10, "what it begins with is counted");

    // A branch of the branch begins with both.
    bench.call(task.run, "g", InternalCall::spawn(fork("and the rivers")));
    let below = last_task(&bench);
    bench.pin(below.run);
    let call = model_call(&bench, below.run);
    assert_eq!(call.shown.spans[..2], [span(home, 1, 3), span(child, 1, 2)]);
    bench.restart();
    let again = model_call(&bench, below.run);
    assert_eq!(again.shown, call.shown, "also after a restart");
}

fn span(session_id: SessionId, first_seq: i64, last_seq: i64) -> Span {
    Span { session_id, first_seq, last_seq, head: None, clip: None }
}

#[test]
fn a_branch_is_of_ones_own_agent() {
    let mut bench = started();
    let request = SpawnRequest { agent: Some("ops".parse().unwrap()), ..fork("x") };
    let reply = ask(&mut bench, "f", request);
    assert_eq!(reply["code"], "invalid_argument");
    assert!(reply["error"].as_str().unwrap().contains("another agent"), "{reply}");
    // What is configured for others does not go for a branch.
    for agent in bench.limits.agents.values_mut() {
        agent.reuse = Reuse::Pool;
    }
    assert_eq!(ask(&mut bench, "g", fork("y"))["context"], "fork");
    let main = bench.open(&main_session());
    bench.answer(main, "", vec![internal("y", InternalCall::Yield(wait(WaitFor::All)))]);
}
