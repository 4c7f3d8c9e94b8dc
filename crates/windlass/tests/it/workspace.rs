//! An agent's folder: what it begins with, what is left alone, and what of it is sent.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;

/// Those of a new workspace, the last of which is not sent.
const FILES: [&str; 7] =
    ["AGENTS.md", "HEARTBEAT.md", "IDENTITY.md", "MEMORY.md", "SOUL.md", "TOOLS.md", "USER.md"];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn folder(house: &House, name: &str) -> PathBuf {
    house.folder.path().join(name)
}

/// The system prompts that were pinned, whatever sessions they are for.
async fn prompts(house: &House) -> Vec<String> {
    let world = judge::all_is_well(house, &Default::default()).await;
    let hashes = world.episodes.iter().filter_map(|episode| episode.prefix_hash);
    let hashes: std::collections::BTreeSet<_> = hashes.collect();
    let reader = store::Reader::open(&house.database()).unwrap();
    let mut prompts = Vec::new();
    for hash in hashes {
        let text = store::Reads::blob(&reader, hash).await.unwrap().unwrap();
        let stored: Value = serde_json::from_str(&text).unwrap();
        prompts.push(stored["system"].as_str().unwrap().to_owned());
    }
    prompts
}

/// A first message makes the folder with its files, and a child, which gets the rules only, finds
/// the same. What a person has changed stays as he has left it.
#[tokio::test]
async fn a_new_agent_begins_with_short_files_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let workspace = folder(&house, "workspace");
        assert!(!workspace.exists(), "nothing is made before it is needed");
        let child = Plan::new().say("from the child");
        let plan = Plan::new().spawn([("child", child)]).yield_().say("{results}");
        assert!(house.ask(&plan.to_brief()).await.contains("from the child"));
        assert_eq!(names(&workspace), FILES);

        let prompts = prompts(&house).await;
        assert_eq!(prompts.len(), 2, "{wire}: one for a person's session, one for a child's");
        let (of_main, of_child): (Vec<_>, Vec<_>) =
            prompts.iter().partition(|prompt| prompt.contains("You talk to a person"));
        let rules = fs::read_to_string(workspace.join("AGENTS.md")).unwrap();
        assert!(of_main[0].contains(rules.trim_end()) && of_child[0].contains(rules.trim_end()));
        assert!(of_main[0].contains("# SOUL.md") && !of_main[0].contains("# HEARTBEAT.md"));
        assert!(!of_child[0].contains("# SOUL.md") && !of_child[0].contains("# MEMORY.md"));

        fs::write(workspace.join("SOUL.md"), "Mine.\n").unwrap();
        fs::remove_file(workspace.join("USER.md")).unwrap();
        house.ok(&["agent", "--message", "/new"]).await;
        house.ask("hello").await;
        assert_eq!(fs::read_to_string(workspace.join("SOUL.md")).unwrap(), "Mine.\n");
        assert!(!workspace.join("USER.md").exists(), "what was taken away stays away");
    }
}

/// A folder with something in it is somebody's, and one that is to be left empty stays so.
#[tokio::test]
async fn a_folder_that_is_somebodys_gets_nothing() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["entries"] = json!({ "main": {}, "repository": {} });
    })
    .await;
    let repository = folder(&house, "workspace-repository");
    fs::create_dir_all(repository.join(".git")).unwrap();
    house.start().await;
    house.ok(&["agent", "--agent", "repository", "--message", "hello"]).await;
    assert_eq!(names(&repository), [".git"]);

    let mut bare = House::build("anthropic-messages", |config| {
        config["agents"]["defaults"]["skipBootstrap"] = json!(true);
    })
    .await;
    bare.start().await;
    bare.ask("hello").await;
    assert!(!folder(&bare, "workspace").exists());
    assert!(!prompts(&bare).await[0].contains("# AGENTS.md"));
}

/// A file that is too long is cut where the agent sees it; a folder that cannot be made is no
/// reason not to answer.
#[tokio::test]
async fn what_is_too_long_is_cut_and_what_is_broken_is_passed_over() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["defaults"]["bootstrapMaxChars"] = json!(100);
        config["agents"]["entries"] = json!({ "main": {}, "broken": {} });
    })
    .await;
    let workspace = folder(&house, "workspace");
    fs::create_dir(&workspace).unwrap();
    fs::write(workspace.join("AGENTS.md"), "r".repeat(250)).unwrap();
    fs::write(folder(&house, "workspace-broken"), "a file").unwrap();
    house.start().await;
    house.ask("hello").await;
    house.ok(&["agent", "--agent", "broken", "--message", "hello"]).await;
    let prompts = prompts(&house).await;
    let cut = prompts.iter().find(|prompt| prompt.contains("# AGENTS.md")).unwrap();
    assert!(cut.contains(&"r".repeat(100)) && !cut.contains(&"r".repeat(101)), "{cut}");
    assert!(cut.contains("[cut: 100 characters of this file of 250 bytes are shown"), "{cut}");
    assert!(house.log().contains("no workspace is made"), "{}", house.log());
}
