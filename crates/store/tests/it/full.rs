//! A disk that is full: inputs are refused, running work goes on, nothing is lost.

use std::path::Path;
use std::process::Command;

use machine::event::Inbound;
use machine::rows::{InboxKind, JournalLine};
use machine::{Answer, Event, Refusal, State};
use store::{Memory, Options, Sqlite, Store, StoreError};

use crate::bench::{block_on, event, limits, moment, node, options};
use crate::rows;

/// As the machine does: an input is a row with its body.
fn apply(state: &mut State<'_>, event: Event) -> Answer {
    match event {
        Event::MessageReceived(inbound) => {
            write(state, "input", &inbound.body);
            Answer::Done
        }
        event => crate::bench::scripted(state, event),
    }
}

fn write(state: &mut State<'_>, kind: &'static str, detail: &str) {
    let (subject, at) = (String::new(), state.now());
    let line = JournalLine { kind, subject, root_key: None, detail: detail.to_owned(), at };
    state.tx().add_journal(&line);
}

/// A step of a running run: some kilobytes.
fn step() -> Event {
    event(|state| write(state, "step", &"s".repeat(3_000)))
}

fn input(bytes: usize) -> Event {
    Event::MessageReceived(Inbound {
        session: rows::main_key(),
        kind: InboxKind::User,
        body: "i".repeat(bytes),
        idem_key: "k".to_owned(),
        origin: String::new(),
        owner: String::new(),
        mode: None,
        model: None,
        label: None,
        timeout_ms: None,
        sender: None,
        hops: 0,
    })
}

fn open(dir: &Path, options: &Options) -> Sqlite {
    Sqlite::open_with(dir, options, limits(), node(), apply).unwrap()
}

async fn answers(store: &Sqlite, ms: i64, events: Vec<Event>) -> Vec<Answer> {
    let done = store.commit(moment(ms), events).await.unwrap();
    done.answers.into_iter().map(Result::unwrap).collect()
}

async fn lines(store: &dyn Store, kind: &str) -> usize {
    let lines = store.journal(0, usize::MAX).await.unwrap();
    lines.iter().filter(|line| line.kind == kind).count()
}

/// Pages of a file in which nothing has happened yet.
fn pages_of_none() -> u32 {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &options());
    let file = rusqlite::Connection::open(store.path()).unwrap();
    file.query_row("pragma page_count", [], |row| row.get(0)).unwrap()
}

/// Without a disk of a size of its own: the bound is on the pages of the database.
#[test]
fn inputs_are_refused_while_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    // Room for four inputs of 25 pages, and for some steps behind them.
    let max_pages = Some(pages_of_none() + 115);
    let store = open(dir.path(), &Options { max_pages, ..options() });
    let refused = [Answer::Refused(Refusal::StoreFull)];
    block_on(async {
        let mut accepted = 0;
        while answers(&store, 0, vec![input(100_000)]).await != refused {
            accepted += 1;
            assert!(accepted < 100, "the bound does not bind");
        }
        assert!(!dir.path().join("ballast").exists(), "its room is given up");
        assert_eq!(answers(&store, 1, vec![input(1)]).await, refused, "even a small one");
        let both = answers(&store, 2, vec![step(), input(1)]).await;
        assert_eq!((&both[0], &both[1..]), (&Answer::Done, &refused[..]));
        assert_eq!(lines(&store, "input").await, accepted, "what was accepted is there");

        // Nothing that is left out would fit: the driver keeps its results and tries again.
        let too_much = event(|state| write(state, "step", &"s".repeat(1_000_000)));
        let full = store.commit(moment(3), vec![too_much]).await.unwrap_err();
        assert!(matches!(full, StoreError::Full { .. }) && !full.is_fatal(), "{full}");
        assert_eq!(lines(&store, "step").await, 1);

        // After half a minute there is room on the disk, as far as the disk goes.
        assert_eq!(answers(&store, 40_000, vec![input(1)]).await, [Answer::Done]);
        assert!(dir.path().join("ballast").exists());
    });
}

#[test]
fn memory_can_play_a_full_disk() {
    let memory = Memory::new(limits(), node(), apply);
    memory.set_full(true);
    let done = memory.commit_now(moment(0), &[input(1), step()]);
    assert_eq!(done.answers, [Ok(Answer::Refused(Refusal::StoreFull)), Ok(Answer::Done)]);
    memory.set_full(false);
    let done = memory.commit_now(moment(0), &[input(1)]);
    assert_eq!(done.answers, [Ok(Answer::Done)]);
}

/// A file system of a few megabytes, unmounted when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where mounting is not allowed.
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// On a real disk that is really full, steps go on for as long as the ballast lasts, and inputs
/// are taken again when somebody has made room.
#[test]
fn steps_go_on_over_the_ballast() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let dir = disk.0.path().join("state");
    let junk = disk.0.path().join("junk");
    let refused = [Answer::Refused(Refusal::StoreFull)];
    let store = open(&dir, &Options { ballast_bytes: 2 << 20, ..options() });
    block_on(async {
        assert_eq!(answers(&store, 0, vec![input(10_000)]).await, [Answer::Done]);
        fill(&junk);
        let mut accepted = 1;
        while answers(&store, 0, vec![input(10_000)]).await != refused {
            accepted += 1;
            assert!(accepted < 1_000, "the disk does not fill");
        }
        for _ in 0..100 {
            assert_eq!(answers(&store, 1, vec![step()]).await, [Answer::Done]);
        }
        assert_eq!(answers(&store, 31_000, vec![input(1)]).await, refused, "still full");
        std::fs::remove_file(&junk).unwrap();
        assert_eq!(answers(&store, 62_000, vec![input(1)]).await, [Answer::Done], "room again");
        assert_eq!(
            (lines(&store, "input").await, lines(&store, "step").await),
            (accepted + 1, 100)
        );
        drop(store);
        let world = open(&dir, &options());
        assert_eq!(lines(&world, "step").await, 100, "all of it is in the file");
    });
}

/// A gateway that is started again on the full disk takes its runs up, and no inputs.
#[test]
fn a_start_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let dir = disk.0.path().join("state");
    let options = Options { ballast_bytes: 2 << 20, ..options() };
    block_on(async {
        let store = open(&dir, &options);
        assert_eq!(answers(&store, 0, vec![input(10_000), step()]).await.len(), 2);
        drop(store);
        fill(&disk.0.path().join("junk"));
        let store = open(&dir, &options);
        assert_eq!(answers(&store, 1, vec![step()]).await, [Answer::Done]);
        assert_eq!((lines(&store, "input").await, lines(&store, "step").await), (1, 2));
        let refused = [Answer::Refused(Refusal::StoreFull)];
        assert_eq!(answers(&store, 1, vec![input(10)]).await, refused);
    });
}

/// Fills the disk to the last page.
fn fill(path: &Path) {
    use std::io::Write;

    let mut file = std::fs::File::create(path).unwrap();
    let block = [0; 4096];
    while file.write_all(&block).is_ok() {}
}
