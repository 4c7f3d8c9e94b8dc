//! A gateway over a real driver, with a scripted model, a store in memory and real sockets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use gateway::{Config, Configured, Info, Shown};
use machine::Limits;
use machine::limits::AgentLimits;
use machine::policy::ToolRules;
use protocol::config::{ConfigStanding, ReloadResult, Reloaded};
use providers::{Script, Scripted};
use runtime::driver::Incarnation;
use runtime::{Agent, Clock, Driver, Model, SystemClock};
use serde_json::{Value, json};
use store::{Memory, Store};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use types::{AgentId, NodeId, Timestamp};
use uuid::Uuid;

pub const TOKEN: &str = "s3cret-of-the-tests";

/// Longest wait for a frame. Far more than any needs; a test that hangs should say where.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the model does.
fn script() -> Script {
    serde_json::from_value(json!({
        "rules": [
            {"when": {"text": "hello"}, "say": "hello there"},
            {"when": {"text": "wait"}, "say": "that took a while", "delayMs": 1500},
            {"when": {"text": "hold", "turn": 0},
             "call": [{"name": "exec",
                       "arguments": {"command": "until [ -e go ]; do sleep 0.02; done"}}]},
            {"when": {"text": "hold"}, "say": "held no more"},
            {"when": {"text": "for ever"}, "say": "never", "delayMs": 600_000},
            {"when": {"text": "look", "turn": 0}, "say": "I look.",
             "call": [{"name": "exec", "arguments": {"command": "echo found"}}]},
            {"when": {"text": "look"}, "say": "There it is."},
            {"when": {"text": "break"}, "fail": {"class": "bad_request", "reason": "no such door"}},
            {"when": {"text": "flood"}, "say": "all the words that there are, ".repeat(2_000),
             "delayMs": 1_500},
            {"when": {"text": "silence"}, "say": "NO_REPLY"},
            {"when": {"text": "delegate", "turn": 0},
             "call": [{"name": "sessions_spawn",
                       "arguments": {"task": "work for ever", "label": "the work"}}]},
            {"when": {"text": "delegate"}, "say": "it is begun"},
            {"say": "ok"}
        ]
    }))
    .unwrap()
}

pub struct World {
    pub address: String,
    pub shutdown: CancellationToken,
    store: Arc<dyn Store>,
    limits: Arc<Limits>,
    folder: Arc<TempDir>,
    driver: JoinHandle<Result<(), runtime::DriverError>>,
    gateway: JoinHandle<std::io::Result<()>>,
}

/// A configuration that nobody changes.
#[derive(Debug)]
struct Fixed(Arc<Shown>);

#[async_trait]
impl Configured for Fixed {
    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.0)
    }

    fn standing(&self) -> ConfigStanding {
        ConfigStanding {
            path: "/state/windlass.json".to_owned(),
            watched: false,
            applied_at: Timestamp(0),
            restart_pending: Vec::new(),
            rejected: None,
        }
    }

    async fn reload(&self, _: bool) -> ReloadResult {
        ReloadResult {
            status: Reloaded::Unchanged,
            path: self.standing().path,
            applied: Vec::new(),
            restart_pending: Vec::new(),
            open_runs: 0,
            rejected: None,
        }
    }
}

impl World {
    pub async fn new() -> World {
        let agent = AgentLimits::of("scripted/demo");
        let toolbox = tools::Toolbox::builtin(&tools::Config::default());
        let tools =
            ToolRules { catalogue: runtime::catalogue(&toolbox, None), ..ToolRules::default() };
        let limits = Arc::new(Limits {
            tools,
            agents: BTreeMap::from([(AgentId::main(), agent)]),
            // Room for messages of megabytes, whole.
            models: BTreeMap::from([("scripted/demo".to_owned(), 40_000_000)]),
            ..Limits::default()
        });
        let node = mint();
        let store = Arc::new(Memory::new(Arc::clone(&limits), node, machine::apply));
        World::start(store, limits, Arc::new(tempfile::tempdir().unwrap()), node).await
    }

    async fn start(
        store: Arc<dyn Store>,
        limits: Arc<Limits>,
        folder: Arc<TempDir>,
        node: NodeId,
    ) -> World {
        let model = Model {
            provider: Arc::new(Scripted::new(script())),
            name: "demo".to_owned(),
            max_output_tokens: 4_096,
        };
        let workspace = folder.path().join("workspace");
        let agent = Agent::at(workspace);
        let config = runtime::Config {
            limits: Arc::clone(&limits),
            agents: BTreeMap::from([(AgentId::main(), agent)]),
            models: BTreeMap::from([("scripted/demo".to_owned(), model)]),
            tuning: BTreeMap::new(),
            tools: tools::Config::default(),
            more: None,
            skills: Arc::default(),
            drain: Duration::from_secs(5),
        };
        let shutdown = CancellationToken::new();
        let clock = Arc::new(SystemClock);
        let (driver, handle) =
            Driver::new(Arc::clone(&store), clock, Arc::new(config), shutdown.clone());
        let config = Config { port: 0, ..Config::loopback(Some(TOKEN.parse().unwrap())) };
        let listener = gateway::bind(&config).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let info = Info {
            version: "0.0.0-test".to_owned(),
            node,
            state_dir: PathBuf::from("/state"),
            database: PathBuf::from("/state/windlass.db"),
            config_path: None,
            clock: Arc::new(SystemClock),
            configured: Arc::new(Fixed(Arc::new(Shown::of(AgentId::main())))),
            roster: None,
        };
        let gateway =
            tokio::spawn(gateway::serve(listener, config, handle, info, shutdown.clone()));
        let who = Incarnation { node, pid: std::process::id(), version: "test".to_owned() };
        let driver = tokio::spawn(driver.run(who));
        World { address, shutdown, store, limits, folder, driver, gateway }
    }

    /// Stops the gateway in good order, and starts the next one over the same rows.
    pub async fn restart(self) -> World {
        self.shutdown.cancel();
        self.gateway.await.unwrap().unwrap();
        self.driver.await.unwrap().unwrap();
        World::start(self.store, self.limits, self.folder, mint()).await
    }

    /// Lets a run go on whose model was told to hold.
    pub fn go_on(&self) {
        let workspace = self.folder.path().join("workspace");
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::write(workspace.join("go"), "").unwrap();
    }

    /// Opens a socket. The challenge has not been read.
    pub async fn open(&self) -> Client {
        self.open_from(None).await.expect("a socket opens")
    }

    pub async fn open_from(&self, origin: Option<&str>) -> Result<Client, Error> {
        let mut request = format!("ws://{}/", self.address).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
        }
        let (socket, _) = connect_async(request).await?;
        Ok(Client { socket, seq: 0, aside: Vec::new() })
    }

    /// A client that has connected, with every right.
    pub async fn client(&self) -> Client {
        let mut client = self.open().await;
        let hello = client.connect(TOKEN, &["operator.admin"]).await;
        assert_eq!(hello["payload"]["type"], "hello-ok", "{hello}");
        client
    }

    /// Asks over plain HTTP; returns the status and the body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

fn mint() -> NodeId {
    let clock = SystemClock;
    let nobody = NodeId::new(Uuid::nil());
    NodeId::new(machine::At::new(clock.now(), clock.seed(), nobody).mint())
}

/// How a socket ended: the code and reason of its close frame, if there was one.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed(pub Option<(u16, String)>);

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Number of the last event.
    seq: u64,
    /// Frames that were read while another was waited for.
    aside: Vec<Value>,
}

impl Client {
    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    /// Reads nothing until the gateway has hung up, and says whether it has.
    pub async fn is_hung_up_on(&mut self) -> bool {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            // A socket that is gone takes one frame more at most.
            let said = self.socket.send(Message::Pong(Default::default())).await;
            if said.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Sends what the gateway may refuse to read to its end.
    pub async fn try_send_text(&mut self, text: &str) -> Result<(), Error> {
        self.socket.send(Message::Text(text.into())).await
    }

    /// Reads the next frame. Numbers of events must have no gap that is not told.
    pub async fn frame(&mut self) -> Result<Value, Closed> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next());
            match next.await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["event"] == "gap" {
                        assert_eq!(frame["payload"]["from"], self.seq + 1, "{frame}");
                        self.seq = frame["payload"]["to"].as_u64().unwrap();
                    }
                    if let Some(seq) = frame["seq"].as_u64() {
                        assert_eq!(seq, self.seq + 1, "{frame}");
                        self.seq = seq;
                    }
                    return Ok(frame);
                }
                Some(Ok(Message::Close(Some(close)))) => {
                    return Err(Closed(Some((close.code.into(), close.reason.to_string()))));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Closed(None)),
            }
        }
    }

    /// Reads until the socket ends.
    pub async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.frame().await {
                return closed;
            }
        }
    }

    /// Reads until a frame is what is looked for; the others are kept.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(n) = self.aside.iter().position(&wanted) {
            return self.aside.remove(n);
        }
        loop {
            let frame = self.frame().await.expect("the socket stays open");
            if wanted(&frame) {
                return frame;
            }
            self.aside.push(frame);
        }
    }

    pub async fn response(&mut self, id: &str) -> Value {
        self.until(|frame| frame["type"] == "res" && frame["id"] == id).await
    }

    pub async fn request(&mut self, id: &str, method: &str, params: Value) {
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        self.send_text(&frame.to_string()).await;
    }

    /// Asks, and returns the response frame.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.request(method, method, params).await;
        self.response(method).await
    }

    /// Says who we are; returns the response.
    pub async fn connect(&mut self, token: &str, scopes: &[&str]) -> Value {
        self.request("hello", "connect", connect(token, scopes)).await;
        self.response("hello").await
    }

    /// Waits for the `chat` event that ends a run.
    pub async fn chat_end(&mut self, run: &str) -> Value {
        self.until(|frame| {
            frame["event"] == "chat"
                && frame["payload"]["runId"] == run
                && !["delta", "status"].contains(&frame["payload"]["state"].as_str().unwrap())
        })
        .await
    }

    /// The events that have been read while something else was waited for.
    pub fn seen(&self) -> &[Value] {
        &self.aside
    }
}

pub fn connect(token: &str, scopes: &[&str]) -> Value {
    json!({
        "minProtocol": 4, "maxProtocol": 4,
        "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
        "scopes": scopes, "caps": ["tool-events"], "auth": {"token": token},
    })
}

pub fn send(session: &str, message: &str, key: &str) -> Value {
    json!({"sessionKey": session, "message": message, "idempotencyKey": key})
}

/// Makes a frame the same each time: ids, times and token counts are what differs.
pub fn redact(value: &Value) -> Value {
    const NUMBERS: [&str; 9] = [
        "ts",
        "timestamp",
        "startedAt",
        "endedAt",
        "acceptedAt",
        "createdAt",
        "updatedAt",
        "durationMs",
        "seq",
    ];
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(name, _)| *name != "usage")
            .map(|(name, value)| match value {
                Value::Number(_) if NUMBERS.contains(&name.as_str()) => (name.clone(), json!(0)),
                value => (name.clone(), redact(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(redact).collect(),
        Value::String(text) => match text.split_once('_') {
            Some((prefix @ ("run" | "ses" | "msg" | "nod" | "tsk" | "call"), _)) => {
                json!(format!("{prefix}_…"))
            }
            // How long a command has taken.
            _ => match text.split_once(" after ") {
                Some((head, _)) => json!(format!("{head} after …")),
                None => value.clone(),
            },
        },
        value => value.clone(),
    }
}
