//! What no transaction may do, on every store: a bug of the machine becomes an error, and not a
//! wrong row.

use machine::State;
use machine::rows::{Body, Entry, EntryKind, InboxKind, InboxState, LaneName, Outcome, StepState};
use machine::run::{Phase, WaitKind};
use store::EventError;
use types::Timestamp;

use crate::bench::{Script, benches, block_on, commit, event, limits, moment, scripted, sqlite};
use crate::rows::{self, key, plant, run_id, task_id};

/// Session 1 has a run at work, session 2 one that has ended with an answer and its task.
fn world(state: &mut State<'_>) {
    plant(state, 4);
    let tx = state.tx();
    let mut task = rows::task(2);
    (task.outcome, task.ended) = (Some(Outcome::Completed), Some(Timestamp(9)));
    tx.put_task(&task);
    tx.put_task(&rows::task(3));
    tx.put_run(&rows::working(1, 0));
    tx.put_step(&rows::tool_step(1, 1));
    tx.add_inbox(&rows::inbox(1, 1), "body");
    tx.add_entry(&rows::entry(1, 1, Some(1), EntryKind::ToolResult, "{}"));
    tx.add_ledger(&rows::ledger(1, 0, false));
    let mut ended = rows::working(2, 0);
    (ended.phase, ended.slot) = (Phase::Ended(Outcome::Completed), None);
    ended.ended = Some(Timestamp(9));
    tx.put_run(&ended);
    let mut done = rows::model_step(2, 0);
    (done.state, done.ended) = (StepState::Done, Some(Timestamp(9)));
    tx.put_step(&done);
}

const FORBIDDEN: &[(&str, Script)] = &[
    ("a second open run of a session", |state| {
        let mut run = rows::run(9);
        (run.session_key, run.session_id) = (key(1), rows::session_id(1));
        state.tx().put_run(&run);
    }),
    ("a second run in a slot", |state| state.tx().put_run(&rows::working(3, 0))),
    ("a second run of a wire id", |state| {
        let mut run = rows::run(3);
        run.wire_id = "client-key-1".to_owned();
        state.tx().put_run(&run);
    }),
    ("an older life of a run", |state| {
        let mut run = rows::working(1, 0);
        run.generation = 0;
        state.tx().put_run(&run);
    }),
    ("an ended run that runs again", |state| state.tx().put_run(&rows::working(2, 1))),
    ("work without a slot", |state| {
        let mut run = rows::working(1, 0);
        (run.slot, run.node) = (None, None);
        state.tx().put_run(&run);
    }),
    ("a slot while waiting", |state| {
        let mut run = rows::working(1, 0);
        run.phase = Phase::Waiting(WaitKind::Retry);
        state.tx().put_run(&run);
    }),
    ("a slot of no node", |state| {
        let mut run = rows::working(1, 0);
        run.node = None;
        state.tx().put_run(&run);
    }),
    ("a rank while at work", |state| {
        let mut run = rows::working(1, 0);
        run.rank = Some(1);
        state.tx().put_run(&run);
    }),
    ("an end without a time", |state| {
        let mut run = rows::working(1, 0);
        (run.phase, run.slot) = (Phase::Ended(Outcome::Failed), None);
        state.tx().put_run(&run);
    }),
    ("a run in a session that is not there", |state| state.tx().put_run(&rows::run(8))),
    ("a second outcome of a task", |state| {
        let mut task = rows::task(2);
        (task.outcome, task.ended) = (Some(Outcome::Failed), Some(Timestamp(9)));
        state.tx().put_task(&task);
    }),
    ("a second task of an idempotency key", |state| {
        let mut task = rows::task(4);
        task.idem_key = Some("key-2".to_owned());
        state.tx().put_task(&task);
    }),
    ("a second open task of a name", |state| {
        let mut task = rows::task(4);
        task.task_name = Some("name-3".to_owned());
        state.tx().put_task(&task);
    }),
    ("a second step for one call", |state| {
        let mut step = rows::tool_step(1, 2);
        step.call_id = rows::tool_step(1, 1).call_id;
        state.tx().put_step(&step);
    }),
    ("a step that is done and open again", |state| state.tx().put_step(&rows::model_step(2, 0))),
    ("a step that is over without a time", |state| {
        let mut step = rows::tool_step(1, 1);
        step.state = StepState::Failed;
        state.tx().put_step(&step);
    }),
    ("a tool step that nobody asked for", |state| {
        let mut step = rows::tool_step(1, 2);
        step.asked_by = None;
        state.tx().put_step(&step);
    }),
    ("a second input of an idempotency key", |state| {
        let mut row = rows::inbox(2, 1);
        row.idem_key = "input-1".to_owned();
        state.tx().add_inbox(&row, "body");
    }),
    ("an announce that names no task", |state| {
        let mut row = rows::inbox(2, 1);
        row.kind = InboxKind::Announce;
        state.tx().add_inbox(&row, "body");
    }),
    ("a queued row that is done", |state| {
        let mut row = rows::inbox(1, 1);
        row.done = Some(Timestamp(1));
        state.tx().put_inbox(&row);
    }),
    ("a row consumed by nobody", |state| {
        let mut row = rows::inbox(1, 1);
        (row.state, row.run, row.done) = (InboxState::Consumed, None, Some(Timestamp(1)));
        state.tx().put_inbox(&row);
    }),
    ("a change of an inbox row that is not there", |state| {
        state.tx().put_inbox(&rows::inbox(7, 1));
    }),
    ("a gap in a transcript", |state| {
        state.tx().add_entry(&rows::entry(1, 3, None, EntryKind::User, "x"));
    }),
    ("a transcript that begins in the middle", |state| {
        let mut entry = rows::entry(2, 2, None, EntryKind::User, "x");
        entry.run = run_id(2);
        state.tx().add_entry(&entry);
    }),
    ("an entry in the place of another", |state| {
        state.tx().add_entry(&rows::entry(1, 1, None, EntryKind::User, "x"));
    }),
    ("a second result of a call", |state| {
        state.tx().add_entry(&rows::entry(1, 2, Some(1), EntryKind::ToolResult, "{}"));
    }),
    ("a body from a row that is not there", |state| {
        let body = Body::Inbox(99);
        let entry = rows::entry(1, 2, None, EntryKind::User, "");
        state.tx().add_entry(&Entry { body, ..entry });
    }),
    ("a call that is paid for twice", |state| {
        state.tx().add_ledger(&rows::ledger(1, 0, true));
    }),
];

#[test]
fn what_must_not_be_is_an_error() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            commit(&bench, vec![event(world)]).await;
            let before = bench.store.snapshot().await.unwrap();
            for (what, script) in FORBIDDEN {
                let done = bench.store.commit(moment(1), vec![event(*script)]).await.unwrap();
                assert!(
                    matches!(done.answers[..], [Err(EventError::Bug(_))]),
                    "{}: {what} was allowed",
                    bench.name
                );
                let after = bench.store.snapshot().await.unwrap();
                assert_eq!(after, before, "{}: {what} has left something", bench.name);
            }
        });
    }
}

/// What is forbidden above is so for its own reason: the same rows without the fault are taken.
#[test]
fn what_may_be_is_taken() {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            let fine: &[Script] = &[
                world,
                |state| state.tx().put_run(&rows::run(3)),
                |state| state.tx().put_run(&rows::working(4, 1)),
                |state| state.tx().put_task(&rows::task(4)),
                |state| state.tx().put_step(&rows::tool_step(1, 2)),
                |state| state.tx().add_inbox(&rows::inbox(2, 1), "body"),
                |state| {
                    let mut row = rows::inbox(3, 1);
                    (row.kind, row.task) = (InboxKind::Announce, Some(task_id(2)));
                    state.tx().add_inbox(&row, "body");
                },
                |state| {
                    let entry = rows::entry(1, 2, None, EntryKind::User, "x");
                    state.tx().add_entry(&entry);
                },
                |state| state.tx().add_ledger(&rows::ledger(1, 1, true)),
            ];
            for script in fine {
                commit(&bench, vec![event(*script)]).await;
            }
        });
    }
}

/// The words of each enumeration in the schema are those of the code, no more and no fewer.
#[test]
fn the_schema_knows_every_word() {
    use machine::rows::{Lifecycle, NodeState, Place, StepKind, TimerKind};
    use types::{Announce, Cleanup, EffectClass, FailureClass};

    macro_rules! words {
        ($name:ty) => {
            <$name>::ALL.iter().map(|word| word.as_str()).collect::<Vec<&str>>()
        };
    }
    let phases = [
        Phase::Queued,
        Phase::Preparing,
        Phase::AwaitingModel,
        Phase::AwaitingTools,
        Phase::Waiting(WaitKind::Retry),
        Phase::Ended(Outcome::Completed),
    ];
    let dir = tempfile::tempdir().unwrap();
    let _store = sqlite(dir.path(), scripted);
    let file = rusqlite::Connection::open(dir.path().join("windlass.db")).unwrap();
    for (table, column, expected) in [
        ("lanes", "name", words!(LaneName)),
        ("runs", "lane", words!(LaneName)),
        ("runs", "phase", phases.map(Phase::word).to_vec()),
        ("runs", "wait_kind", words!(WaitKind)),
        ("runs", "outcome", words!(Outcome)),
        ("runs", "error_class", words!(FailureClass)),
        ("tasks", "outcome", words!(Outcome)),
        ("tasks", "announce", words!(Announce)),
        ("tasks", "cleanup", words!(Cleanup)),
        ("sessions", "lifecycle", words!(Lifecycle)),
        ("nodes", "state", words!(NodeState)),
        ("steps", "kind", words!(StepKind)),
        ("steps", "state", words!(StepState)),
        ("steps", "effect", words!(EffectClass)),
        ("inbox", "kind", words!(InboxKind)),
        ("inbox", "place", words!(Place)),
        ("inbox", "state", words!(InboxState)),
        ("entries", "kind", words!(EntryKind)),
        ("timers", "kind", words!(TimerKind)),
    ] {
        let sql: String = file
            .query_row("select sql from sqlite_schema where name = ?1", [table], |row| row.get(0))
            .unwrap();
        let start = format!("check ({column} in");
        let (_, list) = sql.split_once(&start).unwrap_or_else(|| panic!("{table}.{column}"));
        let list = list.split_once(')').unwrap().0;
        let found: Vec<&str> = list.split('\'').skip(1).step_by(2).collect();
        assert_eq!(found, expected, "{table}.{column}");
    }
}

/// Not even a person with a shell rewrites what was said, or what it cost.
#[test]
fn transcripts_and_the_ledger_are_append_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite(dir.path(), scripted);
    let done = block_on(store::Store::commit(&store, moment(1), vec![event(world)])).unwrap();
    assert!(done.answers[0].is_ok(), "{done:?}");
    let file = rusqlite::Connection::open(dir.path().join("windlass.db")).unwrap();
    for sql in [
        "update entries set body = 'x'",
        "update ledger set input = 0",
        "delete from ledger",
        "delete from sessions",
    ] {
        assert!(file.execute(sql, []).is_err(), "{sql} was allowed");
    }
}
