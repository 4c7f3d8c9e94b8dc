use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use types::RunId;
use uuid::Uuid;

use super::*;

struct Fixture {
    folder: TempDir,
    context: ToolContext,
    tool: ApplyPatch,
}

fn fixture() -> Fixture {
    let folder = TempDir::new().unwrap();
    let context = ToolContext {
        workspace: folder.path().to_owned(),
        session: "agent:main:main".parse().unwrap(),
        background: true,
        sandbox: Default::default(),
        run: RunId::new(Uuid::from_u128(7)),
        idempotency_key: "k".to_owned(),
        cancel: CancellationToken::new(),
        env: Vec::new(),
    };
    Fixture { folder, context, tool: ApplyPatch::new(&Config::default()) }
}

impl Fixture {
    fn put(&self, path: &str, content: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// All files below the workspace, with what is in them.
    fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.symlink_metadata().unwrap().is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.folder.path()).unwrap();
                    let text = fs::read_to_string(&path).unwrap_or_default();
                    files.push((name.display().to_string(), text));
                }
            }
        }
        files.sort();
        files
    }

    async fn apply(&self, patch: &str) -> ToolOutput {
        self.tool.call(&self.context, &json!({ "input": patch }).to_string()).await
    }

    async fn probe(&self, patch: &str) -> Probe {
        self.tool.probe(&self.context, &json!({ "input": patch }).to_string()).await
    }
}

fn patch(body: &str) -> String {
    format!("*** Begin Patch\n{body}\n*** End Patch")
}

fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

const EVERYTHING: &str = "*** Add File: new/deep.txt
+one
+
+three
*** Update File: src/a.rs
@@ fn two() {
-    2
+    two
 }
*** Update File: src/b.rs
*** Move to: lib/b.rs
@@
-old
+new
*** Delete File: gone";

fn project() -> Fixture {
    let fixture = fixture();
    fixture.put("src/a.rs", "fn one() {\n    2\n}\nfn two() {\n    2\n}\n");
    fixture.put("src/b.rs", "old\nrest\n");
    fixture.put("gone", "x");
    fixture
}

#[tokio::test]
async fn files_are_added_changed_moved_and_deleted() {
    let fixture = project();
    let script = fixture.folder.path().join("src/b.rs");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let patch = patch(EVERYTHING);
    assert_eq!(fixture.probe(&patch).await, Probe::NotDone);
    let output = fixture.apply(&patch).await;
    let answer = "applied the patch:\nA new/deep.txt\nM src/a.rs\nR src/b.rs -> lib/b.rs\nD gone";
    assert_eq!(output, ToolOutput::ok(answer));
    assert_eq!(
        fixture.files(),
        owned(&[
            ("lib/b.rs", "new\nrest\n"),
            ("new/deep.txt", "one\n\nthree\n"),
            ("src/a.rs", "fn one() {\n    2\n}\nfn two() {\n    two\n}\n"),
        ])
    );
    let mode = fixture.folder.path().join("lib/b.rs").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(fixture.probe(&patch).await, Probe::Done(output));
    // Once more it does not fit, and says why.
    let again = fixture.apply(&patch).await;
    assert!(again.is_error && again.text.contains("`new/deep.txt` is there already"), "{again:?}");
}

/// What a crash between any two renames leaves behind is never taken for all or nothing.
#[tokio::test]
async fn a_patch_that_was_made_in_part_is_unclear() {
    let done = project();
    let patch = patch(EVERYTHING);
    assert!(!done.apply(&patch).await.is_error);
    let steps: [fn(&Fixture); 4] = [
        |half| half.put("new/deep.txt", "one\n\nthree\n"),
        |half| half.put("src/a.rs", "fn one() {\n    2\n}\nfn two() {\n    two\n}\n"),
        |half| half.put("lib/b.rs", "new\nrest\n"),
        |half| fs::remove_file(half.folder.path().join("src/b.rs")).unwrap(),
    ];
    let half = project();
    for step in steps {
        assert_eq!(half.files().iter().filter(|(path, _)| path == "gone").count(), 1);
        step(&half);
        assert_eq!(half.probe(&patch).await, Probe::Unsure);
    }
    fs::remove_file(half.folder.path().join("gone")).unwrap();
    assert!(matches!(half.probe(&patch).await, Probe::Done(_)));
    assert_eq!(half.files(), done.files());
}

#[tokio::test]
async fn operations_on_one_file_follow_each_other() {
    let fixture = fixture();
    fixture.put("f", "a\nb\n");
    let twice = patch("*** Update File: f\n-a\n+A\n*** Update File: f\n-b\n+B");
    assert!(!fixture.apply(&twice).await.is_error);
    assert_eq!(fixture.files(), owned(&[("f", "A\nB\n")]));
    assert_eq!(fixture.probe(&twice).await, Probe::Unsure);
    let swap = patch("*** Delete File: f\n*** Add File: f\n+new");
    assert!(!fixture.apply(&swap).await.is_error);
    assert_eq!(fixture.files(), owned(&[("f", "new\n")]));
}

#[tokio::test]
async fn how_models_wrap_a_patch_does_not_matter() {
    for text in [
        "<<'EOF'\n*** Begin Patch\n*** Add File: f\n+x\n*** End Patch\nEOF",
        "apply_patch <<\"EOF\"\n*** Begin Patch\n*** Add File: f\n+x\n*** End Patch\nEOF\n",
        "\n*** Begin Patch\n\n*** Add File: f\n+x\n*** End Patch  \n",
        "*** Begin Patch\r\n*** Add File: f\r\n+x\r\n*** End Patch\r\n",
    ] {
        let fixture = fixture();
        let output = fixture.apply(text).await;
        assert!(!output.is_error, "{text:?}: {}", output.text);
        assert_eq!(fixture.files(), owned(&[("f", "x\n")]));
    }
}

/// Each error names what is wrong, and nothing is changed by any of them.
#[tokio::test]
async fn a_patch_that_does_not_fit_changes_nothing() {
    let fixture = fixture();
    fixture.put("f", "one\ntwo\nthree\n");
    fixture.put("read-only", "x\n");
    let locked = fixture.folder.path().join("read-only");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o444)).unwrap();
    symlink("f", fixture.folder.path().join("link")).unwrap();
    let before = fixture.files();
    let good = "*** Update File: f\n-one\n+1\n";
    for (body, expected) in [
        (
            "*** Update File: f\n@@\n one\n two\n-four",
            "hunk 1 of `f` (line 3 of the patch): \
          its first 2 lines stand at line 1, but then the file has `three` and the patch `four`",
        ),
        (
            "*** Update File: f\n-one\n+1\n@@ zwei\n-two",
            "hunk 2 of `f` (line 5 of the patch): \
          no line `zwei` was found after line 1 of the file",
        ),
        ("*** Update File: none\n-x\n+y", "there is no file `none`"),
        ("*** Delete File: none", "there is no file `none`"),
        ("*** Add File: f\n+x", "`f` is there already; change it with *** Update File"),
        ("*** Add File: f/below\n+x", "cannot look up `f/below`: Not a directory"),
        ("*** Add File: a\n+x\n*** Add File: a/b\n+x", "`a/b` cannot be made"),
        ("*** Update File: f\n*** Move to: read-only\n-one", "`read-only` is read-only"),
        ("*** Delete File: read-only", "`read-only` is read-only"),
        ("*** Delete File: link", "`link` is a symbolic link"),
        ("*** Add File: ../out\n+x", "leads outside the workspace"),
        ("*** Update File: f\n*** Move to: /etc/x\n-one", "leads outside the workspace"),
        ("*** Add File: x/\n+x", "`x/` names a folder"),
        ("*** Update File: f\n@@\n one", "line 3 of the patch: the hunk changes nothing"),
        ("*** Update File: f", "the update of `f` has no hunk"),
        ("*** Update File: f\n-one\nand so on", "line 4 of the patch: a line of a hunk begins"),
        ("*** Add File: g\nx", "line 3 of the patch: each line of a new file begins with `+`"),
        ("*** Rename File: f", "line 2 of the patch: expected `*** Add File: PATH`"),
        ("", "the patch changes nothing"),
    ] {
        let output = fixture.apply(&patch(body)).await;
        assert!(output.is_error && output.text.contains(expected), "{body}: {}", output.text);
        assert_eq!(fixture.files(), before, "{body}");
        if body.starts_with("*** ") && !body.starts_with("*** Add File: f\n") {
            let both = fixture.apply(&patch(&format!("{good}{body}"))).await;
            let second = body.starts_with("*** Update File: f");
            assert!(both.is_error || second, "{body}: {}", both.text);
            if !both.is_error {
                fixture.put("f", "one\ntwo\nthree\n");
            }
            assert_eq!(fixture.files(), before, "{body}, after a part that fits");
        }
    }
    for (text, expected) in [
        ("--- a/f\n+++ b/f\n", "must begin with a line `*** Begin Patch`; it has `--- a/f`"),
        ("*** Begin Patch\n*** Add File: g\n+x", "must end with a line `*** End Patch`"),
        ("*** Begin Patch\n*** Delete File: f\n*** End Patch\nx", "nothing may follow"),
    ] {
        let output = fixture.apply(text).await;
        assert!(output.is_error && output.text.contains(expected), "{}", output.text);
    }
    assert_eq!(fixture.files(), before);
}
