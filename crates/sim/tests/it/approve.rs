//! Calls that a person has to allow: asked, answered from anywhere, given up, and started once.

use std::time::Duration;

use machine::approve::{AskFallback, ExecMode, ExecRules};
use machine::effect::Decided;
use machine::event::{Decision, PlannedCall};
use machine::rows::{ApprovalState, EntryKind, InboxKind, Outcome};
use machine::run::{Phase, WaitKind};
use machine::{Action, Answer, Event, Limits, Refusal};
use sim::plan;
use sim::script::external;
use types::{AgentId, ApprovalId, CommandLine, EffectClass, RunId, SessionKey};

use crate::bench::Bench;

const ASKED: Phase = Phase::Waiting(WaitKind::Approval);

fn limits(mode: ExecMode) -> Limits {
    let mut limits = plan::limits();
    for agent in limits.agents.values_mut() {
        let allow = vec!["ls *".to_owned()];
        agent.exec = ExecRules { mode, allow, ..ExecRules::default() };
    }
    limits
}

fn main_key() -> SessionKey {
    SessionKey::main(AgentId::main())
}

fn command(id: &str, text: &str) -> PlannedCall {
    let words = text.split(' ').map(str::to_owned).collect();
    let line = CommandLine { text: text.to_owned(), programs: Some(vec![words]) };
    PlannedCall { command: Some(line), ..external(id, EffectClass::Opaque) }
}

/// A run whose model has asked for these commands.
fn asked(mode: ExecMode, calls: Vec<PlannedCall>) -> (Bench, RunId) {
    let mut bench = Bench::new(limits(mode));
    bench.send(&main_key(), "do it");
    let run = bench.open(&main_key());
    bench.pin(run);
    bench.answer(run, "", calls);
    (bench, run)
}

fn pending(bench: &Bench) -> Vec<ApprovalId> {
    let rows = bench.disk.world.approvals.iter();
    rows.filter(|row| row.state == ApprovalState::Pending).map(|row| row.id).collect()
}

fn decide(bench: &mut Bench, approval: ApprovalId, decision: Decision) -> Answer {
    bench.apply(Event::Decide { approval, decision, by: "owner".to_owned() })
}

fn started(bench: &Bench) -> usize {
    bench.done.actions.iter().filter(|action| matches!(action, Action::StartTool(_))).count()
}

fn results(bench: &Bench) -> usize {
    let entries = bench.disk.world.entries.iter();
    entries.filter(|entry| entry.kind == EntryKind::ToolResult).count()
}

#[test]
fn a_command_waits_without_a_slot_and_is_started_once() {
    let (mut bench, run) = asked(ExecMode::Ask, vec![command("a", "rm x")]);
    assert_eq!((bench.phase(run), bench.run(run).slot, started(&bench)), (ASKED, None, 0));
    let [id] = pending(&bench)[..] else { panic!("one question") };

    bench.restart();
    assert_eq!((bench.phase(run), pending(&bench).len()), (ASKED, 1), "a restart asks nothing");

    let Answer::Decided(Decided { approval, before: false }) =
        decide(&mut bench, id, Decision::AllowOnce)
    else {
        panic!("it is decided")
    };
    assert_eq!((approval.state, approval.by.as_deref()), (ApprovalState::Allowed, Some("owner")));
    assert_eq!((bench.phase(run), started(&bench)), (Phase::AwaitingTools, 1));

    let again = decide(&mut bench, id, Decision::Deny);
    assert!(matches!(again, Answer::Decided(Decided { before: true, .. })), "{again:?}");
    assert_eq!(started(&bench), 0);
}

#[test]
fn what_is_covered_runs_beside_what_is_asked_about() {
    let (mut bench, run) = asked(ExecMode::Ask, vec![command("a", "ls -l"), command("b", "rm x")]);
    assert_eq!((bench.phase(run), started(&bench)), (Phase::AwaitingTools, 1));
    let [id] = pending(&bench)[..] else { panic!("one question") };
    // Allowed while its run is at work: it is started at once.
    decide(&mut bench, id, Decision::AllowOnce);
    assert_eq!((bench.phase(run), started(&bench)), (Phase::AwaitingTools, 1));
}

#[test]
fn what_is_denied_is_a_result() {
    let (mut bench, run) = asked(ExecMode::Ask, vec![command("a", "rm x"), command("b", "rm y")]);
    for id in pending(&bench) {
        assert_eq!(bench.phase(run), ASKED);
        decide(&mut bench, id, Decision::Deny);
        assert_eq!(started(&bench), 0);
    }
    assert_eq!((bench.phase(run), results(&bench)), (Phase::AwaitingModel, 2));
}

#[test]
fn nobody_has_answered_in_time() {
    let (mut bench, run) = asked(ExecMode::Ask, vec![command("a", "rm x")]);
    bench.pass(Duration::from_secs(29 * 60));
    assert_eq!(bench.phase(run), ASKED);
    bench.pass(Duration::from_secs(2 * 60));
    assert_eq!((bench.phase(run), results(&bench)), (Phase::AwaitingModel, 1));
    assert_eq!(bench.disk.world.approvals[0].state, ApprovalState::Expired);
}

#[test]
fn always_is_for_all_that_is_like_it() {
    let (mut bench, run) = asked(ExecMode::Ask, vec![command("a", "git push a")]);
    let [id] = pending(&bench)[..] else { panic!("one question") };
    decide(&mut bench, id, Decision::AllowAlways);
    bench.tool_done(run);
    bench.answer(run, "", vec![command("b", "git push b")]);
    assert_eq!((pending(&bench).len(), started(&bench)), (0, 1));

    bench.tool_done(run);
    let revoke = |pattern: &str| Event::Revoke {
        agent: AgentId::main(),
        pattern: pattern.to_owned(),
        by: "owner".to_owned(),
    };
    assert_eq!(bench.apply(revoke("git push *")), Answer::Done);
    let again = bench.apply(revoke("git push *"));
    assert!(matches!(again, Answer::Refused(Refusal::GrantNotFound { .. })), "{again:?}");
    bench.answer(run, "", vec![command("c", "git push c")]);
    assert_eq!((pending(&bench).len(), bench.phase(run)), (1, ASKED));
}

#[test]
fn a_stop_ends_the_question() {
    let (mut bench, run) = asked(ExecMode::Ask, vec![command("a", "rm x")]);
    bench.apply(Event::Stop { session: main_key(), run: None, by: "owner".to_owned() });
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::Cancelled));
    assert_eq!(bench.disk.world.approvals[0].state, ApprovalState::Cancelled);
    assert_eq!(results(&bench), 1);
}

#[test]
fn the_other_modes_ask_nobody() {
    for (mode, starts) in [(ExecMode::Full, 1), (ExecMode::Deny, 0), (ExecMode::Allowlist, 0)] {
        let (bench, run) = asked(mode, vec![command("a", "rm x")]);
        assert_eq!((started(&bench), pending(&bench).len()), (starts, 0), "{mode}");
        let phase = if starts == 1 { Phase::AwaitingTools } else { Phase::AwaitingModel };
        assert_eq!(bench.phase(run), phase, "{mode}");
    }
}

#[test]
fn a_run_that_nobody_looks_after_asks_nobody() {
    for (fallback, starts) in [(AskFallback::Deny, 0), (AskFallback::Full, 1)] {
        let mut limits = limits(ExecMode::Ask);
        limits.agents.values_mut().for_each(|agent| agent.exec.fallback = fallback);
        let mut bench = Bench::new(limits);
        let inbound = plan::inbound(&main_key(), "every hour");
        bench.send_as(machine::event::Inbound { kind: InboxKind::Cron, ..inbound });
        let run = bench.open(&main_key());
        bench.pin(run);
        bench.answer(run, "", vec![command("a", "rm x")]);
        assert_eq!((started(&bench), pending(&bench).len()), (starts, 0), "{fallback}");
    }
}
