//! The configuration changes under work that is open.

use machine::event::{Change, ModelFailure, Overflow, Patch};
use machine::limits::AgentLimits;
use machine::rows::{LaneName, Outcome, StepKind};
use machine::{Answer, Event, Limits, Refusal};
use sim::plan::limits;
use sim::script::spawn;
use types::{AgentId, FailureClass, InternalCall, RunId};

use crate::bench::{Bench, key, main_session};

impl Bench {
    /// Puts other limits in the place of the present ones, as a driver does.
    fn reconfigure(&mut self, change: impl FnOnce(&mut Limits)) {
        let mut new = limits();
        change(&mut new);
        let open = self.disk.world.runs.iter().filter(|run| !run.phase.ended());
        let open: Vec<_> = open.map(|run| (run.id, run.session_key.agent.clone())).collect();
        self.limits = new.in_place_of(&self.limits, &open);
        self.apply(Event::Reconfigured);
    }
}

/// Every agent on `n`, and no other model.
fn on_n(limits: &mut Limits) {
    limits.models = [("n".to_owned(), 9_000)].into();
    for agent in limits.agents.values_mut() {
        *agent = AgentLimits { model: "n".to_owned(), ..agent.clone() };
    }
}

fn without_ops(limits: &mut Limits) {
    limits.agents.retain(|agent, _| *agent == AgentId::main());
}

/// A run goes on with the model, the fallbacks and the window that it began with; the next one of
/// the same session has the new.
#[test]
fn the_next_run_has_the_new_model() {
    let mut bench = Bench::new(limits());
    let session = main_session();
    bench.send(&session, "go");
    let run = bench.open(&session);
    bench.reconfigure(on_n);
    bench.call(run, "t1", InternalCall::spawn(spawn("part".to_owned())));
    assert_eq!(bench.run(run).model, "m", "its next call, too");
    bench.say(run, "done");
    assert_eq!(bench.run(run).phase.outcome(), Some(Outcome::Completed));
    bench.send(&session, "again");
    let next = bench.open(&session);
    assert_eq!((bench.run(next).model.as_str(), bench.run(next).asked.as_str()), ("n", "n"));
}

/// The accounts of a provider that is gone are still those of the run that has begun with them: it
/// goes on at the same one, and to the next when that is refused.
#[test]
fn a_run_keeps_the_accounts_that_it_began_with() {
    let mut before = limits();
    for model in ["p/a", "p/a#one", "p/a#two"] {
        before.models.insert(model.to_owned(), 2_000);
    }
    before.accounts.insert("p".to_owned(), ["one", "two"].map(str::to_owned).to_vec());
    for agent in before.agents.values_mut() {
        agent.model = "p/a".to_owned();
    }
    let mut bench = Bench::new(before);
    let session = main_session();
    bench.send(&session, "go");
    let run = bench.open(&session);
    bench.pin(run);
    assert_eq!(bench.run(run).model, "p/a#one");
    bench.reconfigure(on_n);
    bench.call(run, "t1", InternalCall::spawn(spawn("part".to_owned())));
    assert_eq!(bench.run(run).model, "p/a#one");
    let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Model));
    let failure = ModelFailure {
        class: FailureClass::RateLimit,
        message: "slow down".to_owned(),
        retry_after_ms: Some(600_000),
        paid: false,
        overflow: Overflow::default(),
    };
    bench.apply(Event::ModelFailed { run, token, step, failure });
    assert_eq!(bench.run(run).model, "p/a#two");
    bench.say(run, "done");
    assert_eq!(bench.run(run).phase.outcome(), Some(Outcome::Completed));
}

/// An agent that is gone is refused to all who come, and done with what was accepted for it: its
/// run, the child of that, and the run that the child's result opens.
#[test]
fn what_was_accepted_for_an_agent_is_done_after_it_has_gone() {
    let mut bench = Bench::new(limits());
    let ops = key("agent:ops:main");
    bench.send(&ops, "go");
    let run = bench.open(&ops);
    bench.call(run, "s1", InternalCall::spawn(spawn("part".to_owned())));
    let child = bench.tasks()[0].run;
    bench.reconfigure(without_ops);
    let refused = bench.send(&ops, "more");
    assert!(matches!(refused, Answer::Refused(Refusal::UnknownAgent(_))), "{refused:?}");

    bench.say(run, "it is under way");
    bench.say(child, "found");
    let told = bench.open(&ops);
    assert_ne!(told, run, "the result has opened a run of its own");
    assert_eq!(bench.run(told).model, "m");
    bench.say(told, "all done");
    assert_eq!(bench.run(told).phase.outcome(), Some(Outcome::Completed));
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed)]);
}

/// A model that a person chooses for an open run is one of the new configuration.
#[test]
fn a_person_may_choose_a_new_model_for_an_old_run() {
    let mut bench = Bench::new(limits());
    let session = main_session();
    bench.send(&session, "go");
    let run = bench.open(&session);
    bench.reconfigure(on_n);
    let gone = bench.limits.model_named("m").unwrap_err().to_string();
    assert!(gone.contains("known: n"), "{gone}");
    let patch = Patch { model: Some(Some("n".to_owned())), ..Patch::default() };
    let (change, by) = (Change::Patch(patch), "owner".to_owned());
    bench.apply(Event::Change { session: session.clone(), by, change });
    bench.call(run, "t1", InternalCall::spawn(spawn("part".to_owned())));
    assert_eq!(bench.run(run).model, "n");
}

/// A lane that has become larger lets those in who wait; one that has become smaller ends nobody,
/// and lets nobody in until it is down to what is configured.
#[test]
fn a_lane_grows_at_once_and_shrinks_as_it_empties() {
    let mut bench = Bench::new(limits());
    let of = |lane: u32| {
        move |limits: &mut Limits| {
            limits.lanes.insert(LaneName::Main, lane);
        }
    };
    bench.reconfigure(of(1));
    let sessions: Vec<_> = (0..4).map(|n| key(&format!("agent:main:thread:t{n}"))).collect();
    for session in &sessions {
        bench.send(session, "go");
    }
    let runs: Vec<RunId> = sessions.iter().map(|session| bench.open(session)).collect();
    let at_work = |bench: &Bench| -> usize {
        runs.iter().filter(|run| bench.phase(**run).holds_slot()).count()
    };
    assert_eq!(at_work(&bench), 1);
    bench.reconfigure(of(3));
    assert_eq!(at_work(&bench), 3);
    bench.reconfigure(of(1));
    assert_eq!(at_work(&bench), 3, "nobody is ended");
    let capacity = |bench: &Bench| {
        let lanes = &bench.disk.world.lanes;
        lanes.iter().find(|lane| lane.name == LaneName::Main).unwrap().capacity
    };
    assert_eq!(capacity(&bench), 3);
    for (n, left) in [(0, 2), (1, 1), (2, 1)] {
        bench.say(runs[n], "done");
        assert_eq!(at_work(&bench), left, "after {n}");
    }
    assert_eq!(capacity(&bench), 1);
}
