use std::fs;

use rustix::process::{Pid, test_kill_process};
use tokio_util::sync::CancellationToken;
use types::RunId;
use uuid::Uuid;

use super::*;
use crate::{Config, Toolbox};

struct Fixture {
    folder: tempfile::TempDir,
    config: Config,
    toolbox: Toolbox,
    calls: std::sync::atomic::AtomicU32,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            exec_grace: Duration::from_millis(300),
            processes: Some(folder.path().join("processes")),
            ..Config::default()
        };
        let toolbox = Toolbox::builtin(&config);
        toolbox.processes().recover().unwrap();
        Fixture { folder, config, toolbox, calls: Default::default() }
    }

    /// The same state folder, after its gateway was killed.
    fn start_again(&mut self) {
        self.toolbox = Toolbox::builtin(&self.config);
        self.toolbox.processes().recover().unwrap();
    }

    fn context(&self, session: &str) -> ToolContext {
        let n = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ToolContext {
            workspace: self.folder.path().to_owned(),
            session: session.parse().unwrap(),
            background: true,
            sandbox: Default::default(),
            run: run(),
            idempotency_key: format!("call {n}"),
            cancel: CancellationToken::new(),
            env: Vec::new(),
        }
    }

    async fn call(&self, tool: &str, arguments: Value) -> ToolOutput {
        let context = self.context("agent:main:main");
        self.toolbox.get(tool).unwrap().call(&context, &arguments.to_string()).await
    }

    /// Starts a command that goes on, and returns its id.
    async fn start(&self, arguments: Value) -> String {
        let output = self.call("exec", arguments).await;
        assert!(!output.is_error, "{}", output.text);
        let (_, rest) = output.text.split_once("sessionId ").expect(&output.text);
        rest.split(']').next().unwrap().to_owned()
    }

    async fn ok(&self, arguments: Value) -> String {
        let output = self.call("process", arguments.clone()).await;
        assert!(!output.is_error, "{arguments}: {}", output.text);
        output.text
    }

    async fn refused(&self, arguments: Value) -> String {
        let output = self.call("process", arguments.clone()).await;
        assert!(output.is_error, "{arguments}: {}", output.text);
        output.text
    }

    /// Polls until `text` has come, and returns all that came.
    async fn until(&self, id: &str, text: &str) -> String {
        let mut all = String::new();
        for _ in 0..50 {
            all += &self.ok(json!({"action": "poll", "sessionId": id, "timeout": 5_000})).await;
            if all.contains(text) {
                return all;
            }
        }
        panic!("no {text:?} in {all}");
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder.path().join("processes")).unwrap().count()
    }
}

fn run() -> RunId {
    RunId::new(Uuid::from_u128(0x77))
}

fn runs(pid: &str) -> bool {
    let pid: i32 = pid.trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !zombie
}

#[tokio::test]
async fn a_long_command_goes_on_and_is_polled_to_its_end() {
    let fixture = Fixture::new();
    let command = "echo one; sleep 1; echo two; exit 3";
    let output = fixture.call("exec", json!({"command": command, "yieldMs": 300})).await;
    assert!(output.text.starts_with("one\n[running for "), "{}", output.text);
    assert!(output.text.ends_with("until this run ends: see `process`]"), "{}", output.text);
    let id = output.text.split("sessionId ").nth(1).unwrap().split(']').next().unwrap().to_owned();
    assert!(fixture.ok(json!({"action": "list"})).await.starts_with(&format!("{id}  running for")));
    let rest = fixture.until(&id, "[exit code 3 after ").await;
    assert!(rest.contains("two\n") && !rest.contains("one\n"), "{rest}");
    let again = fixture.ok(json!({"action": "poll", "sessionId": id})).await;
    assert!(again.starts_with("[no new output]\n[exit code 3 after "), "{again}");
    let log = fixture.ok(json!({"action": "log", "sessionId": id})).await;
    assert!(log.starts_with("one\ntwo\n[lines 0 to 1 of 2]\n[exit code 3"), "{log}");
    assert_eq!(fixture.ok(json!({"action": "clear"})).await, "1 forgotten, 0 still run");
    assert_eq!(fixture.ok(json!({"action": "list"})).await, "none");
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn what_ends_at_once_needs_no_poll() {
    let fixture = Fixture::new();
    let output = fixture.call("exec", json!({"command": "exit 4", "background": true})).await;
    assert!(output.is_error && output.text.contains("[exit code 4"), "{}", output.text);
    assert_eq!(fixture.ok(json!({"action": "list"})).await, "none");
}

#[tokio::test]
async fn a_command_reads_what_is_written_to_it() {
    let fixture = Fixture::new();
    let id = fixture.start(json!({"command": "sed -u 's/^/got /'", "background": true})).await;
    let write = json!({"action": "write", "sessionId": id, "data": "a\nb"});
    assert!(fixture.ok(write).await.starts_with("[3 bytes written]\n[running"));
    fixture.ok(json!({"action": "submit", "sessionId": id, "data": "c"})).await;
    fixture.ok(json!({"action": "paste", "sessionId": id, "text": "d"})).await;
    let keys = json!({"action": "send-keys", "sessionId": id, "keys": ["C-c"]});
    assert!(fixture.refused(keys).await.contains("it has no terminal"));
    fixture.ok(json!({"action": "write", "sessionId": id, "eof": true})).await;
    let all = fixture.until(&id, "[exit code 0 after ").await;
    assert!(all.contains("got a") && all.contains("got bc") && all.contains("got d"), "{all}");
    let late = json!({"action": "write", "sessionId": id, "data": "x"});
    assert!(fixture.refused(late).await.contains("it has ended"));

    let mute = fixture.start(json!({"command": "sleep 60", "yieldMs": 10})).await;
    let write = json!({"action": "write", "sessionId": mute, "data": "x"});
    assert!(fixture.refused(write).await.contains("it has no input: start it with `background`"));
    assert!(fixture.ok(json!({"action": "kill", "sessionId": mute})).await.contains("[killed"));
}

#[tokio::test]
async fn a_terminal_is_typed_at() {
    let fixture = Fixture::new();
    let command = "read -p 'name? ' name; echo hello $name; exec cat";
    let id = fixture.start(json!({"command": command, "pty": true, "background": true})).await;
    fixture.ok(json!({"action": "submit", "sessionId": id, "data": "Anna"})).await;
    fixture.until(&id, "hello Anna").await;
    let keys = json!({"action": "send-keys", "sessionId": id, "literal": "x", "keys": ["Hyper-x"]});
    assert!(fixture.refused(keys).await.contains("`Hyper-x` is no key"));
    fixture.ok(json!({"action": "send-keys", "sessionId": id, "keys": ["z", "Enter"]})).await;
    fixture.until(&id, "z\nz\n").await;
    fixture.ok(json!({"action": "send-keys", "sessionId": id, "keys": ["C-c"]})).await;
    let end = fixture.until(&id, "killed by signal 2").await;
    assert!(end.contains("^C"), "{end}");
}

#[tokio::test]
async fn a_kill_ends_what_ignores_it_and_all_it_has_started() {
    let fixture = Fixture::new();
    let command = "trap '' TERM; setsid sleep 100 & echo $! $$; while :; do sleep 0.1; done";
    let id = fixture.start(json!({"command": command, "background": true})).await;
    let log = fixture.ok(json!({"action": "log", "sessionId": id})).await;
    let pids: Vec<&str> = log.lines().next().unwrap().split(' ').collect();
    assert_eq!((pids.len(), runs(pids[1])), (2, true), "{log}");
    let removed = fixture.ok(json!({"action": "remove", "sessionId": id})).await;
    assert!(removed.starts_with("[killed after") && removed.ends_with("[forgotten]"), "{removed}");
    assert!(!runs(pids[0]) && !runs(pids[1]));
    assert!(
        fixture.refused(json!({"action": "poll", "sessionId": id})).await.contains("no command")
    );
}

#[tokio::test]
async fn another_session_sees_nothing() {
    let fixture = Fixture::new();
    let id = fixture.start(json!({"command": "sleep 60", "background": true})).await;
    let child = fixture.context("agent:main:subagent:01234567-89ab-cdef-0123-456789abcdef");
    let tool = fixture.toolbox.get("process").unwrap();
    let kill = json!({"action": "kill", "sessionId": id}).to_string();
    let refused = tool.call(&child, &kill).await;
    assert!(refused.is_error && refused.text.contains("it has none"), "{}", refused.text);
    let list = tool.call(&child, r#"{"action":"list"}"#).await;
    assert_eq!(list.text, "none");
    assert!(fixture.ok(json!({"action": "list"})).await.contains("running"));
    fixture.toolbox.processes().end().await;
}

#[tokio::test]
async fn the_end_of_a_run_ends_its_commands_and_its_next_run_hears_of_it() {
    let fixture = Fixture::new();
    let command = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    let id = fixture.start(json!({"command": command, "background": true})).await;
    assert!(fixture.toolbox.processes().goes_on(run()));
    fixture.toolbox.processes().end_run(RunId::new(Uuid::from_u128(1))).await;
    assert!(fixture.toolbox.processes().goes_on(run()), "another run was ended");
    fixture.toolbox.processes().end_run(run()).await;
    assert!(!fixture.toolbox.processes().goes_on(run()));
    let poll = fixture.ok(json!({"action": "poll", "sessionId": id})).await;
    assert!(poll.contains("when its run ended"), "{poll}");
}

#[tokio::test]
async fn what_a_killed_gateway_has_left_is_said_to_have_ended_with_it() {
    let mut fixture = Fixture::new();
    let done = fixture.start(json!({"command": "sleep 0.5; echo ok", "yieldMs": 1})).await;
    fixture.until(&done, "exit code 0").await;
    let command = "echo half; sleep 60";
    let cut = fixture.start(json!({"command": command, "background": true})).await;
    fs::write(fixture.folder.path().join("processes/stray.log"), "x").unwrap();
    // Whoever was to write down its end is asleep: nothing is awaited.
    fixture.start_again();
    let poll = fixture.ok(json!({"action": "poll", "sessionId": cut})).await;
    assert!(poll.starts_with("half\n[it ended with the gateway, which was killed"), "{poll}");
    let poll = fixture.ok(json!({"action": "poll", "sessionId": done})).await;
    assert!(poll.starts_with("ok\n[exit code 0 after"), "{poll}");
    assert_eq!(fixture.files(), 4);
    assert_eq!(fixture.ok(json!({"action": "clear"})).await, "2 forgotten, 0 still run");
}

#[tokio::test]
async fn pages_of_the_log_and_news_that_do_not_fit() {
    let fixture = Fixture::new();
    let id = fixture.start(json!({"command": "seq 1 30000; sleep 0.4", "yieldMs": 1})).await;
    let page = json!({"action": "log", "sessionId": id, "offset": 9_999, "limit": 2});
    fixture.until(&id, "exit code 0").await;
    let page = fixture.ok(page).await;
    assert!(page.starts_with("10000\n10001\n[lines 9999 to 10000 of 30000]\n"), "{page}");
    let behind = json!({"action": "log", "sessionId": id, "offset": 30_000});
    assert!(fixture.refused(behind).await.contains("there are 30000 lines"));
    let last = fixture.ok(json!({"action": "log", "sessionId": id})).await;
    assert!(last.starts_with("29801\n") && last.contains("\n30000\n[lines"), "{last}");
}

#[tokio::test]
async fn a_session_has_so_many_and_no_more() {
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for _ in 0..16 {
        ids.push(fixture.start(json!({"command": "sleep 60", "yieldMs": 0})).await);
    }
    let more = fixture.call("exec", json!({"command": "sleep 60", "background": true})).await;
    assert!(more.is_error && more.text.contains("16 commands of this session"), "{}", more.text);
    // One that did not ask for it is waited for.
    let waited = fixture.call("exec", json!({"command": "sleep 0.5; echo x", "yieldMs": 0})).await;
    assert!(waited.text.starts_with("x\n[exit code 0"), "{}", waited.text);
    // Those that have ended are kept, and the oldest of them make room.
    fixture.toolbox.processes().end_run(run()).await;
    fixture.start(json!({"command": "sleep 60", "yieldMs": 0})).await;
    fixture.toolbox.processes().end_run(run()).await;
    fixture.start(json!({"command": "sleep 60", "yieldMs": 0})).await;
    assert!(
        fixture
            .refused(json!({"action": "poll", "sessionId": ids[0]}))
            .await
            .contains("no command")
    );
    fixture.toolbox.processes().end().await;
}

#[tokio::test]
async fn bad_arguments_are_refused_by_name() {
    let fixture = Fixture::new();
    let id = fixture.start(json!({"command": "sleep 60", "background": true})).await;
    for (arguments, expected) in [
        (json!({}), "`action` is missing"),
        (json!({"action": "pole"}), "`action` must be one of"),
        (json!({"action": "poll", "sessionId": "x"}), "has no command `x`; there are `p"),
        (json!({"action": "poll", "sessionId": id, "timeout": 99_999}), "from 0 to 30000"),
        (json!({"action": "poll", "sessionId": id, "limit": 3}), "does not take `limit`"),
        (json!({"action": "write", "sessionId": id}), "needs `data`, or `eof` true"),
        (json!({"action": "send-keys", "sessionId": id}), "needs `keys`, `hex` or `literal`"),
        (json!({"action": "paste", "sessionId": id}), "needs `text`"),
        (json!({"action": "clear", "sessionId": id}), "still runs"),
        (json!({"action": "send-keys", "sessionId": id, "keys": "Enter"}), "a list of strings"),
    ] {
        let refused = fixture.refused(arguments).await;
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
    // The only one is meant, and of two neither.
    fixture.ok(json!({"action": "log"})).await;
    fixture.start(json!({"command": "sleep 60", "background": true})).await;
    let refused = fixture.refused(json!({"action": "log"})).await;
    assert!(refused.contains("needs `sessionId`; there are `p"), "{refused}");
    // What models fill in because it is there says nothing.
    let full = json!({"action": "poll", "sessionId": id, "timeout": 1, "limit": 0, "keys": [], "data": ""});
    fixture.ok(full).await;
    fixture.toolbox.processes().end().await;
}

#[test]
fn what_looks_may_be_done_again() {
    let config = Config::default();
    let tool = Process::new(Arc::new(config.processes()));
    for action in Action::ALL {
        let looks = [Action::List, Action::Poll, Action::Log].contains(action);
        let expected = if looks { EffectClass::Pure } else { EffectClass::Opaque };
        assert_eq!(tool.effect_of(&json!({"action": action}).to_string()), expected, "{action}");
    }
    assert_eq!(tool.effect_of("{"), EffectClass::Opaque);
}

/// They are sent with every call of every session that has them.
#[test]
fn the_two_schemas_are_short() {
    let toolbox = Toolbox::builtin(&Config::default());
    for (name, bytes_max) in [("exec", 1_500), ("process", 1_500)] {
        let spec = toolbox.get(name).unwrap().spec().clone();
        let bytes = serde_json::to_string(&spec).unwrap().len();
        assert!(bytes <= bytes_max, "{name} has {bytes} bytes");
    }
}

/// `tools.exec.cleanupMs`: what has ended is shown for so long. What runs is not touched.
#[tokio::test]
async fn what_has_ended_long_ago_is_forgotten() {
    let fixture = Fixture::new();
    let ended = fixture.start(json!({"command": "echo said; sleep 0.5", "background": true})).await;
    let running = fixture.start(json!({"command": "sleep 60", "background": true})).await;
    fixture.until(&ended, "exit code 0").await;
    let list = json!({"action": "list"});
    let listed = fixture.ok(list.clone()).await;
    assert!(listed.contains(&ended) && listed.contains(&running), "{listed}");
    let output = fixture.folder.path().join(format!("processes/{ended}.log"));
    assert!(output.exists());

    fixture.toolbox.processes().keep_for(Duration::ZERO);
    let listed = fixture.ok(list.clone()).await;
    assert!(!listed.contains(&ended) && listed.contains(&running), "{listed}");
    assert!(!output.exists(), "its output goes with it");
    let log = json!({"action": "log", "sessionId": ended});
    assert!(fixture.refused(log).await.contains("has no command"));
    // Another configuration holds for the same commands.
    let again = fixture.toolbox.renewed(&fixture.config);
    assert!(std::ptr::eq(again.processes(), fixture.toolbox.processes()));
    fixture.ok(json!({"action": "kill", "sessionId": running})).await;
    let listed = fixture.ok(list).await;
    assert!(listed.contains(&running), "half an hour by default: {listed}");
}
