//! What only the file can do: be locked, be old, be damaged, be copied, be read by others.

use std::fs;
use std::path::Path;

use machine::rows::Session;
use store::{Reads, Sqlite, Store, StoreError};

use crate::bench::{block_on, event, limits, moment, node, options, scripted, sqlite};
use crate::rows::{self, plant};

fn open(dir: &Path) -> Result<Sqlite, StoreError> {
    Sqlite::open_with(dir, &options(), limits(), node(), scripted)
}

fn plant_two(store: &Sqlite) {
    let two = event(|state| {
        plant(state, 2);
        for n in 1..=2 {
            // Their keys have names, and the pool is for those without; and nothing is said yet.
            let named = Session { pool_key: None, card: None, ..rows::session(n) };
            state.tx().put_session(&named);
        }
    });
    let done = block_on(store.commit(moment(1), vec![two])).unwrap();
    assert!(done.answers[0].is_ok(), "{done:?}");
}

fn shell(file: &Path, sql: &str) {
    rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_second_gateway_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = sqlite(dir.path(), scripted);
    let refused = open(dir.path()).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&refused, StoreError::Locked { pid: found, .. } if *found == pid));
    assert!(refused.to_string().contains(&format!("process {pid}")), "{refused}");
    assert!(refused.to_string().contains("windlass.lock"), "{refused}");
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn rows_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite(dir.path(), scripted);
    plant_two(&store);
    let before = block_on(store.snapshot()).unwrap();
    drop(store);
    assert!(!dir.path().join("windlass.db-wal").exists(), "closed, it is one file");
    assert_eq!(block_on(open(dir.path()).unwrap().snapshot()).unwrap(), before);
}

/// Each connection keeps to the pragmas of the manual.
#[test]
fn the_file_is_what_the_manual_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite(dir.path(), scripted);
    plant_two(&store);
    assert!(dir.path().join("windlass.db-wal").exists());
    assert_eq!(fs::metadata(dir.path().join("ballast")).unwrap().len(), 1 << 20);
    let lock = fs::read_to_string(dir.path().join("windlass.lock")).unwrap();
    assert_eq!(lock.trim(), std::process::id().to_string());
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let path = sqlite(dir.path(), scripted).path().to_owned();
    shell(
        &path,
        "insert into refinery_schema_history (version, name, applied_on, checksum)
         values (99, 'later', '2030-01-01T00:00:00Z', '1')",
    );
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, StoreError::NewerSchema { found: 99, .. }), "{refused}");
    assert!(refused.to_string().contains("schema 99"), "{refused}");
    assert!(Sqlite::open_reader(dir.path()).is_err(), "nor can it be read");
}

#[test]
fn what_is_no_database_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("windlass.db");
    fs::write(&file, "short").unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
    let text = refused.to_string();
    for part in ["windlass.db", "windlass db check", "restore a backup"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"short");
}

#[test]
fn a_torn_file_is_seen_at_the_start() {
    for tear in [truncate as fn(&Path), scribble] {
        let dir = tempfile::tempdir().unwrap();
        let store = sqlite(dir.path(), scripted);
        plant_two(&store);
        let path = store.path().to_owned();
        drop(store);
        tear(&path);
        let refused = open(dir.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
        assert!(refused.is_fatal());
    }
}

fn truncate(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(4096 * 3).unwrap();
}

/// Over the page that holds the schema, after the header.
fn scribble(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[100..4096].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state");
    fs::write(&file, "").unwrap();
    let refused = open(&file).unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
    assert!(refused.to_string().contains("state cannot be written"), "{refused}");
    let refused = open(&file.join("below")).unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
}

#[test]
fn a_reader_needs_no_lock_and_sees_commits() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Sqlite::open_reader(dir.path()).unwrap_err();
    assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");

    let store = sqlite(dir.path(), scripted);
    let reader = Sqlite::open_reader(dir.path()).unwrap();
    assert_eq!(reader.ask(|rows| rows.session(&rows::key(2))).unwrap(), None);
    plant_two(&store);
    assert!(reader.ask(|rows| rows.session(&rows::key(2))).unwrap().is_some());
    assert!(block_on(reader.session(&rows::key(1))).unwrap().is_some());
    drop(store);
    let after = Sqlite::open_reader(dir.path()).unwrap();
    assert!(after.ask(|rows| rows.session(&rows::key(1))).unwrap().is_some());
}

#[test]
fn a_copy_of_a_live_store_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite(dir.path(), scripted);
    plant_two(&store);
    let expected = block_on(store.snapshot()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let copy = to.path().join("windlass.db");
    block_on(store.backup(&copy)).unwrap();
    let refused = block_on(store.backup(&copy)).unwrap_err();
    assert!(refused.to_string().contains("there is a file of that name"), "{refused}");

    // The store goes on, and the copy is a store of its own.
    plant_more(&store);
    let restored = open(to.path()).unwrap();
    assert_eq!(block_on(restored.snapshot()).unwrap(), expected);
    assert!(!to.path().join("windlass.db.partial").exists());
}

fn plant_more(store: &Sqlite) {
    let more = event(|state| state.tx().put_session(&rows::session(3)));
    block_on(store.commit(moment(2), vec![more])).unwrap();
}

#[test]
fn a_check_finds_damage_dangling_rows_and_broken_promises() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite(dir.path(), scripted);
    plant_two(&store);
    let path = store.path().to_owned();
    let found = block_on(store.check(limits())).unwrap();
    assert!(found.is_well(), "{found:?}");
    drop(store);

    shell(
        &path,
        "pragma foreign_keys = off;
         update transcripts set session_key = 'agent:main:thread:gone', next_seq = 5
         where session_key = 'agent:main:thread:t2';
         update counts set n = 7 where what = 'session'",
    );
    let found = Sqlite::open_reader(dir.path()).unwrap().check(&limits()).unwrap();
    let miscounted = "counted are 7 sessions main, and there are 2";
    assert!(found.violations.iter().any(|one| one == miscounted), "{found:?}");
    assert!(found.damage.is_empty(), "{found:?}");
    assert_eq!(found.dangling.len(), 1, "{found:?}");
    assert!(found.dangling[0].contains("transcripts"), "{found:?}");
    assert!(found.violations.iter().any(|one| one.contains("next_seq 5")), "{found:?}");

    shell(&path, "pragma writable_schema = on; update sqlite_schema set rootpage = 2");
    let found = Sqlite::open_reader(dir.path()).map(|reader| reader.check(&limits()));
    assert!(!matches!(&found, Ok(Ok(found)) if found.is_well()), "{found:?}");
}

/// A store that is dropped has committed what it was given.
#[test]
fn a_dropped_store_has_done_its_work() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = std::sync::Arc::new(sqlite(dir.path(), scripted));
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let store = std::sync::Arc::clone(&store);
            let one = event(|state| {
                let seq = state.tx().next_inbox_seq();
                if seq == 1 {
                    plant(state, 1);
                }
                state.tx().add_inbox(&rows::inbox(seq, 1), "body");
            });
            runtime.spawn(async move { store.commit(moment(n), vec![one]).await })
        })
        .collect();
    for task in tasks {
        assert!(runtime.block_on(task).unwrap().unwrap().answers[0].is_ok());
    }
    drop(store);
    assert_eq!(block_on(open(dir.path()).unwrap().snapshot()).unwrap().inbox.len(), 40);
}
