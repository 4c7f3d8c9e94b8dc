//! MCP: tool servers, whose tools agents use beside those of the gateway.
//!
//! ```text
//!  mcp.servers ─▶ Servers ─▶ Server (one process or connection each) ─▶ rmcp
//!                    │           started on need, watched, stopped
//!                    └─▶ Toolbox: `server__tool`, known also while a server is not up
//! ```
//!
//! # Invariants
//!
//! - There is at most one process of a server, whoever calls, and it ends with the gateway. What a
//!   killed gateway has left is ended by the next start: it carries the mark of the state folder.
//! - The list of tools does not change but by what a server tells, and is kept over a restart.
//! - A server that is slow, lost or wrong fails calls of its own tools, and nothing else.
//! - A server gets of our environment only what every process needs.

mod board;
pub mod config;
mod host;
mod process;
mod reach;
mod result;
mod server;
mod spec;
mod tool;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tools::{Source, Toolbox, marked};
use types::ToolSpec;

pub use config::{Reach, ServerConfig};

use board::Board;
use server::{Around, Habits, Server};
use tool::McpTool;

/// Names the state folder and the server of every process.
pub(crate) const MARK_VARIABLE: &str = "WINDLASS_MCP";

/// Where lists of tools are kept, in the state folder.
const FOLDER: &str = "mcp";

/// How long a session waits for servers whose tools nobody knows yet.
const SETTLE: Duration = Duration::from_secs(10);

/// How long what a killed gateway has left may take to die.
const DEAD_WITHIN: Duration = Duration::from_secs(2);

/// Longest answer of a tool that is held.
const RESULT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All configured servers of a gateway.
#[derive(Debug)]
pub struct Servers {
    now: Mutex<Now>,
    habits: Arc<Mutex<Habits>>,
    board: Arc<Board>,
    /// Those that have left and are not gone yet.
    leaving: TaskTracker,
    stop: CancellationToken,
}

/// The servers of this moment.
#[derive(Debug)]
struct Now {
    servers: Vec<Arc<Server>>,
    /// The tools, with the number of changes that they have seen.
    toolbox: (u64, Arc<Toolbox>),
}

impl Servers {
    /// Nothing is started yet. `idle` is how long a server is kept that nobody calls; `mark` is
    /// that of [`mark`]; `roots` are the folders that agents work in.
    pub fn new(
        configs: Vec<ServerConfig>,
        state: &Path,
        mark: String,
        idle: Option<Duration>,
        roots: &[PathBuf],
    ) -> Servers {
        let toolbox = (0, Arc::new(Toolbox::empty(RESULT_BYTES_MAX)));
        let servers = Servers {
            now: Mutex::new(Now { servers: Vec::new(), toolbox }),
            habits: Arc::default(),
            board: Arc::new(Board::new(&state.join(FOLDER))),
            leaving: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        servers.serve(configs, mark, idle, roots);
        servers
    }

    /// From now on these servers are there, as with [`Servers::new`]. One that is as before goes
    /// on; one that has left, or is another by now, ends when the calls that are out are back.
    pub fn serve(
        &self,
        configs: Vec<ServerConfig>,
        mark: String,
        idle: Option<Duration>,
        roots: &[PathBuf],
    ) {
        let habits = Habits { idle, roots: uris(roots) };
        *self.habits.lock().unwrap_or_else(PoisonError::into_inner) = habits;
        let (habits, board) = (Arc::clone(&self.habits), Arc::clone(&self.board));
        let around = Around { mark, habits, board, stop: self.stop.clone() };
        let mut now = self.now();
        self.board.serve(&configs);
        let mut before = std::mem::take(&mut now.servers);
        for config in configs {
            let same = before.iter().position(|server| server.config == config);
            let server = same.map(|at| before.swap_remove(at));
            now.servers.push(server.unwrap_or_else(|| Arc::new(Server::new(config, &around))));
        }
        for left in before {
            tracing::info!(server = left.config.name, "a tool server has left the configuration");
            self.leaving.spawn(left.retire());
        }
        let (changes, toolbox) = built(&now.servers, &self.board);
        now.toolbox = (changes, Arc::new(toolbox));
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Each of its parts is whole by itself, so a poisoned lock is usable.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all processes. No call is made any more.
    pub async fn stop(&self) {
        self.stop.cancel();
        let servers = self.now().servers.clone();
        for server in servers {
            server.stopped().await;
        }
        self.leaving.close();
        self.leaving.wait().await;
    }
}

/// The tools of all servers, in the order of their names.
fn built(servers: &[Arc<Server>], board: &Board) -> (u64, Toolbox) {
    let (changes, mut offers) = board.offers();
    let mut sorted: Vec<&Arc<Server>> = servers.iter().collect();
    sorted.sort_by(|one, other| one.config.name.cmp(&other.config.name));
    let mut toolbox = Toolbox::empty(RESULT_BYTES_MAX);
    for server in sorted {
        for offer in offers.remove(&server.config.name).unwrap_or_default() {
            toolbox = toolbox.with(Arc::new(McpTool::new(Arc::clone(server), offer)));
        }
    }
    (changes, toolbox)
}

#[async_trait]
impl Source for Servers {
    fn toolbox(&self) -> Arc<Toolbox> {
        let mut now = self.now();
        if now.toolbox.0 != self.board.offers().0 {
            let (changes, new) = built(&now.servers, &self.board);
            now.toolbox = (changes, Arc::new(new));
        }
        Arc::clone(&now.toolbox.1)
    }

    async fn settle(&self) -> Vec<String> {
        let mut unknown = self.now().servers.clone();
        unknown.retain(|server| !self.board.knows(&server.config.name));
        // One that has failed before is tried again, but nobody waits for it.
        let new = unknown.iter().any(|server| !self.board.has_failed(&server.config.name));
        let looks = unknown.iter().map(|server| {
            let server = Arc::clone(server);
            // It goes on when nobody waits any more: the next episode has its tools.
            tokio::spawn(async move { server.look().await })
        });
        let looks: Vec<_> = looks.collect();
        let all = async {
            for look in looks {
                let _ = look.await;
            }
        };
        let wait = if new { SETTLE } else { Duration::ZERO };
        let _late = tokio::time::timeout(wait, all).await;
        let names = unknown.iter().map(|server| server.config.name.clone());
        names.filter(|name| !self.board.knows(name)).collect()
    }
}

fn uris(folders: &[PathBuf]) -> Vec<String> {
    let mut uris: Vec<String> = folders.iter().filter_map(|folder| uri(folder)).collect();
    uris.sort();
    uris.dedup();
    uris
}

fn uri(folder: &Path) -> Option<String> {
    reqwest::Url::from_directory_path(folder).ok().map(String::from)
}

/// The mark of a state folder, if a server was ever configured there.
pub fn known_mark(state: &Path) -> Option<String> {
    let mark = fs::read_to_string(state.join(FOLDER).join("mark")).ok()?;
    Some(mark.trim().to_owned()).filter(|mark| !mark.is_empty())
}

/// The mark of a state folder: `fresh`, or what was fresh at its first start. With the lock of the
/// folder held, a process that carries it is ours, or was left by a killed gateway of this folder.
pub fn mark(state: &Path, fresh: &str) -> io::Result<String> {
    if let Some(mark) = known_mark(state) {
        return Ok(mark);
    }
    let folder = state.join(FOLDER);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("mark"), fresh)?;
    Ok(fresh.to_owned())
}

/// Ends what a killed gateway of this mark has left, and says how many processes that were.
pub async fn end_leftovers(mark: &str) -> usize {
    let (count, alive) = marked::end(MARK_VARIABLE, &format!("{mark}/"), DEAD_WITHIN).await;
    if count > 0 {
        tracing::warn!(count, ?alive, "tool servers left by a killed gateway");
    }
    count
}

/// The processes of a server that run now, by the mark of its state folder.
pub fn running(mark: &str, server: &str) -> Vec<u32> {
    let found = marked::find(MARK_VARIABLE, &format!("{mark}/{server}"));
    let exact = format!("{mark}/{server}");
    found.into_iter().filter(|process| process.mark == exact).map(|process| process.pid).collect()
}

/// Why a server did not start, or was lost, the last time; none if it is up, or was never needed.
pub fn last_error(state: &Path, server: &str) -> Option<String> {
    board::last_error(&state.join(FOLDER), server)
}

/// The tools of a server that the next start knows of, if it was ever asked.
pub fn known(state: &Path, config: &ServerConfig) -> Option<Vec<ToolSpec>> {
    let kept = board::read(&state.join(FOLDER), config)?;
    Some(spec::offers(config, &kept.tools).into_iter().map(|offer| offer.spec).collect())
}

/// What a server says when it is asked once.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Its name and version, as it says them.
    pub server: String,
    pub tools: Vec<ProbedTool>,
}

/// One tool of a server, also one that the configuration leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbedTool {
    pub theirs: String,
    /// As a model would see it; none if it is left out.
    pub offered: Option<ToolSpec>,
    pub effect: types::EffectClass,
}

/// Starts a server, asks for its tools, and ends it: for whoever sets it up.
pub async fn probe(config: &ServerConfig, roots: &[PathBuf]) -> Result<Probed, String> {
    let mark = format!("probe-{}/{}", std::process::id(), config.name);
    let (mut tools, server) = server::probe(config, mark, &uris(roots)).await?;
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    let offers = spec::offers(config, &tools);
    let probed = tools.iter().map(|tool| {
        let offer = offers.iter().find(|offer| offer.theirs == tool.name);
        ProbedTool {
            theirs: tool.name.clone().into_owned(),
            offered: offer.map(|offer| offer.spec.clone()),
            effect: offer.map_or(types::EffectClass::Opaque, |offer| offer.effect),
        }
    });
    Ok(Probed { server, tools: probed.collect() })
}
