//! Conversations that grow beyond the window of their model.

use machine::context::CALLS_MAX;
use machine::effect::{Action, FoldedBy, ModelCall};
use machine::event::{Change, ModelFailure, ModelReply, Overflow, PlannedCall, ToolDone};
use machine::policy::ToolFact;
use machine::rows::{
    EntryKind, EpisodeReason, Outcome, Purpose, Run, StepKind, StepState, Transcript,
};
use machine::run::Phase;
use machine::{Answer, Event, Limits, Notice};
use sim::plan::limits;
use sim::script::{Asked, external, reply};
use types::excerpt::READER;
use types::{EffectClass, FailureClass, Hash, RunId, SessionKey, Usage};

use crate::bench::{Bench, main_session};

/// Of the window of 2,000 tokens, 1,500 are for the prompt, and 1,200 may be filled.
const SOFT: u64 = 1_200;

/// A message of about 400 tokens.
fn long(word: &str) -> String {
    format!("{word} {}", "and so on ".repeat(160))
}

fn with_notes() -> Limits {
    let mut limits = limits();
    limits.tools.catalogue.push(ToolFact {
        name: "write".to_owned(),
        effect: EffectClass::Probed,
        groups: Vec::new(),
        description: String::new(),
    });
    limits
}

fn transcript(bench: &Bench) -> &Transcript {
    let sessions = &bench.disk.world.sessions;
    let session = sessions.iter().find(|row| row.key == main_session()).unwrap();
    let mut transcripts = bench.disk.world.transcripts.iter();
    transcripts.find(|row| row.session_id == session.session_id).unwrap()
}

/// The call that is out.
fn call(bench: &Bench) -> ModelCall {
    let calls = bench.done.actions.iter().rev();
    let mut calls = calls.filter_map(|action| match action {
        Action::CallModel(call) => Some(call.clone()),
        _ => None,
    });
    calls.next().expect("a model is called")
}

fn model_step(bench: &Bench, run: RunId) -> u32 {
    bench.open_step(run, StepKind::Model)
}

/// The model answers, and the provider counts exactly what was expected.
fn answer(bench: &mut Bench, run: RunId, text: &str, calls: Vec<PlannedCall>) -> Answer {
    bench.pin(run);
    let (token, step, input) =
        (bench.token(run), model_step(bench, run), transcript(bench).context_tokens);
    let asked = Asked { world: &bench.disk.world, run: bench.run(run), step, depth: 0 };
    let usage = Usage { input, output: 10, ..Usage::default() };
    let reply = ModelReply { usage, ..reply(&asked, text, calls) };
    bench.apply(Event::ModelReplied { run, token, step, reply })
}

fn fail(bench: &mut Bench, run: RunId, class: FailureClass, overflow: Overflow) -> Answer {
    bench.pin(run);
    let (token, step) = (bench.token(run), model_step(bench, run));
    let message = format!("the provider says {class}");
    let failure = ModelFailure { class, message, retry_after_ms: None, paid: false, overflow };
    bench.apply(Event::ModelFailed { run, token, step, failure })
}

/// One message, answered at once.
fn exchange(bench: &mut Bench, text: &str) {
    bench.send(&main_session(), text);
    let run = bench.open(&main_session());
    answer(bench, run, "understood", Vec::new());
}

/// A conversation with so many long messages that the next one is too much.
fn nearly_full(limits: Limits) -> Bench {
    let mut bench = Bench::new(limits);
    exchange(&mut bench, &long("one"));
    exchange(&mut bench, &long("two"));
    assert!(transcript(&bench).context_tokens < SOFT);
    bench
}

fn purpose(bench: &Bench, run: RunId) -> Purpose {
    let step = bench.disk.step_row((run, model_step(bench, run))).unwrap();
    step.purpose
}

fn head(bench: &Bench) -> String {
    let row = transcript(bench);
    let mut episodes = bench.disk.world.episodes.iter();
    let episode = episodes.find(|e| e.session_id == row.session_id && e.n == row.episode);
    let hash = episode.and_then(|episode| episode.head).expect("it has a head");
    bench.disk.kept(hash).expect("the head is kept").to_owned()
}

fn compacted(bench: &Bench) -> Vec<(&'static str, FoldedBy, u64)> {
    let notices = bench.done.notices.iter();
    let compacted = notices.filter_map(|notice| match notice {
        Notice::Compacted { why, by, entries, .. } => Some((*why, *by, *entries)),
        _ => None,
    });
    compacted.collect()
}

/// Notes first, then a summary, then the question: three steps, and the person sees one answer.
#[test]
fn a_conversation_that_is_nearly_full_is_summarised() {
    let mut bench = nearly_full(with_notes());
    bench.send(&main_session(), &long("three"));
    let run = bench.open(&main_session());
    assert_eq!(purpose(&bench, run), Purpose::Notes);
    let ask = call(&bench).shown.ask.expect("the gateway asks");
    assert!(ask.text.contains("memory/2023-11-14.md") && ask.silent, "{}", ask.text);
    // The clock of a bench begins on that day.
    answer(&mut bench, run, "", vec![PlannedCall { name: "write".into(), ..probed("w") }]);
    let step = bench.open_step(run, StepKind::Tool);
    bench.tool_done(run);
    assert_eq!(bench.disk.step_row((run, step)).unwrap().purpose, Purpose::Notes);
    assert_eq!(purpose(&bench, run), Purpose::Notes);
    answer(&mut bench, run, "NO_REPLY", Vec::new());

    assert_eq!(purpose(&bench, run), Purpose::Summary);
    let shown = call(&bench).shown;
    // One, its answer, two: what follows is kept. Nothing of the notes is shown.
    assert_eq!((shown.spans.len(), shown.spans[0].first_seq, shown.spans[0].last_seq), (1, 1, 3));
    answer(&mut bench, run, "blue was chosen", Vec::new());
    assert_eq!(compacted(&bench), [("size", FoldedBy::Summary, 3)]);
    assert_eq!(bench.phase(run), Phase::Preparing, "its prefix is rendered anew");
    assert!(head(&bench).ends_with("blue was chosen"), "{}", head(&bench));

    bench.pin(run);
    assert_eq!(purpose(&bench, run), Purpose::Reply);
    let call = call(&bench);
    let seqs: Vec<i64> = bench.disk.shown(&call).iter().map(|(entry, _)| entry.seq).collect();
    assert_eq!(seqs, [4, 5], "the newest answer, and the question");
    assert!(transcript(&bench).context_tokens < SOFT, "{:?}", transcript(&bench));
    answer(&mut bench, run, "done", Vec::new());
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::Completed));
    // Everything is there still, and every call was paid.
    assert_eq!(bench.disk.world.entries.len(), 5 + 3 + 1);
    assert_eq!(bench.disk.world.ledger.iter().filter(|row| row.run == run).count(), 4);
}

fn probed(id: &str) -> PlannedCall {
    external(id, EffectClass::Probed)
}

/// While notes are taken nothing else can be done, and it ends whatever the model does.
#[test]
fn notes_are_two_calls_at_most_and_touch_files_only() {
    let mut bench = nearly_full(with_notes());
    bench.send(&main_session(), &long("three"));
    let run = bench.open(&main_session());
    answer(&mut bench, run, "", vec![external("a", EffectClass::Opaque)]);
    let refused = &bench.disk.results[&(run, "a".to_owned())];
    assert!(refused.contains("cannot be called while notes are taken"), "{refused}");
    answer(&mut bench, run, "", vec![external("b", EffectClass::Opaque)]);
    assert_eq!(purpose(&bench, run), Purpose::Summary);
}

/// Whoever cannot write, and every sub-agent, is not asked for notes.
#[test]
fn who_cannot_write_is_not_asked_for_notes() {
    let mut off = with_notes();
    off.compaction.notes = false;
    for limits in [limits(), off] {
        let mut bench = nearly_full(limits);
        bench.send(&main_session(), &long("three"));
        let run = bench.open(&main_session());
        assert_eq!(purpose(&bench, run), Purpose::Summary);
    }
}

/// A summary that cannot be had is no reason not to answer.
#[test]
fn a_summary_that_fails_is_replaced_by_a_digest() {
    use FailureClass::{BadRequest, Network, Overflow as TooLong};

    for (failures, calls) in
        [(vec![BadRequest], 1), (vec![TooLong], 1), (vec![Network, Network], 2)]
    {
        let mut bench = nearly_full(limits());
        bench.send(&main_session(), &long("three"));
        let run = bench.open(&main_session());
        for class in &failures {
            assert_eq!(purpose(&bench, run), Purpose::Summary, "{class}");
            fail(&mut bench, run, *class, Overflow::default());
            if bench.phase(run).waits() {
                bench.pass(std::time::Duration::from_secs(60));
            }
        }
        bench.pin(run);
        assert_eq!(purpose(&bench, run), Purpose::Reply, "{failures:?}");
        let head = head(&bench);
        assert!(head.contains("3 entries") && head.contains("2 user"), "{head}");
        let steps = bench.disk.world.steps.iter().filter(|step| step.run == run);
        assert_eq!(steps.filter(|s| s.state == StepState::Failed).count(), calls);
    }
    // One that says nothing, or wants to call something, is none either.
    for text in ["", " \n"] {
        let mut bench = nearly_full(limits());
        bench.send(&main_session(), &long("three"));
        let run = bench.open(&main_session());
        answer(&mut bench, run, text, vec![external("x", EffectClass::Opaque)]);
        assert_eq!(compacted(&bench), [("size", FoldedBy::Digest, 3)]);
        assert!(bench.disk.world.steps.iter().all(|step| step.kind == StepKind::Model));
    }
}

#[test]
fn a_summary_that_is_too_long_is_cut_and_says_so() {
    let mut bench = nearly_full(limits());
    bench.send(&main_session(), &long("three"));
    let run = bench.open(&main_session());
    answer(&mut bench, run, &"words without end ".repeat(5_000), Vec::new());
    let head = head(&bench);
    assert!(head.contains("[cut here"), "{head}");
    assert!(head.len() < 2_500, "{} bytes", head.len());
    bench.pin(run);
    assert!(transcript(&bench).context_tokens < SOFT);
}

/// What a provider refuses as too long is compacted and tried again; its window is kept in mind.
#[test]
fn a_refusal_leads_to_another_try_and_is_learnt_from() {
    let mut roomy = limits();
    roomy.models.insert("m".to_owned(), 100_000);
    for told in [
        Overflow { sent: Some(2_100), window: Some(2_000) },
        Overflow { sent: None, window: Some(2_000) },
        Overflow::default(),
    ] {
        let mut bench = Bench::new(roomy.clone());
        for word in ["one", "two", "three", "four"] {
            exchange(&mut bench, &long(word));
        }
        bench.send(&main_session(), &long("five"));
        let run = bench.open(&main_session());
        assert_eq!(purpose(&bench, run), Purpose::Reply);
        fail(&mut bench, run, FailureClass::Overflow, told);
        assert_eq!(purpose(&bench, run), Purpose::Summary, "{told:?}");
        answer(&mut bench, run, "the summary", Vec::new());
        let why: Vec<&str> = compacted(&bench).iter().map(|(why, ..)| *why).collect();
        assert_eq!(why, ["overflow"], "{told:?}");
        bench.pin(run);
        assert_eq!(purpose(&bench, run), Purpose::Reply, "{told:?}");
        let row = transcript(&bench);
        let window = row.gauge.window("m", 100_000);
        assert!((2_000..2_100).contains(&window) || told == Overflow::default(), "{window}");
        assert!(row.context_tokens < 1_500, "{told:?}: {row:?}");
        answer(&mut bench, run, "done", Vec::new());
        assert_eq!(bench.phase(run), Phase::Ended(Outcome::Completed));
        assert_eq!(transcript(&bench).gauge.fold.overflows, 0);
    }
}

/// Refused in the middle of its work, with results that were not answered yet: they stay with
/// their call, and the question stays with them.
#[test]
fn results_that_are_not_answered_stay_with_their_calls() {
    let mut bench = nearly_full(limits());
    bench.send(&main_session(), "look");
    let run = bench.open(&main_session());
    let calls = vec![external("a", EffectClass::Opaque), external("b", EffectClass::Opaque)];
    answer(&mut bench, run, "", calls);
    for _ in 0..2 {
        let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Tool));
        let result =
            ToolDone { text: long("found"), is_error: false, unknown: false, background: false };
        bench.apply(Event::ToolFinished { run, token, step, result });
    }
    assert_eq!(purpose(&bench, run), Purpose::Summary);
    answer(&mut bench, run, "the summary", Vec::new());
    bench.pin(run);
    let call = call(&bench);
    let kinds: Vec<EntryKind> = bench.disk.shown(&call).iter().map(|(e, _)| e.kind).collect();
    use EntryKind::{Assistant, ToolResult, User};
    assert_eq!(kinds[kinds.len() - 4..], [User, Assistant, ToolResult, ToolResult], "{kinds:?}");
}

/// One named end, and a way on.
#[test]
fn what_cannot_be_made_smaller_ends_the_run_by_name() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "hello");
    let run = bench.open(&main_session());
    let (token, prefix) = (bench.token(run), "a prefix as large as the window".to_owned());
    bench.apply(Event::Pinned { run, token, prefix, tokens: 1_900 });
    fail(&mut bench, run, FailureClass::Overflow, Overflow { sent: None, window: Some(2_000) });
    let row: &Run = bench.run(run);
    assert_eq!(row.phase, Phase::Ended(Outcome::Failed));
    assert_eq!(row.error_class, Some(FailureClass::Overflow));
    let why = row.error.clone().unwrap();
    for part in ["context_full", "1900 of 2000 tokens", "`/new`", "`/compact`", "contextWindow"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    // The session is alive: the next message has a run of its own.
    bench.send(&main_session(), "again");
    let next = bench.open(&main_session());
    answer(&mut bench, next, "now it fits", Vec::new());
    assert_eq!(bench.phase(next), Phase::Ended(Outcome::Completed));
}

/// What may come of the call that is out. The last of them is that the provider refuses it as too
/// long.
fn comes_of(bench: &mut Bench, run: RunId, purpose: Purpose, choice: usize) {
    use FailureClass::{Network, Overflow as TooLong};

    match (purpose, choice) {
        (Purpose::Reply, 0) => drop(answer(bench, run, "done", Vec::new())),
        (Purpose::Notes, 0) => drop(answer(bench, run, "NO_REPLY", Vec::new())),
        (Purpose::Notes, 1) => {
            answer(bench, run, "", vec![PlannedCall { name: "write".into(), ..probed("w") }]);
            bench.tool_done(run);
        }
        (Purpose::Summary, 0) => drop(answer(bench, run, "the summary", Vec::new())),
        (Purpose::Summary, 1) => drop(answer(bench, run, " ", Vec::new())),
        (Purpose::Notes | Purpose::Summary, 2) => {
            fail(bench, run, Network, Overflow::default());
        }
        _ => drop(fail(bench, run, TooLong, Overflow::default())),
    }
    if bench.phase(run).waits() {
        bench.pass(std::time::Duration::from_secs(60));
    }
    bench.pin(run);
}

/// Whatever comes of each call, in every order: the message is answered by the fifth, or its run
/// ends by name. Nothing but a provider that refuses three requests ends it.
#[test]
fn a_message_takes_five_calls_at_most() {
    let mut roomy = with_notes();
    roomy.models.insert("m".to_owned(), 100_000);
    for limits in [with_notes(), limits(), roomy] {
        // A path through the tree of all that may come: the choice at each call, and how many
        // there are.
        let mut path: Vec<(usize, usize)> = Vec::new();
        let (mut lives, mut longest) = (0, 0);
        loop {
            let mut bench = nearly_full(limits.clone());
            bench.send(&main_session(), &long("three"));
            let run = bench.open(&main_session());
            bench.pin(run);
            let (mut calls, mut refused) = (0, 0);
            while !bench.phase(run).ended() {
                let purpose = purpose(&bench, run);
                let choices = if purpose == Purpose::Reply { 2 } else { 4 };
                if path.len() == calls {
                    path.push((0, choices));
                }
                let (choice, _) = path[calls];
                calls += 1;
                assert!(calls <= CALLS_MAX as usize, "{path:?}");
                refused += usize::from(purpose == Purpose::Reply && choice == 1);
                comes_of(&mut bench, run, purpose, choice);
            }
            let row = bench.run(run);
            let answered = row.phase.outcome() == Some(Outcome::Completed);
            let named = row.error.as_ref().is_some_and(|why| why.contains("context_full"));
            assert!(answered || named && refused >= 2, "{path:?}: {row:?}");
            (lives, longest) = (lives + 1, longest.max(calls));
            while let Some((choice, choices)) = path.pop() {
                if choice + 1 < choices {
                    path.push((choice + 1, choices));
                    break;
                }
            }
            if path.is_empty() {
                break;
            }
        }
        assert!(lives >= 4 && longest == CALLS_MAX as usize, "{lives} lives, {longest} calls");
    }
}

/// The look at the rows sees calls that leave no room for the question, and not one fewer.
#[test]
fn calls_that_leave_no_room_for_the_question_are_found() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "look");
    let run = bench.open(&main_session());
    use EffectClass::{Idempotent, Opaque, Probed, Pure};
    for effect in [Pure, Idempotent, Probed, Opaque] {
        answer(&mut bench, run, "", vec![external(effect.as_str(), effect)]);
        bench.tool_done(run);
    }
    for (spoiled, expected) in [(3, 0), (4, 1)] {
        let mut world = bench.disk.world.clone();
        let models = world.steps.iter_mut().filter(|step| step.kind == StepKind::Model);
        models.take(spoiled).for_each(|step| step.purpose = Purpose::Summary);
        let found = machine::check::check(&world, &bench.limits);
        let found = found.iter().filter(|one| one.invariant == "C4").count();
        assert_eq!(found, expected, "{spoiled} calls for a summary");
    }
}

fn order(bench: &mut Bench, hint: &str) -> String {
    let change = Change::Compact { origin: "web".to_owned(), hint: hint.to_owned() };
    let by = "owner".to_owned();
    match bench.apply(Event::Change { session: main_session(), by, change }) {
        Answer::Ordered(words) => words,
        other => panic!("{other:?}"),
    }
}

/// An order opens a run of its own, which says nothing to anybody.
#[test]
fn an_idle_conversation_is_compacted_on_order() {
    let mut limits = limits();
    limits.compaction.keep_recent_tokens = 100;
    let mut bench = nearly_full(limits);
    let before = bench.disk.world.runs.len();
    let told = order(&mut bench, "the colours");
    assert!(told.contains("is being compacted"), "{told}");
    let run = bench.open(&main_session());
    assert_eq!(purpose(&bench, run), Purpose::Summary);
    let ask = call(&bench).shown.ask.unwrap();
    assert!(ask.text.contains("the colours"), "{}", ask.text);
    answer(&mut bench, run, "blue", Vec::new());
    bench.pin(run);
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::Completed));
    assert_eq!(bench.disk.world.runs.len(), before + 1);
    assert_eq!(bench.disk.journal.iter().filter(|l| l.0 == "context.compacted").count(), 1);
    // The next question is asked behind it, and the order itself is never shown.
    bench.send(&main_session(), "and now?");
    let run = bench.open(&main_session());
    let call = call(&bench);
    let kinds: Vec<EntryKind> = bench.disk.shown(&call).iter().map(|(e, _)| e.kind).collect();
    assert_eq!(kinds, [EntryKind::Assistant, EntryKind::User]);
    assert!(head(&bench).ends_with("blue"));
    answer(&mut bench, run, "go on", Vec::new());
    let reasons: Vec<EpisodeReason> =
        bench.disk.world.episodes.iter().map(|episode| episode.reason).collect();
    assert_eq!(reasons, [EpisodeReason::Start, EpisodeReason::Compaction]);
}

/// While a run is open the order waits for its next step, or for its end.
#[test]
fn an_order_waits_for_the_run_that_is_open() {
    let mut limits = limits();
    limits.compaction.keep_recent_tokens = 100;
    for tool in [true, false] {
        let mut bench = nearly_full(limits.clone());
        bench.send(&main_session(), "look");
        let run = bench.open(&main_session());
        assert!(order(&mut bench, "").contains("at the next step of its run"));
        if tool {
            answer(&mut bench, run, "", vec![external("a", EffectClass::Pure)]);
            bench.tool_done(run);
            assert_eq!(purpose(&bench, run), Purpose::Summary);
            answer(&mut bench, run, "so far", Vec::new());
            answer(&mut bench, run, "found", Vec::new());
        } else {
            answer(&mut bench, run, "found", Vec::new());
            let after = bench.open(&main_session());
            assert_eq!(purpose(&bench, after), Purpose::Summary);
            answer(&mut bench, after, "so far", Vec::new());
            bench.pin(after);
        }
        assert_eq!(transcript(&bench).gauge.fold.asked, None);
        assert!(bench.disk.world.runs.iter().all(|run| run.phase.ended()));
        assert_eq!(transcript(&bench).episode, 2);
    }
}

/// What all fits into what is kept is left as it is, and costs nothing.
#[test]
fn an_order_with_nothing_to_leave_out_calls_nobody() {
    let mut bench = Bench::new(limits());
    exchange(&mut bench, "hello");
    let calls = bench.disk.world.ledger.len();
    order(&mut bench, "");
    assert_eq!(bench.disk.world.ledger.len(), calls);
    assert!(bench.disk.world.runs.iter().all(|run| run.phase.ended()));
    assert_eq!(transcript(&bench).episode, 1);
}

/// An order that cannot be carried out is forgotten, and not tried for ever.
#[test]
fn an_order_whose_run_fails_is_over() {
    let mut limits = limits();
    limits.compaction.keep_recent_tokens = 100;
    let mut bench = nearly_full(limits);
    order(&mut bench, "");
    let run = bench.open(&main_session());
    fail(&mut bench, run, FailureClass::Auth, Overflow::default());
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::Failed));
    assert_eq!(transcript(&bench).gauge.fold.asked, None);
    assert!(bench.disk.world.runs.iter().all(|run| run.phase.ended()));
}

/// A paste larger than any window, and a result ten times the window: shown by their ends.
#[test]
fn what_is_too_long_enters_by_its_ends_and_is_kept_whole() {
    let mut limits = limits();
    limits.tools.catalogue.push(ToolFact {
        name: READER.to_owned(),
        effect: EffectClass::Pure,
        groups: vec!["sessions".to_owned()],
        description: String::new(),
    });
    let mut bench = Bench::new(limits);
    let paste = format!("begin {} end", "x".repeat(1_000_000));
    bench.send(&main_session(), &paste);
    let run = bench.open(&main_session());
    bench.pin(run);
    let entry = bench.disk.world.entries[0].clone();
    assert!(entry.tokens <= 600, "{}", entry.tokens);
    assert_eq!(bench.disk.kept(Hash::of(&paste)), Some(paste.as_str()));
    assert_eq!(purpose(&bench, run), Purpose::Reply);

    answer(&mut bench, run, "", vec![external("a", EffectClass::Opaque)]);
    let (token, step) = (bench.token(run), bench.open_step(run, StepKind::Tool));
    let found = "y".repeat(80_000);
    let result =
        ToolDone { text: found.clone(), is_error: false, unknown: false, background: false };
    bench.apply(Event::ToolFinished { run, token, step, result });
    let body = &bench.disk.results[&(run, "a".to_owned())];
    let id = format!("blob:{}", Hash::of(&found));
    assert!(body.len() < 2_000 && body.contains(&id) && body.contains("result_read"), "{body}");
    let kept: Vec<Hash> = bench.disk.world.kept.iter().map(|row| row.hash).collect();
    assert_eq!(kept, [Hash::of(&paste), Hash::of(&found)]);
    assert_eq!(purpose(&bench, run), Purpose::Reply);
}

/// Killed while the summary is made: it is asked for again, and nothing is half done.
#[test]
fn a_compaction_that_is_cut_goes_on() {
    let mut bench = nearly_full(limits());
    bench.send(&main_session(), &long("three"));
    let run = bench.open(&main_session());
    assert_eq!(purpose(&bench, run), Purpose::Summary);
    let asked = call(&bench);
    bench.restart();
    assert_eq!(purpose(&bench, run), Purpose::Summary);
    assert_eq!(call(&bench).shown, asked.shown, "the same question");
    assert_eq!(transcript(&bench).episode, 1);
    answer(&mut bench, run, "the summary", Vec::new());
    bench.restart();
    bench.pin(run);
    assert_eq!(purpose(&bench, run), Purpose::Reply);
    assert_eq!(transcript(&bench).episode, 2);
    let summaries = bench.disk.world.steps.iter().filter(|s| s.purpose == Purpose::Summary);
    assert_eq!(summaries.filter(|s| s.state == StepState::Done).count(), 1);
}

/// A branch of a conversation that was compacted begins with its summary.
#[test]
fn a_branch_begins_with_the_summary() {
    use sim::script::{internal, spawn};
    use types::{InternalCall, SpawnContext, SpawnRequest};

    let mut bench = nearly_full(limits());
    bench.send(&main_session(), &long("three"));
    let run = bench.open(&main_session());
    answer(&mut bench, run, "the summary", Vec::new());
    let request = SpawnRequest { context: SpawnContext::Fork, ..spawn("go on") };
    answer(&mut bench, run, "", vec![internal("f", InternalCall::spawn(request))]);
    let child = bench.tasks()[0].run;
    bench.pin(child);
    let spans = call(&bench).shown.spans;
    let of_child: Vec<bool> = spans.iter().map(|span| span.head.is_some()).collect();
    assert_eq!(of_child, [true, false], "{spans:?}");
    let kept = bench.disk.kept(spans[0].head.unwrap()).unwrap();
    assert!(kept.ends_with("the summary"), "{kept}");
    let key: SessionKey = bench.tasks()[0].session_key.clone();
    assert_ne!(key, main_session());
}
