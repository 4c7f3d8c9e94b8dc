//! Skills: found, listed, read on need, and never run by the gateway.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;

fn put(folder: &Path, name: &str, head: &str, steps: &str) {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    let text = format!("---\nname: {name}\ndescription: Does {name}.\n{head}---\n\n{steps}\n");
    fs::write(folder.join("SKILL.md"), text).unwrap();
}

fn reads(path: &str) -> Plan {
    Plan::new().call("read", json!({ "path": path })).say("{last}")
}

/// A skill of the workspace, one of the user and one of the binary are read by the same kind of
/// path; a file that belongs to none of them is not, and neither is one that was taken away.
#[tokio::test]
async fn a_skill_is_read_when_it_is_needed_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |config| {
            config["skills"]["entries"] = json!({ "off": { "enabled": false } });
        })
        .await;
        let home = house.folder.path().to_owned();
        put(&home.join("workspace/skills"), "mine", "", "Workspace steps.");
        put(&home.join("skills"), "yours", "", "User steps. Run {baseDir}/run.sh");
        put(&home.join("skills"), "off", "", "Never seen.");
        fs::write(home.join("skills/yours/more.md"), "More words.").unwrap();
        fs::write(home.join("skills/yours/run.sh"), "touch ran\n").unwrap();
        house.start().await;
        assert!(house.ask(&reads("skills/mine/SKILL.md").to_brief()).await.contains("Workspace"));
        let yours = house.ask(&reads("skills/yours/SKILL.md").to_brief()).await;
        let folder = home.join("skills/yours").display().to_string();
        assert!(yours.contains("User steps.") && yours.contains(&folder), "{yours}");
        let more = house.ask(&reads("skills/yours/more.md").to_brief()).await;
        assert!(more.contains("More words."), "{more}");
        let bundled = house.ask(&reads("skills/research/SKILL.md").to_brief()).await;
        assert!(bundled.contains("# Research"), "{bundled}");
        for path in ["skills/off/SKILL.md", "skills/yours/../../windlass.json", "skills/none/x"] {
            let told = house.ask(&reads(path).to_brief()).await;
            assert!(!told.contains("Never seen") && !told.contains("sk-test"), "{path}: {told}");
            assert!(told.contains("no file") || told.contains("outside"), "{path}: {told}");
        }
        // A child in another folder reads the same.
        let child = reads("skills/mine/SKILL.md");
        let plan = Plan::new().spawn([("c", child)]).change(|step| {
            step.spawn[0].args = json!({ "cwd": "sub" }).as_object().unwrap().clone();
        });
        let answer = house.ask(&plan.yield_().say("{results}").to_brief()).await;
        assert!(answer.contains("Workspace steps."), "{answer}");
        assert!(!home.join("workspace/ran").exists() && !home.join("ran").exists());
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// A skill that is added while a conversation goes on is in the next one's list, and not in its
/// own; the account of the context says that there is something new.
#[tokio::test]
async fn a_new_skill_changes_no_open_episode() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let say = Plan::new().say("ok").to_brief();
    house.ask(&say).await;
    let user = house.folder.path().join("skills");
    put(&user, "fresh", "", "Steps.");
    put(&user, "needy", "metadata: {openclaw: {requires: {bins: [no-such-program]}}}\n", "Steps.");
    house.ask(&say).await;
    let context = house.json(&["context", "--json"]).await.remove(0);
    let parts = context["prefix"]["parts"].as_array().unwrap();
    let list = parts.iter().find(|part| part["kind"] == "skills").unwrap();
    assert_eq!(list["state"], "changed");
    house.ok(&["agent", "--message", "/new"]).await;
    house.ask(&say).await;
    let requests = house.stub.journal().requests;
    assert_eq!(requests[0].prefix_hash, requests[1].prefix_hash);
    assert_ne!(requests[1].prefix_hash, requests[2].prefix_hash);
    let hash = house.json(&["context", "--json"]).await.remove(0)["prefix"]["hash"].clone();
    let reader = store::Reader::open(&house.database()).unwrap();
    let hash = hash.as_str().unwrap().parse().unwrap();
    let text = store::Reads::blob(&reader, hash).await.unwrap().unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    let system = stored["system"].as_str().unwrap();
    assert!(system.contains("- fresh: Does fresh.\n- research: "), "{system}");
    assert!(!system.contains("needy"), "{system}");
}

/// `skills list` and `skills check` say where each is, what is missing and what is wrong.
#[tokio::test]
async fn a_person_sees_what_is_there_and_what_is_wrong() {
    let house = House::build("anthropic-messages", |config| {
        config["agents"]["entries"] =
            json!({ "main": { "default": true }, "ops": { "skills": [] } });
    })
    .await;
    let home = house.folder.path();
    put(&home.join("workspace/skills"), "research", "", "Mine.");
    put(&home.join("skills"), "needy", "metadata: {openclaw: {requires: {env: [NO_SUCH]}}}\n", "");
    fs::create_dir_all(home.join("skills/broken")).unwrap();
    fs::write(home.join("skills/broken/SKILL.md"), "---\nname: broken\n---\n").unwrap();
    let rows = house.json(&["skills", "list", "--json"]).await;
    let states: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {} {}", row["name"], row["source"], row["state"]).replace('"', ""))
        .collect();
    assert_eq!(
        states,
        [
            "broken user bad",
            "needy user needs",
            "research workspace ready",
            "research bundled shadowed",
            "review-code bundled ready",
            "write-skill bundled ready",
        ]
    );
    let check = house.run(&["skills", "check"]).await;
    let (out, words) = (String::from_utf8(check.stdout).unwrap(), check.stderr);
    assert_eq!(check.status.code(), Some(1));
    assert!(out.contains("line 1: `description` is missing"), "{out}");
    assert!(out.contains("variable NO_SUCH") && !out.contains("write-skill"), "{out}");
    assert!(String::from_utf8(words).unwrap().contains("1 of the files are wrong"));
    let ops = house.json(&["skills", "list", "--agent", "ops", "--json"]).await;
    assert!(ops.iter().all(|row| row["state"] != "ready"), "{ops:?}");
    let nobody = house.run(&["skills", "list", "--agent", "nobody"]).await;
    assert_eq!(nobody.status.code(), Some(2));
}
