//! Tools of MCP servers: the real ones of the protocol's authors, started by a real gateway.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use machine::rows::{EntryKind, StepState};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::Plan;
use types::ToolResult;
use types::excerpt::BlobId;

use crate::house::House;
use crate::judge;
use crate::look;

/// Where a package's program is.
fn script(package: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("npm");
    let package = format!("node_modules/@modelcontextprotocol/{package}/dist/index.js");
    let path = folder.join(package);
    let there = path.is_file();
    assert!(there, "{} is not there: run `cargo xtask npm` (node 20 and npm)", path.display());
    path.to_str().unwrap().to_owned()
}

fn everything() -> Value {
    json!({ "command": "node", "args": [script("server-everything"), "stdio"] })
}

/// The server behind a shell that writes down what it is told, and leaves a process behind.
fn overheard(house: &str) -> Value {
    let command =
        format!("sleep 10000 &\ntee -a {house}/told | node {} stdio", script("server-everything"));
    json!({ "command": "sh", "args": ["-c", command] })
}

async fn house(servers: impl FnOnce(&str) -> Value) -> House {
    let mut house = House::build("anthropic-messages", |config| {
        let workspace = config["agents"]["defaults"]["workspace"].as_str().unwrap();
        let folder = workspace.strip_suffix("/workspace").unwrap().to_owned();
        config["mcp"] = json!({ "servers": servers(&folder) });
    })
    .await;
    house.start().await;
    house
}

impl House {
    /// Processes of a server that run for this house.
    fn running(&self, server: &str) -> Vec<u32> {
        let mark = mcp::known_mark(self.folder.path()).expect("a server was configured");
        mcp::running(&mark, server)
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("told")).unwrap_or_default()
    }

    /// Asks in the background; the answer comes when it comes.
    fn asking(&self, brief: &str) -> tokio::task::JoinHandle<std::process::Output> {
        let mut command = self.command(&["agent", "--message", brief]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    }

    /// Waits until the server has been told of a call that takes long.
    async fn long_call(&self) {
        look::until(self, "the call is out", |world| {
            world.steps.iter().any(|step| {
                step.state == StepState::Intent
                    && step.name.as_deref() == Some("everything__trigger-long-running-operation")
            })
        })
        .await;
        // From the commit to the server it is not far.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn long(seconds: u32) -> (&'static str, Value) {
    let arguments = json!({ "duration": seconds, "steps": seconds });
    ("everything__trigger-long-running-operation", arguments)
}

/// A server that is added to the file is there for the next conversation, one that stays keeps its
/// process and its calls, and one that is taken away ends when what is out is back.
#[tokio::test]
async fn servers_come_and_go_with_the_file() {
    let house = house(|_| json!({ "everything": everything() })).await;
    let sum = |server: &str| {
        Plan::new().call(&format!("{server}__get-sum"), json!({ "a": 2, "b": 40 })).say("{tools}")
    };
    let ask = async |session: &str, plan: &Plan| {
        house.ok(&["agent", "--session-key", session, "--message", &plan.to_brief()]).await
    };
    assert!(ask("thread:one", &sum("everything")).await.contains("is 42"));
    let first = house.running("everything");
    assert_eq!(first.len(), 1);

    house.reconfigure(|config| config["mcp"]["servers"]["other"] = everything());
    house.reload().await;
    assert!(ask("thread:two", &sum("other")).await.contains("is 42"), "{}", house.log());
    assert_eq!(house.running("everything"), first, "nothing has changed for it");
    assert_eq!(house.running("other").len(), 1);

    let (tool, arguments) = long(4);
    let at_work = house.asking(&Plan::new().call(tool, arguments).say("{tools}").to_brief());
    house.long_call().await;
    house.reconfigure(|config| {
        config["mcp"]["servers"].as_object_mut().unwrap().remove("everything");
    });
    house.reload().await;
    let answer = at_work.await.unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("Long running operation completed"), "{answer}\n{}", house.log());
    for _ in 0..200 {
        if house.running("everything").is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(house.running("everything"), [0; 0]);
    assert!(!ask("thread:three", &sum("everything")).await.contains("is 42"));
    assert!(ask("thread:three", &sum("other")).await.contains("is 42"));
    judge::all_is_well(&house, &Default::default()).await;
}

/// Two conversations use one process. It is there when it is needed, and not after the gateway;
/// the next start offers the same tools, byte for byte, and starts nothing for it.
#[tokio::test]
async fn two_sessions_share_one_process() {
    let mut house = house(|_| json!({ "everything": everything() })).await;
    assert_eq!(house.running("everything"), [0; 0], "nobody has needed it");
    let calls = Plan::new()
        .calls([
            ("everything__echo", json!({ "message": "größer 🜁" })),
            ("everything__get-sum", json!({ "a": 2, "b": 40 })),
            ("everything__get-sum", json!({ "a": "two" })),
            ("everything__get-tiny-image", json!({})),
            ("everything__get-structured-content", json!({ "location": "New York" })),
            ("everything__get-roots-list", json!({})),
        ])
        .say("{tools}");
    let answer = house.ask(&calls.to_brief()).await;
    let workspace = house.folder.path().join("workspace");
    for part in [
        "Echo: größer 🜁",
        "The sum of 2 and 40 is 42.",
        "Input validation error",
        "[image, image/png, ",
        "\"temperature\":",
        &format!("file://{}", workspace.display()),
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let pids = house.running("everything");
    assert_eq!(pids.len(), 1, "{pids:?}");
    let echo = Plan::new().call("everything__echo", json!({ "message": "two" })).say("{last}");
    let other = house.ok(&["agent", "--session-key", "thread:b", "-m", &echo.to_brief()]).await;
    assert_eq!(other.trim(), "Echo: two");
    assert_eq!(house.running("everything"), pids, "another conversation, the same process");
    let status = house.ok(&["mcp", "status"]).await;
    assert!(status.contains(&format!("running (pid {})", pids[0])), "{status}");
    let listed = house.ok(&["tools", "list"]).await;
    assert!(listed.contains("everything__echo") && listed.contains("group:mcp"), "{listed}");

    house.terminate().await;
    assert_eq!(house.running("everything"), [0; 0], "it has outlived the gateway");
    house.start().await;
    assert_eq!(house.ask(&Plan::new().say("still here").to_brief()).await.trim(), "still here");
    let fresh = ["agent", "--session-key", "thread:c", "-m", "hello"];
    house.ok(&fresh).await;
    assert_eq!(house.running("everything"), [0; 0], "nobody has called it yet");
    let journal = house.stub.journal();
    let mut prefixes: Vec<&str> =
        journal.requests.iter().map(|entry| entry.prefix_hash.as_str()).collect();
    prefixes.dedup();
    assert_eq!(prefixes.len(), 1, "the tools are not the same bytes for all");
    judge::all_is_well(&house, &Default::default()).await;
}

/// A result that is too long for the conversation is read on to where its needle is.
#[tokio::test]
async fn a_long_result_is_paged() {
    let server = |folder: &str| {
        let args = json!([script("server-filesystem"), format!("{folder}/workspace")]);
        json!({ "files": { "command": "node", "args": args, "trusted": true } })
    };
    let house = house(server).await;
    let lines = (0..20_000).map(|n| match n {
        12_345 => "here is the needle\n".to_owned(),
        n => format!("line {n} of hay\n"),
    });
    let text: String = lines.collect();
    let path = house.folder.path().join("workspace/hay.txt");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &text).unwrap();
    let id = BlobId::of(&text);
    let read = Plan::new()
        .call("files__read_text_file", json!({ "path": path }))
        .call("result_read", json!({ "id": id, "pattern": "need.e" }))
        .call("result_read", json!({ "id": id, "offset": 100_000, "limit": 50 }))
        .say("read");
    assert_eq!(house.ask(&read.to_brief()).await.trim(), "read", "{}", house.log());
    let world = look::world(&house).await;
    let reader = Reader::open(&house.database()).unwrap();
    let entries = reader.entries(world.sessions[0].session_id, 0, 100).await.unwrap();
    let results = entries.iter().filter(|entry| entry.kind == EntryKind::ToolResult);
    let answer: String = results
        .map(|entry| serde_json::from_str::<ToolResult>(&entry.body).unwrap().text + "\n")
        .collect();
    let at = text.find("here is").unwrap();
    for part in [
        format!("read them with result_read, id \"{id}\"]"),
        format!("\n{at}: here is the needle\n"),
        format!("[bytes 100000 to 100050 of {}; go on with offset 100050]\n", text.len()),
        text[100_000..100_050].to_owned(),
    ] {
        assert!(answer.contains(&part), "{part}: {}", &answer[answer.len() - 3_000..]);
    }
    assert!(answer.len() < 80_000, "{} bytes are in the conversation", answer.len());

    // It belongs to that conversation.
    let peek = Plan::new().call("result_read", json!({ "id": id })).say("{last}").to_brief();
    let other = house.ok(&["agent", "--session-key", "thread:b", "-m", &peek]).await;
    assert!(other.contains("is kept for this session"), "{other}");

    // A server that is trusted may say that a tool changes nothing; then a reader has it.
    let explain = ["tools", "explain", "--agent", "main", "--depth", "1", "--read-only"];
    let tools = house.ok(&explain).await;
    let line = |name: &str| {
        let found = tools.lines().find(|line| line.contains(name));
        found.unwrap_or_else(|| panic!("no {name}: {tools}")).to_owned()
    };
    assert!(!line("files__read_text_file").contains("read-only"), "{tools}");
    assert!(line("files__write_file").contains("read-only"), "{tools}");
    judge::all_is_well(&house, &Default::default()).await;
}

/// A stop ends the call at the server, and not the server.
#[tokio::test]
async fn a_stopped_run_cancels_its_call() {
    let house = house(|folder| json!({ "everything": overheard(folder) })).await;
    let (name, arguments) = long(600);
    let asked = house.asking(&Plan::new().call(name, arguments).say("never").to_brief());
    house.long_call().await;
    let pids = house.running("everything");
    house.run_with_stdin(&["chat"], "/stop\n").await;
    assert!(!asked.await.unwrap().status.success(), "a stopped run has no answer");
    for _ in 0..200 {
        if house.told().contains("notifications/cancelled") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(house.told().contains("notifications/cancelled"), "{}", house.told());
    let echo = Plan::new().call("everything__echo", json!({ "message": "on" })).say("{last}");
    assert_eq!(house.ask(&echo.to_brief()).await.trim(), "Echo: on");
    assert_eq!(house.running("everything"), pids, "it was started again");
    judge::all_is_well(&house, &Default::default()).await;
}

/// A server that is killed fails the call that is out, in words; the next call finds it again.
#[tokio::test]
async fn a_server_that_is_killed_comes_back() {
    let house = house(|_| json!({ "everything": everything() })).await;
    let (name, arguments) = long(600);
    let plan = Plan::new()
        .call(name, arguments)
        .call("everything__echo", json!({ "message": "back" }))
        .say("{tools}");
    let asked = house.asking(&plan.to_brief());
    house.long_call().await;
    let pids = house.running("everything");
    assert_eq!(pids.len(), 1);
    kill_process(Pid::from_raw(pids[0].cast_signed()).unwrap(), Signal::KILL).unwrap();
    let output = asked.await.unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    for part in [
        "the MCP server \"everything\" was lost while the call was out",
        "signal: 9",
        "check before doing it again",
        "Echo: back",
    ] {
        assert!(answer.contains(part), "{part}: {answer}\n{}", house.log());
    }
    assert_ne!(house.running("everything"), pids);
    judge::all_is_well(&house, &Default::default()).await;
}

/// A gateway that is killed in the middle of a call: the call is not made again, the model is told
/// so, and what the killed gateway has left is gone.
#[tokio::test]
async fn a_killed_gateway_makes_no_call_twice() {
    let mut house = house(|folder| json!({ "everything": overheard(folder) })).await;
    let (name, arguments) = long(600);
    let brief = Plan::new().call(name, arguments).say("{last}").to_brief();
    let key = ["agent", "--idempotency-key", "once", "--message", &brief];
    let mut command = house.command(&key);
    let asked = tokio::task::spawn_blocking(move || command.output().unwrap());
    house.long_call().await;
    let left = house.running("everything");
    assert!(left.len() > 1, "{left:?}");
    house.kill();
    house.start().await;
    // It waits for the gateway to come back.
    asked.await.unwrap();
    let now = house.running("everything");
    assert!(left.iter().all(|pid| !now.contains(pid)), "{left:?} {now:?}\n{}", house.log());
    let answer = house.ok(&key).await;
    assert!(answer.contains("The outcome is unknown. Check before"), "{answer}");
    assert_eq!(house.told().matches("\"tools/call\"").count(), 1, "{}", house.told());
    judge::all_is_well(&house, &Default::default()).await;
}

/// A server that does not start holds up neither the gateway nor, for long, a session: it begins
/// without those tools, and the journal says so.
#[tokio::test]
async fn a_server_that_does_not_start_is_done_without() {
    let broken = "console.error('no luck today'); process.exit(3)";
    let servers = |_: &str| {
        json!({
            "broken": { "command": "node", "args": ["-e", broken] },
            "missing": { "command": "no-such-program" },
            "everything": everything(),
        })
    };
    let house = house(servers).await;
    let echo = Plan::new().call("everything__echo", json!({ "message": "on" })).say("{last}");
    assert_eq!(house.ask(&echo.to_brief()).await.trim(), "Echo: on");
    let missing = "kind = 'tools.missing' and detail like '%[\"broken\",\"missing\"]%'";
    assert_eq!(judge::count(&house, "journal", missing), 1, "{}", house.log());
    let probed = house.run(&["mcp", "probe", "broken"]).await;
    let why = String::from_utf8_lossy(&probed.stderr).into_owned();
    assert!(!probed.status.success() && why.contains("no luck today"), "{why}");
    let doctor = String::from_utf8(house.run(&["doctor"]).await.stdout).unwrap();
    assert!(
        doctor.contains("missing: `no-such-program` (mcp.servers.missing.command)"),
        "{doctor}"
    );
    judge::all_is_well(&house, &Default::default()).await;
}

/// A server that is somewhere else, reached by HTTP.
#[tokio::test]
async fn a_server_is_reached_by_http() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = HttpServer::start(port);
    let url = format!("http://127.0.0.1:{port}/mcp");
    let house = house(|_| {
        let headers = json!({ "authorization": "Bearer secret" });
        json!({ "far": { "url": url, "headers": headers, "requestTimeoutMs": 60_000 } })
    })
    .await;
    let plan = Plan::new()
        .call("far__echo", json!({ "message": "hello" }))
        .call("far__trigger-long-running-operation", json!({ "duration": 2, "steps": 4 }))
        .say("{tools}");
    let answer = house.ask(&plan.to_brief()).await;
    assert!(answer.contains("Echo: hello"), "{answer}\n{}", house.log());
    assert!(answer.contains("Long running operation completed. Duration: 2"), "{answer}");
    server.stop();
    let echo = Plan::new().call("far__echo", json!({ "message": "gone" })).say("{last}");
    let answer = house.ask(&echo.to_brief()).await;
    assert!(answer.contains("the MCP server \"far\""), "{answer}");
    judge::all_is_well(&house, &Default::default()).await;
}

/// `server-everything` over streamable HTTP.
struct HttpServer(Child);

impl HttpServer {
    fn start(port: u16) -> HttpServer {
        let mut node = Command::new("node");
        node.args([&script("server-everything"), "streamableHttp"]);
        node.env("PORT", port.to_string()).stdin(Stdio::null());
        let child = node.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = HttpServer(child);
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server does not listen");
    }

    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A server is added by a command, which asks it, and taken out again.
#[tokio::test]
async fn a_server_is_added_and_removed() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    let script = script("server-everything");
    let add = ["mcp", "add", "all", "--command", "node", "--arg", &script, "--arg", "stdio"];
    let added = house.run(&add).await;
    let said = String::from_utf8_lossy(&added.stderr).into_owned();
    assert!(
        added.status.success() && said.contains("it answers: mcp-servers/everything"),
        "{said}"
    );
    let twice = house.run(&add).await;
    assert!(!twice.status.success(), "there is one already");
    let listed = house.ok(&["mcp", "list"]).await;
    assert!(listed.contains("all ") && listed.contains("stdio"), "{listed}");
    let wrong = house.run(&["mcp", "set", "all", "{ comand: 'x' }"]).await;
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && why.contains("did you mean"), "{why}");
    house.start().await;
    let echo = Plan::new().call("all__echo", json!({ "message": "added" })).say("{last}");
    assert_eq!(house.ask(&echo.to_brief()).await.trim(), "Echo: added");
    house.ok(&["mcp", "remove", "all"]).await;
    assert_eq!(house.ok(&["mcp", "list", "--json"]).await, "");
}
