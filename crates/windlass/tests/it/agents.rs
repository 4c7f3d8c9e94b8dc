//! Agents of the file: added, shown, talked to, changed and removed, by commands and by clients.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use stub::{Options, Stub};
use windlass::config::JSON5;

use crate::house::House;
use crate::judge;
use crate::live::Live;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn file(house: &House) -> PathBuf {
    house.folder.path().join("windlass.json")
}

fn text(house: &House) -> String {
    fs::read_to_string(file(house)).unwrap()
}

/// Takes a command that must be refused, and must leave every byte of the file as it is.
async fn refused(house: &House, args: &[&str]) -> String {
    let before = fs::read(file(house)).ok();
    let output = house.run(args).await;
    assert!(!output.status.success(), "{args:?}: {}", said(&output));
    assert_eq!(fs::read(file(house)).ok(), before, "{args:?} has changed the file");
    said(&output)
}

const MODELS: &str = r#"// one stub, three models
{
  models: { providers: { stub: {
    baseUrl: "BASE", api: "anthropic-messages", apiKey: "sk-test-0123456789",
    models: [{ id: "stub-1" }, { id: "stub-2" }, { id: "stub-3" }], // no others
  } } },
  agents: { defaults: { model: "stub/stub-1" /* of all who name none */ } },
}
"#;

/// A gateway with models and no agents but the one that is always there.
async fn empty() -> House {
    let models = ["stub-1", "stub-2", "stub-3"].map(str::to_owned);
    let options = Options { models: models.to_vec(), cache_min: 64, ..Options::default() };
    let house =
        House::build_with(Stub::start(options).await.unwrap(), "anthropic-messages", |_| {});
    fs::write(file(&house), MODELS.replace("BASE", &house.stub.url())).unwrap();
    house
}

/// The model that was asked last, and the tools that it was offered.
fn last_call(house: &House) -> (String, Vec<String>) {
    let last = house.stub.journal().requests.pop().unwrap();
    (last.model, last.tools)
}

/// From an empty folder two more agents, each with its own model, tools and folder. The one that
/// was there stays as it was. One goes, and what it has said stays.
#[tokio::test]
async fn a_fleet_is_made_and_unmade_by_commands() {
    let mut house = empty().await;
    let told =
        house.ok(&["agents", "add", "ops", "--name", "Operations", "--model", "stub/stub-2"]).await;
    assert!(told.contains("agent ops is added: model stub/stub-2, works in"), "{told}");
    let docs = house.folder.path().join("handbook");
    let docs = docs.to_str().unwrap();
    let add = ["agents", "add", "docs", "--model", "stub/stub-3", "--fallback", "stub/stub-1"];
    let more = ["--workspace", docs, "--tools-profile", "minimal", "--description", "knows all"];
    let added = house.run(&[&add[..], &more[..]].concat()).await;
    assert!(said(&added).contains("no gateway answers; the next start takes it up"));
    for comment in ["// one stub, three models", "// no others", "/* of all who name none */"] {
        assert!(text(&house).contains(comment), "{comment} is gone: {}", text(&house));
    }
    let listed = house.json(&["agents", "list", "--json"]).await;
    let ids: Vec<&Value> = listed.iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["docs", "main", "ops"]);
    assert_eq!(listed[1]["default"], true);

    fs::create_dir_all(house.folder.path().join("handbook")).unwrap();
    fs::write(house.folder.path().join("handbook/AGENTS.md"), "Quote the handbook.\n").unwrap();
    let ops = house.folder.path().join("workspace-ops");
    fs::create_dir_all(&ops).unwrap();
    fs::write(ops.join("AGENTS.md"), "Never restart on Fridays.\n").unwrap();
    house.start().await;
    for (agent, model, rule) in [
        ("main", "stub-1", "# AGENTS.md"),
        ("ops", "stub-2", "Never restart on Fridays."),
        ("docs", "stub-3", "Quote the handbook."),
    ] {
        let answer = house.ok(&["agent", "--agent", agent, "--message", "hello"]).await;
        assert_eq!(answer.trim(), "stub heard: hello", "{agent}");
        let (asked, tools) = last_call(&house);
        assert_eq!(asked, model, "{agent}");
        assert_eq!(tools.iter().any(|tool| tool == "exec"), agent != "docs", "{agent}: {tools:?}");
        let key = format!("agent:{agent}:main");
        assert!(prompt_of(&house, &key).await.contains(rule), "{agent}");
    }
    shown_as_they_are(&house).await;

    let unasked = refused(&house, &["agents", "remove", "docs"]).await;
    assert!(unasked.contains("pass --yes"), "{unasked}");
    let removed = house.run(&["agents", "remove", "docs", "--yes"]).await;
    let told = said(&removed);
    assert!(removed.status.success(), "{told}");
    assert!(told.contains("its session stays and can be read"), "{told}");
    assert!(house.folder.path().join("handbook/AGENTS.md").exists());
    assert!(told.contains("knows of it"), "{told}");
    let kept = house.ok(&["sessions", "show", "agent:docs:main", "--json"]).await;
    assert!(kept.contains("stub heard: hello"), "{kept}");
    let gone = refused(&house, &["agent", "--agent", "docs", "--message", "hello?"]).await;
    assert!(gone.contains("docs"), "{gone}");
    assert_eq!(house.ask("still there").await.trim(), "stub heard: still there");
    // Another takes its place, while the gateway runs.
    let added = house.run(&["agents", "add", "docs", "--model", "stub/stub-2"]).await;
    assert!(said(&added).contains("knows of it"), "{}", said(&added));
    let again = house.ok(&["agent", "--agent", "docs", "--message", "hello again"]).await;
    assert_eq!(again.trim(), "stub heard: hello again");
    assert_eq!(last_call(&house).0, "stub-2");
    house.ok(&["agents", "set", "docs", "--default"]).await;
    house.ok(&["agent", "--message", "who are you"]).await;
    let sessions = house.json(&["sessions", "list", "--agent", "docs", "--json"]).await;
    assert_eq!(sessions.len(), 1, "it is asked where nobody is named: {sessions:?}");
    assert_eq!(last_call(&house).0, "stub-2");
    judge::all_is_well(&house, &Default::default()).await;
}

/// The system prompt of a session's present episode.
async fn prompt_of(house: &House, key: &str) -> String {
    let reader = store::Reader::open(&house.database()).unwrap();
    let world = store::Reads::snapshot(&reader).await.unwrap();
    let session = world.sessions.iter().find(|row| row.key.to_string() == key).unwrap();
    let episodes = world.episodes.iter().filter(|row| row.session_id == session.session_id);
    let hash = episodes.filter_map(|episode| episode.prefix_hash).next_back().unwrap();
    let text = store::Reads::blob(&reader, hash).await.unwrap().unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    stored["system"].as_str().unwrap().to_owned()
}

fn setting<'a>(shown: &'a Value, what: &str) -> &'a Value {
    let settings = shown["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["what"] == what).unwrap()
}

/// `agents show` names for each value the key that decides it.
async fn shown_as_they_are(house: &House) {
    let docs = &house.json(&["agents", "show", "docs", "--json"]).await[0];
    for (what, value, key) in [
        ("model", json!("stub/stub-3"), "agents.entries.docs.model"),
        ("in its place", json!(["stub/stub-1"]), "agents.entries.docs.model.fallbacks"),
        ("tools profile", json!("minimal"), "agents.entries.docs.tools.profile"),
        ("description", json!("knows all"), "agents.entries.docs.description"),
        ("sandbox", json!("off"), "default"),
        ("levels of sub-agents", json!(5), "default"),
    ] {
        let found = setting(docs, what);
        assert_eq!((&found["value"], &found["key"]), (&value, &json!(key)), "{what}");
    }
    assert_eq!((&docs["sessions"], &docs["default"]), (&json!(1), &json!(false)));
    assert_eq!(docs["files"][0], json!({ "name": "AGENTS.md", "bytes": 20 }));
    assert_eq!(docs["files"][1], json!({ "name": "SOUL.md", "bytes": null }));
    let rule = &docs["removedTools"][0];
    let tools = rule["tools"].as_array().unwrap();
    assert!(tools.iter().any(|tool| tool == "exec"), "{rule}");
    assert!(rule["why"].as_str().unwrap().contains("agents.entries.docs.tools.profile"), "{rule}");
    // The default agent, for people.
    let main = house.ok(&["agents", "show"]).await;
    assert!(main.starts_with("agent main (default)"), "{main}");
    let model = main.lines().find(|line| line.starts_with("model ")).unwrap();
    assert!(model.contains("stub/stub-1") && model.ends_with("agents.defaults.model"), "{model}");
    assert!(main.contains("AGENTS.md") && main.contains("tools: ") && main.contains("sessions: 1"));
}

/// What cannot be is said, with what would be right, and nothing is written.
#[tokio::test]
async fn bad_wishes_change_nothing() {
    let house = empty().await;
    house.ok(&["agents", "add", "ops", "--allow-agents", "main"]).await;
    house.ok(&["agents", "set", "main", "--allow-agents", "ops"]).await;
    let folder = file(&house);
    let folder = folder.to_str().unwrap();
    let inside = format!("{folder}/deeper");
    for (args, told) in [
        (&["add", "-x"][..], "unexpected argument"),
        (&["add", "no spaces"], "expected an agent id"),
        (&["add", "ops"], "there is an agent `ops` already, at `agents.entries.ops`"),
        (&["add", "new", "--model", "stub/stub-4"], "there are: stub-1, stub-2, stub-3"),
        (&["add", "new", "--model", "stbu/stub-1"], "did you mean `stub`?"),
        (&["add", "new", "--model", "stub-1"], "expected `provider/model`, got `stub-1`"),
        (&["add", "new", "--workspace", folder], "is a file: a workspace is a folder"),
        (&["add", "new", "--workspace", &inside], "windlass.json is a file"),
        (&["add", "new", "--tools-profile", "loud"], "minimal"),
        (&["add", "new", "--allow-agents", "opps"], "did you mean `ops`?"),
        (&["set", "ops"], "nothing is said"),
        (&["set", "opps", "--name", "x"], "did you mean `ops`?"),
        (&["set", "ops", "--model", "stub/stub-1", "--unset", "model"], "say one of both"),
        (&["remove", "main", "--yes"], "`main` is the default agent"),
        (&["remove", "ops", "--yes"], "`agents.entries.main.subagents.allowAgents`"),
        (&["remove", "nobody", "--yes"], "no agent `nobody`"),
        (&["show", "nobody"], "no agent `nobody` is configured; there are: main, ops"),
    ] {
        let why = refused(&house, &[&["agents"], args].concat()).await;
        assert!(why.contains(told), "{args:?}: {why}");
    }
    house.ok(&["agents", "delete", "ops", "--force", "--drop-references"]).await;
    assert!(!text(&house).contains("ops"), "{}", text(&house));

    // No file at all: it is made, and `main` is written so that it stays the default.
    fs::remove_file(file(&house)).unwrap();
    house.ok(&["agents", "add", "ops"]).await;
    let made: Value = jsonc_parser::parse_to_serde_value(&text(&house), &JSON5).unwrap();
    assert_eq!(made, json!({ "agents": { "entries": { "main": {}, "ops": {} } } }));
    let broken = "{ agents: { entries: { main: { modle: 1 } } } }";
    fs::write(file(&house), broken).unwrap();
    let why = refused(&house, &["agents", "add", "ops"]).await;
    assert!(why.contains("line 1, column 32"), "{why}");
}

/// The same by a client: with the right to administer, and with words for whatever cannot be.
#[tokio::test]
async fn a_client_makes_agents_and_writes_their_files() {
    let mut house = empty().await;
    house.start().await;
    let mut reader = Live::connect(&house).await;
    let (told, _) = reader.refused("agents.create", json!({ "name": "Night watch" })).await;
    assert!(told.starts_with("missing scope: operator.admin"), "{told}");
    let mut admin = Live::connect_as(&house, &["operator.read", "operator.admin"]).await;
    let night = json!({ "name": "Night watch", "model": "stub/stub-2", "emoji": "" });
    let made = admin.call("agents.create", night.clone()).await;
    let workspace = house.folder.path().join("workspace-night-watch");
    let expected = (json!("night-watch"), json!("stub/stub-2"), json!(workspace));
    assert_eq!(
        (made["agentId"].clone(), made["model"].clone(), made["workspace"].clone()),
        expected
    );
    let update = json!({ "agentId": "night-watch", "name": "Watch", "model": null });
    assert_eq!(admin.call("agents.update", update).await["ok"], true);
    let entry = &house.json(&["agents", "show", "night-watch", "--json"]).await[0];
    assert_eq!(setting(entry, "name")["value"], "Watch");
    assert_eq!(setting(entry, "model")["key"], "agents.defaults.model");
    assert_eq!(made["live"], true, "{made}");

    let before = text(&house);
    let id = "night-watch";
    for (method, params, words) in [
        ("agents.create", night, "there is an agent `night-watch` already"),
        ("agents.create", json!({ "name": "--" }), "no id can be made"),
        ("agents.create", json!({ "name": "x", "model": "stub/stub-9" }), "there are: stub-1"),
        ("agents.create", json!({ "name": "x", "avatar": "cat.png" }), "`avatar`"),
        ("agents.update", json!({ "agentId": "nobody", "name": "x" }), "no agent `nobody`"),
        ("agents.update", json!({ "agentId": id, "agentRuntime": "acp" }), "`agentRuntime`"),
        ("agents.delete", json!({ "agentId": "main" }), "`main` is the default agent"),
        ("agents.delete", json!({ "agentId": id, "deleteFiles": true }), "the folder stays"),
        ("agents.delete", json!({}), "`agentId` is missing"),
    ] {
        let (told, code) = admin.refused(method, params).await;
        assert!(told.contains(words) && code == "INVALID_REQUEST", "{method}: {told} ({code})");
    }
    assert_eq!(text(&house), before);
    files_by_name(&house, id).await;
    let mut admin = Live::connect_as(&house, &["operator.read", "operator.admin"]).await;
    house.ok(&["agent", "--agent", id, "--message", "hello"]).await;
    let gone = admin.call("agents.delete", json!({ "agentId": id })).await;
    assert_eq!((&gone["sessions"], &gone["workspace"]), (&json!(1), &json!(workspace)));
    assert!(!text(&house).contains("night-watch") && workspace.join("SOUL.md").exists());
}

/// `agents.files.*`: the files that have a meaning, and nothing by any trick with paths.
async fn files_by_name(house: &House, id: &str) {
    let mut admin = Live::connect_as(house, &["operator.read", "operator.admin"]).await;
    let listed = admin.call("agents.files.list", json!({ "agentId": id })).await;
    assert_eq!(listed["files"].as_array().unwrap().len(), 7);
    assert!(listed["files"].as_array().unwrap().iter().all(|file| file["missing"] == true));
    let set = |name: &str, content: &str, hash: &Value| json!({ "agentId": id, "name": name, "content": content, "expectedHash": hash });
    let write = set("AGENTS.md", "Look every hour.\n", &Value::Null);
    let first = admin.call("agents.files.set", write).await["file"].clone();
    let mut reader = Live::connect(house).await;
    let file = json!({ "agentId": id, "name": "AGENTS.md" });
    let read = reader.call("agents.files.get", file).await["file"].clone();
    assert_eq!((&read["content"], &read["hash"]), (&json!("Look every hour.\n"), &first["hash"]));
    admin.call("agents.files.set", set("AGENTS.md", "Look every day.\n", &first["hash"])).await;
    let late = set("AGENTS.md", "Never look.\n", &first["hash"]);
    let (told, _) = admin.refused("agents.files.set", late).await;
    assert!(told.contains("was changed"), "{told}");
    for name in ["../windlass.json", "/etc/passwd", "memory/../AGENTS.md", "gateway.token"] {
        let asked = json!({ "agentId": id, "name": name });
        let (told, code) = reader.refused("agents.files.get", asked).await;
        assert!(told.contains("expected one of AGENTS.md") && code == "INVALID_REQUEST", "{told}");
        admin.refused("agents.files.set", set(name, "mine", &Value::Null)).await;
    }
    let out = house.folder.path().join("workspace-night-watch/USER.md");
    fs::remove_file(&out).unwrap();
    std::os::unix::fs::symlink(house.folder.path().join("gateway.token"), &out).unwrap();
    let asked = json!({ "agentId": id, "name": "USER.md" });
    let (told, _) = reader.refused("agents.files.get", asked).await;
    assert!(told.contains("leads out of the workspace"), "{told}");
    let answer = house.ok(&["agent", "--agent", id, "--message", "hello"]).await;
    assert_eq!(answer.trim(), "stub heard: hello");
    assert!(prompt_of(house, &format!("agent:{id}:main")).await.contains("Look every day."));
}
