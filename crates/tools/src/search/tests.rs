use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use types::RunId;
use uuid::Uuid;

use super::*;

/// A small project, with a folder beside it that is none of its business.
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
    let fixture = Fixture { folder, context, config: Config::default() };
    fixture.put("src/main.rs", "fn main() {\n    // TODO: lake\n}\n");
    fixture.put("src/deep/lake.rs", "one\nlake\nthree\nfour\nfive\nlake\nseven\n");
    fixture.put("README.md", "The Lake.\n");
    fixture.put(".github/ci.yml", "lake: true\n");
    fixture.put("target/out.txt", "lake\n");
    fixture.put(".gitignore", "/target\n*.log\n");
    fixture.put("run.log", "lake\n");
    fixture.put(".git/config", "lake\n");
    fixture.put("picture", b"lake\0\x01");
    fixture.put("../secret", "lake\n");
    fixture
}

impl Fixture {
    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.context.workspace.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn output(&self, arguments: Value) -> ToolOutput {
        Search::new(&self.config).call(&self.context, &arguments.to_string()).await
    }

    async fn search(&self, arguments: Value) -> String {
        let output = self.output(arguments).await;
        assert!(!output.is_error, "{}", output.text);
        output.text
    }

    async fn error(&self, arguments: Value) -> String {
        let output = self.output(arguments).await;
        assert!(output.is_error, "{}", output.text);
        output.text
    }
}

#[tokio::test]
async fn lines_are_shown_by_file_and_what_git_ignores_is_left_out() {
    let fixture = fixture();
    let text = fixture.search(json!({"pattern": "la.e"})).await;
    assert_eq!(
        text,
        ".github/ci.yml\n1:lake: true\n\n\
         src/deep/lake.rs\n2:lake\n6:lake\n\n\
         src/main.rs\n2:    // TODO: lake\n\
         [4 matches in 3 files]"
    );
    let all = fixture.search(json!({"pattern": "lake", "includeIgnored": true})).await;
    assert!(all.contains("run.log\n1:lake") && all.contains("target/out.txt"), "{all}");
    assert!(!all.contains(".git/config") && !all.contains("secret"), "{all}");
}

#[tokio::test]
async fn context_has_gaps_between_and_none_for_what_is_not_shown() {
    let fixture = fixture();
    let around = json!({"pattern": "lake", "path": "src/deep", "context": 1});
    assert_eq!(
        fixture.search(around.clone()).await,
        "src/deep/lake.rs\n1-one\n2:lake\n3-three\n--\n5-five\n6:lake\n7-seven\n\
         [2 matches in 1 file]"
    );
    let mut first = around;
    first["maxResults"] = json!(1);
    assert_eq!(
        fixture.search(first).await,
        "src/deep/lake.rs\n1-one\n2:lake\n3-three\n\
         [1 match in 1 file; there are more: narrow the search, or raise maxResults]"
    );
    // As many as there are is not "more".
    let two = json!({"pattern": "lake", "path": "src/deep", "maxResults": 2});
    assert!(fixture.search(two).await.ends_with("[2 matches in 1 file]"));
}

#[tokio::test]
async fn names_are_found_by_glob() {
    let fixture = fixture();
    for (arguments, expected) in [
        (json!({"glob": "*.rs"}), "src/deep/lake.rs\nsrc/main.rs\n[2 files]"),
        (json!({"glob": "src/*.rs"}), "src/main.rs\n[1 file]"),
        (json!({"glob": "./src/**/*.{rs,md}"}), "src/deep/lake.rs\nsrc/main.rs\n[2 files]"),
        // From where the search begins, and from the workspace.
        (json!({"glob": "deep/*", "path": "src"}), "src/deep/lake.rs\n[1 file]"),
        (json!({"glob": "src/deep/*", "path": "src"}), "src/deep/lake.rs\n[1 file]"),
        (json!({"glob": "*.yml"}), ".github/ci.yml\n[1 file]"),
        (json!({"glob": "*.log"}), "[no file has such a name]"),
        (json!({"glob": "*.md", "pattern": "lake"}), "[no match in 1 file]"),
        (
            json!({"glob": "*.md", "pattern": "LAKE", "ignoreCase": true}),
            "README.md\n1:The Lake.\n[1 match in 1 file]",
        ),
        (
            json!({"glob": "*.rs", "maxResults": 1}),
            "src/deep/lake.rs\n[1 file; there are more: narrow the search, or raise maxResults]",
        ),
    ] {
        assert_eq!(fixture.search(arguments.clone()).await, expected, "{arguments}");
    }
}

#[tokio::test]
async fn a_literal_pattern_is_itself_and_a_bad_one_is_explained() {
    let fixture = fixture();
    fixture.put("odd", "a.b(c\naxb(c\n");
    let literal = json!({"pattern": "a.b(", "literal": true});
    assert_eq!(fixture.search(literal).await, "odd\n1:a.b(c\n[1 match in 1 file]");
    for (arguments, expected) in [
        (json!({"pattern": "a.b("}), "set `literal` to true"),
        (json!({"pattern": "a\\nb"}), "matched line by line"),
        (json!({"glob": "a[b"}), "`glob` is not a pattern for names"),
        (json!({}), "give `pattern`"),
        (json!({"pattern": ""}), "give `pattern`"),
        (json!({"query": "x"}), "use `pattern`"),
        (json!({"pattern": "x", "path": "no"}), "there is no file or folder `no`"),
        (json!({"pattern": "x", "path": "../secret"}), "leads outside the workspace"),
        (json!({"pattern": "x", "context": 21}), "`context` must be an integer from 0 to 20"),
        (json!({"pattern": "x", "maxResults": 0}), "`maxResults` must be an integer from 1"),
        (json!({"pattern": "x".repeat(5_000)}), "`pattern` has 5000 bytes"),
    ] {
        let error = fixture.error(arguments.clone()).await;
        assert!(error.contains(expected), "{arguments}: {error}");
    }
}

#[tokio::test]
async fn a_named_path_is_searched_or_it_is_said_why_not() {
    let fixture = fixture();
    let in_file = fixture.search(json!({"pattern": "lake", "path": "target/out.txt"})).await;
    assert_eq!(in_file, "target/out.txt\n1:lake\n[1 match in 1 file]");
    let ignored = fixture.search(json!({"pattern": "lake", "path": "target"})).await;
    assert_eq!(ignored, "[.gitignore excludes `target`; set includeIgnored to search it]");
    let git = fixture.search(json!({"pattern": "lake", "path": ".git"})).await;
    assert_eq!(git, ".git/config\n1:lake\n[1 match in 1 file]");
}

#[tokio::test]
async fn links_lead_nowhere_and_what_is_above_does_not_matter() {
    let fixture = fixture();
    fixture.put("../.gitignore", "*\n");
    fixture.put("../other/file", "lake\n");
    let work = &fixture.context.workspace;
    symlink(fixture.folder.path().join("other"), work.join("out")).unwrap();
    symlink(fixture.folder.path().join("secret"), work.join("out-file")).unwrap();
    symlink("src", work.join("in")).unwrap();
    let text = fixture.search(json!({"pattern": "lake"})).await;
    assert!(text.ends_with("[4 matches in 3 files]"), "{text}");
    let error = fixture.error(json!({"pattern": "lake", "path": "out"})).await;
    assert!(error.contains("leads outside the workspace"), "{error}");
    // A link to the inside is the folder itself.
    let text = fixture.search(json!({"pattern": "lake", "path": "in/deep"})).await;
    assert!(text.starts_with("src/deep/lake.rs\n"), "{text}");
}

#[tokio::test]
async fn what_is_shown_is_bounded() {
    let mut fixture = fixture();
    fixture.config.read_bytes_max = 2_000;
    let long = format!("{}lake{}\n", "é".repeat(300), "b".repeat(1_000));
    fixture.put("many", "lake\n".repeat(5_000));
    fixture.put("long", long);
    let text = fixture.search(json!({"pattern": "lake", "path": "many"})).await;
    assert!(text.len() < 2_100 && text.contains("there are more"), "{text}");
    let many = json!({"pattern": "lake", "path": "many", "maxResults": 3});
    let text = fixture.search(many).await;
    assert_eq!(text.matches(":lake").count(), 3);
    let text = fixture.search(json!({"pattern": "lake", "path": "long"})).await;
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with("1:[500 bytes]") && line.contains("élakeb"), "{line}");
    assert!(line.ends_with("[704 bytes]"), "{line}");
}

#[tokio::test]
async fn a_search_ends_in_time_and_with_its_run() {
    let mut fixture = fixture();
    fixture.config.search_timeout = Duration::ZERO;
    let text = fixture.search(json!({"pattern": "lake"})).await;
    assert!(text.contains("not all was searched: it took longer than 0 s"), "{text}");
    fixture.context.cancel.cancel();
    let error = fixture.error(json!({"pattern": "lake"})).await;
    assert_eq!(error, "the run was stopped");
}

#[tokio::test]
async fn a_line_that_is_too_long_to_be_held_is_said() {
    let fixture = fixture();
    fixture.put("endless", "x".repeat(40 << 20));
    let text = fixture.search(json!({"pattern": "lake", "path": "endless"})).await;
    assert_eq!(text, "[no match in 1 file; 1 file could not be searched to the end]");
}
