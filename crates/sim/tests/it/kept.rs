//! What is too long for a transcript enters by its ends, and is kept whole for the tree.

use machine::event::ToolDone;
use machine::policy::{Entry, ToolFact};
use machine::rows::StepKind;
use machine::{Event, Limits};
use serde_json::Value;
use sim::plan::limits;
use sim::script::external;
use types::excerpt::{BlobId, READER};
use types::{EffectClass, RunId};

use crate::bench::{Bench, main_session};

const LONG: usize = 1_000;

/// Limits under which more than [`LONG`] bytes of a result are too many, and the tool to read them.
fn short() -> Limits {
    let mut limits = Limits { result_bytes_max: LONG, ..limits() };
    limits.tools.catalogue.push(ToolFact {
        name: READER.to_owned(),
        effect: EffectClass::Pure,
        groups: vec!["sessions".to_owned()],
        description: String::new(),
    });
    limits
}

/// A run whose one tool answers `text`; returns what its model reads of it.
fn heard(limits: Limits, text: &str) -> (Bench, RunId, String) {
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.answer(run, "", vec![external("c", EffectClass::Pure)]);
    let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Tool));
    let result =
        ToolDone { text: text.to_owned(), is_error: false, unknown: false, background: false };
    bench.apply(Event::ToolFinished { run, token, step, result });
    let Value::String(read) = bench.result(run, "c") else { panic!("a text") };
    (bench, run, read)
}

#[test]
fn a_long_result_enters_by_its_ends_and_is_kept_whole() {
    let text = format!("first {} last", "x".repeat(5 * LONG));
    let (bench, run, read) = heard(short(), &text);
    assert!(read.len() <= LONG && read.starts_with("first ") && read.ends_with(" last"), "{read}");
    let id = BlobId::of(&text);
    assert!(read.contains(&format!("read them with result_read, id \"{id}\"]")), "{read}");
    let [kept] = &bench.disk.world.kept[..] else { panic!("{:?}", bench.disk.world.kept) };
    assert_eq!((kept.hash, kept.run, kept.bytes), (id.hash(), run, text.len() as u64));
    assert_eq!(kept.root_key, main_session());
}

#[test]
fn a_result_that_fits_is_not_touched() {
    let text = "x".repeat(LONG);
    let (bench, _, read) = heard(short(), &text);
    assert_eq!((read, bench.disk.world.kept.len()), (text, 0));
}

#[test]
fn nobody_is_told_of_a_tool_that_is_not_there() {
    let mut limits = short();
    limits.tools.lists.deny = vec![Entry::of(READER)];
    let (bench, _, read) = heard(limits, &"x".repeat(5 * LONG));
    assert!(read.contains(" bytes cut here]\n") && !read.contains(READER), "{read}");
    assert_eq!(bench.disk.world.kept.len(), 0, "nobody could read it");
}

#[test]
fn what_is_kept_goes_when_it_is_old_and_stays_while_it_comes_again() {
    let text = "x".repeat(5 * LONG);
    let (mut bench, run, _) = heard(short(), &text);
    let keep = bench.limits.retention.keep;
    bench.pass(keep / 2);
    bench.answer(run, "", vec![external("again", EffectClass::Pure)]);
    let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Tool));
    let result =
        ToolDone { text: text.clone(), is_error: false, unknown: false, background: false };
    bench.apply(Event::ToolFinished { run, token, step, result });
    bench.pass(keep / 2 + bench.limits.retention.every);
    assert_eq!(bench.disk.world.kept.len(), 1, "it has come again meanwhile");
    bench.pass(keep);
    bench.pass(bench.limits.retention.every);
    assert_eq!(bench.disk.world.kept, []);
}
