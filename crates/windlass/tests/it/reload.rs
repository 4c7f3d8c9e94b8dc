//! The configuration changes while the gateway runs: who works goes on, who comes next has the new
//! one, and a file that is wrong changes nothing.

mod storm;

use std::process::Output;
use std::time::Duration;

use machine::rows::Outcome;
use serde_json::{Value, json};
use stub::Plan;

use crate::house::House;
use crate::{judge, look};

impl House {
    /// Puts another configuration in the place of the present one, as an editor does.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.config();
        change(&mut config);
        self.put_config(&config.to_string());
    }

    fn put_config(&self, text: &str) {
        let partial = self.config_file().with_extension("new");
        std::fs::write(&partial, text).unwrap();
        std::fs::rename(partial, self.config_file()).unwrap();
    }

    /// Has the gateway read the file.
    pub async fn reload(&self) -> Value {
        self.json(&["config", "reload", "--json"]).await.remove(0)
    }

    async fn standing(&self) -> Value {
        self.json(&["status", "--json"]).await.remove(0)["config"].clone()
    }

    /// Asks in the background; the answer comes when it comes.
    fn asks(&self, session: &str, plan: &Plan) -> tokio::task::JoinHandle<Output> {
        let brief = plan.to_brief();
        let mut command = self.command(&["agent", "--session-key", session, "--message", &brief]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    }
}

fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn house(change: impl FnOnce(&mut Value)) -> House {
    let mut house = House::build("anthropic-messages", change).await;
    house.start().await;
    house
}

/// An agent that is added to the file can be talked to: nobody has to ask for it. One that is
/// taken away is refused by name, as a target of a spawn too.
#[tokio::test]
async fn an_agent_comes_and_goes_with_the_file() {
    let house = house(|config| {
        config["agents"]["entries"] = json!({
            "main": { "subagents": { "allowAgents": ["*"] } },
        });
    })
    .await;
    let hello = Plan::new().say("ops is here").to_brief();
    let ask = ["agent", "--agent", "ops", "--message", &hello];
    let refused = house.run(&ask).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("ops"), "{why}");

    // The file alone does it.
    house.reconfigure(|config| config["agents"]["entries"]["ops"] = json!({ "name": "Ops" }));
    let answer = house.phone().insist(&ask).await;
    assert_eq!(answer.trim(), "ops is here");

    house.reconfigure(|config| {
        config["agents"]["entries"].as_object_mut().unwrap().remove("ops");
    });
    let told = house.reload().await;
    assert!(["applied", "unchanged"].contains(&told["status"].as_str().unwrap()), "{told}");
    let refused = house.run(&["agent", "--session-key", "agent:ops:main", "--message", "x"]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("unknown agent id \"ops\""), "{why}");
    let spawn = Plan::new()
        .call("sessions_spawn", json!({ "agentId": "ops", "task": "x", "taskName": "x" }))
        .say("{tools}");
    let answer = house.ask(&spawn.to_brief()).await;
    assert!(answer.contains("is not configured in agents.entries"), "{answer}");
    judge::all_is_well(&house, &Default::default()).await;
}

/// Model, provider and agent go out of the file while their run is at work, and so does the one
/// that it waits for: all of it is done, with what it was begun with. Whoever asks then has the
/// new model.
#[tokio::test]
async fn an_open_run_ends_with_what_it_began_with() {
    let house = house(|config| {
        config["agents"]["entries"] = json!({
            "main": {}, "ops": { "subagents": { "allowAgents": ["*"] } },
        });
        config["tools"] = json!({ "exec": { "timeoutSeconds": 100 } });
    })
    .await;
    let pause = |ms: u32| json!({ "command": format!("sleep {}", f64::from(ms) / 1_000.0) });
    let child = Plan::new().call("exec", pause(3_000)).say("from the child");
    let of_main =
        Plan::new().call("exec", pause(3_000)).call("exec", pause(10)).say("{tools} done");
    let of_ops = crate::threads::spawning(Plan::new(), "part", child, json!({}));
    let of_ops = of_ops.yield_().say("ops: {results}");
    let main = house.asks("agent:main:main", &of_main);
    let ops = house.asks("agent:ops:main", &of_ops);
    look::until(&house, "two runs are at their commands, and one waits", |world| {
        let commands = world.steps.iter().filter(|step| step.name.as_deref() == Some("exec"));
        commands.count() == 2 && world.runs.iter().any(|run| run.wait_need > 0)
    })
    .await;

    house.reconfigure(|config| {
        config["agents"]["entries"].as_object_mut().unwrap().remove("ops");
        let providers = config["models"]["providers"].as_object_mut().unwrap();
        let stub = providers.remove("stub").unwrap();
        providers.insert("other".to_owned(), stub);
        config["agents"]["defaults"]["model"] = json!("other/stub-1");
    });
    let told = house.reload().await;
    assert!(["applied", "unchanged"].contains(&told["status"].as_str().unwrap()), "{told}");
    assert!(said(&main.await.unwrap()).ends_with("done"));
    assert!(said(&ops.await.unwrap()).contains("from the child"));

    let fresh = Plan::new().say("fresh").to_brief();
    let fresh = ["agent", "--session-key", "thread:new", "--message", &fresh];
    assert_eq!(house.ok(&fresh).await.trim(), "fresh");
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert!(world.runs.iter().all(|run| run.phase.outcome() == Some(Outcome::Completed)));
    let model = |key: &str| {
        let run = world.runs.iter().find(|run| run.session_key.to_string() == key);
        run.unwrap().model.clone()
    };
    assert_eq!(model("agent:ops:main"), "stub/stub-1");
    assert_eq!(model("agent:main:thread:new"), "other/stub-1");
    assert!(world.ledger.iter().all(|row| row.model == "stub-1"));
}

/// A file that is wrong is told of, with line and column, wherever one looks; and commands that
/// ask the gateway go on.
#[tokio::test]
async fn a_wrong_file_changes_nothing_and_is_told_of() {
    let house = house(|_| {}).await;
    let good = house.config();
    house.put_config("{\n  gateway: { prot: 1 },\n}");
    let told = house.run(&["config", "reload", "--json"]).await;
    assert_eq!(told.status.code(), Some(2));
    let result: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(result["status"], "rejected");
    let problem = &result["rejected"]["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(14)), "{problem}");
    assert_eq!(problem["key"], "gateway.prot");
    let why = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(why.contains("line 2, column 14") && why.contains("stays in use"), "{why}");

    let standing = house.standing().await;
    assert_eq!(standing["rejected"]["problems"][0]["line"], 2, "{standing}");
    let status = house.run(&["status"]).await;
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && shown.contains("configuration wrong since"), "{shown}");
    let doctor = house.run(&["doctor"]).await;
    let shown = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && shown.contains("line 2, column 14"), "{shown}");
    assert!(shown.contains("answers at") && shown.contains("wrong since"), "{shown}");
    assert!(house.log().contains("line 2, column 14"), "{}", house.log());

    std::fs::remove_file(house.config_file()).unwrap();
    let told = house.run(&["config", "reload"]).await;
    let why = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && why.contains("there is no file any more"), "{why}");

    house.put_config(&good.to_string());
    assert_eq!(house.reload().await["status"], "unchanged");
    assert_eq!(house.standing().await.get("rejected"), None);
    assert_eq!(house.ask(&Plan::new().say("well").to_brief()).await.trim(), "well");
}

/// Of a change whose one half needs a restart, the other half is applied; the first is listed
/// before it is applied, and shown until it is taken back.
#[tokio::test]
async fn what_needs_a_restart_is_said_before_and_after() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    let port = house.port;
    house.reconfigure(|config| {
        config["gateway"] = json!({ "port": port, "reload": { "mode": "off" } })
    });
    house.start_by_file().await;
    house.reconfigure(|config| {
        config["gateway"]["port"] = json!(port - 1);
        config["agents"]["entries"] = json!({ "main": {}, "ops": {} });
    });
    // Nobody looks at the file unless he is asked to.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let diff = house.ok(&["config", "diff"]).await;
    assert!(diff.contains("would be applied"), "{diff}");
    assert!(diff.contains("without a restart: agents.entries.ops"), "{diff}");
    assert!(diff.contains("needs a restart: gateway.port"), "{diff}");
    assert_eq!(house.standing().await["restartPending"], json!([]), "it was only asked about");

    let told = house.reload().await;
    assert_eq!(told["applied"], json!(["agents.entries.ops"]));
    assert_eq!(told["restartPending"], json!(["gateway.port"]));
    let status = house.ok(&["status"]).await;
    assert!(status.contains("restart pending: gateway.port"), "{status}");
    // Whoever is told no address finds it where it listens, whatever the file says by now.
    let mut command = house.command(&["status"]);
    let found = command.env_remove("WINDLASS_GATEWAY_URL").output().unwrap();
    assert!(String::from_utf8_lossy(&found.stdout).contains("restart pending"), "{found:?}");
    let hello = Plan::new().say("here").to_brief();
    assert_eq!(house.ok(&["agent", "--agent", "ops", "--message", &hello]).await.trim(), "here");

    house.reconfigure(|config| config["gateway"]["port"] = json!(port));
    assert_eq!(house.reload().await["restartPending"], json!([]));
    assert_eq!(house.standing().await["restartPending"], json!([]));
}

/// A change of tools breaks no prefix: the conversation that goes on sends the same bytes before it,
/// and what is denied by now is refused at the call. One that begins has the new set.
#[tokio::test]
async fn an_episode_keeps_its_prefix() {
    let house = house(|_| {}).await;
    let (old, new) = ("agent:main:thread:old", "agent:main:thread:new");
    let say = async |session: &str, plan: &Plan| {
        house.ok(&["agent", "--session-key", session, "--message", &plan.to_brief()]).await
    };
    say(old, &Plan::new().say("before")).await;
    house.reconfigure(|config| {
        config["tools"] = json!({ "deny": ["web_fetch"] });
        config["agents"]["entries"] = json!({ "main": { "name": "Renamed" } });
    });
    house.reload().await;
    let fetch = Plan::new().call("web_fetch", json!({ "url": "https://example.org" }));
    let told = say(old, &fetch.say("{tools}")).await;
    assert!(told.contains("denied by the configuration"), "{told}");
    say(new, &Plan::new().say("begun after it")).await;

    let world = judge::all_is_well(&house, &Default::default()).await;
    let requests = crate::threads::requests_of(&house, &world);
    let hashes = |session: &str| -> Vec<_> {
        requests[&session.parse().unwrap()].iter().map(|entry| entry.prefix_hash.clone()).collect()
    };
    let before = hashes(old);
    assert_eq!(before.len(), 3);
    assert!(before.iter().all(|hash| *hash == before[0]), "{before:?}");
    assert_ne!(hashes(new)[0], before[0], "one tool is not there any more");
}
