//! Tool policy at the call: what a session may not do is not begun, whoever names it.

use machine::policy::{AgentRules, Entry, Policy, ToolFact};
use machine::rows::{Session, StepState};
use machine::{Action, Answer, Event, Limits};
use serde_json::Value;
use sim::plan::limits;
use sim::script::{external, own, spawn};
use types::{
    Access, AgentId, EffectClass, InternalCall, RunId, SendMode, SendRequest, SendTarget,
    SessionKey, SessionRef,
};

use crate::bench::{Bench, main_session};

fn deny(limits: &mut Limits, agent: &str, entries: &[&str]) {
    let agent: AgentId = agent.parse().unwrap();
    let rules = limits.tools.agents.entry(agent).or_default();
    rules.lists.deny = entries.iter().map(|text| Entry::of(text)).collect();
}

fn started(limits: Limits) -> (Bench, RunId) {
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    (bench, run)
}

fn begun(bench: &Bench) -> bool {
    bench.done.actions.iter().any(|action| matches!(action, Action::StartTool(_)))
}

fn told(bench: &Bench, run: RunId, call: &str) -> String {
    match bench.result(run, call) {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

fn session<'a>(bench: &'a Bench, key: &SessionKey) -> &'a Session {
    bench.disk.world.sessions.iter().find(|row| row.key == *key).unwrap()
}

fn policy(bench: &Bench, key: &SessionKey) -> Policy {
    let hash = session(bench, key).policy_hash.expect("it has a policy");
    Policy::read(&bench.disk.world.policies[&hash]).unwrap()
}

#[test]
fn a_forbidden_call_is_refused_and_the_answer_names_the_key() {
    let mut strict = limits();
    deny(&mut strict, "main", &["opaque"]);
    let (mut bench, run) = started(strict);
    bench.answer(run, "", vec![external("c0", EffectClass::Opaque)]);
    assert!(!begun(&bench));
    let why = told(&bench, run, "c0");
    assert!(why.contains("agents.entries.main.tools.deny is [\"opaque\"]"), "{why}");
    let refused = bench.disk.world.steps.iter().find(|step| step.call_id.is_some()).unwrap();
    assert_eq!((refused.state, refused.effect), (StepState::Done, None));
    // The others are made.
    bench.answer(run, "", vec![external("c1", EffectClass::Pure)]);
    assert!(begun(&bench));
}

/// The set is kept: an operator's deny holds at the next call, an allow comes with an episode.
#[test]
fn what_is_denied_by_now_is_refused_and_what_is_allowed_by_now_comes_later() {
    let mut strict = limits();
    deny(&mut strict, "main", &["opaque"]);
    let (mut bench, run) = started(strict);
    bench.pin(run);
    deny(&mut bench.limits, "main", &["probed"]);
    bench.answer(run, "", vec![external("c0", EffectClass::Probed)]);
    assert!(!begun(&bench));
    assert!(told(&bench, run, "c0").contains("[\"probed\"]"));
    bench.answer(run, "", vec![external("c1", EffectClass::Opaque)]);
    assert!(!begun(&bench));
    assert!(told(&bench, run, "c1").contains("comes with the next one"));
}

#[test]
fn a_call_that_a_crash_has_cut_is_not_made_again_if_it_is_denied_by_then() {
    let (mut bench, run) = started(limits());
    bench.answer(run, "", vec![external("c0", EffectClass::Probed)]);
    assert!(begun(&bench));
    deny(&mut bench.limits, "main", &["probed"]);
    bench.restart();
    assert!(!begun(&bench));
    let why = told(&bench, run, "c0");
    assert!(why.contains("denied by the configuration") && why.contains("unknown"), "{why}");
    bench.say(run, "so be it");
    assert!(bench.phase(run).ended());
}

#[test]
fn a_child_has_what_its_requester_has_unless_it_may_give_more() {
    let mut strict = limits();
    deny(&mut strict, "main", &["opaque", "probed"]);
    let main = strict.tools.agents.get_mut(&AgentId::main()).unwrap();
    main.delegate.insert("ops".to_owned(), vec![Entry::of("opaque")]);
    let (mut bench, run) = started(strict);
    let mut request = spawn("work");
    request.agent = Some("ops".parse().unwrap());
    bench.call(run, "s0", InternalCall::spawn(request));
    let task = bench.tasks()[0].clone();
    let kept = policy(&bench, &task.session_key);
    assert!(kept.allowed.contains("opaque"), "it was given");
    assert!(!kept.allowed.contains("probed"));
    let child = task.run;
    bench.answer(child, "", vec![external("c0", EffectClass::Probed)]);
    assert!(!begun(&bench));
    let why = told(&bench, child, "c0");
    assert!(why.contains("agents.entries.main.subagents.delegateTools.ops"), "{why}");
    bench.answer(child, "", vec![external("c1", EffectClass::Opaque)]);
    assert!(begun(&bench));
    // The grant is taken back while the child lives.
    bench.tool_done(child);
    bench.limits.tools.agents.insert(AgentId::main(), AgentRules::default());
    deny(&mut bench.limits, "main", &["opaque"]);
    bench.answer(child, "", vec![external("c2", EffectClass::Opaque)]);
    assert!(!begun(&bench));
}

#[test]
fn a_read_only_session_changes_nothing_and_neither_does_anything_below_it() {
    let (mut bench, run) = started(limits());
    let mut request = spawn("look");
    request.access = Access::ReadOnly;
    bench.call(run, "s0", InternalCall::spawn(request));
    let child = bench.tasks()[0].run;
    for (n, effect) in
        [EffectClass::Idempotent, EffectClass::Probed, EffectClass::Opaque].into_iter().enumerate()
    {
        bench.answer(child, "", vec![external(&format!("c{n}"), effect)]);
        assert!(!begun(&bench), "{effect}");
        let why = told(&bench, child, &format!("c{n}"));
        assert!(why.contains("read-only") && why.contains("only whoever asked for it"), "{why}");
    }
    let deeper = own("s1", InternalCall::spawn(spawn("look deeper")));
    bench.answer(child, "", vec![deeper]);
    let grandchild = bench.tasks()[1].clone();
    assert_eq!(session(&bench, &grandchild.session_key).access, Access::ReadOnly);
    bench.answer(grandchild.run, "", vec![external("c0", EffectClass::Opaque)]);
    assert!(!begun(&bench));
    bench.answer(grandchild.run, "", vec![external("c1", EffectClass::Pure)]);
    assert!(begun(&bench), "it can look");
}

#[test]
fn a_leaf_cannot_spawn_and_hears_which_key_says_so() {
    let mut flat = limits();
    flat.spawn_depth_max = 1;
    let (mut bench, run) = started(flat);
    bench.call(run, "s0", InternalCall::spawn(spawn("part")));
    let child = bench.tasks()[0].run;
    bench.answer(child, "", vec![own("s1", InternalCall::spawn(spawn("part of part")))]);
    assert_eq!(bench.tasks().len(), 1);
    let why = told(&bench, child, "s1");
    assert!(why.contains("agents.defaults.subagents.maxSpawnDepth is 1"), "{why}");
}

#[test]
fn a_child_that_could_do_nothing_is_not_made() {
    let mut strict = limits();
    strict.tools.subagents.deny = vec![Entry::of("*")];
    let (mut bench, run) = started(strict);
    let told = bench.call(run, "s0", InternalCall::spawn(spawn("part")));
    assert_eq!(told["code"], "empty_toolset");
    let why = told["error"].as_str().unwrap();
    assert!(why.contains("tools.subagents.tools.deny is [\"*\"]"), "{why}");
    assert_eq!(bench.tasks().len(), 0);
    assert_eq!(bench.disk.world.sessions.len(), 1, "nothing is left of it");
}

/// What a session may not do itself it does not have done by another.
#[test]
fn a_read_only_session_sets_nobody_to_work_who_may_do_more() {
    let (mut bench, run) = started(limits());
    let plan: SessionKey = "agent:main:thread:plan".parse().unwrap();
    bench.send(&plan, "hello");
    let other = bench.open(&plan);
    bench.say(other, "hello");
    let order = |mode| {
        let target = SendTarget::Session(SessionRef::Full(plan.clone()));
        let request = SendRequest { mode, ..SendRequest::to(target, "change something") };
        InternalCall::Send(Box::new(request))
    };
    let mut request = spawn("look");
    request.access = Access::ReadOnly;
    bench.call(run, "s0", InternalCall::spawn(request));
    let child = bench.tasks()[0].run;
    bench.answer(child, "", vec![own("r0", order(SendMode::Resume))]);
    let told = bench.result(child, "r0");
    assert_eq!(told["code"], "agent_not_allowed");
    assert!(told["error"].as_str().unwrap().contains("this one is read-only"), "{told}");
    assert_eq!(bench.tasks().len(), 1);
    // It may speak to it: what comes of that is the other's to decide.
    bench.answer(child, "", vec![own("r1", order(SendMode::Message))]);
    assert_eq!(bench.result(child, "r1")["status"], "accepted");
    // And whoever may do all that the other may, may set it to work.
    let answered = bench.open(&plan);
    bench.say(answered, "no");
    let done = bench.call(run, "r2", order(SendMode::Resume));
    assert_eq!(done["status"], "accepted", "{done}");
}

/// Servers have told of a tool while the first prefix was rendered: the session has it, and keeps
/// it whether or not its result of the earlier rendering comes after all.
#[test]
fn a_tool_that_becomes_known_meanwhile_is_in_the_first_prefix() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let (run, pinned) = (bench.open(&main_session()), bench.done.actions.clone());
    let tools = |actions: &[Action]| match actions {
        [Action::Pin { tools, .. }] => tools.clone(),
        other => panic!("a pin, and not {other:?}"),
    };
    assert!(!tools(&pinned).contains("files__read"));
    bench.limits.tools.catalogue.push(ToolFact {
        name: "files__read".to_owned(),
        effect: EffectClass::Opaque,
        groups: vec!["mcp".to_owned(), "mcp:files".to_owned()],
        description: String::new(),
    });
    let token = bench.token(run);
    assert_eq!(bench.apply(Event::PinAgain { run, token }), Answer::Done);
    assert!(tools(&bench.done.actions).contains("files__read"));
    let servers = vec!["other".to_owned()];
    bench.apply(Event::ToolsMissing { run, servers });
    let line = bench.done.notices[0].line();
    assert_eq!(line.0, "tools.missing");
    assert!(line.2.contains("\"servers\":[\"other\"]"), "{}", line.2);
    bench.pin(run);
    assert_eq!(bench.apply(Event::PinAgain { run, token }), Answer::Fenced, "it is rendered");
    bench.say(run, "done");
}
