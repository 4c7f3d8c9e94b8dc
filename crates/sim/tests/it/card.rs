//! What an agent shows while it works: a plan, and words to its person.

use machine::event::{Change, Patch};
use machine::rows::EndReason;
use machine::{Event, Notice};
use serde_json::json;
use sim::plan::limits;
use sim::script::{internal, spawn, wait};
use types::{
    Card, Footer, Hash, InternalCall, PlanStatus, PlanStep, Reasoning, SessionKey, WaitFor,
};

use crate::bench::{Bench, main_session};

fn card(statuses: &[PlanStatus]) -> Card {
    let step =
        |(n, status): (usize, &PlanStatus)| PlanStep { step: format!("{n}"), status: *status };
    Card { markdown: None, plan: statuses.iter().enumerate().map(step).collect() }
}

fn show(card: Card) -> InternalCall {
    InternalCall::Card(Box::new(card))
}

fn shown(bench: &Bench, key: &SessionKey) -> Option<Hash> {
    let session = bench.disk.world.sessions.iter().find(|row| row.key == *key);
    session.expect("there is such a session").card
}

fn change(bench: &mut Bench, change: Change) {
    let (session, by) = (main_session(), "owner".to_owned());
    bench.apply(Event::Change { session, by, change });
}

/// The newest card is kept with the session, over a crash too, until it is taken down or the
/// conversation begins anew.
#[test]
fn the_newest_card_stays_until_it_is_taken_down_or_all_begins_anew() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let first = card(&[PlanStatus::Completed, PlanStatus::InProgress]);
    let told = bench.call(run, "a", show(first));
    assert_eq!(told, json!({ "status": "shown", "completed": 1, "steps": 2 }));
    let second = card(&[PlanStatus::Completed, PlanStatus::Completed]);
    bench.call(run, "b", show(second.clone()));
    let hash = Hash::of(serde_json::to_string(&second).unwrap());
    assert_eq!(shown(&bench, &main_session()), Some(hash));
    bench.restart();
    assert_eq!(shown(&bench, &main_session()), Some(hash));

    let told = bench.call(run, "c", show(Card::default()));
    assert_eq!((&told["status"], shown(&bench, &main_session())), (&json!("removed"), None));
    bench.call(run, "d", show(second));
    change(&mut bench, Change::Reset(EndReason::New));
    assert_eq!(shown(&bench, &main_session()), None);
}

/// The words are there with the commit of the call; a sub-agent has nobody to say them to.
#[test]
fn words_to_a_person_are_told_at_once_and_a_child_has_no_person() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let say = || InternalCall::Say { text: "half way".to_owned() };
    let child = internal("a", InternalCall::spawn(spawn("part")));
    bench.answer(run, "", vec![child, internal("b", say())]);
    assert_eq!(bench.result(run, "b"), json!({ "status": "sent", "channel": "chat" }));
    let told = bench.done.notices.iter().filter_map(|notice| match notice {
        Notice::Told { session, task: None, text, .. } => Some((session.clone(), text.as_str())),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(main_session(), "half way")]);

    bench.call(run, "c", InternalCall::Yield(wait(WaitFor::All)));
    let child = bench.tasks()[0].run;
    let refused = bench.call(child, "d", say());
    assert_eq!((&refused["status"], &refused["code"]), (&json!("error"), &json!("no_person")));
}

#[test]
fn what_is_shown_beside_answers_is_the_sessions_own_until_it_is_deleted() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let level = |bench: &Bench| bench.disk.world.sessions[0].reasoning;
    let footer = |bench: &Bench| bench.disk.world.sessions[0].footer;
    let (reasoning, full) = (Some(Reasoning::Stream), Some(Footer::Full));
    change(&mut bench, Change::Patch(Patch { reasoning, ..Patch::default() }));
    change(&mut bench, Change::Patch(Patch { footer: full, ..Patch::default() }));
    change(&mut bench, Change::Reset(EndReason::Reset));
    assert_eq!((level(&bench), footer(&bench)), (Reasoning::Stream, Footer::Full));
    change(&mut bench, Change::Delete);
    bench.send(&main_session(), "go");
    assert_eq!((level(&bench), footer(&bench)), (Reasoning::Off, Footer::Off));
}
