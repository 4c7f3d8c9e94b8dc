//! The plug is pulled, again and again, and nobody helps.

use std::time::Duration;

use machine::limits::LEASE;
use serde_json::json;
use stub::Plan;

use crate::house::{House, WIRES, late};
use crate::judge;

/// Rounds of this run; more by hand with `cargo xtask kill --rounds N`.
pub fn rounds(usual: u32) -> u32 {
    std::env::var("WINDLASS_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// What the moments of this run are drawn from.
pub fn seed() -> u64 {
    std::env::var("WINDLASS_KILL_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// The wire of the `n`th household. `cargo xtask kill` tells two stories in turn, each under the
/// next seed, so each has its share of both.
pub fn wire(n: u64) -> &'static str {
    WIRES[((seed() / 2 + n) % 2) as usize]
}

/// A small source of numbers that a seed fixes.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Three levels of five children, each leaf with a command that must not run twice.
fn tree() -> Plan {
    let leaf = |branch: u64, n: u64| {
        let command = format!("echo ran >> b{branch}-l{n}.log");
        Plan::new()
            .call("exec", json!({ "command": command }))
            .say("<{name}>")
            .after_ms(20 + 10 * n)
    };
    let of = |children: Vec<(String, Plan)>| {
        let children = children.iter().map(|(name, plan)| (name.as_str(), plan.clone()));
        Plan::new().spawn(children).yield_().say("{results}")
    };
    let branch = |b| of((0..5).map(|n| (format!("l{n}"), leaf(b, n))).collect());
    let trunk = of((0..5).map(|b| (format!("b{b}"), branch(b))).collect());
    Plan::named("root").spawn([("t", trunk)]).yield_().say("all: {results}")
}

/// The main job with a tree of three levels, killed at random moments: every leaf's result is in
/// the answer exactly once, no committed answer is paid again, no command is run twice.
#[tokio::test]
async fn a_tree_survives_being_killed_at_random() {
    let rounds = rounds(20);
    let mut dice = Dice(seed());
    let (mut done, mut trees) = (0, 0);
    while done < rounds {
        done += survive(wire(trees), (rounds - done).min(PER_TREE), &mut dice).await;
        trees += 1;
    }
}

/// Kills of one tree at most, so that both wires have their share.
const PER_TREE: u32 = 10;

/// Lives through one tree. Returns how often it was killed while work was open.
async fn survive(wire: &str, kills: u32, dice: &mut Dice) -> u32 {
    let mut house = House::build(wire, |_| {}).await;
    house.start().await;
    let brief = tree().to_brief();
    // The person's command waits through all of it, and comes back with its key.
    let mut command = house.command(&["agent", "--message", &brief, "--idempotency-key", "job"]);
    let asked = tokio::task::spawn_blocking(move || command.output().unwrap());
    let sampler = judge::Sampler::start(&house);
    let mut done = 0;
    while done < kills && !asked.is_finished() {
        tokio::time::sleep(Duration::from_millis(30 + dice.below(500))).await;
        judge::all_have_gone_on(&house).await;
        done += u32::from(!asked.is_finished());
        house.kill();
        house.start().await;
        judge::only_the_living_runs(&house).await;
    }
    let output = tokio::time::timeout(Duration::from_secs(180), asked).await;
    let output = output.expect("no answer").unwrap();
    let samples = sampler.stop().await;
    assert!(samples.running > 0, "nothing was ever seen at work: {samples:?}");
    assert!(samples.longest < LEASE, "the dead were said to be at work: {samples:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{}", house.log());
    let answer = String::from_utf8(output.stdout).unwrap();

    for branch in 0..5 {
        for leaf in 0..5 {
            let name = format!("<root.t.b{branch}.l{leaf}>");
            assert_eq!(answer.matches(&name).count(), 1, "{name} in {answer}");
        }
    }
    let world = judge::all_is_well(&house, &Default::default()).await;
    let people = world.runs.iter().filter(|run| run.task.is_none()).count();
    assert_eq!(people, 1, "one message, one run, one answer");
    for entry in std::fs::read_dir(house.folder.path().join("workspace")).unwrap() {
        let path = entry.unwrap().path();
        // Those that every workspace begins with.
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 1, "{} ran twice: {text:?}", path.display());
    }
    done
}

/// A drain is not a kill: open runs go on to their next committed step, and nothing becomes
/// `interrupted`.
#[tokio::test]
async fn a_clean_stop_interrupts_nothing() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let slow = late(700, "<{name}>");
    let brief = Plan::named("root")
        .spawn([("a", slow.clone()), ("b", slow.clone()), ("c", slow)])
        .yield_()
        .say("{results}")
        .to_brief();
    let mut command = house.command(&["agent", "--message", &brief, "--idempotency-key", "job"]);
    let asked = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::sleep(Duration::from_millis(500)).await;

    house.terminate().await;
    house.start().await;

    let output = tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    for child in ["root.a", "root.b", "root.c"] {
        assert_eq!(answer.matches(&format!("<{child}>")).count(), 1, "{answer}\n{}", house.log());
    }
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert!(world.runs.iter().all(|run| run.recoveries == 0));
    // Each of the calls that were out at the stop was let to its end.
    assert!(world.ledger.iter().all(|row| !row.estimated), "a call was cut by a clean stop");
}

/// A command that a killed gateway has left running is ended by the next start, and nothing else
/// is; the model is told that the outcome is unknown, and the run goes on.
#[tokio::test]
async fn a_command_does_not_outlive_its_gateway() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let seconds = 100_000 + u32::from(house.port);
    let mut namesake =
        std::process::Command::new("sleep").arg(seconds.to_string()).spawn().unwrap();
    let command = format!("setsid sleep {seconds} & sleep {seconds}");
    let brief =
        Plan::new().call("exec", json!({ "command": command })).say("told: {tools}").to_brief();
    let mut asking = house.command(&["agent", "--message", &brief]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    let running = || sleeping(&seconds.to_string());
    for _ in 0..100 {
        if running() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(running(), 3, "the command does not run\n{}", house.log());

    house.kill();
    assert_eq!(running(), 3, "a killed gateway cannot end anything");
    house.start().await;

    let output = tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.contains("outcome is unknown"), "{answer}\n{}", house.log());
    assert_eq!(running(), 1, "something was left, or a stranger was ended");
    namesake.kill().unwrap();
    namesake.wait().unwrap();
    judge::all_is_well(&house, &Default::default()).await;
}

/// Counts the processes that sleep for so long.
pub fn sleeping(seconds: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let line = format!("sleep\0{seconds}\0");
    lines.filter(|read| read.as_slice() == line.as_bytes()).count()
}
