use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use rustix::process::{Pid, test_kill_process};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use types::RunId;
use uuid::Uuid;

use super::env::{INHERITED, inherited};
use super::*;
use crate::processes::{CALL_VARIABLE, RUN_VARIABLE};

struct Fixture {
    folder: tempfile::TempDir,
    context: ToolContext,
    exec: Exec,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let context = ToolContext {
        workspace: folder.path().to_owned(),
        session: "agent:main:main".parse().unwrap(),
        background: true,
        sandbox: Default::default(),
        run: RunId::new(Uuid::from_u128(7)),
        idempotency_key: "k".to_owned(),
        cancel: CancellationToken::new(),
        env: vec![("FROM_OPERATOR".to_owned(), "o".to_owned())],
    };
    let grace = Duration::from_millis(200);
    let config = Config { exec_grace: grace, ..Config::default() };
    let exec = Exec::new(&config, Arc::new(config.processes()));
    Fixture { folder, context, exec }
}

impl Fixture {
    async fn call(&self, arguments: Value) -> ToolOutput {
        self.exec.call(&self.context, &arguments.to_string()).await
    }

    /// Waits for a file that a command writes its process id to.
    async fn pid_in(&self, name: &str) -> Pid {
        for _ in 0..500 {
            let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            if let Some(pid) = text.strip_suffix('\n').and_then(|text| text.parse().ok()) {
                return Pid::from_raw(pid).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("`{name}` was not written");
    }
}

/// A process that has ended and was not reaped yet counts as dead: it runs no more.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    test_kill_process(pid).is_ok() && !zombie
}

async fn assert_ends(pid: Pid) {
    for _ in 0..250 {
        if !runs(pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} lives on");
}

/// Ignores SIGTERM, and so does what it starts: an ignored signal stays ignored across exec.
const STUBBORN: &str = "trap '' TERM; sleep 100 & echo $! > pid; echo started; sleep 100";

#[tokio::test]
async fn output_and_exit_code_come_back() {
    let fixture = fixture();
    for (command, text, is_error) in [
        ("echo out; echo err >&2; echo out", "out\nerr\nout\n[exit code 0 after ", false),
        ("true", "[no output]\n[exit code 0 after ", false),
        ("printf x; exit 3", "x\n[exit code 3 after ", true),
        ("kill -9 $$", "[no output]\n[killed by signal 9 after ", true),
        (r"printf '\377a'", "\u{fffd}a\n[exit code 0 after ", false),
        ("cat", "[no output]\n[exit code 0 after ", false),
        ("no-such-program-here", "[exit code 127 after ", true),
    ] {
        let output = fixture.call(json!({"command": command, "title": "t"})).await;
        assert!(output.text.contains(text), "{command}: {}", output.text);
        assert_eq!(output.is_error, is_error, "{command}");
    }
}

#[tokio::test]
async fn it_runs_where_and_with_what_it_was_told() {
    let fixture = fixture();
    fs::create_dir(fixture.folder.path().join("sub")).unwrap();
    let arguments = json!({
        "command": "pwd -P; echo $WINDLASS_RUN_ID $FROM_OPERATOR $MINE",
        "workdir": "sub",
        "env": {"MINE": "m"},
    });
    let output = fixture.call(arguments).await;
    let folder = fixture.folder.path().canonicalize().unwrap().join("sub");
    let expected = format!("{}\n{} o m\n", folder.display(), fixture.context.run);
    assert!(output.text.starts_with(&expected), "{}", output.text);
}

#[tokio::test]
async fn the_gateways_environment_is_not_inherited() {
    // The test runner's own variables stand for the gateway's secrets.
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
    let fixture = fixture();
    let output = fixture.call(json!({"command": "env"})).await;
    let shells = ["PWD", "OLDPWD", "SHLVL", "_", RUN_VARIABLE, CALL_VARIABLE, "FROM_OPERATOR"];
    for name in output.text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name) {
        let known = INHERITED.contains(&name) || name.starts_with("LC_") || shells.contains(&name);
        assert!(known, "{name} was inherited");
    }
    assert!(output.text.contains("PATH="), "{}", output.text);

    let all = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "LD_PRELOAD", "SSH_AUTH_SOCK", "LC_ALL"];
    let pairs = all.map(|name| (OsString::from(name), OsString::from("v")));
    let passed: Vec<OsString> = inherited(pairs.into_iter()).map(|(name, _)| name).collect();
    assert_eq!(passed, ["LC_ALL"]);
}

#[tokio::test]
async fn bad_arguments_start_nothing() {
    let fixture = fixture();
    symlink("/", fixture.folder.path().join("out")).unwrap();
    let table = [
        (json!({}), "`command` is missing"),
        (json!({"command": " "}), "`command` is empty"),
        (json!({"command": "a\0b"}), "`command` holds a NUL"),
        (json!({"command": "x".repeat(200_000)}), "`command` has 200000 bytes"),
        (json!({"command": "true", "workdir": ".."}), "`..` leads outside the workspace"),
        (json!({"command": "true", "workdir": "out/tmp"}), "`out/tmp` leads outside"),
        (json!({"command": "true", "workdir": "missing"}), "`workdir` is not a folder"),
        (json!({"command": "true", "timeoutSeconds": 0}), "`timeoutSeconds` must be more than 0"),
        (json!({"command": "true", "timeoutSeconds": -1}), "got -1"),
        (json!({"command": "true", "timeoutSeconds": 1e300}), "at most 86400"),
        (json!({"command": "true", "run_in_background": true}), "use `background`"),
        (json!({"command": "true", "background": 1}), "`background` must be true or false"),
        (json!({"command": "true", "yieldMs": -1}), "`yieldMs` must be from 0"),
        (json!({"command": "true", "env": ["A=b"]}), "`env` must be an object of strings"),
        (json!({"command": "true", "env": {"A": 1}}), "`env.A` must be a string"),
        (json!({"command": "true", "env": {"A=": "1"}}), "no valid variable name in `A=`"),
        (
            json!({"command": "true", "env": {"WINDLASS_RUN_ID": "x"}}),
            "must not set WINDLASS_RUN_ID",
        ),
    ];
    for (arguments, expected) in table {
        let output = fixture.call(arguments).await;
        assert!(output.is_error && output.text.contains(expected), "{expected}: {}", output.text);
    }
}

#[tokio::test]
async fn a_timeout_kills_grandchildren_that_ignore_sigterm() {
    let fixture = fixture();
    let started = Instant::now();
    let output = fixture.call(json!({"command": STUBBORN, "timeoutSeconds": 0.5})).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(output.is_error);
    let expected =
        "started\n[timed out: stopped after timeoutSeconds 0.5, with all it had started]";
    assert_eq!(output.text, expected);
    assert_ends(fixture.pid_in("pid").await).await;
}

#[tokio::test]
async fn sigterm_is_enough_for_a_command_that_hears_it() {
    let fixture = fixture();
    let command = "trap 'echo cleaned up; exit 0' TERM; sleep 100 & wait";
    let output = fixture.call(json!({"command": command, "timeoutSeconds": 0.5})).await;
    assert!(output.text.starts_with("cleaned up\n[timed out"), "{}", output.text);
}

#[tokio::test]
async fn a_stop_of_the_run_ends_the_command() {
    let fixture = fixture();
    let arguments = json!({"command": STUBBORN});
    let stop = async {
        let pid = fixture.pid_in("pid").await;
        fixture.context.cancel.cancel();
        pid
    };
    let (output, pid) = tokio::join!(fixture.call(arguments), stop);
    assert!(output.is_error && output.text.contains("[the run was stopped"), "{}", output.text);
    assert!(!output.text.contains("live on"), "{}", output.text);
    assert_ends(pid).await;

    let output = fixture.call(json!({"command": "echo again > again"})).await;
    assert!(output.text.contains("was not started"), "{}", output.text);
    assert!(!fixture.folder.path().join("again").exists());
}

#[tokio::test]
async fn a_dropped_call_kills_the_group() {
    let fixture = fixture();
    let pid = {
        let call = fixture.call(json!({"command": STUBBORN}));
        tokio::select! {
            output = call => panic!("it ended: {output:?}"),
            pid = fixture.pid_in("pid") => pid,
        }
    };
    assert_ends(pid).await;
}

#[tokio::test]
async fn what_is_left_in_the_background_is_stopped_and_does_not_hang_the_call() {
    let fixture = fixture();
    let started = Instant::now();
    let output = fixture.call(json!({"command": "sleep 100 & echo $! > pid; echo done"})).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(!output.is_error);
    assert!(output.text.starts_with("done\n[exit code 0"), "{}", output.text);
    assert!(output.text.ends_with("[it left processes in the background; they were stopped]"));
    assert_ends(fixture.pid_in("pid").await).await;
}

/// A shell in a session of its own, which has left the group and does not hear SIGTERM.
const STRAY: &str = "setsid sh -c 'trap \"\" TERM; echo $$ > stray; while :; do sleep 0.1; done' &";

#[tokio::test]
async fn a_process_that_leaves_the_group_is_stopped_and_does_not_hang_the_call() {
    let fixture = fixture();
    let started = Instant::now();
    let command = format!("{STRAY} while [ ! -s stray ]; do sleep 0.1; done; echo done");
    let output = fixture.call(json!({"command": command})).await;
    assert!(started.elapsed() < Duration::from_secs(60), "{}", output.text);
    assert!(output.text.starts_with("done\n[exit code 0"), "{}", output.text);
    assert!(output.text.ends_with("[it left processes in the background; they were stopped]"));
    assert!(!runs(fixture.pid_in("stray").await), "it has outlived its call");
}

/// One of two calls of a run is stopped: what the other has put aside lives on.
#[tokio::test]
async fn a_stop_ends_what_has_left_the_group_and_nothing_of_another_call() {
    let fixture = fixture();
    let other = self::fixture();
    let arguments = json!({"command": format!("{STRAY} sleep 100")});
    let story = async {
        let (ours, theirs) = (fixture.pid_in("stray").await, other.pid_in("stray").await);
        fixture.context.cancel.cancel();
        (ours, theirs)
    };
    let first = async {
        let (output, pids) = tokio::join!(fixture.call(arguments.clone()), story);
        assert!(output.text.contains("[the run was stopped"), "{}", output.text);
        assert!(!output.text.contains("live on"), "{}", output.text);
        assert!(!runs(pids.0), "it has outlived the stop");
        assert!(runs(pids.1), "the stray of another call was ended");
        other.context.cancel.cancel();
        pids.1
    };
    let (_, theirs) = tokio::join!(other.call(arguments.clone()), first);
    assert!(!runs(theirs));
}

/// Where nobody could look at it, a command is waited for to its end.
#[tokio::test]
async fn without_process_nothing_goes_on_in_the_background() {
    let mut fixture = fixture();
    fixture.context.background = false;
    let output = fixture.call(json!({"command": "true", "background": true})).await;
    assert!(output.is_error && output.text.contains("needs the tool `process`"), "{}", output.text);
    let output = fixture.call(json!({"command": "sleep 0.3; echo late", "yieldMs": 10})).await;
    assert!(output.text.starts_with("late\n[exit code 0"), "{}", output.text);
}

#[tokio::test]
async fn a_terminal_is_one() {
    let fixture = fixture();
    let command = "[ -t 0 ] && [ -t 1 ] && stty size; printf '\\033[1mbold\\033[0m on\\n'";
    let output = fixture.call(json!({"command": command, "pty": true})).await;
    assert!(output.text.starts_with("40 120\nbold on\n[exit code 0"), "{}", output.text);
    assert!(!output.text.contains('\u{1b}') && !output.is_error, "{}", output.text);
    let output = fixture
        .call(json!({"command": format!("{STUBBORN}"), "pty": true, "timeoutSeconds": 0.5}))
        .await;
    assert!(output.text.contains("timed out"), "{}", output.text);
    assert_ends(fixture.pid_in("pid").await).await;
}

/// Largest resident size that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_gigabyte_of_output_streams_through_in_constant_memory() {
    let fixture = fixture();
    let before = peak_kib();
    let command = "echo first; head -c 1G /dev/zero | tr '\\0' x; echo; echo last";
    let output = fixture.call(json!({"command": command})).await;
    let grown = peak_kib() - before;
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert!(!output.is_error);
    assert!(output.text.len() < Config::default().result_bytes_max);
    assert!(output.text.starts_with("first\nxxx"));
    assert!(output.text.contains("xxx\nlast\n[exit code 0"));
    let (_, rest) = output.text.split_once("\n[").unwrap();
    let cut: u64 = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(cut > (1 << 30) - 4 * 1024 * 1024, "{cut} bytes cut");
}
