//! What goes on after a cut, by what each open step has been.

use machine::event::{ModelFailure, ToolDone};
use machine::limits::RECOVERIES_MAX;
use machine::rows::{InboxKind, Outcome, StepState};
use machine::run::{Phase, WaitKind};
use machine::{Action, Answer, Event};
use sim::plan::limits;
use sim::script::{external, internal, spawn, wait};
use types::{EffectClass, FailureClass, InternalCall, RunId, WaitFor};

use crate::bench::{Bench, main_session};

fn started() -> (Bench, RunId) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.pin(run);
    (bench, run)
}

/// A tool that was out when the gateway was lost: is it begun again?
#[test]
fn tools_by_effect_class() {
    use EffectClass::*;

    #[rustfmt::skip]
    let table = [
        // effect     state after          again
        (Pure,       StepState::Intent,   true),
        (Idempotent, StepState::Intent,   true),
        (Probed,     StepState::Intent,   true),
        (Opaque,     StepState::Unknown,  false),
    ];

    for (effect, state, again) in table {
        let (mut bench, run) = started();
        bench.answer(run, "", vec![external("t", effect)]);
        bench.restart();
        let step = bench.disk.world.steps.iter().find(|s| s.call_id.is_some()).unwrap();
        assert_eq!(step.state, state, "{effect}");
        let begun = bench.done.actions.iter().any(|action| {
            matches!(action, Action::StartTool(start) if start.again && start.call_id == "t")
        });
        assert_eq!(begun, again, "{effect}");
        let called = bench.done.actions.iter().any(|a| matches!(a, Action::CallModel(_)));
        assert_eq!(called, !again, "{effect}");
    }
}

/// A model call that was out is booked, and made again as another step.
#[test]
fn a_model_call_is_made_again() {
    let (mut bench, run) = started();
    bench.restart();
    let states: Vec<StepState> = bench.disk.world.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Failed, StepState::Intent]);
    assert!(bench.disk.world.ledger[0].estimated);
    bench.say(run, "here I am");
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::Completed));
}

/// What a lost life still has to say is refused, also for a step that is open again.
#[test]
fn results_of_a_lost_life_are_fenced() {
    let (mut bench, run) = started();
    bench.answer(run, "", vec![external("t", EffectClass::Pure)]);
    let token = bench.token(run);
    bench.restart();
    let result =
        ToolDone { text: "late".to_owned(), is_error: false, unknown: false, background: false };
    let event = Event::ToolFinished { run, token, step: 1, result };
    assert_eq!(bench.apply(event), Answer::Fenced);
    assert_eq!(bench.tool_done(run), Answer::Done);
    assert_eq!(bench.phase(run), Phase::AwaitingModel);
}

/// A run that loses its gateway at the same step again and again is given up, and says so.
#[test]
fn recoveries_have_an_end() {
    let (mut bench, top) = started();
    bench.call(top, "s", InternalCall::spawn(spawn("part")));
    bench.say(top, "on its way");
    let child = bench.tasks()[0].run;
    bench.pin(child);
    for n in 1..=RECOVERIES_MAX {
        bench.restart();
        assert_eq!(bench.run(child).recoveries, n);
        assert_eq!(bench.phase(child), Phase::AwaitingModel);
    }
    bench.restart();
    assert_eq!(bench.phase(child), Phase::Ended(Outcome::Interrupted));
    let told = bench.disk.world.inbox.iter().any(|row| row.kind == InboxKind::Announce);
    assert!(told);
}

/// A committed step is progress: the count begins anew.
#[test]
fn progress_resets_the_count() {
    let (mut bench, run) = started();
    for n in 0..3 {
        for _ in 0..RECOVERIES_MAX {
            bench.restart();
        }
        bench.answer(run, "", vec![external(&format!("t{n}"), EffectClass::Pure)]);
        assert_eq!(bench.run(run).recoveries, 0);
        bench.tool_done(run);
    }
    assert_eq!(bench.phase(run), Phase::AwaitingModel);
}

/// A run that has yielded still waits after a restart, whatever became of the tool beside it.
#[test]
fn a_wait_outlives_its_gateway() {
    for effect in [EffectClass::Opaque, EffectClass::Pure] {
        let (mut bench, run) = started();
        bench.call(run, "s", InternalCall::spawn(spawn("part")));
        let all = internal("y", InternalCall::Yield(wait(WaitFor::All)));
        bench.answer(run, "", vec![external("t", effect), all]);
        bench.restart();
        if effect == EffectClass::Pure {
            assert_eq!(bench.phase(run), Phase::AwaitingTools);
            bench.tool_done(run);
        }
        assert_eq!(bench.phase(run), Phase::Waiting(WaitKind::Children), "{effect}");
        bench.restart();
        let child = bench.tasks()[0].run;
        bench.say(child, "found");
        assert_eq!(bench.phase(run), Phase::AwaitingModel, "{effect}");
    }
}

/// Ours are done after the restart, if they were not in the commit; a yield after the others.
#[test]
fn calls_of_ours_that_a_cut_has_left_are_begun_in_order() {
    let (mut bench, run) = started();
    let calls = vec![
        internal("y", InternalCall::Yield(wait(WaitFor::All))),
        internal("s", InternalCall::spawn(spawn("part"))),
    ];
    let (token, step) = (bench.token(run), 0);
    let asked =
        sim::script::Asked { world: &bench.disk.world, run: bench.run(run), step, depth: 0 };
    let reply = sim::script::reply(&asked, "", calls);
    let event = Event::ModelReplied { run, token, step, reply };
    // The commit has no room for what the answer raises, and then the gateway is lost.
    bench.disk.commit(&mut bench.at, &bench.limits, vec![event], 0);
    bench.restart();
    let begun: Vec<&str> = bench
        .done
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::StartTool(start) => Some(start.call_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(begun, ["s", "y"]);
}

/// A failed call is made again by class, without a slot in between; or the run ends.
#[test]
fn failures_by_class() {
    use FailureClass::*;
    let waiting = Phase::Waiting(WaitKind::Retry);
    let at_gate = Phase::Waiting(WaitKind::Gate);
    let failed = Phase::Ended(Outcome::Failed);

    #[rustfmt::skip]
    let table = [
        (RateLimit, at_gate), (Overload, at_gate), (Quota, at_gate), (Network, waiting),
        (InvalidReply, waiting), (Internal, waiting), (Auth, failed), (BadRequest, failed),
        (Overflow, failed), (UnknownModel, failed), (Budget, failed),
    ];
    // An answer of another model is an answer.
    assert_eq!(table.len(), FailureClass::ALL.len() - 1);

    for (class, phase) in table {
        let (mut bench, run) = started();
        let token = bench.token(run);
        let message = "no".to_owned();
        let failure = ModelFailure {
            class,
            message,
            retry_after_ms: None,
            paid: false,
            overflow: Default::default(),
        };
        bench.apply(Event::ModelFailed { run, token, step: 0, failure });
        assert_eq!(bench.phase(run), phase, "{class}");
        assert_eq!(bench.run(run).slot, None, "{class}");
        bench.pass(std::time::Duration::from_secs(60));
        let again = bench.phase(run) == Phase::AwaitingModel;
        assert_eq!(again, phase != failed, "{class}");
    }
}
