//! `windlass flow show --dot`, drawn by the real Graphviz: whatever a flow is called, the picture
//! says it as it is.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use stub::Plan;

use crate::house::House;
use crate::judge;

/// Draws a graph, and returns the lines of text in the picture, in their order.
fn drawn(graph: &str) -> Vec<String> {
    let child = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("`dot` is missing (Debian: apt-get install graphviz)");
    child.stdin.take().unwrap().write_all(graph.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (picture, warnings) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success() && warnings.is_empty(), "{warnings}\n{graph}");
    let picture = String::from_utf8(picture).unwrap();
    let texts = picture.split("<text ").skip(1).map(|rest| {
        let (_, text) = rest.split_once('>').unwrap();
        plain(text.split_once("</text>").unwrap().0)
    });
    texts.collect()
}

/// Text of an SVG without its entities.
fn plain(text: &str) -> String {
    let mut plain = text.replace("&#160;", " ").replace("&#45;", "-").replace("&#39;", "'");
    for (entity, character) in [("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")] {
        plain = plain.replace(entity, character);
    }
    assert!(!plain.contains("&#"), "an entity that this test does not know: {text}");
    plain
}

#[tokio::test]
async fn graphviz_draws_every_name_as_it_is() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let names = [
        "plain",
        "she said \"hi\", and left",
        "two\nlines\r\nand a third",
        "ünïcødé 名前 🚀",
        "C:\\new\\ and a last \\",
        "&eacute; &amp; <b>bold</b> \\N \\G",
        "digraph { a -> b; } // \t #x",
    ];
    for name in names {
        let declared = json!({ "name": name, "tasks": [
            { "id": "first", "task": Plan::new().say("1").to_brief() },
            { "id": "node", "task": Plan::new().say("2").to_brief(), "dependsOn": ["first"] },
            { "id": "graph", "task": Plan::new().say("3").to_brief(), "dependsOn": ["first", "node"] },
        ] });
        let path = house.folder.path().join("flow.json5");
        std::fs::write(&path, declared.to_string()).unwrap();
        let output = house.run(&["flow", "run", path.to_str().unwrap(), "--watch"]).await;
        assert!(output.status.success(), "{name:?}: {}", house.log());
        let id = house.json(&["flow", "list", "--json"]).await[0]["flowId"].clone();
        let graph = house.ok(&["flow", "show", id.as_str().unwrap(), "--dot"]).await;

        let texts = drawn(&graph);
        let title: Vec<&String> = texts.iter().take_while(|line| *line != "first").collect();
        let title = title.into_iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        // A control other than an end of line is a space in the picture.
        let expected = name.replace(['\r', '\t'], " ");
        let expected = format!("{expected}  completed  3/3 done");
        assert!(title.starts_with(&expected), "{title:?}, not {expected:?}, of\n{graph}");
        let nodes: Vec<&str> =
            texts.iter().map(String::as_str).skip_while(|t| *t != "first").collect();
        assert_eq!(nodes, ["first", "completed", "node", "completed", "graph", "completed"]);
        assert_eq!(graph.matches(" -> ").count() - name.matches(" -> ").count(), 3, "{graph}");
    }
    judge::all_is_well(&house, &Default::default()).await;
}
