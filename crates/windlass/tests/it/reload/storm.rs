//! Two hundred files, right, wrong and cut, while people talk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::rows::Outcome;
use serde_json::{Value, json};
use stub::Plan;
use tempfile::TempDir;

use crate::house::{House, Phone};
use crate::judge;

const FILES: u32 = 200;

/// As many conversations, each with the next question as soon as it has an answer.
const TALKERS: [(&str, &str); 4] = [
    ("agent:main:thread:a", "{tools}"),
    ("agent:main:thread:b", "b"),
    ("agent:ops:thread:c", "c"),
    ("agent:ops:thread:d", "{tools}"),
];

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    /// Source: G. Marsaglia, *Xorshift RNGs*, Journal of Statistical Software 8 (14), 2003.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A file that is right, with or without what somebody uses.
fn right(base: &Value, dice: &mut Dice) -> Value {
    let mut config = base.clone();
    let defaults = &mut config["agents"]["defaults"];
    defaults["maxConcurrent"] = json!(1 + dice.below(6));
    defaults["timeoutSeconds"] = json!(600 + dice.below(600));
    config["messages"] = json!({ "queue": { "cap": 5 + dice.below(50) } });
    config["tools"]["exec"]["timeoutSeconds"] = json!(30 + dice.below(60));
    if dice.below(3) == 0 {
        config["agents"]["entries"].as_object_mut().unwrap().remove("ops");
    }
    if dice.below(3) == 0 {
        config["agents"]["entries"]["new"] = json!({ "name": "New" });
    }
    match dice.below(4) {
        // The provider goes, and with it its key and the model that all have been using.
        0 => {
            let providers = config["models"]["providers"].as_object_mut().unwrap();
            let stub = providers.remove("stub").unwrap();
            providers.insert("other".to_owned(), stub);
            config["agents"]["defaults"]["model"] = json!("other/stub-1");
        }
        1 => {
            config["models"]["providers"]["stub"]["models"] = json!([{ "id": "stub-2" }]);
            config["agents"]["defaults"]["model"] = json!("stub/stub-2");
        }
        2 => {
            config["models"]["providers"]["stub"]["apiKey"] = json!(format!("sk-{}", dice.0));
        }
        _ => {}
    }
    config
}

/// A file that is wrong by one key.
fn wrong(mut config: Value, dice: &mut Dice) -> String {
    match dice.below(5) {
        0 => config["gateway"] = json!({ "prot": 1 }),
        1 => config["agents"]["defaults"]["maxConcurrent"] = json!("many"),
        2 => config["messages"]["queue"]["mode"] = json!("shout"),
        3 => config["models"]["providers"]["stub"]["api"] = json!("smoke-signals"),
        _ => config["agents"]["entries"]["main"]["subagents"] = json!({ "allowAgents": 7 }),
    }
    serde_json::to_string_pretty(&config).unwrap()
}

/// Talks until `over`; an agent that is not there just now may refuse. Returns the answers.
async fn talk(phone: Phone, n: usize, over: Arc<AtomicBool>) -> u32 {
    let (session, text) = TALKERS[n];
    let mut answers = 0;
    while !over.load(Ordering::Relaxed) {
        let words = format!("{session} {answers}");
        let mut plan = Plan::new();
        if text == "{tools}" {
            let pause = json!({ "command": format!("sleep 0.{}; echo slept", 1 + answers % 5) });
            plan = plan.call("exec", pause);
        }
        let brief = plan.say(&format!("{words} {text}")).to_brief();
        let mut command = phone.command(&["agent", "--session-key", session, "--message", &brief]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let (told, why) = (text_of(&output.stdout), text_of(&output.stderr));
        if output.status.success() {
            assert!(told.starts_with(&words), "{words}: {told}");
            answers += 1;
        } else {
            let gone = session.starts_with("agent:ops") && why.contains("unknown agent id \"ops\"");
            assert!(gone, "{words}: {why}");
        }
    }
    answers
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the gateway makes of the files, one after the other.
struct Told {
    applied: u32,
    rejected: u32,
    /// The last that was right.
    last: Value,
}

/// Writes the files. Every rejection has line and column, and what is right is applied.
async fn write_all(house: &House, phone: &Phone) -> Told {
    let base = house.config();
    let mut told = Told { applied: 0, rejected: 0, last: base.clone() };
    let mut dice = Dice(20_261_121);
    for n in 0..FILES {
        let config = right(&base, &mut dice);
        let (text, good) = match dice.below(3) {
            0 => (wrong(config.clone(), &mut dice), false),
            1 => {
                let text = serde_json::to_string_pretty(&config).unwrap();
                let cut = 1 + dice.below(text.len() as u64 - 2) as usize;
                (text[..cut].to_owned(), false)
            }
            _ => (config.to_string(), true),
        };
        // In its place, or over it: both are done.
        match n % 2 {
            0 => house.put_config(&text),
            _ => std::fs::write(house.config_file(), &text).unwrap(),
        }
        let answer = reload(house, phone).await;
        if good {
            // Whoever watches the file may have been first.
            let status = &answer["status"];
            assert!(status == "applied" || status == "unchanged", "{answer}");
            told.applied += 1;
            told.last = config;
        } else {
            assert_eq!(answer["status"], "rejected", "{text}\n{answer}");
            let problems = answer["rejected"]["problems"].as_array().unwrap();
            let placed =
                |p: &Value| p["line"].as_u64() >= Some(1) && p["column"].as_u64() >= Some(1);
            assert!(!problems.is_empty() && problems.iter().all(placed), "{text}\n{answer}");
            told.rejected += 1;
        }
    }
    told
}

async fn reload(house: &House, phone: &Phone) -> Value {
    let mut command = phone.command(&["config", "reload", "--json"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", text_of(&output.stderr), house.log()))
}

/// No turn ends before its time, the process goes on, and what was right last is what holds.
#[tokio::test]
async fn two_hundred_files_end_no_turn() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["entries"] = json!({ "main": { "default": true }, "ops": {} });
        config["models"]["providers"]["stub"]["models"] =
            json!([{ "id": "stub-1" }, { "id": "stub-2" }]);
        config["tools"] = json!({ "exec": {} });
    })
    .await;
    house.start().await;
    let pid = house.pid();
    let home = TempDir::new().unwrap();
    let phone = house.phone_elsewhere(home.path());
    let over = Arc::new(AtomicBool::new(false));
    let talking = (0..TALKERS.len()).map(|n| tokio::spawn(talk(phone.clone(), n, over.clone())));
    let talking: Vec<_> = talking.collect();
    let Told { applied, rejected, last } = write_all(&house, &phone).await;
    over.store(true, Ordering::Relaxed);
    let mut answers = Vec::new();
    for talk in talking {
        answers.push(talk.await.unwrap());
    }
    println!("{applied} applied, {rejected} rejected, answers: {answers:?}");
    assert!(applied > 40 && rejected > 80 && answers.iter().all(|n| *n > 3), "{answers:?}");

    let health: Value = serde_json::from_str(&phone.insist(&["health", "--json"]).await).unwrap();
    let served = health["agents"].as_array().unwrap().iter().map(|a| a["agentId"].as_str());
    let wanted = last["agents"]["entries"].as_object().unwrap().keys();
    assert!(served.eq(wanted.map(|id| Some(id.as_str()))), "{health} is not {last}");
    let status: Value = serde_json::from_str(&phone.insist(&["status", "--json"]).await).unwrap();
    let alive = std::fs::exists(format!("/proc/{pid}")).unwrap();
    assert!(alive && status["uptimeMs"].as_u64() > Some(0), "{status}");
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert_eq!(world.nodes.len(), 1, "it was started once");
    for run in &world.runs {
        assert_eq!(run.phase.outcome(), Some(Outcome::Completed), "{run:?}\n{}", house.log());
    }
    assert_eq!(world.runs.len() as u32, answers.iter().sum::<u32>(), "each question is one turn");
}
