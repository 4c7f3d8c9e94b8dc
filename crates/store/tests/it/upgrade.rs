//! Upgrades: a file of an older program opens, is copied first, and keeps every row.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::Limits;
use machine::rows::Outcome;
use machine::status::Standing;
use rusqlite::Connection;
use rusqlite::types::Value;
use store::view::SessionFilter;
use store::{Reads, Sqlite};
use tempfile::TempDir;
use types::ScopeKind;

use crate::bench::{block_on, limits, node, options};

/// A folder whose database is that of a fixture.
fn planted(sql: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("windlass.db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    (dir, path)
}

fn open(dir: &Path) -> Sqlite {
    Sqlite::open_with(dir, &options(), limits(), node(), machine::apply).unwrap()
}

fn names(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

/// The rows of a table, in those columns, in an order of their own.
fn rows(connection: &Connection, table: &str, columns: &[String]) -> Vec<Vec<Value>> {
    let list = columns.join(", ");
    let sql = format!("select {list} from {table} order by {list}");
    let mut statement = connection.prepare(&sql).unwrap();
    let read = statement.query_map([], |row| (0..columns.len()).map(|n| row.get(n)).collect());
    read.unwrap().collect::<Result<_, _>>().unwrap()
}

fn copy_of(dir: &Path) -> Connection {
    let mut copies: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("windlass-before-v"))
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    Connection::open(copies.remove(0)).unwrap()
}

/// Every value of every table is where it was, and the copy is of what was.
#[test]
fn a_file_of_schema_2_keeps_every_row() {
    let (dir, path) = planted(include_str!("../fixtures/v2.sql"));
    let store = open(dir.path());
    let (copy, now) = (copy_of(dir.path()), Connection::open(&path).unwrap());
    let version = "select max(version) from refinery_schema_history";
    let version: i64 = copy.query_row(version, [], |row| row.get(0)).unwrap();
    assert_eq!(version, 2, "the copy is of what was");

    let tables = names(
        &copy,
        "select name from sqlite_schema where type = 'table' and name not like 'refinery%' \
         order by name",
    );
    assert!(tables.len() >= 14, "{tables:?}");
    for table in &tables {
        let columns = names(&copy, &format!("select name from pragma_table_info('{table}')"));
        let (old, new) = (rows(&copy, table, &columns), rows(&now, table, &columns));
        assert_eq!(old, new, "{table}");
    }
    assert!(rows(&now, "entries", &["body".to_owned()]).len() > 50);

    let dangling: i64 = now
        .query_row("select count(*) from pragma_foreign_key_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(dangling, 0, "rows refer to rows that are not there");
    let children = SessionFilter { kinds: vec![ScopeKind::Subagent], ..SessionFilter::default() };
    assert_eq!(block_on(store.count_sessions(children)).unwrap(), 6);
    let found = block_on(store.check(Arc::new(Limits::default()))).unwrap();
    assert!(found.is_well(), "{found:?}");
}

/// What there is in a database: each table, index, view and trigger, with the words that made it.
fn schema(connection: &Connection) -> Vec<String> {
    let sql = "select type || ' ' || name || ' ' || coalesce(sql, '') from sqlite_schema \
               where name not like 'sqlite_%' order by 1";
    let whole = names(connection, sql);
    whole.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// An old file becomes what a new one is, by every migration there is; and its views say of its
/// rows what the machine says of them.
#[test]
fn an_old_file_becomes_what_a_new_one_is() {
    let (dir, path) = planted(include_str!("../fixtures/v2.sql"));
    let store = open(dir.path());
    let other = tempfile::tempdir().unwrap();
    let fresh = open(other.path());
    let (old, new) = (Connection::open(&path).unwrap(), Connection::open(fresh.path()).unwrap());
    let versions = "select version || ' ' || name from refinery_schema_history order by version";
    let applied = names(&old, versions);
    assert_eq!(applied, names(&new, versions));
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
    assert_eq!(applied.len(), files.count(), "a migration was left out: {applied:?}");
    assert_eq!(schema(&old), schema(&new));

    let world = block_on(store.snapshot()).unwrap();
    assert!(world.sessions.len() > 6 && world.tasks.len() == 6, "the fixture has lost its rows");
    for session in &world.sessions {
        let runs = world.runs.iter().filter(|run| run.session_key == session.key);
        let newest = runs.max_by_key(|run| run.id).map(|run| run.phase);
        let (lifecycle, declared) = (session.lifecycle, session.declared);
        let words = Standing { lifecycle, newest, lease_live: false, declared }.words();
        let expected = [words.activity.to_string(), words.task_status.to_string()];
        assert_eq!(said_of(&old, "v_sessions where key", &session.key.to_string()), expected);
    }
    for task in &world.tasks {
        let said = said_of(&old, "v_tasks where id", &task.id.to_string());
        let expected = task.outcome.map_or("in_progress", |_| "completed");
        assert_eq!(said[1], expected, "{}", task.id);
        assert_ne!(said[0], "running", "nothing has run since the file was written");
    }
}

/// The activity and the status that a view has for one row.
fn said_of(connection: &Connection, of: &str, id: &str) -> [String; 2] {
    let sql = format!("select activity, task_status from {of} = ?1");
    connection.query_row(&sql, [id], |row| Ok([row.get(0)?, row.get(1)?])).unwrap()
}

/// Tables are built anew with the foreign keys off. Afterwards the writer has them on again.
#[test]
fn foreign_keys_hold_after_an_upgrade() {
    let (dir, _path) = planted(include_str!("../fixtures/v2.sql"));
    let store = open(dir.path());
    let event = crate::bench::event(|state| {
        let mut task = crate::rows::task(90);
        task.requester_key = "agent:main:thread:nowhere".parse().unwrap();
        state.tx().put_task(&task);
    });
    drop(store);
    let scripted = crate::bench::scripted;
    let store = Sqlite::open_with(dir.path(), &options(), limits(), node(), scripted).unwrap();
    let moment = store::Moment { now: types::Timestamp(1), seed: 1 };
    let done = block_on(store::Store::commit(&store, moment, vec![event])).unwrap();
    let told = format!("{:?}", done.answers[0]);
    assert!(told.contains("FOREIGN KEY"), "{told}");
}

/// What the kill had cut goes on under the new program, and ends once.
#[test]
fn cut_runs_are_taken_over_by_the_new_program() {
    let (dir, _path) = planted(include_str!("../fixtures/v2.sql"));
    let limits = Arc::new(Limits::default());
    let store = Sqlite::open_with(dir.path(), &options(), limits, node(), machine::apply).unwrap();
    let started = machine::Event::NodeStarted { node: node(), pid: 1, version: "test".to_owned() };
    let lost = block_on(store.nodes(1)).unwrap()[0].beat;
    let now = lost + std::time::Duration::from_secs(1);
    let moment = store::Moment { now, seed: 1 };
    let done = block_on(store::Store::commit(&store, moment, vec![started])).unwrap();
    assert_eq!(done.actions.len(), 3, "three children go on: {:?}", done.actions);
    let world = block_on(store.snapshot()).unwrap();
    assert_eq!(machine::check::check(&world, &Limits::default()), []);
    let ended = world.tasks.iter().filter(|task| task.outcome == Some(Outcome::Completed));
    assert_eq!((world.tasks.len(), ended.count()), (6, 3));
}
