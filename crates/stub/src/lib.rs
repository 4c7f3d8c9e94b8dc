//! `stub`: an LLM server for tests, demos and people's own set-ups.
//!
//! It speaks Anthropic Messages, OpenAI Chat Completions and Responses, and Google's Gemini API
//! over real HTTP, refuses every request that those would refuse, counts prompt caching by real
//! prefix match, answers by script or by directives in the prompt, goes wrong on demand, and keeps
//! a journal of what it was asked.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use stub::{Options, Plan, Stub};
//!
//! let stub = Stub::start(Options::default()).await?;
//! let leaf = Plan::new().say("result of {name}");
//! let brief = Plan::named("root")
//!     .spawn([("a", leaf.clone()), ("b", leaf)])
//!     .say_when_results(2, "all here: {results}")
//!     .to_brief();
//! // Send `brief` to an agent whose model is at `stub.url()`, and then look:
//! assert!(stub.journal().answered_twice().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Reading order: [`directive`] and [`script`] say what is answered, [`wire`] what is let in,
//! [`fault`] what goes wrong, [`journal`] what is remembered, `server` how a request goes through
//! all of them.

pub mod answer;
pub mod cache;
pub mod conversation;
pub mod digest;
pub mod directive;
pub mod fault;
pub mod journal;
pub mod script;
pub mod wire;

mod app;
mod echoed;
mod play;
mod server;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use app::App;
pub use directive::{Plan, Spawn, Step};
pub use fault::{Failure, Fault, FaultRule};
pub use journal::{Entry, Outcome, Snapshot};
pub use script::Script;

/// How long [`Stub::stop`] waits for connections to close. Answers are cut at once, so this is
/// only for clients that hold a request half sent.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// How a stub behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port at 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The models that exist. Empty: every name does.
    pub models: Vec<String>,
    /// Models that answer in another name than they were asked by.
    pub names: BTreeMap<String, String>,
    /// The keys that are let in. Empty: every request is.
    pub api_keys: Vec<String>,
    /// Most tokens of a prompt with its answer.
    pub context_window: u64,
    /// Most bytes of a request.
    pub body_limit: usize,
    /// Fewest tokens of a prefix that is cached.
    pub cache_min: u64,
    /// Fixes the draws of faults with a probability.
    pub seed: u64,
    pub faults: Vec<FaultRule>,
    pub script: Script,
    /// Appends each journal entry to this file.
    pub journal: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            port: 0,
            models: vec!["stub-1".to_owned(), "stub-2".to_owned()],
            names: BTreeMap::new(),
            api_keys: Vec::new(),
            context_window: 200_000,
            body_limit: 32 * 1024 * 1024,
            cache_min: 1_024,
            seed: 0,
            faults: Vec::new(),
            script: Script::default(),
            journal: None,
        }
    }
}

/// A running stub. It stops when this is dropped, or in order with [`Stub::stop`].
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Stub {
    /// Starts a stub at `options.port` of 127.0.0.1.
    pub async fn start(options: Options) -> io::Result<Stub> {
        let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
        serve(listener, options)
    }

    /// Returns `http://ADDRESS`, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what was asked so far.
    pub fn journal(&self) -> Snapshot {
        self.app.journal.snapshot(0)
    }

    pub fn reset_journal(&self) {
        self.app.journal.reset();
    }

    /// Replaces the faults that hold for all requests.
    pub fn set_faults(&self, rules: Vec<FaultRule>) {
        self.app.set_faults(rules);
    }

    /// Cuts all answers under way and closes the port.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_WAIT, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }

    /// Serves until the listener fails.
    pub async fn wait(mut self) -> io::Result<()> {
        match (&mut self.task).await {
            Ok(served) => served,
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Serves on `listener`. Needs a Tokio runtime around it.
pub fn serve(listener: TcpListener, options: Options) -> io::Result<Stub> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let app = Arc::new(App::new(options, stopped)?);
    let task = tokio::spawn(server::serve(listener, app.clone()));
    Ok(Stub { address, app, stop, task })
}
