//! One server: started when it is needed, watched, started again after a crash, stopped when
//! nobody needs it.
//!
//! ```text
//!           call, or a first look             crash: at once, then ever later
//!  Idle ───────────────────────────▶ Up ─────────────────────────────────────▶ Down
//!    ▲                               │                                          │
//!    └───────── idle for long ───────┘◀──────────── call, or a look ────────────┘
//! ```
//!
//! There is one process or connection for the whole gateway. A crash fails the calls that are
//! out, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, JsonObject, Tool};
use rmcp::service::{Peer, RoleClient, RunningService, ServiceError};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::config::ServerConfig;
use crate::host::Host;
use crate::process::{Process, Words};
use crate::reach;

/// The wait after a first start that has failed; it doubles with each that follows.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A call waits this long for the end of such a wait; a longer one fails it.
const PATIENCE: Duration = Duration::from_secs(4);

/// A server that ends sooner than this after its start has failed to start.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How often it is looked whether anybody needs it, at least and at most.
const IDLE_LOOK: Duration = Duration::from_secs(5);
const IDLE_LOOK_MIN: Duration = Duration::from_millis(100);

/// A configured server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: ServerConfig,
    /// In the environment of its process, if it is one.
    mark: String,
    habits: Arc<Mutex<Habits>>,
    board: Arc<Board>,
    state: AsyncMutex<State>,
    /// One call at a time, for a server that cannot do more.
    turn: AsyncMutex<()>,
    stop: CancellationToken,
}

#[derive(Debug)]
enum State {
    Idle,
    Up(Arc<Connection>),
    Down { failures: u32, until: Instant, why: String },
}

/// A connection that was made.
#[derive(Debug)]
struct Connection {
    peer: Peer<RoleClient>,
    /// Calls that are out.
    out: AtomicUsize,
    used: Mutex<Instant>,
    /// Why it is over.
    over: OnceLock<String>,
}

/// Counts a call for as long as it is out.
struct Out<'a>(&'a Connection);

impl<'a> Out<'a> {
    fn of(connection: &'a Connection) -> Out<'a> {
        connection.out.fetch_add(1, Ordering::SeqCst);
        Out(connection)
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.out.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connection {
    fn idle_for(&self) -> Option<Duration> {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        (self.out.load(Ordering::SeqCst) == 0).then(|| used.elapsed())
    }

    fn is_over(&self) -> bool {
        self.over.get().is_some() || self.peer.is_transport_closed()
    }
}

/// What holds for all servers, and may change while they run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Habits {
    /// How long nobody must need one before it is stopped; none is for ever.
    pub(crate) idle: Option<Duration>,
    /// The folders that agents work in: told to each that is started.
    pub(crate) roots: Vec<String>,
}

/// What a server is started with beside its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub(crate) mark: String,
    pub(crate) habits: Arc<Mutex<Habits>>,
    pub(crate) board: Arc<Board>,
    pub(crate) stop: CancellationToken,
}

impl Server {
    pub(crate) fn new(config: ServerConfig, around: &Around) -> Server {
        let Around { mark, habits, board, stop } = around.clone();
        let mark = format!("{mark}/{}", config.name);
        let (state, turn) = (AsyncMutex::new(State::Idle), AsyncMutex::default());
        // Of its own: it may have to go while the others stay.
        let stop = stop.child_token();
        Server { config, mark, habits, board, state, turn, stop }
    }

    fn habits(&self) -> Habits {
        self.habits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it when no call of it is out any more, and waits until it is gone. It is not in the
    /// configuration any more, or another is in its place.
    pub(crate) async fn retire(self: Arc<Server>) {
        let back = async {
            while self.is_busy().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            _late = timeout(self.config.call_timeout, back) => {}
            () = self.stop.cancelled() => {}
        }
        self.stop.cancel();
        self.stopped().await;
    }

    async fn is_busy(&self) -> bool {
        match &*self.state.lock().await {
            State::Up(connection) => connection.out.load(Ordering::SeqCst) > 0,
            State::Idle | State::Down { .. } => false,
        }
    }

    /// Connects if need be, so that its tools are known.
    pub(crate) async fn look(self: &Arc<Server>) -> Result<(), String> {
        self.connection().await.map(drop)
    }

    /// Makes one call. `cancel` ends it, and tells the server so.
    pub(crate) async fn call(
        self: &Arc<Server>,
        tool: &str,
        arguments: JsonObject,
        cancel: &CancellationToken,
    ) -> Result<CallToolResult, String> {
        let stopped = || "the run was stopped; the server was told so".to_owned();
        let made = async {
            let _turn = match self.config.parallel {
                true => None,
                false => Some(self.turn.lock().await),
            };
            let connection = self.connection().await?;
            let _out = Out::of(&connection);
            self.make(&connection, tool, arguments).await
        };
        // Dropping a call that is out sends `notifications/cancelled`.
        tokio::select! {
            result = made => result,
            () = cancel.cancelled() => Err(stopped()),
        }
    }

    async fn make(
        &self,
        connection: &Connection,
        tool: &str,
        arguments: JsonObject,
    ) -> Result<CallToolResult, String> {
        let name = &self.config.name;
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let within = self.config.call_timeout;
        let called = timeout(within, connection.peer.call_tool_once(params)).await;
        let called = called.map_err(|_| {
            format!(
                "the MCP server \"{name}\" has not answered within {} ms \
                 (mcp.servers.{name}.requestTimeoutMs) and was told to stop; whether the call was \
                 done is not known",
                within.as_millis()
            )
        })?;
        match called {
            Ok(CallToolResponse::Complete(result)) => Ok(result),
            Ok(CallToolResponse::InputRequired(_)) => Err(format!(
                "the MCP server \"{name}\" asks for input of a person, which this gateway does \
                 not pass on"
            )),
            Ok(_) => Err(format!(
                "the MCP server \"{name}\" has begun a task in place of an answer, which this \
                 gateway does not follow"
            )),
            Err(ServiceError::McpError(error)) => {
                Err(format!("the MCP server \"{name}\" refuses the call: {}", error.message))
            }
            Err(error) => {
                // Whoever watches the connection knows in a moment why it is over.
                for _ in 0..20 {
                    if connection.over.get().is_some() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let why = connection.over.get().cloned().unwrap_or_else(|| error.to_string());
                Err(format!(
                    "the MCP server \"{name}\" was lost while the call was out: {why}. Whether it \
                     was done is not known: check before doing it again"
                ))
            }
        }
    }

    /// The connection, made if there is none.
    async fn connection(self: &Arc<Server>) -> Result<Arc<Connection>, String> {
        if self.stop.is_cancelled() {
            return Err(format!("the MCP server \"{}\" is being stopped", self.config.name));
        }
        let mut state = self.state.lock().await;
        let failures = match &*state {
            State::Up(connection) if !connection.is_over() => return Ok(Arc::clone(connection)),
            State::Idle | State::Up(_) => 0,
            State::Down { until, why, .. } if *until > Instant::now() + PATIENCE => {
                let seconds = until.duration_since(Instant::now()).as_secs() + 1;
                return Err(format!(
                    "the MCP server \"{}\" is down: {why}; it is tried again in {seconds} s",
                    self.config.name
                ));
            }
            State::Down { failures, until, .. } => {
                tokio::time::sleep_until(*until).await;
                *failures
            }
        };
        match self.start().await {
            Ok(connection) => {
                *state = State::Up(Arc::clone(&connection));
                Ok(connection)
            }
            Err(why) => {
                tracing::warn!(server = self.config.name, why, "a tool server does not start");
                self.board.set_failed(&self.config, &why);
                *state = down(failures + 1, why.clone());
                Err(format!("the MCP server \"{}\" does not start: {why}", self.config.name))
            }
        }
    }

    /// Starts it, greets it, and asks for its tools, all within the time for that.
    async fn start(self: &Arc<Server>) -> Result<Arc<Connection>, String> {
        let within = self.config.connect_timeout;
        let words = Words::default();
        let connecting = async {
            let host = Host::new(&self.habits().roots);
            let (running, process) =
                reach::connect(&self.config, self.mark.clone(), host, &words).await?;
            match running.list_all_tools().await {
                Ok(tools) => Ok((running, process, tools)),
                Err(error) => Err(format!("it does not tell its tools: {error}")),
            }
        };
        let late = || {
            format!(
                "it was not ready within {} ms (mcp.servers.{}.connectionTimeoutMs){}",
                within.as_millis(),
                self.config.name,
                words.last()
            )
        };
        let (running, process, tools) = timeout(within, connecting).await.map_err(|_| late())??;
        tracing::info!(server = self.config.name, tools = tools.len(), "a tool server is up");
        self.board.set_tools(&self.config, tools);
        self.board.clear_error(&self.config.name);
        let connection = Arc::new(Connection {
            peer: running.peer().clone(),
            out: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
            over: OnceLock::new(),
        });
        let watched = Watched { running, process, words, began: Instant::now() };
        tokio::spawn(Arc::clone(self).watch(Arc::clone(&connection), watched));
        Ok(connection)
    }

    /// Watches a connection to its end, and says why it is over.
    async fn watch(self: Arc<Server>, connection: Arc<Connection>, watched: Watched) {
        let Watched { running, process, words, began } = watched;
        let changed = running.service().changed();
        let close = running.cancellation_token();
        let ended = running.waiting();
        tokio::pin!(ended);
        let crashed = loop {
            let look = self.habits().idle.unwrap_or(IDLE_LOOK).clamp(IDLE_LOOK_MIN, IDLE_LOOK);
            tokio::select! {
                _ = &mut ended => break true,
                () = self.stop.cancelled() => break false,
                () = changed.notified() => self.ask_again(&connection).await,
                () = tokio::time::sleep(look) => {
                    let idle = connection.idle_for();
                    let max = self.habits().idle;
                    if max.is_some_and(|max| idle.is_some_and(|idle| idle >= max)) {
                        break false;
                    }
                }
            }
        };
        if !crashed {
            // Nobody may take it up any more; then its input is closed.
            let _ = connection.over.set("it was stopped".to_owned());
            close.cancel();
            let _ = ended.await;
        }
        let mut why = "the connection was closed".to_owned();
        if let Some(process) = process {
            let status = process.end().await;
            why =
                status.map_or_else(|| "it does not end".to_owned(), |s| format!("it ended ({s})"));
            why += &words.last();
        }
        let _ = connection.over.set(why.clone());
        let mut state = self.state.lock().await;
        // Another one may have been made meanwhile.
        if !matches!(&*state, State::Up(current) if Arc::ptr_eq(current, &connection)) {
            return;
        }
        if !crashed {
            *state = State::Idle;
            return;
        }
        tracing::warn!(server = self.config.name, why, "a tool server is lost");
        self.board.set_error(&self.config.name, &why);
        // One that had lived is started again at once; one that had not, after a while.
        let stable = began.elapsed() >= STABLE_AFTER;
        *state = if stable { State::Idle } else { down(1, why) };
    }

    /// Its tools have changed.
    async fn ask_again(&self, connection: &Connection) {
        let asked = timeout(self.config.connect_timeout, connection.peer.list_all_tools()).await;
        match asked {
            Ok(Ok(tools)) => self.board.set_tools(&self.config, tools),
            Ok(Err(error)) => {
                tracing::warn!(server = self.config.name, %error, "it does not tell its tools");
            }
            Err(_) => tracing::warn!(server = self.config.name, "it does not tell its tools"),
        }
    }

    /// Waits until its process is gone; `stop` was cancelled before.
    pub(crate) async fn stopped(&self) {
        loop {
            if !matches!(&*self.state.lock().await, State::Up(_)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What is watched.
struct Watched {
    running: RunningService<RoleClient, Host>,
    process: Option<Process>,
    words: Words,
    began: Instant,
}

fn down(failures: u32, why: String) -> State {
    let wait = BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF_MAX);
    State::Down { failures, until: Instant::now() + wait, why }
}

/// Asks a server for its tools once, without a gateway.
pub(crate) async fn probe(
    config: &ServerConfig,
    mark: String,
    roots: &[String],
) -> Result<(Vec<Tool>, String), String> {
    let words = Words::default();
    let asking = async {
        let (running, process) = reach::connect(config, mark, Host::new(roots), &words).await?;
        let tools = running.list_all_tools().await;
        let who = running.peer().peer_info().and_then(|info| {
            let who = info.server_info.clone()?;
            Some(format!("{} {}", who.name, who.version))
        });
        let _ = running.cancel().await;
        if let Some(process) = process {
            process.end().await;
        }
        let tools = tools.map_err(|error| format!("it does not tell its tools: {error}"))?;
        Ok((tools, who.unwrap_or_default()))
    };
    match timeout(config.connect_timeout, asking).await {
        Ok(result) => result,
        Err(_) => {
            let words = words.last();
            let (ms, name) = (config.connect_timeout.as_millis(), &config.name);
            Err(format!(
                "it was not ready within {ms} ms (mcp.servers.{name}.connectionTimeoutMs){words}"
            ))
        }
    }
}

#[cfg(test)]
mod tests;
