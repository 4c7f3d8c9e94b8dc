//! Answers that were cut at the output limit of their model.

use machine::Event;
use std::time::Duration;

use machine::event::{Inbound, ModelReply, PlannedCall};
use machine::rows::{EntryKind, InboxState, Outcome, StepKind};
use machine::run::Phase;
use sim::plan::limits;
use sim::script::{Asked, external, internal, reply, spawn};
use types::{EffectClass, InternalCall, RunId, SendRequest};

use crate::bench::{Bench, main_session};
use crate::send::{self, ops, two_agents};

const LIMIT: u32 = 4_711;
const NOTE: &str = "output-limit:";

/// The model of `run` answers, and is cut.
fn cut(bench: &mut Bench, run: RunId, text: &str, calls: Vec<PlannedCall>) {
    bench.pin(run);
    let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Model));
    let asked = Asked { world: &bench.disk.world, run: bench.run(run), step, depth: 0 };
    let reply = ModelReply { cut_at: Some(LIMIT), ..reply(&asked, text, calls) };
    bench.apply(Event::ModelReplied { run, token, step, reply });
}

/// What became of the note of an answer that was cut.
fn note(bench: &Bench) -> InboxState {
    let rows = &bench.disk.world.inbox;
    let notes: Vec<_> = rows.iter().filter(|row| row.idem_key.starts_with(NOTE)).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    notes[0].state
}

/// Calls that did not fit look like calls that nobody wanted: the model is told, once, behind the
/// results of those that came through, and says the rest.
#[test]
fn a_model_reads_that_its_calls_were_cut() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let calls = vec![external("a", EffectClass::Pure), external("b", EffectClass::Pure)];
    cut(&mut bench, run, "", calls);
    assert_eq!(note(&bench), InboxState::Queued);
    bench.tool_done(run);
    bench.tool_done(run);
    assert_eq!(note(&bench), InboxState::Consumed);
    let body = bench.body(&main_session(), NOTE);
    for part in [format!("output limit of {LIMIT} tokens"), "2 of its calls".to_owned()] {
        assert!(body.contains(&part), "{part}: {body}");
    }
    let kinds: Vec<EntryKind> = bench.disk.world.entries.iter().map(|entry| entry.kind).collect();
    let results = [EntryKind::ToolResult, EntryKind::ToolResult];
    assert_eq!(kinds[kinds.len() - 3..], [results[0], results[1], EntryKind::System]);
    bench.say(run, "the rest");
    assert_eq!(bench.run(run).phase, Phase::Ended(Outcome::Completed));
    assert_eq!(bench.disk.world.runs.len(), 1, "the note is worth no run of its own");
}

/// The note is for the run alone: it opens none when that one ends before it has read it.
#[test]
fn the_note_ends_with_its_run() {
    let stop = Event::Stop { session: main_session(), run: None, by: "owner".to_owned() };
    for (stop, outcome) in [(Some(stop), Outcome::Cancelled), (None, Outcome::TimedOut)] {
        let mut bench = Bench::new(limits());
        let inbound = sim::plan::inbound(&main_session(), "go");
        bench.send_as(Inbound { timeout_ms: Some(60_000), ..inbound });
        let run = bench.open(&main_session());
        cut(&mut bench, run, "", vec![external("a", EffectClass::Pure)]);
        match stop {
            Some(stop) => {
                bench.apply(stop);
            }
            None => bench.pass(Duration::from_secs(61)),
        }
        assert_eq!(bench.run(run).phase, Phase::Ended(outcome));
        assert_eq!(note(&bench), InboxState::Cancelled, "{outcome}");
        assert_eq!(bench.disk.world.runs.len(), 1, "{outcome}");
    }
}

/// A report that was cut is no whole one, and silence has a reason: the requester reads both.
#[test]
fn a_requester_reads_that_a_report_was_cut() {
    for (text, outcome, said) in [
        ("half a rep", Outcome::Completed, "completed its task, but its answer was cut"),
        (" ", Outcome::NoResult, "ended without a result: its answer was cut"),
    ] {
        let mut bench = Bench::new(limits());
        bench.send(&main_session(), "go");
        let run = bench.open(&main_session());
        bench.call(run, "s", InternalCall::spawn(spawn("look")));
        let child = bench.tasks()[0].run;
        cut(&mut bench, child, text, Vec::new());
        assert_eq!(bench.tasks()[0].outcome, Some(outcome));
        let body = bench.body(&main_session(), "announce:");
        assert!(body.contains(said), "{said}: {body}");
        assert!(body.contains(&format!("output limit of {LIMIT} tokens")), "{body}");
    }
}

/// An agent that waits for an answer, and one that does not: both read that it was cut.
#[test]
fn a_sender_reads_that_an_answer_was_cut() {
    for wait in [Duration::ZERO, Duration::from_secs(30)] {
        let (mut bench, run) = two_agents(limits());
        let request = SendRequest { wait, ..send::note(&ops(), "how deep?") };
        bench.answer(run, "", vec![internal("c", send::send(request))]);
        let other = bench.open(&ops());
        cut(&mut bench, other, "twelve met", Vec::new());
        let told = if wait.is_zero() {
            bench.body(&main_session(), "reply:")
        } else {
            bench.result(run, "c").to_string()
        };
        for part in ["twelve met", "It has answered, but its answer was cut", "4711 tokens"] {
            assert!(told.contains(part), "{wait:?}: {part}: {told}");
        }
    }
}
