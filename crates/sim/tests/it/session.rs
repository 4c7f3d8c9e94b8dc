//! Conversations as a whole: begun anew, changed, deleted; and commands that are typed.

use machine::effect::{Changed, Commanded};
use machine::event::{Act, Change, Command, Inbound, Patch};
use machine::queue::{Drop, QueueMode, QueueWish};
use machine::rows::{
    EndReason, InboxKind, InboxState, Lifecycle, Outcome, Place, Session, TaskKind,
};
use machine::run::Phase;
use machine::status::TaskStatus;
use machine::{Action, Answer, Event, Refusal};
use sim::plan::{inbound, limits};
use sim::script::{external, internal, spawn, wait};
use types::{
    Access, Cleanup, EffectClass, InternalCall, SessionKey, SpawnRequest, TaskTarget, WaitFor,
};

use crate::bench::{Bench, key, main_session};

fn row(bench: &Bench, session: &SessionKey) -> Session {
    let mut rows = bench.disk.world.sessions.iter();
    rows.find(|row| row.key == *session).expect("there is such a session").clone()
}

fn ask(bench: &mut Bench, session: &SessionKey, change: Change) -> Answer {
    bench.apply(Event::Change { session: session.clone(), by: "owner".to_owned(), change })
}

fn changed(answer: Answer) -> Changed {
    match answer {
        Answer::Changed(changed) => changed,
        other => panic!("{other:?}"),
    }
}

fn refused(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn typed(bench: &mut Bench, idem_key: &str, act: Act) -> Answer {
    bench.apply(Event::Command(Command {
        session: main_session(),
        owner: "owner".to_owned(),
        origin: "web".to_owned(),
        idem_key: idem_key.to_owned(),
        text: format!("/{idem_key}"),
        act,
    }))
}

fn told(answer: Answer) -> Commanded {
    match answer {
        Answer::Commanded(told) => told,
        other => panic!("{other:?}"),
    }
}

fn tell(answer: &str) -> Act {
    Act::Tell { answer: answer.to_owned(), is_error: false, listed: Vec::new() }
}

/// A session with a child at work, and one whose result lies in the inbox.
fn busy() -> Bench {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let top = bench.open(&main_session());
    bench.answer(
        top,
        "",
        vec![
            internal("a", InternalCall::spawn(spawn("part a"))),
            internal("b", InternalCall::spawn(spawn("part b"))),
            external("t", EffectClass::Opaque),
        ],
    );
    let first = bench.tasks()[0].run;
    bench.say(first, "a is done");
    bench
}

#[test]
fn a_reset_begins_another_transcript_under_the_key() {
    let mut bench = busy();
    let (old, top) = (row(&bench, &main_session()).session_id, bench.open(&main_session()));
    bench.send(&main_session(), "and this");
    let entries = |bench: &Bench| {
        bench.disk.world.entries.iter().filter(|entry| entry.session_id == old).count()
    };

    let reset = changed(ask(&mut bench, &main_session(), Change::Reset(EndReason::Reset)));
    assert_ne!(reset.session_id, old);
    assert_eq!(row(&bench, &main_session()).session_id, reset.session_id);
    assert_eq!(bench.phase(top), Phase::Ended(Outcome::Cancelled));
    assert!(bench.done.actions.contains(&Action::Abort { run: top }));
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed), Some(Outcome::Cancelled)]);
    // What belonged to the old conversation does not come into the new one.
    assert!(bench.queued(&main_session()).is_empty());
    let before = entries(&bench);

    bench.send(&main_session(), "begin again");
    let next = bench.open(&main_session());
    bench.pin(next);
    let own: Vec<_> = bench.disk.world.entries.iter().filter(|e| e.run == next).collect();
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].session_id, own[0].seq), (reset.session_id, 1));
    assert_eq!(entries(&bench), before, "an ended transcript gets no entry");
    let episodes = bench.disk.world.episodes.iter();
    let new: Vec<_> = episodes.filter(|e| e.session_id == reset.session_id).collect();
    assert_eq!((new.len(), new[0].n, new[0].first_seq), (1, 1, 1));
}

/// The cascade of a reset may come to its end after it.
#[test]
fn results_of_children_that_a_reset_has_stopped_stay_out_of_the_new_conversation() {
    let mut bench = busy();
    let batch = vec![Event::Change {
        session: main_session(),
        by: "owner".to_owned(),
        change: Change::Reset(EndReason::New),
    }];
    bench.at.now = bench.at.now + std::time::Duration::from_millis(1);
    // No room for what is raised, as in a clustered store.
    let done = bench.disk.commit(&mut bench.at, &bench.limits, batch, 0);
    bench.send(&main_session(), "begin again");
    for event in done.left {
        bench.apply(event);
    }
    let results = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    let states: Vec<InboxState> = results.map(|row| row.state).collect();
    assert_eq!(states, [InboxState::Cancelled, InboxState::Cancelled]);
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed), Some(Outcome::Cancelled)]);
}

/// A child whose own session is reset has ended for the one that asked for it.
#[test]
fn a_child_that_is_reset_is_announced_as_stopped() {
    let mut bench = busy();
    let top = bench.open(&main_session());
    bench.tool_done(top);
    bench.answer(top, "", vec![internal("y", InternalCall::Yield(wait(WaitFor::All)))]);
    let child = bench.tasks()[1].session_key.clone();
    changed(ask(&mut bench, &child, Change::Reset(EndReason::Reset)));
    assert_eq!(bench.outcomes()[1], Some(Outcome::Cancelled));
    assert_eq!(bench.phase(top), Phase::AwaitingModel, "its requester goes on");
}

#[test]
fn a_patch_changes_what_it_names() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let patch = |patch: Patch| Change::Patch(patch);
    let titled = Patch { label: Some(Some("plans".to_owned())), ..Patch::default() };
    changed(ask(&mut bench, &main_session(), patch(titled)));
    assert_eq!(row(&bench, &main_session()).label.as_deref(), Some("plans"));

    let wrong = Patch { model: Some(Some("none/such".to_owned())), ..Patch::default() };
    let why = refused(ask(&mut bench, &main_session(), patch(wrong)));
    assert!(matches!(why, Refusal::UnknownModel { .. }), "{why}");

    // What is declared holds of a run that is over, until the next one opens.
    let declare = |word| Patch { declared: Some(Some(word)), ..Patch::default() };
    let why = refused(ask(&mut bench, &main_session(), patch(declare(TaskStatus::Failed))));
    assert_eq!(why, Refusal::RunOpen(main_session()));
    bench.say(run, "done");
    let why = refused(ask(&mut bench, &main_session(), patch(declare(TaskStatus::InProgress))));
    assert_eq!(why, Refusal::NotDeclarable);
    changed(ask(&mut bench, &main_session(), patch(declare(TaskStatus::Failed))));
    assert_eq!(row(&bench, &main_session()).declared, Some(TaskStatus::Failed));
    bench.send(&main_session(), "go on");
    assert_eq!(row(&bench, &main_session()).declared, None);

    let cleared = Patch { label: Some(None), ..Patch::default() };
    changed(ask(&mut bench, &main_session(), patch(cleared)));
    assert_eq!(row(&bench, &main_session()).label, None);
}

/// What is said to a session that is busy: by the message, the session, or the configuration.
#[test]
fn the_queue_mode_of_a_session_is_honoured() {
    let mut bench = Bench::new(limits());
    let place = |bench: &mut Bench, mode: Option<QueueMode>| {
        bench.send_as(Inbound { mode, ..inbound(&main_session(), "more") });
        bench.queued(&main_session()).last().expect("it waits").place
    };
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.pin(run);
    assert_eq!(place(&mut bench, None), Place::Steer);
    let mode = |mode: Option<QueueMode>| {
        let wish = mode.map(|mode| QueueWish { mode: Some(mode), ..QueueWish::default() });
        Change::Patch(Patch { queue: Some(wish), ..Patch::default() })
    };
    changed(ask(&mut bench, &main_session(), mode(Some(QueueMode::Followup))));
    assert_eq!(place(&mut bench, None), Place::Own);
    assert_eq!(place(&mut bench, Some(QueueMode::Collect)), Place::Merge, "its own word wins");
    changed(ask(&mut bench, &main_session(), mode(None)));
    assert_eq!(place(&mut bench, None), Place::Steer);
}

/// What a session wants of its queue stands beside what is configured: each thing alone.
#[test]
fn a_session_has_a_queue_of_its_own() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.pin(run);
    let patch = |wish| Change::Patch(Patch { queue: Some(wish), ..Patch::default() });
    let cap = QueueWish { cap: Some(2), ..QueueWish::default() };
    let rest = QueueWish {
        mode: Some(QueueMode::Collect),
        drop: Some(Drop::New),
        debounce_ms: Some(60_000),
        ..QueueWish::default()
    };
    for wish in [cap, rest] {
        changed(ask(&mut bench, &main_session(), patch(Some(wish))));
    }
    assert_eq!(row(&bench, &main_session()).queue, QueueWish { cap: Some(2), ..rest });
    bench.send(&main_session(), "one");
    bench.send(&main_session(), "two");
    let full = refused(bench.send(&main_session(), "three"));
    assert!(matches!(full, Refusal::QueueFull { queued: 2, limit: 2, .. }), "{full}");
    bench.say(run, "done");
    let collected = bench.open(&main_session());
    bench.pass(limits().queue.debounce);
    assert_eq!(bench.phase(collected), Phase::Queued, "it waits for longer than is configured");
    bench.pass(std::time::Duration::from_secs(60));
    bench.say(collected, "done");
    assert!(bench.queued(&main_session()).is_empty());
    changed(ask(&mut bench, &main_session(), patch(None)));
    assert_eq!(row(&bench, &main_session()).queue, QueueWish::default());
}

/// A name that a spawn had made for reading only is, once deleted, a name like any other.
#[test]
fn what_begins_again_under_a_deleted_key_has_its_own_rights() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let thread = key("agent:main:thread:notes");
    let named = |access| SpawnRequest {
        session: Some("thread:notes".parse().unwrap()),
        access,
        ..spawn("look")
    };
    let main = bench.open(&main_session());
    bench.call(main, "a", InternalCall::spawn(named(Access::ReadOnly)));
    let policy = row(&bench, &thread).policy_hash;
    assert_eq!(row(&bench, &thread).access, Access::ReadOnly);
    changed(ask(&mut bench, &thread, Change::Delete));
    bench.send(&thread, "hello");
    let new = row(&bench, &thread);
    assert_eq!((new.access, new.pool_key), (Access::Full, None));
    assert_ne!(new.policy_hash, policy, "its tools are those of its agent");
    changed(ask(&mut bench, &thread, Change::Delete));
    bench.call(main, "b", InternalCall::spawn(named(Access::ReadOnly)));
    assert_eq!(row(&bench, &thread).access, Access::ReadOnly, "a spawn says it anew");
}

#[test]
fn a_deleted_session_is_at_rest_and_its_key_is_free() {
    let mut bench = busy();
    let (old, child) = (row(&bench, &main_session()), bench.tasks()[1].session_key.clone());
    let booked = bench.disk.world.ledger.clone();
    let gone = changed(ask(&mut bench, &main_session(), Change::Delete));
    assert_eq!(gone.stopped.tasks, [bench.tasks()[1].id]);
    let deleted = row(&bench, &main_session());
    assert_eq!((deleted.lifecycle, deleted.open_run), (Lifecycle::Archived, None));
    assert!(deleted.deleted.is_some());
    assert!(bench.queued(&main_session()).is_empty());
    assert!(bench.disk.world.ledger.starts_with(&booked), "the ledger keeps what was paid");
    // Nobody is left to hear of the child; it is no dead letter.
    let states = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    assert!(states.into_iter().all(|row| row.state == InboxState::Cancelled));
    for change in [Change::Delete, Change::Reset(EndReason::New)] {
        let why = refused(ask(&mut bench, &main_session(), change));
        assert_eq!(why, Refusal::SessionNotFound(main_session()));
    }

    bench.send(&main_session(), "hello");
    let new = row(&bench, &main_session());
    assert_eq!((new.lifecycle, new.deleted, new.label.as_ref()), (Lifecycle::Open, None, None));
    assert_ne!(new.session_id, old.session_id);

    // A child's key comes from a spawn only.
    changed(ask(&mut bench, &child, Change::Delete));
    let why = refused(bench.send(&child, "hello"));
    assert_eq!(why, Refusal::SessionNotFound(child));
}

#[test]
fn a_session_that_is_not_there_cannot_be_changed() {
    let mut bench = Bench::new(limits());
    for change in [Change::Reset(EndReason::New), Change::Delete, Change::Patch(Patch::default())] {
        let why = refused(ask(&mut bench, &key("agent:main:thread:none"), change));
        assert!(matches!(why, Refusal::SessionNotFound(_)), "{why}");
    }
}

/// A command costs no run, stands where it was typed, and is carried out once.
#[test]
fn a_command_is_carried_out_once() {
    let mut bench = Bench::new(limits());
    let help = told(typed(&mut bench, "help", tell("words")));
    assert_eq!((help.answer.as_str(), help.duplicate), ("words", false));
    assert!(bench.disk.world.runs.is_empty() && bench.disk.world.entries.is_empty());

    let brief = Act::Call(InternalCall::spawn(spawn("part")));
    let first = told(typed(&mut bench, "spawn", brief.clone()));
    let again = told(typed(&mut bench, "spawn", brief));
    assert!(again.duplicate && again.answer == first.answer, "{again:?}");
    assert_eq!(bench.tasks().len(), 1);
    assert_eq!(bench.tasks()[0].kind, TaskKind::Cli);
    let id = bench.tasks()[0].id;
    assert!(first.answer.contains(&id.to_string()), "{}", first.answer);

    // A key that was a message's stays a message's, and the other way round.
    bench.send_as(Inbound { idem_key: "said".to_owned(), ..inbound(&main_session(), "hi") });
    let why = refused(typed(&mut bench, "said", Act::Stop));
    assert_eq!(why, Refusal::IdempotencyConflict("said".to_owned()));
    let said = Inbound { idem_key: "help".to_owned(), ..inbound(&main_session(), "hi") };
    assert_eq!(refused(bench.send_as(said)), Refusal::IdempotencyConflict("help".to_owned()));
}

#[test]
fn stop_says_what_has_stopped_and_what_is_stopping() {
    let mut bench = busy();
    let stopped = told(typed(&mut bench, "stop", Act::Stop));
    let child = bench.tasks()[1].clone();
    assert!(stopped.answer.contains("Stopped: the run of agent:main:main"), "{}", stopped.answer);
    assert!(stopped.answer.contains(&format!("Stopping: ({}", child.id)), "{}", stopped.answer);
    assert_eq!(stopped.stopped.tasks, [child.id]);
    let nothing = told(typed(&mut bench, "stop2", Act::Stop));
    assert_eq!(nothing.answer, "Nothing was running.");
}

#[test]
fn all_children_are_killed_and_the_run_goes_on() {
    let mut bench = busy();
    let top = bench.open(&main_session());
    let killed = told(typed(&mut bench, "kill", Act::StopChildren));
    assert_eq!(killed.stopped.tasks, [bench.tasks()[1].id]);
    assert_eq!(bench.outcomes()[1], Some(Outcome::Cancelled));
    assert!(!bench.phase(top).ended());
}

#[test]
fn what_a_person_asks_of_a_task_is_answered_in_words() {
    let mut bench = busy();
    let id = bench.tasks()[1].id.to_string();
    let target = |text: &str| TaskTarget(text.to_owned());
    let steer = |to: &str| InternalCall::Steer { target: target(to), message: "look".to_owned() };
    let unknown = told(typed(&mut bench, "1", Act::Call(steer("nobody"))));
    assert!(unknown.is_error && unknown.answer.starts_with("task_not_found: "), "{unknown:?}");
    let steered = told(typed(&mut bench, "2", Act::Call(steer(&id))));
    assert!(steered.answer.starts_with("Told: agent:main:subagent:"), "{steered:?}");
    let kill = Act::Call(InternalCall::Kill { target: target(&id) });
    let killed = told(typed(&mut bench, "3", kill.clone()));
    assert_eq!(killed.answer, format!("Stopped, with all below it: {id}."));
    let again = told(typed(&mut bench, "4", kill));
    assert_eq!(again.answer, format!("{id} had ended already."));
    let resumed = told(typed(&mut bench, "5", Act::Call(steer(&id))));
    assert!(resumed.answer.starts_with("It had ended, and goes on as tsk_"), "{resumed:?}");
}

#[test]
fn a_draining_gateway_answers_and_begins_nothing() {
    let mut bench = busy();
    bench.apply(Event::Drain);
    assert_eq!(told(typed(&mut bench, "help", tell("words"))).answer, "words");
    let why = refused(typed(&mut bench, "spawn", Act::Call(InternalCall::spawn(spawn("more")))));
    assert_eq!(why, Refusal::Draining);
    let stopped = told(typed(&mut bench, "stop", Act::Stop));
    assert!(stopped.answer.contains("Stopped"), "{}", stopped.answer);
    // What was refused was not answered: after the restart it is begun.
    bench.restart();
    let begun = told(typed(&mut bench, "spawn", Act::Call(InternalCall::spawn(spawn("more")))));
    assert!(begun.answer.starts_with("Started: "), "{}", begun.answer);
}

#[test]
fn a_command_can_begin_a_conversation_anew() {
    let mut bench = busy();
    let old = row(&bench, &main_session()).session_id;
    let new = told(typed(&mut bench, "new", Act::Reset { reason: EndReason::New, first: None }));
    assert_ne!(new.session_id, old);
    assert!(new.answer.contains("stays readable"), "{}", new.answer);
    let again = told(typed(&mut bench, "new", Act::Reset { reason: EndReason::New, first: None }));
    assert!(again.duplicate);
    assert_eq!(row(&bench, &main_session()).session_id, new.session_id, "once, and not twice");
}

/// A child that is thrown away with its task stays for a person who begins anew in it.
#[test]
fn a_child_that_is_thrown_away_is_begun_anew() {
    for first in [None, Some("plan it".to_owned())] {
        let mut bench = Bench::new(limits());
        bench.send(&main_session(), "go");
        let top = bench.open(&main_session());
        let thrown = SpawnRequest { cleanup: Cleanup::Delete, ..spawn("part") };
        bench.call(top, "s", InternalCall::spawn(thrown));
        let child = bench.tasks()[0].session_key.clone();
        let act = Act::Reset { reason: EndReason::New, first: first.clone() };
        told(bench.apply(Event::Command(Command {
            session: child.clone(),
            owner: "owner".to_owned(),
            origin: "web".to_owned(),
            idem_key: "new".to_owned(),
            text: "/new".to_owned(),
            act,
        })));
        assert_eq!(bench.outcomes(), [Some(Outcome::Cancelled)]);
        assert_eq!(row(&bench, &child).lifecycle, Lifecycle::Open);
        assert_eq!(row(&bench, &child).open_run.is_some(), first.is_some());
        assert!(matches!(bench.send(&child, "and now?"), Answer::Accepted(_)));
    }
}

/// What stands behind `/new` is the first message of what begins: in the same commit, once, or not
/// at all; and what cannot be said ends nothing.
#[test]
fn a_conversation_is_begun_anew_with_a_message() {
    let mut bench = busy();
    let old = row(&bench, &main_session());
    let new = |first: &str| Act::Reset { reason: EndReason::New, first: Some(first.to_owned()) };
    let (bytes, limit) = (limits().message_bytes_max + 1, limits().message_bytes_max);
    let long = refused(typed(&mut bench, "long", new(&"x".repeat(bytes))));
    assert_eq!(long, Refusal::TooLarge { bytes, limit });
    bench.apply(Event::Drain);
    assert_eq!(refused(typed(&mut bench, "new", new("plan it"))), Refusal::Draining);
    bench.restart();
    assert_eq!(row(&bench, &main_session()).session_id, old.session_id, "nothing has ended");

    for again in [false, true] {
        let told = told(typed(&mut bench, "new", new("plan it")));
        assert_eq!(told.duplicate, again);
        let begun = row(&bench, &main_session());
        assert_ne!(begun.session_id, old.session_id);
        let rows = bench.disk.world.inbox.iter();
        let said: Vec<_> = rows.filter(|row| row.idem_key == Command::first_key("new")).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!((said[0].kind, bench.disk.body(said[0].seq)), (InboxKind::User, "plan it"));
    }
    let run = bench.open(&main_session());
    assert_eq!(bench.run(run).wire_id, Command::first_key("new"));
    bench.say(run, "planned");
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::Completed));
}
