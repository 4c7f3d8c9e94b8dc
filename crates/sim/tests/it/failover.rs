//! Another model or account in the place of one that cannot be asked: for all at once, and back.

use std::time::Duration;

use machine::event::{Change, Inbound, ModelFailure, Patch};
use machine::rows::{LaneName, Outcome, Run, StepKind, StepState};
use machine::run::{Phase, WaitKind};
use machine::{Event, Limits, Notice};
use sim::plan::limits;
use types::{FailureClass, RunId, SessionKey};

use crate::bench::{Bench, key};

const AT_GATE: Phase = Phase::Waiting(WaitKind::Gate);

/// An agent on `x/a` that may go on with `y/b`, and slots for many.
fn two_models() -> Limits {
    let mut limits = limits();
    limits.lanes.insert(LaneName::Main, 200);
    limits.models = ["x/a", "x/c", "y/b"].map(|model| (model.to_owned(), 200_000)).into();
    for agent in limits.agents.values_mut() {
        agent.model = "x/a".to_owned();
        agent.fallbacks = vec!["y/b".to_owned()];
    }
    limits
}

/// An agent on one model of a provider with two accounts.
fn two_accounts() -> Limits {
    let mut limits = two_models();
    for target in ["x/a#one", "x/a#two"] {
        limits.models.insert(target.to_owned(), 200_000);
    }
    limits.accounts.insert("x".to_owned(), ["one", "two"].map(str::to_owned).to_vec());
    limits.agents.values_mut().for_each(|agent| agent.fallbacks.clear());
    limits
}

fn thread(n: usize) -> SessionKey {
    key(&format!("agent:main:thread:t{n}"))
}

fn begin(bench: &mut Bench, n: usize) -> RunId {
    bench.send(&thread(n), "hello");
    let run = bench.open(&thread(n));
    bench.pin(run);
    run
}

fn pin_all(bench: &mut Bench) {
    let waits = |run: &&Run| run.phase == Phase::Preparing;
    while let Some(run) = bench.disk.world.runs.iter().find(waits).map(|run| run.id) {
        bench.pin(run);
    }
}

fn refuse(bench: &mut Bench, run: RunId, class: FailureClass, retry_after: Option<u64>) {
    let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Model));
    let retry_after_ms = retry_after.map(|seconds| seconds as i64 * 1_000);
    let message = format!("no: {class}");
    let failure =
        ModelFailure { class, message, retry_after_ms, paid: false, overflow: Default::default() };
    bench.apply(Event::ModelFailed { run, token, step, failure });
}

/// What the calls that are out go to.
fn calling(bench: &Bench) -> Vec<&str> {
    let steps = bench.disk.world.steps.iter();
    let open = steps.filter(|s| s.kind == StepKind::Model && s.state == StepState::Intent);
    open.map(|step| step.model.as_deref().unwrap()).collect()
}

fn count(all: &[&str], model: &str) -> usize {
    all.iter().filter(|called| **called == model).count()
}

/// How often a model has been called.
fn calls_of(bench: &Bench, model: &str) -> usize {
    let steps = bench.disk.world.steps.iter();
    steps.filter(|step| step.model.as_deref() == Some(model)).count()
}

/// One is refused for 30 s. All hundred go on with the other at once, nobody asks the first again
/// until its time has come, then one does; and when that is answered, all are back.
#[test]
fn a_refused_model_is_asked_by_one_and_the_fallback_serves_all() {
    let mut bench = Bench::new(two_models());
    let first = begin(&mut bench, 0);
    assert_eq!(calling(&bench), ["x/a"]);
    refuse(&mut bench, first, FailureClass::RateLimit, Some(30));
    assert_eq!(calling(&bench), ["y/b"], "in the same commit");
    let row = bench.run(first);
    assert_eq!((row.asked.as_str(), row.model.as_str()), ("x/a", "y/b"));
    assert_eq!(row.switched.as_deref(), Some("x/a (rate: no: rate_limit)"));
    let told = |notice: &Notice| {
        matches!(notice, Notice::ModelSwitched { asked, to, reason, .. }
            if asked == "x/a" && to == "y/b" && reason.contains("rate_limit"))
    };
    assert!(bench.done.notices.iter().any(told), "{:?}", bench.done.notices);

    for n in 1..100 {
        begin(&mut bench, n);
    }
    assert_eq!(count(&calling(&bench), "y/b"), 100);
    for _ in 0..29 {
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(calls_of(&bench, "x/a"), 1);

    bench.pass(Duration::from_secs(6));
    let probe = begin(&mut bench, 100);
    let other = begin(&mut bench, 101);
    assert_eq!((bench.run(probe).model.as_str(), bench.run(other).model.as_str()), ("x/a", "y/b"));
    bench.say(probe, "here again");
    bench.say(first, "done");
    begin(&mut bench, 102);
    assert_eq!(count(&calling(&bench), "x/a"), 1);
}

/// Which failures lead to another model: those of the provider, and no others.
#[test]
fn what_each_failure_leads_to() {
    use FailureClass::*;

    let (retry, failed) = (Phase::Waiting(WaitKind::Retry), Phase::Ended(Outcome::Failed));
    let calls = Phase::AwaitingModel;
    #[rustfmt::skip]
    let table = [
        // class       after       phase     model
        (RateLimit,    Some(30),   calls,    "y/b"),
        (RateLimit,    None,       AT_GATE,  "x/a"), // it opens within a second
        (Overload,     Some(10),   calls,    "y/b"),
        (Quota,        None,       calls,    "y/b"),
        (Auth,         None,       calls,    "y/b"),
        (UnknownModel, None,       calls,    "y/b"),
        (Network,      None,       retry,    "x/a"),
        (InvalidReply, None,       retry,    "x/a"),
        (Internal,     None,       retry,    "x/a"),
        (BadRequest,   None,       failed,   "x/a"),
        (Budget,       None,       failed,   "x/a"),
    ];
    for (class, after, phase, model) in table {
        let mut bench = Bench::new(two_models());
        let run = begin(&mut bench, 0);
        refuse(&mut bench, run, class, after);
        let row = bench.run(run);
        assert_eq!((row.phase, row.model.as_str()), (phase, model), "{class} {after:?}");
        assert_eq!(row.switched.is_some(), model == "y/b", "{class}");
    }
}

/// A store in trouble, or an answer that makes no sense, is no reason for another model, however
/// often it happens.
#[test]
fn a_fault_of_our_own_never_changes_the_model() {
    for class in [FailureClass::Internal, FailureClass::InvalidReply] {
        let mut bench = Bench::new(two_models());
        let run = begin(&mut bench, 0);
        while !bench.phase(run).ended() {
            refuse(&mut bench, run, class, None);
            bench.pass(Duration::from_secs(31));
        }
        assert_eq!(calls_of(&bench, "y/b"), 0, "{class}");
        assert!(bench.disk.world.gates.is_empty(), "{class}: its provider is as healthy as before");
    }
}

#[test]
fn a_provider_that_cannot_be_reached_is_tried_three_times() {
    let mut bench = Bench::new(two_models());
    let run = begin(&mut bench, 0);
    for _ in 0..2 {
        refuse(&mut bench, run, FailureClass::Network, None);
        bench.pass(Duration::from_secs(3));
    }
    refuse(&mut bench, run, FailureClass::Network, None);
    assert_eq!(calling(&bench), ["y/b"]);
    begin(&mut bench, 1);
    assert_eq!(calls_of(&bench, "x/a"), 3, "the next one does not try it");
}

/// An account without quota is asked once, not by each run.
#[test]
fn quota_is_found_out_by_one() {
    let mut bench = Bench::new(two_models());
    let first = begin(&mut bench, 0);
    refuse(&mut bench, first, FailureClass::Quota, None);
    for n in 1..50 {
        begin(&mut bench, n);
    }
    bench.pass(Duration::from_secs(50));
    assert_eq!((calls_of(&bench, "x/a"), calls_of(&bench, "y/b")), (1, 50));
}

/// Those who wait for a gate that was to open in a second do not wait when it stays closed.
#[test]
fn who_waits_a_moment_does_not_wait_longer() {
    let mut bench = Bench::new(two_models());
    let first = begin(&mut bench, 0);
    refuse(&mut bench, first, FailureClass::RateLimit, None);
    for n in 1..6 {
        begin(&mut bench, n);
    }
    assert_eq!(calling(&bench), [""; 0], "all wait for the second to pass");
    bench.pass(Duration::from_secs(2));
    let mut seconds = 2;
    while calls_of(&bench, "y/b") < 6 {
        let probe = bench.disk.world.gates.iter().find_map(|gate| gate.probe);
        if let Some(probe) = probe {
            refuse(&mut bench, probe, FailureClass::RateLimit, Some(30));
        }
        bench.pass(Duration::from_secs(1));
        seconds += 1;
        assert!(seconds < 6, "they wait on: {:?}", calling(&bench));
    }
    assert_eq!(calls_of(&bench, "x/a"), 2);
}

/// One account's limit, or its bad key, is not the other's.
#[test]
fn another_account_of_the_same_model_goes_first() {
    for (class, after) in [(FailureClass::RateLimit, Some(30)), (FailureClass::Auth, None)] {
        let mut bench = Bench::new(two_accounts());
        let run = begin(&mut bench, 0);
        assert_eq!(calling(&bench), ["x/a#one"]);
        assert_eq!(bench.run(run).switched, None);
        refuse(&mut bench, run, class, after);
        assert_eq!(calling(&bench), ["x/a#two"], "{class}");
        begin(&mut bench, 1);
        assert_eq!(calls_of(&bench, "x/a#one"), 1, "{class}");
    }
}

/// If all keys are refused, everybody is told at once, and nobody asks again or waits.
#[test]
fn keys_that_are_all_refused_end_the_run_with_each_reason() {
    let mut bench = Bench::new(two_accounts());
    let run = begin(&mut bench, 0);
    refuse(&mut bench, run, FailureClass::Auth, None);
    refuse(&mut bench, run, FailureClass::Auth, None);
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::Failed));
    let why = "x/a#one (auth: no: auth); x/a#two (auth: no: auth)";
    assert_eq!(bench.run(run).error.as_deref(), Some(why));
    bench.send(&thread(1), "and I?");
    pin_all(&mut bench);
    let next = bench.disk.world.runs.iter().find(|row| row.session_key == thread(1)).unwrap();
    assert_eq!((next.phase, next.error_class), (bench.phase(run), Some(FailureClass::Auth)));
    assert_eq!(calling(&bench), [""; 0]);

    bench.restart();
    begin(&mut bench, 2);
    assert_eq!(calling(&bench), ["x/a#one"], "somebody may have mended it before this start");
}

/// Whoever names a model gets that model or an error, and never another.
#[test]
fn a_model_that_was_named_has_nothing_in_its_place() {
    let mut bench = Bench::new(two_models());
    let inbound = sim::plan::inbound(&thread(0), "hello");
    bench.send_as(Inbound { model: Some("x/c".to_owned()), ..inbound });
    let run = bench.open(&thread(0));
    bench.pin(run);
    refuse(&mut bench, run, FailureClass::RateLimit, Some(30));
    assert_eq!((bench.phase(run), bench.run(run).model.as_str()), (AT_GATE, "x/c"));
}

/// Another model is chosen while a run is open: the call that is out comes to its end, the next
/// one goes to the new model, and so does one that waits at a gate.
#[test]
fn a_model_that_is_chosen_holds_from_the_next_call_on() {
    let mut bench = Bench::new(two_models());
    let choose = |bench: &mut Bench, n: usize, model: Option<&str>| {
        let model = Some(model.map(str::to_owned));
        let change = Change::Patch(Patch { model, ..Patch::default() });
        bench.apply(Event::Change { session: thread(n), by: "owner".to_owned(), change });
    };
    let run = begin(&mut bench, 0);
    choose(&mut bench, 0, Some("x/c"));
    assert_eq!(calling(&bench), ["x/a"]);
    bench.answer(run, "", vec![sim::script::refused("c1")]);
    assert_eq!(calling(&bench), ["x/c"]);
    refuse(&mut bench, run, FailureClass::RateLimit, Some(600));
    assert_eq!(bench.phase(run), AT_GATE);
    choose(&mut bench, 0, None);
    bench.pass(Duration::ZERO);
    assert_eq!(calling(&bench), ["x/a"]);
}
