//! The views that people ask with `sqlite3 -readonly`: the same words as `machine::status`, read
//! from the live file by whatever shell is installed.

use std::path::Path;
use std::process::Command;

use machine::State;
use machine::rows::{Lifecycle, Outcome};
use machine::run::{Phase, WaitKind};
use machine::status::Standing;
use rusqlite::Connection;
use store::{Reads, Sqlite, Store};
use types::Timestamp;

use crate::bench::{block_on, event, moment, scripted, sqlite};
use crate::rows::{self, key, plant, run_id};

const OUTCOMES: &[Outcome] = Outcome::ALL;

/// Every way in which the newest run of a session may stand: session 1 never ran, session 2 is
/// archived, and then one for each phase.
fn phases() -> Vec<Phase> {
    let open = [
        Phase::Queued,
        Phase::Preparing,
        Phase::AwaitingModel,
        Phase::AwaitingTools,
        Phase::Waiting(WaitKind::Children),
        Phase::Waiting(WaitKind::Retry),
    ];
    open.into_iter().chain(OUTCOMES.iter().map(|outcome| Phase::Ended(*outcome))).collect()
}

fn world(state: &mut State<'_>) {
    let phases = phases();
    plant(state, 2 + phases.len() as u128);
    let tx = state.tx();
    let mut node = rows::node(1);
    node.lease_until = Timestamp(i64::MAX);
    tx.put_node(&node);
    let mut archived = rows::session(2);
    (archived.lifecycle, archived.archived) = (Lifecycle::Archived, Some(Timestamp(1)));
    tx.put_session(&archived);
    for (n, phase) in (3..).zip(phases) {
        let mut run = if phase.holds_slot() { rows::working(n, n as u32) } else { rows::run(n) };
        run.phase = phase;
        run.rank = run.rank.filter(|_| phase == Phase::Queued);
        run.ended = phase.ended().then_some(Timestamp(200));
        let mut task = rows::task(n);
        (task.outcome, task.ended) = (phase.outcome(), run.ended);
        tx.put_task(&task);
        run.task = Some(task.id);
        tx.put_run(&run);
        let mut session = rows::session(n);
        session.open_run = (!phase.ended()).then(|| run_id(n));
        tx.put_session(&session);
    }
}

fn planted(dir: &Path) -> Sqlite {
    let store = sqlite(dir, scripted);
    let done = block_on(store.commit(moment(1), vec![event(world)])).unwrap();
    assert!(done.answers[0].is_ok(), "{done:?}");
    store
}

type Words = (String, String, String, String, i64, String);

fn session_words(file: &Connection, n: u128) -> Words {
    let sql = "select lifecycle, activity, last_turn, task_status, resumable, note \
               from v_sessions where key = ?1";
    file.query_row(sql, [key(n).to_string()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    })
    .unwrap()
}

fn expected(lifecycle: Lifecycle, newest: Option<Phase>, live: bool) -> Words {
    // The archived session is the one of which somebody has said how it stands.
    let declared = rows::session(2).declared.filter(|_| lifecycle == Lifecycle::Archived);
    let words = Standing { lifecycle, newest, lease_live: live, declared }.words();
    (
        words.lifecycle.to_string(),
        words.activity.to_string(),
        words.last_turn.to_string(),
        words.task_status.to_string(),
        i64::from(words.resumable),
        words.note.to_owned(),
    )
}

#[test]
fn the_views_say_what_the_machine_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = planted(dir.path());
    let file = Connection::open(store.path()).unwrap();
    for live in [true, false] {
        let lease = if live { i64::MAX } else { 20_000 };
        file.execute("update nodes set lease_until_ms = ?1", [lease]).unwrap();
        assert_eq!(session_words(&file, 1), expected(Lifecycle::Open, None, live));
        assert_eq!(session_words(&file, 2), expected(Lifecycle::Archived, None, live));
        for (n, phase) in (3..).zip(phases()) {
            let words = expected(Lifecycle::Open, Some(phase), live);
            assert_eq!(session_words(&file, n), words, "{phase:?}, live: {live}");
            for (view, id) in
                [("v_runs", run_id(n).to_string()), ("v_tasks", rows::task_id(n).to_string())]
            {
                let sql =
                    format!("select activity, last_turn, task_status from {view} where id = ?1");
                let found: (String, String, String) = file
                    .query_row(&sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .unwrap();
                let said = (words.1.clone(), words.2.clone(), words.3.clone());
                assert_eq!(found, said, "{view}, {phase:?}, live: {live}");
            }
        }
    }
    // A node that has said that it is down has no lease either.
    file.execute("update nodes set lease_until_ms = ?1, state = 'down'", [i64::MAX]).unwrap();
    let working = (3..).zip(phases()).find(|(_, phase)| phase.holds_slot()).unwrap().0;
    assert_eq!(session_words(&file, working).1, "recovering");
}

/// Debian's shell is years older than the library in the gateway.
#[test]
fn the_shell_of_the_system_reads_the_live_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = planted(dir.path());
    let ask =
        |sql: &str| Command::new("sqlite3").arg("-readonly").arg(store.path()).arg(sql).output();
    let Ok(output) = ask("select activity from v_sessions where key = 'agent:main:main'") else {
        eprintln!("skipped: there is no sqlite3 on this system");
        return;
    };
    let said = |output: &std::process::Output| {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
    };
    assert_eq!(said(&output), "idle");
    let running = ask("select count(*) from v_sessions where activity = 'running'").unwrap();
    assert_eq!(said(&running), "3");
    let lanes = ask("select name, capacity, held, queued from v_lanes where name = 'main'");
    assert_eq!(said(&lanes.unwrap()), "main|4|3|1");
    let tasks = ask("select count(*), sum(stopped) from v_tasks").unwrap();
    assert_eq!(said(&tasks), format!("{}|0", phases().len()));
    let runs = ask("select queued_at from v_runs limit 1").unwrap();
    assert_eq!(said(&runs), "1970-01-01 00:00:00");
    assert_eq!(said(&ask("pragma integrity_check").unwrap()), "ok");
}

/// A task that stands in line in a busy session has no run, and says so all the same.
#[test]
fn a_task_in_line_is_queued_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite(dir.path(), scripted);
    let in_line = event(|state: &mut State<'_>| {
        plant(state, 3);
        let open = rows::task(2);
        let mut stopped = rows::task(3);
        (stopped.outcome, stopped.ended) = (Some(Outcome::Cancelled), Some(Timestamp(1)));
        state.tx().put_task(&open);
        state.tx().put_task(&stopped);
    });
    block_on(store.commit(moment(1), vec![in_line])).unwrap();
    let file = Connection::open(store.path()).unwrap();
    for (n, words) in [
        (2, ["queued", "waiting_for_response", "in_progress"]),
        (3, ["idle", "halted", "cancelled"]),
    ] {
        let sql = "select activity, last_turn, task_status from v_tasks where id = ?1";
        let found: [String; 3] = file
            .query_row(sql, [rows::task_id(n).to_string()], |row| {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?])
            })
            .unwrap();
        assert_eq!(found, words);
        let task = block_on(store.task(rows::task_id(n))).unwrap().unwrap();
        let said = task.words(Lifecycle::Open, Timestamp(2));
        assert_eq!(said.activity.as_str(), words[0]);
        assert_eq!(said.task_status.as_str(), words[2]);
    }
}
