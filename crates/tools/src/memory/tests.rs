use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use types::RunId;
use uuid::Uuid;

use super::*;

struct Fixture {
    folder: TempDir,
    context: ToolContext,
    config: Config,
}

fn fixture() -> Fixture {
    let folder = TempDir::new().unwrap();
    let workspace = folder.path().join("work");
    fs::create_dir(&workspace).unwrap();
    let context = ToolContext {
        workspace,
        session: "agent:main:main".parse().unwrap(),
        background: true,
        sandbox: Default::default(),
        run: RunId::new(Uuid::from_u128(7)),
        idempotency_key: "k".to_owned(),
        cancel: CancellationToken::new(),
        env: Vec::new(),
    };
    let memory_index = Some(folder.path().join("state/memory"));
    let fixture = Fixture { folder, context, config: Config { memory_index, ..Config::default() } };
    fixture.put("MEMORY.md", "# People\nAnna likes boats.\n\n# Places\nThe lake is cold.\n");
    fixture.put("memory/2026-11-20.md", "We chose the café at the lake, the Lake!\n");
    fixture.put("memory/old/deep.md", "Nothing of note.\n");
    fixture.put("README.md", "lake\n");
    fixture.put("memory/picture.txt", "lake\n");
    fixture
}

impl Fixture {
    fn put(&self, path: &str, content: &str) {
        let path = self.context.workspace.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn search(&self, query: &str) -> String {
        let arguments = json!({ "query": query }).to_string();
        let output = Search::new(&self.config).call(&self.context, &arguments).await;
        assert!(!output.is_error, "{}", output.text);
        output.text
    }

    /// Where something was found, in order.
    async fn places(&self, query: &str) -> Vec<String> {
        let text = self.search(query).await;
        let lines = text.lines().filter_map(|line| line.split_once(" (score "));
        lines.map(|(place, _)| place.to_owned()).collect()
    }

    async fn get(&self, arguments: Value) -> ToolOutput {
        Get::new(&self.config).call(&self.context, &arguments.to_string()).await
    }

    fn indexes(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("state/memory");
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

#[tokio::test]
async fn notes_are_found_by_their_words_the_best_first() {
    let fixture = fixture();
    assert_eq!(fixture.places("lake").await, ["memory/2026-11-20.md:1-1", "MEMORY.md:4-5"]);
    // Without accents, as the beginning of a word, and any of several.
    assert_eq!(fixture.places("CAFE").await, ["memory/2026-11-20.md:1-1"]);
    assert_eq!(fixture.places("boat").await, ["MEMORY.md:1-3"]);
    assert_eq!(fixture.places("boats nowhere-else").await, ["MEMORY.md:1-3"]);
    let text = fixture.search("boats").await;
    assert!(text.contains("# People\nAnna likes boats.\n\n[1 found in 3 notes"), "{text}");
    let none = fixture.search("xylophone \"OR\" NEAR(").await;
    assert_eq!(none, "[nothing in 3 notes has a word of `xylophone \"OR\" NEAR(`]");
    assert_eq!(fixture.search("***").await, "[nothing in 3 notes has a word of `***`]");
}

/// The files are the truth: what is written, changed and removed is seen by the next search.
#[tokio::test]
async fn the_index_follows_the_files_and_is_made_anew_if_it_is_damaged() {
    let fixture = fixture();
    assert_eq!(fixture.places("heron").await, [""; 0]);
    fixture.put("memory/birds.md", "A heron.\n");
    assert_eq!(fixture.places("heron").await, ["memory/birds.md:1-1"]);
    fixture.put("memory/birds.md", "A heron no more: a stork.\n");
    assert_eq!(fixture.places("stork").await, ["memory/birds.md:1-1"]);
    fs::remove_file(fixture.context.workspace.join("memory/birds.md")).unwrap();
    assert_eq!(fixture.places("stork").await, [""; 0]);

    let [index] = &fixture.indexes()[..] else { panic!("{:?}", fixture.indexes()) };
    let before = fixture.search("lake").await;
    fs::write(index, "this is no database, and longer than its head would be".repeat(100)).unwrap();
    assert_eq!(fixture.search("lake").await, before);
    let connection = rusqlite::Connection::open(index).unwrap();
    connection.execute_batch("drop table parts; create table parts (x)").unwrap();
    drop(connection);
    assert_eq!(fixture.search("lake").await, before);
    let connection = rusqlite::Connection::open(index).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert_eq!(fixture.search("lake").await, before);
    fs::remove_file(index).unwrap();
    assert_eq!(fixture.search("lake").await, before);
    let in_memory =
        Fixture { config: Config { memory_index: None, ..Config::default() }, ..fixture };
    assert_eq!(in_memory.search("lake").await, before);
}

#[tokio::test]
async fn two_workspaces_have_indexes_of_their_own() {
    let fixture = fixture();
    fixture.search("lake").await;
    let other = Fixture {
        context: ToolContext { workspace: fixture.folder.path().into(), ..fixture.context.clone() },
        ..fixture
    };
    assert!(other.search("lake").await.starts_with("[there are no notes yet"));
    assert_eq!(other.indexes().len(), 2);
}

#[tokio::test]
async fn what_is_no_note_is_not_read() {
    let fixture = fixture();
    fixture.put("../secret.md", "lake\n");
    let work = &fixture.context.workspace;
    symlink("../../secret.md", work.join("memory/link.md")).unwrap();
    symlink("..", work.join("memory/up")).unwrap();
    fixture.put("memory/huge.md", &"lake ".repeat(300_000));
    let text = fixture.search("lake").await;
    assert!(
        text.ends_with("in 3 notes; read on with memory_get; 1 files were too large or too many]"),
        "{text}"
    );
    for (arguments, expected) in [
        (json!({"path": "README.md"}), "`README.md` is no note"),
        (json!({"path": "memory/picture.txt"}), "is no note"),
        (json!({"path": "memory/../README.md"}), "is no note"),
        (json!({"path": "memory/link.md"}), "leads outside the workspace"),
        (json!({"path": "memory/none.md"}), "there is no note `memory/none.md`"),
        (json!({"path": "memory/huge.md"}), "too many for a note"),
        (
            json!({"path": "MEMORY.md", "from": 6}),
            "`from` 6 is past the end: `MEMORY.md` has 5 lines",
        ),
        (json!({"path": "MEMORY.md", "corpus": "wiki"}), "`corpus` must be one of `memory`, `all`"),
        (json!({}), "`path` is missing"),
    ] {
        let output = fixture.get(arguments.clone()).await;
        assert!(output.is_error && output.text.contains(expected), "{arguments}: {}", output.text);
    }
    for (arguments, expected) in [
        (json!({}), "`query` is missing"),
        (json!({"query": " "}), "`query` is empty"),
        (json!({"query": "x", "minScore": 2}), "`minScore` must be from 0 to 1; got 2"),
        (json!({"query": "x", "corpus": "sessions"}), "`corpus` must be one of"),
        (json!({"query": "x", "limit": 2}), "use `maxResults`"),
    ] {
        let (tool, text) = (Search::new(&fixture.config), arguments.to_string());
        let output = tool.call(&fixture.context, &text).await;
        assert!(output.is_error && output.text.contains(expected), "{arguments}: {}", output.text);
    }
}

#[tokio::test]
async fn a_note_is_read_by_its_lines() {
    let fixture = fixture();
    let whole = fixture.get(json!({"path": "MEMORY.md"})).await;
    assert_eq!(whole.text, "# People\nAnna likes boats.\n\n# Places\nThe lake is cold.\n");
    let some = fixture.get(json!({"path": "./MEMORY.md", "from": 2, "lines": 1})).await;
    assert_eq!(some.text, "Anna likes boats.\n[lines 2 to 2 of 5; go on with from 3]");
    fixture.put("memory/empty.md", "");
    assert_eq!(fixture.get(json!({"path": "memory/empty.md"})).await.text, "[the note is empty]");
    let bounded = Fixture { config: Config { read_bytes_max: 20, ..Config::default() }, ..fixture };
    let text = bounded.get(json!({"path": "MEMORY.md"})).await.text;
    assert_eq!(text, "# People\n[lines 1 to 1 of 5; go on with from 2]");
}

#[tokio::test]
async fn results_are_bounded_and_scored() {
    let fixture = fixture();
    for n in 0..20 {
        fixture.put(&format!("memory/n{n}.md"), "stone\n");
    }
    assert_eq!(fixture.places("stone").await.len(), 6);
    let all = json!({"query": "stone", "maxResults": 50, "minScore": 0.999}).to_string();
    let text = Search::new(&fixture.config).call(&fixture.context, &all).await.text;
    assert!(text.contains("nothing in 23 notes"), "{text}");
}
