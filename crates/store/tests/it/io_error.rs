//! A disk that fails: nobody is answered any more, and what was answered is there.

use std::path::PathBuf;
use std::process::Command;

use machine::rows::JournalLine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{Options, Reads, Sqlite, Store, StoreError};

use crate::bench::{block_on, event, limits, moment, node, options, scripted, sqlite};

/// Where the child works. It is run by the test below only.
const DIR: &str = "WINDLASS_TEST_IO_ERROR_DIR";

/// The child's files may not grow beyond this many blocks of 512 bytes: a write beyond it fails,
/// and not for want of space.
const BLOCKS: u32 = 2_000;

#[test]
fn after_an_io_error_the_store_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    drop(sqlite(dir.path(), scripted));
    let limited = format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &limited, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "io_error::child", "--nocapture"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    let acknowledged: usize =
        said.lines().find_map(|line| line.strip_prefix("acknowledged ")).unwrap().parse().unwrap();
    assert!(acknowledged > 0);

    let store = sqlite(dir.path(), scripted);
    let found = block_on(store.journal(0, usize::MAX)).unwrap().len();
    assert!(found >= acknowledged, "{found} of {acknowledged} acknowledged lines are there");
    assert!(block_on(store.check(limits())).unwrap().is_well());
}

#[test]
#[ignore = "run by the test above, under a limit"]
fn child() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("run by a test"));
    let options = Options { ballast_bytes: 0, ..options() };
    let store = Sqlite::open_with(&dir, &options, limits(), node(), scripted).unwrap();
    let write = || {
        let line = event(|state| {
            let (subject, at, detail) = (String::new(), state.now(), "x".repeat(10_000));
            let line = JournalLine { kind: "line", subject, root_key: None, detail, at };
            state.tx().add_journal(&line);
        });
        block_on(store.commit(moment(1), vec![line]))
    };
    let mut acknowledged = 0;
    let error = loop {
        match write() {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the limit does not bind");
    };
    assert!(matches!(error, StoreError::Io { .. }) && error.is_fatal(), "{error}");
    // The disk is well again, and the store does not find out: what it wrote is in doubt.
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
    assert_eq!(write().unwrap_err(), error, "it has stopped for good");
    println!("\nacknowledged {acknowledged}");
}
