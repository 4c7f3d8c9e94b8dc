//! `/context refresh`: another prefix before the same conversation, at the next call and not before.

use machine::effect::Notice;
use machine::event::{Act, Command};
use machine::rows::{Episode, EpisodeReason, Transcript};
use machine::run::Phase;
use machine::{Action, Answer, Event};
use sim::plan::limits;
use sim::script::external;
use types::{EffectClass, RunId};

use crate::bench::{Bench, main_session};

fn refresh(bench: &mut Bench, key: &str, changed: &[&str]) -> String {
    let answer = bench.apply(Event::Command(Command {
        session: main_session(),
        owner: "owner".to_owned(),
        origin: "web".to_owned(),
        idem_key: key.to_owned(),
        text: "/context refresh".to_owned(),
        act: Act::Refresh { changed: changed.iter().map(|name| (*name).to_owned()).collect() },
    }));
    match answer {
        Answer::Commanded(told) => told.answer,
        other => panic!("{other:?}"),
    }
}

fn pin(bench: &mut Bench, run: RunId, prefix: &str, tokens: u64) {
    let (token, prefix) = (bench.token(run), prefix.to_owned());
    bench.apply(Event::Pinned { run, token, prefix, tokens });
}

/// The first entry and the prefix of the call that the last event has sent out.
fn sent(bench: &Bench) -> (i64, types::Hash) {
    let mut calls = bench.done.actions.iter().filter_map(|action| match action {
        Action::CallModel(call) => Some((call.shown.spans.last()?.first_seq, call.prefix)),
        _ => None,
    });
    calls.next_back().expect("a call goes out")
}

fn transcript(bench: &Bench) -> &Transcript {
    let mut transcripts = bench.disk.world.transcripts.iter();
    transcripts.find(|row| row.session_key == main_session()).expect("it is there")
}

fn episodes(bench: &Bench) -> Vec<&Episode> {
    let id = transcript(bench).session_id;
    bench.disk.world.episodes.iter().filter(|episode| episode.session_id == id).collect()
}

fn said(bench: &Bench) -> (EpisodeReason, bool, u64) {
    let mut news = bench.done.notices.iter().filter_map(|notice| match notice {
        Notice::Pinned { reason, same, resent, .. } => Some((*reason, *same, *resent)),
        _ => None,
    });
    news.next_back().expect("it is said")
}

#[test]
fn the_next_call_has_the_new_prefix_and_all_of_the_conversation() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "one");
    let run = bench.open(&main_session());
    pin(&mut bench, run, "old", 100);
    assert_eq!(said(&bench).0, EpisodeReason::Start);
    let (first, old) = sent(&bench);
    bench.say(run, "done");
    let before = transcript(&bench).context_tokens;

    let told = refresh(&mut bench, "r1", &["SOUL.md"]);
    assert!(told.contains("Changed since it was pinned: SOUL.md."), "{told}");
    assert!(told.contains(&format!("about {before} tokens")), "{told}");
    assert_eq!(refresh(&mut bench, "r1", &["SOUL.md"]), told, "the same message, the same answer");
    assert!(refresh(&mut bench, "r2", &[]).contains("Nothing is pinned yet"), "once is enough");
    assert_eq!(episodes(&bench).len(), 2);

    bench.send(&main_session(), "two");
    let run = bench.open(&main_session());
    assert_eq!(bench.phase(run), Phase::Preparing);
    let waiting = transcript(&bench).context_tokens;
    pin(&mut bench, run, "new", 250);
    let (again, new) = sent(&bench);
    assert_eq!((again, old == new), (first, false), "the same conversation behind another prefix");
    // The old prefix is counted no more, and the new one is.
    let counted = transcript(&bench).context_tokens;
    assert!(counted >= waiting + 150 && counted < waiting + 250, "{waiting} and then {counted}");
    assert_eq!(said(&bench), (EpisodeReason::Refresh, false, counted));
    assert!(episodes(&bench).iter().all(|episode| episode.pinned.is_some()));
}

/// A run that is at work goes on with the new prefix at its next model boundary.
#[test]
fn a_run_takes_it_up_between_two_calls() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    pin(&mut bench, run, "old", 100);
    refresh(&mut bench, "while the model works", &[]);
    assert_eq!(bench.phase(run), Phase::AwaitingModel, "the call that is out stays as it is");
    bench.answer(run, "", vec![external("a", EffectClass::Pure)]);
    assert_eq!(bench.phase(run), Phase::AwaitingTools);
    bench.tool_done(run);
    assert_eq!(bench.phase(run), Phase::Preparing);
    // A gateway that is killed now asks for it again.
    bench.restart();
    let asked = |action: &Action| matches!(action, Action::Pin { run: of, .. } if *of == run);
    assert!(bench.done.actions.iter().any(asked));
    pin(&mut bench, run, "old", 100);
    assert_eq!(said(&bench).0, EpisodeReason::Refresh);
    assert!(said(&bench).1, "the same bytes are nothing new");
    bench.say(run, "done");
    assert!(bench.phase(run).ended());
}

/// A session that nobody has used yet reads its files in any case.
#[test]
fn nothing_is_refreshed_before_anything_is_pinned() {
    let mut bench = Bench::new(limits());
    assert!(refresh(&mut bench, "r1", &[]).contains("Nothing is pinned yet"));
    assert_eq!(episodes(&bench).len(), 1);
}
