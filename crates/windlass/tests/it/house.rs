//! A gateway in a folder of its own, with a stub for a model: started, killed, asked.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stub::{Options, Stub};
use tempfile::TempDir;

/// Both dialects. Every story that is about the wire is told on each.
pub const WIRES: [&str; 2] = ["anthropic-messages", "openai-completions"];

/// How long a command may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A state folder, a stub, and the gateway between them.
pub struct House {
    pub folder: TempDir,
    pub stub: Stub,
    pub port: u16,
    state: PathBuf,
    gateway: Option<Child>,
}

impl House {
    /// Builds a house whose model speaks `wire`. `change` gets the configuration.
    pub async fn build(wire: &str, change: impl FnOnce(&mut Value)) -> House {
        let stub = Stub::start(Options { cache_min: 64, ..Options::default() }).await.unwrap();
        House::build_with(stub, wire, change)
    }

    pub fn build_with(stub: Stub, wire: &str, change: impl FnOnce(&mut Value)) -> House {
        // On disk and not in memory, so that a sync is a sync.
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let base = match wire {
            "openai-completions" => format!("{}/v1", stub.url()),
            _ => stub.url().to_owned(),
        };
        let mut config = json!({
            "agents": { "defaults": {
                "model": "stub/stub-1",
                "workspace": folder.path().join("workspace"),
            } },
            "models": { "providers": { "stub": {
                "baseUrl": base,
                "api": wire,
                "apiKey": "sk-test-0123456789",
                "models": [{ "id": "stub-1" }],
            } } },
        });
        change(&mut config);
        std::fs::write(folder.path().join("windlass.json"), config.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let state = folder.path().to_owned();
        House { folder, stub, port, state, gateway: None }
    }

    /// A command of the binary, in this house.
    pub fn command(&self, args: &[&str]) -> Command {
        self.phone().command(args)
    }

    /// What a person has who is not in the house.
    pub fn phone(&self) -> Phone {
        Phone { home: self.folder.path().to_owned(), state: self.state.clone(), port: self.port }
    }

    /// Where the configuration is.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("windlass.json")
    }

    /// The configuration, as it stands in its file.
    pub fn config(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.config_file()).unwrap()).unwrap()
    }

    /// What a person has whose own configuration stays as it is now, whatever becomes of ours.
    pub fn phone_elsewhere(&self, home: &Path) -> Phone {
        std::fs::copy(self.config_file(), home.join("windlass.json")).unwrap();
        Phone { home: home.to_owned(), ..self.phone() }
    }

    /// Runs a command to its end, off the runtime that the stub lives on.
    pub async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap());
        tokio::time::timeout(PATIENCE, done).await.expect("the command hangs").unwrap()
    }

    /// Runs a command that reads `input`. `big` stands for three megabytes in one line.
    pub async fn run_with_stdin(&self, args: &[&str], input: &str) -> Output {
        let input = if input == "big" { "y".repeat(17_000_000) + "\n" } else { input.to_owned() };
        let mut command = self.command(args);
        let done = tokio::task::spawn_blocking(move || {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
            let output = child.wait_with_output().unwrap();
            // A command that ends early does not read to the end.
            let _ = writing.join().unwrap();
            output
        });
        tokio::time::timeout(PATIENCE, done).await.expect("the command hangs").unwrap()
    }

    /// Waits until nothing is open any more.
    pub async fn quiet(&self) {
        for _ in 0..600 {
            let status = &self.json(&["status", "--json"]).await[0]["runs"];
            if [&status["running"], &status["queued"], &status["waiting"]].iter().all(|n| **n == 0)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("work goes on and on\n{}", self.log());
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub async fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?} failed: {stderr}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that prints JSON lines.
    pub async fn json(&self, args: &[&str]) -> Vec<Value> {
        let text = self.ok(args).await;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Sends a message and returns the agent's answer.
    pub async fn ask(&self, message: &str) -> String {
        self.ok(&["agent", "--message", message]).await
    }

    /// Starts the gateway and waits until it listens.
    pub async fn start(&mut self) {
        let log = std::fs::OpenOptions::new();
        let log = log.clone().create(true).append(true).open(self.log_file()).unwrap();
        let port = self.port.to_string();
        self.start_with(&["gateway", "--port", &port], log).await;
    }

    /// The same, at the port that the configuration names.
    pub async fn start_by_file(&mut self) {
        let log = std::fs::File::create(self.log_file()).unwrap();
        self.start_with(&["gateway"], log).await;
    }

    async fn start_with(&mut self, args: &[&str], log: std::fs::File) {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        self.gateway = Some(child);
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line =
            tokio::time::timeout(PATIENCE, line).await.expect("no gateway").unwrap().unwrap();
        assert!(line.starts_with("listening on ws://"), "{line}\n{}", self.log());
    }

    /// Ends the gateway with SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.gateway.take().expect("no gateway to kill");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.gateway.as_ref().expect("no gateway").id()
    }

    /// Ends the gateway with SIGTERM, and waits until it has drained.
    pub async fn terminate(&mut self) {
        let mut child = self.gateway.take().expect("no gateway to end");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        let status = tokio::time::timeout(PATIENCE, ended).await.expect("no drain").unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    pub fn database(&self) -> PathBuf {
        self.state.join("windlass.db")
    }

    /// Keeps the state elsewhere than the configuration.
    pub fn move_state_to(&mut self, state: &Path) {
        self.state = state.to_owned();
    }

    /// The beginnings of all entries of the conversations that end so, for a test that fails.
    pub fn what_was_said(&self, key: &str) -> String {
        let question = format!(
            "select e.seq, e.kind, substr(replace(e.body, char(10), ' '), 1, 300) from entries e
             join transcripts t using (session_id) where t.session_key like '%:{key}'"
        );
        let mut shell = Command::new("sqlite3");
        let output = shell.arg("-readonly").arg(self.database()).arg(question).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("gateway.log")
    }

    /// What the gateway has said, for a test that fails.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

/// The command line of somebody who does not know whether the gateway is there.
#[derive(Clone, Debug)]
pub struct Phone {
    home: PathBuf,
    state: PathBuf,
    port: u16,
}

impl Phone {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("WINDLASS_STATE_DIR", &self.state)
            .env("WINDLASS_CONFIG_PATH", self.home.join("windlass.json"))
            .env("WINDLASS_GATEWAY_URL", format!("ws://127.0.0.1:{}", self.port))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command again and again, until it succeeds. Returns what it prints.
    pub async fn insist(&self, args: &[&str]) -> String {
        let since = Instant::now();
        loop {
            let mut command = self.command(args);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap());
            let output = output.await.unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            let over = why.contains("ended without an answer") || since.elapsed() > 2 * PATIENCE;
            assert!(!over, "{}: {why}", args[..args.len() - 1].join(" "));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Says something in a conversation, under a key, until it is answered.
    pub async fn say(&self, session: &str, key: &str, message: &str) -> String {
        let (to, under) = ("--session-key", "--idempotency-key");
        self.insist(&["agent", to, session, under, key, "--message", message]).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if self.gateway.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}

/// A plan that waits before it says something.
pub fn late(ms: u64, text: &str) -> stub::Plan {
    stub::Plan::new().say(text).after_ms(ms)
}
