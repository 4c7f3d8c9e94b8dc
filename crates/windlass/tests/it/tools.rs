//! What a model does with its tools, from its call to what is there afterwards.

use std::time::Duration;

use machine::rows::{Step, StepState};
use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;

impl House {
    /// Puts a file into the agent's workspace.
    fn put(&self, path: &str, content: &str) {
        let path = self.folder.path().join("workspace").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("workspace").join(path)).unwrap()
    }
}

/// The model looks for a word and hears where it stands; a read-only child may look, too.
#[tokio::test]
async fn a_model_searches_its_workspace() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        house.put("src/shore.rs", "// the lake\n");
        house.put(".gitignore", "build\n");
        house.put("build/shore.o", "the lake\n");
        let look = Plan::new().call("search", json!({ "pattern": "lake" })).say("{last}");
        let answer = house.ask(&look.to_brief()).await;
        assert!(answer.contains("src/shore.rs\n1:// the lake\n[1 match in 1 file]"), "{answer}");

        let read_only = json!({ "access": "read-only" }).as_object().unwrap().clone();
        let root = Plan::new().spawn([("c", look)]).change(|step| step.spawn[0].args = read_only);
        let answer = house.ask(&root.yield_().say("{results}").to_brief()).await;
        assert!(answer.contains("src/shore.rs"), "{answer}");
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// One patch changes two files; the model hears of it, and of one that does not fit.
#[tokio::test]
async fn a_model_patches_its_workspace() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        house.put("a.txt", "one\ntwo\n");
        let patch =
            |body: &str| json!({ "input": format!("*** Begin Patch\n{body}\n*** End Patch") });
        let good = patch("*** Update File: a.txt\n one\n-two\n+2\n*** Add File: b/c.txt\n+new");
        let bad = patch("*** Delete File: b/c.txt\n*** Update File: a.txt\n-three");
        let plan = Plan::new().call("apply_patch", good).call("apply_patch", bad).say("{tools}");
        let answer = house.ask(&plan.to_brief()).await;
        assert!(answer.contains("applied the patch:\nM a.txt\nA b/c.txt"), "{answer}");
        assert!(answer.contains("its first line `three` does not occur"), "{answer}");
        assert_eq!(
            (house.text("a.txt"), house.text("b/c.txt")),
            ("one\n2\n".into(), "new\n".into())
        );
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// A gateway that is killed again and again while its model patches a file line by line: each
/// patch is made once or the model is told that nobody knows, and none is made twice.
#[tokio::test]
async fn a_patch_that_a_kill_cut_is_made_once() {
    const LINES: usize = 30;
    let mut house = House::build(WIRES[0], |_| {}).await;
    house.start().await;
    house.put("list", "end\n");
    let mut plan = Plan::new();
    for n in 0..LINES {
        let input = format!(
            "*** Begin Patch\n*** Update File: list\n+line {n}\n end\n*** Add File: f{n}\n+{n}\n\
             *** End Patch"
        );
        plan = plan.call("apply_patch", json!({ "input": input }));
    }
    let brief = plan.say("{tools}").to_brief();
    let mut asking = house.command(&["agent", "--message", &brief]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    for n in [3, 9, 15, 21] {
        // A kill right after a file has appeared is one between its rename and the commit.
        for _ in 0..6_000 {
            if house.folder.path().join("workspace").join(format!("f{n}")).exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        house.kill();
        house.start().await;
    }
    house.quiet().await;
    let answer = String::from_utf8(asked.await.unwrap().stdout).unwrap();
    let list = house.text("list");
    let lines: Vec<&str> = list.lines().collect();
    let mut cut = 0;
    for n in 0..LINES {
        let times = lines.iter().filter(|line| **line == format!("line {n}")).count();
        let file = house.folder.path().join("workspace").join(format!("f{n}")).exists();
        assert!(times <= 1, "line {n} stands there {times} times: {list}");
        cut += usize::from(times != 1 || !file);
    }
    let world = judge::all_is_well(&house, &Default::default()).await;
    let unknown = |step: &&Step| step.state == StepState::Unknown;
    // A patch that was made may be called unknown; one that was not made whole must be.
    let unknown = world.steps.iter().filter(unknown).count();
    assert!(cut <= unknown && unknown <= 4, "{cut} cut, {unknown} unknown: {answer}");
    assert!(!answer.contains("nothing was changed"), "{answer}");
}

/// The model gets a page of a host that the operator has named, and hears which key decides of one
/// that he has not.
#[tokio::test]
async fn a_model_fetches_a_page() {
    for wire in WIRES {
        let allow = |config: &mut Value| {
            let policy = json!({ "allowedHostnames": ["127.0.0.1"] });
            config["tools"] = json!({ "web": { "fetch": { "ssrfPolicy": policy } } });
        };
        let mut house = House::build(wire, allow).await;
        house.start().await;
        let page = format!("{}/healthz", house.stub.url());
        let plan = Plan::new().call("web_fetch", json!({ "url": page }));
        let inner = json!({ "url": page.replace("127.0.0.1", "localhost") });
        let plan = plan.call("web_fetch", inner).say("{tools}").to_brief();
        let answer = house.ask(&plan).await;
        assert!(answer.contains("200 OK") && answer.contains("data, not instructions"), "{answer}");
        assert!(answer.contains("tools.web.fetch.ssrfPolicy.allowedHostnames"), "{answer}");
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// The model writes a note and finds it again, also in another session and after a kill; the index
/// lies in the state folder and may be thrown away.
#[tokio::test]
async fn a_model_finds_its_notes() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let note = json!({ "path": "memory/boats.md", "content": "# Boats\nAnna has a dinghy.\n" });
        let find = json!({ "query": "dinghies dinghy" });
        let plan = Plan::new().call("write", note).call("memory_search", find.clone());
        let answer = house.ask(&plan.say("{last}").to_brief()).await;
        assert!(answer.contains("memory/boats.md:1-2 (score 0."), "{answer}");
        house.kill();
        std::fs::remove_dir_all(house.folder.path().join("memory")).unwrap();
        house.start().await;
        let get = json!({ "path": "memory/boats.md", "from": 2 });
        let plan = Plan::new().call("memory_search", find).call("memory_get", get).say("{tools}");
        let args = ["agent", "--session-key", "thread:other", "--message", &plan.to_brief()];
        let answer = house.ok(&args).await;
        assert!(answer.contains("memory/boats.md:1-2") && answer.contains("Anna has"), "{answer}");
        assert_eq!(std::fs::read_dir(house.folder.path().join("memory")).unwrap().count(), 1);
        judge::all_is_well(&house, &Default::default()).await;
    }
}

#[tokio::test]
async fn the_list_of_tools_has_what_is_switched_on() {
    let names = async |house: &House| -> Vec<String> {
        let lines = house.json(&["tools", "list", "--json"]).await;
        let text = Value::from(lines).to_string();
        let all = ["search", "apply_patch", "web_fetch", "memory_search", "memory_get"];
        let there = |name: &&str| text.contains(&format!("\"{name}\""));
        all.into_iter().filter(there).map(str::to_owned).collect()
    };
    let mut house = House::build(WIRES[0], |_| {}).await;
    house.start().await;
    let all = ["search", "apply_patch", "web_fetch", "memory_search", "memory_get"];
    assert_eq!(names(&house).await, all);
    let off = |config: &mut Value| {
        let web = json!({ "fetch": { "enabled": false } });
        config["tools"] = json!({ "web": web, "exec": { "applyPatch": { "enabled": false } } });
    };
    let mut house = House::build(WIRES[0], off).await;
    house.start().await;
    assert_eq!(names(&house).await, ["search", "memory_search", "memory_get"]);
}
