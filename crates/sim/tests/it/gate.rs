//! Gates: a limit of a provider is kept once, for all runs, and costs no slot.

use std::time::Duration;

use machine::event::{ModelFailure, Overflow};
use machine::limits::ProviderLimits;
use machine::rows::{Gate, GateKind, GateState, LaneName, Outcome, StepKind, StepState};
use machine::run::{Phase, WaitKind};
use machine::{Event, Notice};
use sim::plan::limits;
use types::{FailureClass, RunId, SessionKey};

use crate::bench::{Bench, key, main_session};

const AT_GATE: Phase = Phase::Waiting(WaitKind::Gate);

/// A bench of many agents' worth of slots, with two models of one provider and one of another.
fn bench(slots: u32) -> Bench {
    let mut limits = limits();
    limits.lanes.insert(LaneName::Main, slots);
    limits.models = ["x/a", "x/b", "y/a"].map(|model| (model.to_owned(), 200_000)).into();
    limits.agents.values_mut().for_each(|agent| agent.model = "x/a".to_owned());
    Bench::new(limits)
}

fn thread(n: usize) -> SessionKey {
    key(&format!("agent:main:thread:t{n}"))
}

/// Sends a message to each of so many sessions, and pins what wants to be.
fn crowd(bench: &mut Bench, count: usize) -> Vec<RunId> {
    let mut runs = Vec::new();
    for n in 0..count {
        bench.send(&thread(n), "hello");
        runs.push(bench.open(&thread(n)));
    }
    pin_all(bench);
    runs
}

fn pin_all(bench: &mut Bench) {
    loop {
        let waits = |run: &&machine::rows::Run| run.phase == Phase::Preparing;
        let Some(run) = bench.disk.world.runs.iter().find(waits).map(|run| run.id) else { return };
        bench.pin(run);
    }
}

fn refuse(bench: &mut Bench, run: RunId, class: FailureClass, retry_after: Option<u64>) {
    let token = bench.token(run);
    let steps = bench.disk.world.steps.iter();
    let open = |s: &&machine::rows::Step| s.run == run && s.state == StepState::Intent;
    let step = steps.filter(open).map(|step| step.n).next().expect("a call is out");
    let retry_after_ms = retry_after.map(|seconds| seconds as i64 * 1_000);
    let failure = ModelFailure {
        class,
        message: "too many".to_owned(),
        retry_after_ms,
        paid: false,
        overflow: Overflow::default(),
    };
    bench.apply(Event::ModelFailed { run, token, step, failure });
}

/// Runs whose model call is out.
fn calling(bench: &Bench) -> Vec<RunId> {
    let steps = bench.disk.world.steps.iter();
    let open = |s: &&machine::rows::Step| s.kind == StepKind::Model && s.state == StepState::Intent;
    steps.filter(open).map(|step| step.run).collect()
}

fn calls_made(bench: &Bench) -> usize {
    bench.disk.world.steps.iter().filter(|step| step.kind == StepKind::Model).count()
}

fn gate<'b>(bench: &'b Bench, name: &str) -> &'b Gate {
    let mut gates = bench.disk.world.gates.iter();
    gates.find(|gate| gate.key.to_string() == name).expect("there is such a gate")
}

/// One is refused for 30 s: of a hundred sessions at most one asks in that time, and afterwards
/// one alone, until it is answered.
#[test]
fn one_refusal_holds_for_all() {
    let mut bench = bench(200);
    let first = crowd(&mut bench, 1)[0];
    refuse(&mut bench, first, FailureClass::RateLimit, Some(30));
    assert_eq!(bench.phase(first), AT_GATE);
    let closed = gate(&bench, "x/default/a");
    assert_eq!((closed.state, closed.kind), (GateState::Closed, Some(GateKind::Rate)));

    let runs = crowd(&mut bench, 100);
    assert!(runs.iter().all(|run| bench.phase(*run) == AT_GATE));
    assert_eq!(bench.disk.world.runs.iter().filter(|run| run.slot.is_some()).count(), 0);
    for _ in 0..29 {
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(calls_made(&bench), 1, "nobody has asked again");

    bench.pass(Duration::from_secs(5));
    pin_all(&mut bench);
    assert_eq!(calling(&bench).len(), 1, "one finds out");
    assert_eq!(gate(&bench, "x/default/a").state, GateState::Probing);
    bench.pass(Duration::from_secs(20));
    pin_all(&mut bench);
    let probe = calling(&bench);
    assert_eq!(probe.len(), 1, "as long as it takes");

    bench.say(probe[0], "at last");
    pin_all(&mut bench);
    assert_eq!(gate(&bench, "x/default/a").state, GateState::Open);
    while bench.disk.next_wake().is_some_and(|due| due <= bench.at.now) {
        bench.pass(Duration::ZERO);
        pin_all(&mut bench);
    }
    assert_eq!(calling(&bench).len(), 99, "all others go on at once");
}

/// Another model of the same account, and another provider, are not concerned.
#[test]
fn a_sibling_model_goes_on() {
    let mut bench = bench(9);
    let first = crowd(&mut bench, 1)[0];
    refuse(&mut bench, first, FailureClass::RateLimit, Some(30));
    for (n, model) in [(7, "x/b"), (8, "y/a")] {
        let inbound = sim::plan::inbound(&thread(n), "hello");
        let model = Some(model.to_owned());
        bench.send_as(machine::event::Inbound { model, ..inbound });
        pin_all(&mut bench);
        let run = bench.open(&thread(n));
        assert_eq!(bench.phase(run), Phase::AwaitingModel);
    }
}

/// Calls that were out together are refused together, and no wait is shorter than what was asked.
#[test]
fn refusals_at_once_count_once() {
    let mut bench = bench(9);
    let runs = crowd(&mut bench, 5);
    for (n, run) in runs.iter().enumerate() {
        refuse(&mut bench, *run, FailureClass::RateLimit, Some(20 - n as u64));
    }
    let closed = gate(&bench, "x/default/a");
    assert_eq!(closed.strikes, 1);
    assert!(closed.reopen.unwrap().since(sim::plan::BIRTH) >= Duration::from_secs(20));
}

/// Whoever is refused at its own calls again and again gives up with the provider's words; the
/// others wait on.
#[test]
fn an_outage_ends_for_one_run_after_the_other() {
    let mut bench = bench(9);
    let runs = crowd(&mut bench, 2);
    let mut refusals = 0;
    while !bench.phase(runs[0]).ended() {
        for run in calling(&bench) {
            refuse(&mut bench, run, FailureClass::Overload, None);
            refusals += 1;
        }
        bench.pass(Duration::from_secs(31));
        assert!(refusals < 50, "this goes on for ever");
    }
    assert_eq!(bench.phase(runs[0]), Phase::Ended(Outcome::Failed));
    assert_eq!(bench.run(runs[0]).error.as_deref(), Some("too many"));
    assert!(!bench.phase(runs[1]).ended());
}

/// An account without quota is asked by one, not by each.
#[test]
fn no_quota_is_found_out_once() {
    let mut bench = bench(9);
    let first = crowd(&mut bench, 1)[0];
    refuse(&mut bench, first, FailureClass::Quota, None);
    crowd(&mut bench, 8);
    for _ in 0..50 {
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(calls_made(&bench), 1);
    let notice = |notice: &Notice| matches!(notice, Notice::AtGate { .. });
    bench.send(&thread(20), "one more");
    pin_all(&mut bench);
    assert!(bench.done.notices.iter().any(notice), "it is said: {:?}", bench.done.notices);
}

/// A probe that is stopped, or lost with its gateway, says nothing: the next one goes.
#[test]
fn a_probe_that_is_cut_is_followed_by_another() {
    for stop in [true, false] {
        let mut bench = bench(9);
        let first = crowd(&mut bench, 1)[0];
        refuse(&mut bench, first, FailureClass::RateLimit, Some(1));
        crowd(&mut bench, 3);
        bench.pass(Duration::from_secs(3));
        let probe = calling(&bench)[0];
        let session = bench.run(probe).session_key.clone();
        if stop {
            bench.apply(Event::Stop { session, run: None, by: "owner".to_owned() });
        } else {
            bench.restart();
        }
        bench.pass(Duration::from_secs(6));
        pin_all(&mut bench);
        assert_eq!(calling(&bench).len(), 1, "stopped: {stop}");
    }
}

/// `concurrent` counts what is really out, also after a crash.
#[test]
fn an_account_has_so_many_calls_at_a_time() {
    let mut bench = bench(9);
    let limits = ProviderLimits { concurrent: Some(2), ..ProviderLimits::default() };
    bench.limits.providers.insert("x".to_owned(), limits);
    let runs = crowd(&mut bench, 5);
    assert_eq!(calling(&bench), runs[..2]);
    assert!(runs[2..].iter().all(|run| bench.run(*run).slot.is_none()));
    bench.say(runs[0], "done");
    pin_all(&mut bench);
    assert_eq!(calling(&bench), runs[1..3]);
    bench.restart();
    bench.pass(Duration::from_secs(6));
    pin_all(&mut bench);
    assert_eq!(calling(&bench).len(), 2);
    for _ in 0..4 {
        let run = calling(&bench)[0];
        bench.say(run, "done");
        bench.pass(Duration::ZERO);
        pin_all(&mut bench);
    }
    assert!(runs.iter().all(|run| bench.phase(*run).ended()));
}

/// `rpm` and `tpm` let so much through in a minute, and the rest in the next.
#[test]
fn an_account_has_so_much_a_minute() {
    let per_minute = [
        ProviderLimits { rpm: Some(3), ..ProviderLimits::default() },
        // Each answer of the bench has 111 tokens, and a prompt of 10 to begin with.
        ProviderLimits { tpm: Some(300), ..ProviderLimits::default() },
    ];
    for limits in per_minute {
        let mut bench = bench(1);
        bench.limits.providers.insert("x".to_owned(), limits);
        let runs = crowd(&mut bench, 5);
        let mut answered = 0;
        while let Some(run) = calling(&bench).first().copied() {
            bench.say(run, "done");
            pin_all(&mut bench);
            answered += 1;
        }
        assert_eq!(answered, 3, "{limits:?}");
        assert_eq!(bench.phase(runs[4]), AT_GATE, "{limits:?}");
        bench.pass(Duration::from_secs(61));
        pin_all(&mut bench);
        assert_eq!(calling(&bench).len(), 1, "{limits:?}");
    }
}

/// A run at a gate can be stopped, has its deadline, and takes in what comes meanwhile.
#[test]
fn a_run_at_a_gate_is_a_run() {
    let mut bench = bench(9);
    let first = crowd(&mut bench, 1)[0];
    refuse(&mut bench, first, FailureClass::RateLimit, Some(600));
    let timeout_ms = Some(5_000);
    let inbound = sim::plan::inbound(&main_session(), "quick");
    bench.send_as(machine::event::Inbound { timeout_ms, ..inbound });
    let timed = bench.open(&main_session());
    pin_all(&mut bench);
    assert_eq!(bench.phase(timed), AT_GATE);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.phase(timed), Phase::Ended(Outcome::TimedOut));
    bench.apply(Event::Stop { session: thread(0), run: None, by: "owner".to_owned() });
    assert_eq!(bench.phase(first), Phase::Ended(Outcome::Cancelled));
}
