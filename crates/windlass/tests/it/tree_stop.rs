//! A tree of three levels with four children each is stopped in every way there is: soon after,
//! nothing of it lives, and nothing more is born.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use machine::check::World;
use machine::rows::{HaltState, Outcome, StepState};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::Plan;
use tokio::task::JoinHandle;

use crate::house::{House, late};
use crate::judge;

/// Three of four leaves have a command and what it has put aside; the fourth has a model that
/// does not come to an end.
const COMMANDS: usize = 48;
const STREAMS: usize = 16;
const TASKS: usize = 4 + 16 + 64;

/// A stop may take so long by the gateway's own clock: five seconds, and five times as much for a
/// machine that is busy with other tests.
const PROVED_WITHIN: Duration = Duration::from_secs(30);

/// How long the tree may take to grow, and to be gone.
const PATIENCE: Duration = Duration::from_secs(150);

/// A house with a tree at work in it, and the person who waits for the answer.
struct Grown {
    house: House,
    /// What the processes of its leaves sleep for: it tells them from all others.
    mark: String,
    asked: JoinHandle<Output>,
}

impl Grown {
    /// Grows the tree below a run that goes on with `rest`.
    async fn grow(rest: impl FnOnce(Plan) -> Plan) -> Grown {
        let mut house = House::build("anthropic-messages", |config| {
            config["agents"]["defaults"]["subagents"] = json!({ "maxConcurrent": 100 });
        })
        .await;
        house.start().await;
        let mark = format!("3{:05}.5", house.port);
        // Neither hears SIGTERM, and the first is in a session of its own.
        let command = format!("trap '' TERM; setsid sleep {mark} & exec sleep {mark}");
        let leaf = Plan::new().call("exec", json!({ "command": command })).say("never");
        let slow = late(600_000, "never");
        let of = |children: [(&str, Plan); 4]| Plan::new().spawn(children).yield_().say("never");
        let branch = of([("x", leaf.clone()), ("y", leaf.clone()), ("z", leaf), ("slow", slow)]);
        let four = |plan: &Plan| ["a", "b", "c", "d"].map(|name| (name, plan.clone()));
        let top = of(four(&branch));
        let root = rest(Plan::named("root").spawn(four(&top)));
        let mut asking = house.command(&["agent", "--message", &root.to_brief()]);
        let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
        let grown = Grown { house, mark, asked };
        let since = Instant::now();
        while grown.sleepers() < 2 * COMMANDS || grown.streams() < STREAMS {
            let log = grown.house.log();
            let (sleepers, streams) = (grown.sleepers(), grown.streams());
            assert!(since.elapsed() < PATIENCE, "{sleepers} and {streams} only\n{log}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        grown
    }

    /// Processes of its leaves that live.
    fn sleepers(&self) -> usize {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
        let ours = format!("sleep\0{}\0", self.mark);
        all.filter_map(line).filter(|line| line == ours.as_bytes()).count()
    }

    fn streams(&self) -> usize {
        self.house.stub.journal().open_streams
    }

    async fn world(&self) -> World {
        Reader::open(&self.house.database()).unwrap().snapshot().await.unwrap()
    }

    /// Waits until nothing of it is left, in the world and by the gateway's word.
    async fn gone(&self) {
        let since = Instant::now();
        loop {
            let (sleepers, streams) = (self.sleepers(), self.streams());
            let world = self.world().await;
            let unproved = world.halts.iter().filter(|halt| halt.state != HaltState::Stopped);
            let unproved = unproved.count();
            if (sleepers, streams, unproved) == (0, 0, 0) {
                return;
            }
            let log = self.house.log();
            let left = format!("{sleepers} processes, {streams} streams, {unproved} unproved");
            assert!(since.elapsed() < PATIENCE, "{left}\n{log}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Says that the tree is over, that it was over in time, and that it stays over.
    async fn is_over(&self, killed: bool) {
        self.gone().await;
        let world = self.world().await;
        assert_eq!(world.tasks.len(), TASKS);
        for task in &world.tasks {
            assert_eq!(task.outcome, Some(Outcome::Cancelled), "{:?}", task.task_name);
        }
        assert!(world.steps.iter().all(|step| step.state != StepState::Intent));
        let carried: BTreeSet<_> = world.tasks.iter().map(|task| task.run).collect();
        let halts: Vec<_> = world.halts.iter().filter(|h| carried.contains(&h.run)).collect();
        if killed {
            // Those that the cascade had not reached had nothing out any more.
            assert!(halts.len() <= COMMANDS + STREAMS);
        } else {
            assert_eq!(halts.len(), COMMANDS + STREAMS, "each leaf was looked after");
            for halt in halts {
                let took = halt.looked.unwrap().since(halt.asked);
                assert!(took < PROVED_WITHIN, "{} took {took:?}", halt.run);
            }
        }
        // Each is shown as halted, and never as completed.
        let rows = self.house.json(&["subagents", "list", "--all", "--json"]).await;
        assert_eq!(rows.len(), TASKS);
        let cancelled = |row: &Value| row["status"] == "cancelled";
        assert!(rows.iter().all(cancelled), "{rows:?}");
        let status = self.house.json(&["status", "--json"]).await.remove(0);
        let open = ["stopping", "unproved"].map(|word| status["runs"].get(word).is_some());
        assert_eq!(open, [false, false], "{status}");
    }

    /// From now on no model is called for it and nothing is begun.
    async fn stays_over(self) {
        let Grown { house, .. } = &self;
        let (asked, before) = (house.stub.journal().requests.len(), self.world().await);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = self.world().await;
        assert_eq!(house.stub.journal().requests.len(), asked, "a stopped tree calls a model");
        assert_eq!(after.tasks, before.tasks);
        assert_eq!((after.steps, after.entries), (before.steps, before.entries));
        assert_eq!(self.sleepers(), 0);
        // The session is alive, and its history is valid.
        assert_eq!(house.ask(&Plan::new().say("alive").to_brief()).await.trim(), "alive");
        judge::all_is_well(house, &Default::default()).await;
    }

    async fn ends(&mut self) -> Output {
        let output = tokio::time::timeout(PATIENCE, &mut self.asked).await;
        output.expect("the run does not end").unwrap()
    }
}

fn yields(plan: Plan) -> Plan {
    plan.yield_().say("never")
}

#[tokio::test]
async fn by_a_word_in_the_conversation() {
    let mut grown = Grown::grow(yields).await;
    let told = grown.house.ok(&["agent", "--message", "/stop"]).await;
    assert!(told.starts_with("Stopped: the run of agent:main:main."), "{told}");
    assert_eq!(told.matches("and all below it.").count(), 4, "{told}");
    assert!(!grown.ends().await.status.success(), "a stopped run has no answer");
    grown.is_over(false).await;
    grown.stays_over().await;
}

/// The program's way: `windlass chat` sends `chat.abort` when it is interrupted in an answer.
#[tokio::test]
async fn by_the_method() {
    let mut grown = Grown::grow(yields).await;
    let mut chat = grown.house.command(&["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    // It ends the wait of the first run, from elsewhere; the children go on.
    let words = late(600_000, "never").to_brief();
    writeln!(chat.stdin.as_mut().unwrap(), "{words}").unwrap();
    let since = Instant::now();
    while grown.streams() <= STREAMS {
        assert!(since.elapsed() < PATIENCE, "nobody answers\n{}", grown.house.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rustix::process::kill_process(Pid::from_child(&chat), Signal::INT).unwrap();
    assert!(!grown.ends().await.status.success(), "a stopped run has no answer");
    grown.is_over(false).await;
    chat.kill().unwrap();
    chat.wait().unwrap();
    grown.stays_over().await;
}

/// A model kills its four children, one call for each.
#[tokio::test]
async fn by_the_agent_that_has_begun_it() {
    let wait = json!({ "command": "while [ ! -e go ]; do sleep 0.2; done" });
    let kill = |name| ("subagents", json!({ "action": "kill", "target": name }));
    let kills = ["a", "b", "c", "d"].map(kill);
    let mut grown = Grown::grow(|plan| plan.call("exec", wait).calls(kills).say("{tools}")).await;
    let workspace = grown.house.folder.path().join("workspace");
    std::fs::write(workspace.join("go"), "").unwrap();
    let output = grown.ends().await;
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told.matches("\"status\":\"stopped\"").count(), 4, "{told}");
    assert!(told.contains("\"stopping\""), "{told}");
    grown.is_over(false).await;
    grown.stays_over().await;
}

#[tokio::test]
async fn by_the_command_line() {
    let mut grown = Grown::grow(|plan| plan.yield_().say("{count} are back")).await;
    let tops: Vec<_> =
        grown.world().await.tasks.iter().filter(|t| t.depth == 1).map(|t| t.id).collect();
    for top in &tops {
        let done = grown.house.json(&["tasks", "cancel", &top.to_string(), "--json"]).await;
        let count = |word: &str| done[0]["stop"][word].as_array().unwrap().len();
        assert_eq!(done[0]["cancelled"], true, "{done:?}");
        // Itself, its four children, and theirs; twelve of those had a command out.
        assert_eq!(count("stopped") + count("stopping"), 1 + 4 + 16, "{done:?}");
        assert!(count("stopping") > 0, "{done:?}");
    }
    let output = grown.ends().await;
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "4 are back");
    grown.is_over(false).await;
    let shown = grown.house.ok(&["tasks", "show", &tops[0].to_string()]).await;
    assert_eq!(shown.matches("stopped   tsk_").count(), 1 + 4 + 16, "{shown}");
    grown.stays_over().await;
}

/// The stop was acknowledged, and then the gateway is killed: the next one ends what is left.
#[tokio::test]
async fn by_a_gateway_that_is_killed_when_it_has_said_so() {
    let mut grown = Grown::grow(yields).await;
    grown.house.ok(&["agent", "--message", "/stop"]).await;
    grown.house.kill();
    grown.house.start().await;
    assert!(!grown.ends().await.status.success(), "a stopped run has no answer");
    grown.is_over(true).await;
    grown.stays_over().await;
}
