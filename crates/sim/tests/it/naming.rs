//! A model answers in another's name: a run has the answer of the model that it asked, or none.

use machine::event::{CallPlan, ModelReply};
use machine::rows::{Outcome, StepKind};
use machine::run::Phase;
use machine::{Event, Limits, Notice};
use sim::plan::limits;
use sim::script::{Asked, external, internal, reply, spawn};
use types::{EffectClass, FailureClass, InternalCall, RunId};

use crate::bench::{Bench, main_session};

/// An agent on `x/big`.
fn one_model() -> Limits {
    let mut limits = limits();
    limits.models.insert("x/big".to_owned(), 200_000);
    limits.agents.values_mut().for_each(|agent| agent.model = "x/big".to_owned());
    limits
}

fn started(limits: Limits) -> (Bench, RunId) {
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    (bench, run)
}

/// The model of a run answers under this name.
fn answer_as(bench: &mut Bench, run: RunId, name: &str, change: impl FnOnce(&mut ModelReply)) {
    bench.pin(run);
    let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Model));
    let world = &bench.disk.world;
    let asked = Asked { world, run: bench.run(run), step, depth: 0 };
    let mut reply = reply(&asked, "so it is", Vec::new());
    reply.model = name.to_owned();
    change(&mut reply);
    bench.apply(Event::ModelReplied { run, token, step, reply });
}

fn is_told(bench: &Bench) -> bool {
    bench.done.notices.iter().any(|notice| matches!(notice, Notice::ModelDiffers { .. }))
}

/// What was paid for is booked under the name of who has answered, and the run has failed.
#[test]
fn the_answer_of_another_model_ends_the_run() {
    let (mut bench, run) = started(one_model());
    answer_as(&mut bench, run, "small", |_| {});
    let row = bench.run(run);
    assert_eq!(row.phase, Phase::Ended(Outcome::Failed));
    assert_eq!(row.error_class, Some(FailureClass::WrongModel));
    let why = row.error.clone().unwrap();
    for part in ["asked x/big", "`small`", "`answersAs`", "models.providers.x.models"] {
        assert!(why.contains(part), "{why}");
    }
    assert!(is_told(&bench));
    assert_eq!(bench.disk.world.ledger.last().unwrap().model, "small");
    assert_eq!(bench.disk.world.entries.len(), 2, "the answer is in the transcript");
}

/// Its calls are not made, and each has its result: the conversation can go on.
#[test]
fn the_calls_of_another_model_are_not_made() {
    let (mut bench, run) = started(one_model());
    answer_as(&mut bench, run, "small", |reply| {
        reply.calls = vec![
            external("c1", EffectClass::Opaque),
            internal("c2", InternalCall::spawn(spawn("part"))),
        ];
        assert!(matches!(reply.calls[0].plan, CallPlan::External(_)));
    });
    assert_eq!(bench.run(run).error_class, Some(FailureClass::WrongModel));
    assert!(bench.tasks().is_empty(), "{:?}", bench.tasks());
    bench.send(&main_session(), "and now?");
    let next = bench.open(&main_session());
    answer_as(&mut bench, next, "big", |_| {});
    assert_eq!(bench.phase(next), Phase::Ended(Outcome::Completed));
}

/// An edition of the model is the model, and so is what somebody has said may take its place.
#[test]
fn an_edition_and_an_accepted_name_are_no_other_model() {
    let mut limits = one_model();
    limits.answers_as.insert("x/big".to_owned(), vec!["huge".to_owned()]);
    for (name, told) in [("Big-2026-01-31", false), ("maker/big", false), ("huge", true)] {
        let (mut bench, run) = started(limits.clone());
        answer_as(&mut bench, run, name, |_| {});
        assert_eq!(bench.phase(run), Phase::Ended(Outcome::Completed), "{name}");
        assert_eq!(is_told(&bench), told, "{name}");
        assert_eq!(bench.run(run).answered.as_deref(), Some(name));
    }
}

/// Whoever has spawned a child is told that another model has done the work.
#[test]
fn a_requester_is_told_which_model_has_answered() {
    let (mut bench, run) = started(one_model());
    bench.answer(run, "", vec![internal("c1", InternalCall::spawn(spawn("part")))]);
    let child = bench.tasks()[0].run;
    answer_as(&mut bench, child, "small", |_| {});
    assert_eq!(bench.outcomes(), [Some(Outcome::Failed)]);
    let announce = bench.body(&main_session(), "announce:");
    assert!(announce.contains("asked x/big") && announce.contains("`small`"), "{announce}");
}
