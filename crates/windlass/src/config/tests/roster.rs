//! Agents that are added, changed and taken out: what the file says then, and what it meant before.

use std::fs;

use super::super::roster::{self, Refusal, Said};
use super::*;

/// A file in a folder of its own.
struct Desk {
    _folder: tempfile::TempDir,
    paths: Paths,
}

impl Desk {
    fn new(text: Option<&str>) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            config: folder.path().join("windlass.json"),
            config_named: false,
            state: folder.path().to_owned(),
            home: None,
        };
        if let Some(text) = text {
            fs::write(&paths.config, text).unwrap();
        }
        Desk { _folder: folder, paths }
    }

    fn change(
        &self,
        decide: impl FnOnce(&Present) -> Result<Vec<Change>, Refusal>,
    ) -> anyhow::Result<Config> {
        let decide = |present: &Present| Ok((decide(present)?, ()));
        change(&self.paths, &Process, decide).map(|changed| changed.config)
    }

    fn add(&self, id: &str, said: Said, default: bool) -> anyhow::Result<Config> {
        let id = id.parse().unwrap();
        self.change(|present| roster::add(present, &id, &said, default, &self.paths.state))
    }

    fn update(&self, id: &str, said: Said, default: bool) -> anyhow::Result<Config> {
        let id = id.parse().unwrap();
        self.change(|present| roster::update(present, &id, &said, default))
    }

    fn remove(&self, id: &str, drop_references: bool) -> anyhow::Result<Config> {
        let id = id.parse().unwrap();
        self.change(|present| roster::remove(present, &id, drop_references))
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.paths.config).unwrap()
    }

    fn written(&self) -> Value {
        present(&self.paths, &Process).unwrap().written
    }

    /// Asks for a change that must be refused, and that leaves every byte as it is.
    fn refused<T>(&self, change: anyhow::Result<T>, before: &str) -> String {
        let Err(error) = change else { panic!("must be refused: {}", self.text()) };
        assert_eq!(self.text(), before);
        format!("{error:#}")
    }
}

fn said(pairs: &[(&'static str, Value)]) -> Said {
    pairs.iter().map(|(key, value)| (*key, Some(value.clone()))).collect()
}

fn default_of(config: &Config) -> (&str, &Path) {
    let id = config.agents.default_id();
    (id.as_str(), &config.agents.entries[id].workspace)
}

/// Whatever is written, who is the default and where it works stays as it was.
#[test]
fn the_old_default_stays_the_default_in_its_folder() {
    let files = [
        None,
        Some("{}"),
        Some("{ agents: { defaults: { workspace: \"/srv/w\" } } }"),
        Some("{ agents: { entries: { ops: {} } } }"),
        Some("{ agents: { entries: { a: {}, ops: { default: true } } } }"),
        Some("{ agents: { list: [{ id: \"ops\" }, { id: \"b\" }] } }"),
        Some("{ agents: { list: [{ id: \"b\" }, { id: \"ops\", default: true }] } }"),
        Some("{ agents: { list: [{ id: \"b\" }, { id: \"main\" }] } }"),
    ];
    for text in files {
        let before = Desk::new(text);
        let was = present(&before.paths, &Process).unwrap().config;
        let (id, workspace) = default_of(&was);
        for new in ["aaa", "main", "zzz"] {
            let desk = Desk::new(text);
            let Ok(config) = desk.add(new, said(&[("name", json!("New"))]), false) else {
                assert!(text.unwrap().contains("main"), "{new} in {text:?}");
                continue;
            };
            let now = default_of(&config);
            let folder = workspace.strip_prefix(&before.paths.state);
            let folder = folder.map_or(workspace.to_owned(), |end| desk.paths.state.join(end));
            assert_eq!(now, (id, &*folder), "{new} in {text:?}: {}", desk.text());
            assert_eq!(config.agents.entries[&new.parse().unwrap()].name.as_deref(), Some("New"));
        }
    }
}

/// Another default takes nothing from the old one: each keeps, or gets, a folder of its own.
#[test]
fn a_new_default_takes_nobodys_folder() {
    let desk = Desk::new(None);
    let config = desk.add("ops", Vec::new(), true).unwrap();
    let state = &desk.paths.state;
    assert_eq!(default_of(&config), ("ops", &*state.join("workspace-ops")));
    let main = &config.agents.entries[&AgentId::main()];
    assert_eq!((main.default, &main.workspace), (false, &state.join("workspace")));
    let config = desk.update("main", Vec::new(), true).unwrap();
    assert_eq!(default_of(&config), ("main", &*state.join("workspace")));
    let ops = &desk.written()["agents"]["entries"]["ops"];
    assert_eq!(ops, &json!({ "workspace": state.join("workspace-ops") }));
}

const FLEET: &str = r#"// the fleet
{
  agents: {
    entries: {
      // answers people
      main: { subagents: { allowAgents: ["ops" /* and */, "Docs"],
                           delegateTools: { ops: ["read"], docs: ["read"] } } },
      ops: { model: "local/small" }, // cheap
      docs: { subagents: { allowAgents: ["docs"] } },
    },
  },
  models: { providers: { local: {
    baseUrl: "http://127.0.0.1:9/v1", api: "openai-completions",
    models: [{ id: "small" }, { id: "large" }],
  } } },
  tools: { agentToAgent: { allow: ["main", "docs"] } },
}
"#;

#[test]
fn comments_survive_whatever_becomes_of_agents() {
    let desk = Desk::new(Some(FLEET));
    let model = json!({ "primary": "local/large", "fallbacks": ["local/small"] });
    let new = said(&[("model", model), ("tools.profile", json!("minimal"))]);
    desk.add("night", new, false).unwrap();
    desk.update("ops", said(&[("name", json!("Operations"))]), false).unwrap();
    desk.update("ops", vec![("model", None)], false).unwrap();
    desk.remove("docs", true).unwrap();
    let text = desk.text();
    for comment in ["// the fleet", "// answers people", "/* and */", "// cheap"] {
        assert!(text.contains(comment), "{comment} is gone: {text}");
    }
    let written = desk.written();
    let entries = &written["agents"]["entries"];
    let main = &entries["main"]["subagents"];
    assert_eq!(main["allowAgents"], json!(["ops"]));
    assert_eq!(main["delegateTools"], json!({ "ops": ["read"] }));
    assert_eq!(entries["ops"], json!({ "name": "Operations" }));
    assert_eq!(entries["night"]["tools"], json!({ "profile": "minimal" }));
    assert_eq!(entries["docs"], Value::Null);
    assert_eq!(written["tools"]["agentToAgent"]["allow"], json!(["main"]));
}

#[test]
fn what_cannot_be_is_refused_and_changes_no_byte() {
    let desk = Desk::new(Some(FLEET));
    let model = |text: &str| said(&[("model", json!(text))]);
    let told = [
        desk.refused(desk.add("ops", Vec::new(), false), FLEET),
        desk.refused(desk.add("new", model("local/hug"), false), FLEET),
        desk.refused(desk.update("ops", Vec::new(), false), FLEET),
        desk.refused(desk.update("opps", model("local/large"), false), FLEET),
        desk.refused(desk.remove("main", true), FLEET),
        desk.refused(desk.remove("docs", false), FLEET),
        desk.refused(desk.remove("nobody", false), FLEET),
    ];
    assert_snapshot!(told.join("\n"), @r#"
    there is an agent `ops` already, at `agents.entries.ops`; `windlass agents set ops` changes it
    no model `hug` in `models.providers.local.models`; there are: small, large
    nothing is said that could be changed of `ops`
    no agent `opps` in `agents.entries`; there are: docs, main, ops; did you mean `ops`?
    `main` is the default agent, the one of whoever names none: make another the default first, with `windlass agents set ID --default`
    `docs` is named at `agents.entries.main.subagents.allowAgents`, `agents.entries.main.subagents.delegateTools.docs`, `tools.agentToAgent.allow`: take it out there, or do both at once with `windlass agents remove docs --drop-references`
    no agent `nobody` in `agents.entries`; there are: docs, main, ops
    "#);
    let provider = desk.refused(desk.add("new", model("nowhere/m"), false), FLEET);
    assert!(provider.starts_with("nothing was changed"), "{provider}");
    assert!(provider.contains("no provider `nowhere`"), "{provider}");
    let profile = said(&[("tools.profile", json!("loud"))]);
    let profile = desk.refused(desk.add("new", profile, false), FLEET);
    assert!(profile.contains("agents.entries.new.tools.profile"), "{profile}");

    let broken = "{ agents: { entries: { main: { modle: 1 } } } }";
    let desk = Desk::new(Some(broken));
    let told = desk.refused(desk.add("new", Vec::new(), false), broken);
    assert!(told.contains("line 1, column 32") && told.contains("modle"), "{told}");
}
