//! What a model does with its tools, from its call to what is there afterwards.

use serde_json::json;
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
