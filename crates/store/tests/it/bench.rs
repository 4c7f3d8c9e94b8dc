//! Both stores, each fresh, and events that run a test's own code in a transaction.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use machine::{Answer, Event, Limits, State};
use store::{Apply, Done, Memory, Moment, Options, Sqlite, Store};
use tempfile::TempDir;
use types::{NodeId, Timestamp};

use crate::rows;

/// A store under test. The folder lives as long as it.
pub struct Bench {
    pub name: &'static str,
    pub store: Arc<dyn Store>,
    dir: Option<TempDir>,
}

impl Bench {
    /// The file that the rows are in, if there is one.
    pub fn path(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.path().join("windlass.db"))
    }
}

/// Small, so that a test folder costs nothing.
pub fn options() -> Options {
    Options { ballast_bytes: 1 << 20, ..Options::default() }
}

pub fn sqlite(dir: &std::path::Path, apply: Apply) -> Sqlite {
    Sqlite::open_with(dir, &options(), limits(), node(), apply).unwrap()
}

pub fn limits() -> Arc<Limits> {
    Arc::new(Limits::default())
}

pub fn node() -> NodeId {
    NodeId::new(rows::uuid(1))
}

/// Every kind of store, with the same decisions.
pub fn benches(apply: Apply, limits: &Arc<Limits>) -> Vec<Bench> {
    let dir = tempfile::tempdir().unwrap();
    let file =
        Sqlite::open_with(dir.path(), &options(), Arc::clone(limits), node(), apply).unwrap();
    vec![
        Bench {
            name: "memory",
            store: Arc::new(Memory::new(Arc::clone(limits), node(), apply)),
            dir: None,
        },
        Bench { name: "sqlite", store: Arc::new(file), dir: Some(dir) },
    ]
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub type Script = fn(&mut State<'_>);

static SCRIPTS: Mutex<Vec<Script>> = Mutex::new(Vec::new());

/// An event that runs `script` where `machine::apply` would run.
pub fn event(script: Script) -> Event {
    let mut scripts = SCRIPTS.lock().unwrap();
    scripts.push(script);
    Event::Stop { session: rows::main_key(), run: None, by: (scripts.len() - 1).to_string() }
}

/// Runs the scripts of events. Inputs are only answered.
pub fn scripted(state: &mut State<'_>, event: Event) -> Answer {
    if let Event::Stop { by, .. } = event {
        let index: usize = by.parse().unwrap();
        let script = SCRIPTS.lock().unwrap()[index];
        script(state);
    }
    Answer::Done
}

pub fn moment(ms: i64) -> Moment {
    Moment { now: Timestamp(ms), seed: 7 }
}

/// Commits events that all must work.
pub async fn commit(bench: &Bench, events: Vec<Event>) -> Done {
    let done = bench.store.commit(moment(1_000), events).await.unwrap();
    for answer in &done.answers {
        answer.as_ref().unwrap_or_else(|error| panic!("{}: {error}", bench.name));
    }
    done
}

/// Runs scripts on each store, each script in a transaction of its own.
pub fn on_each_store(scripts: &[Script]) {
    for bench in benches(scripted, &limits()) {
        block_on(async {
            for script in scripts {
                commit(&bench, vec![event(*script)]).await;
            }
        });
    }
}
