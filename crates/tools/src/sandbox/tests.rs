use std::fs;

use super::*;

fn settings(folder: &std::path::Path) -> Settings {
    let state = folder.join("state");
    fs::create_dir_all(state.join("secret")).unwrap();
    Settings {
        folder: Some(state.join("sandbox")),
        hidden: vec![state],
        launcher: Some("/nowhere".into()),
        ..Settings::default()
    }
}

#[test]
fn a_later_mode_is_stricter() {
    assert!(Mode::Off < Mode::Workspace && Mode::Workspace < Mode::Strict);
}

#[test]
fn a_workspace_that_holds_what_is_hidden_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let fence = |workspace: &str| {
        let workspace = folder.path().join(workspace);
        fs::create_dir_all(&workspace).unwrap();
        let temporary = folder.path().join("state/sandbox/tmp/x");
        Fence::new(&settings, Mode::Workspace, Backend::Landlock, workspace, temporary)
    };
    assert!(fence("work").is_ok());
    assert!(fence("state/workspace").is_ok());
    let why = fence("").unwrap_err();
    assert!(why.contains("holds") && why.contains("state"), "{why}");
}

/// A folder of which a part is hidden is opened part by part.
#[test]
fn what_is_hidden_is_left_out_of_what_may_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let settings = settings(&root);
    fs::create_dir_all(root.join("lib/a")).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    std::os::unix::fs::symlink(root.join("state"), root.join("link")).unwrap();
    fs::create_dir_all(root.join("work")).unwrap();
    let temporary = root.join("state/sandbox/tmp/x");
    let fence =
        Fence::new(&settings, Mode::Workspace, Backend::Landlock, root.join("work"), temporary);
    let fence = fence.unwrap();
    let mut parts = fence.open_parts(&root);
    parts.sort();
    assert_eq!(parts, ["file", "lib", "work"].map(|name| root.join(name)));
    assert_eq!(fence.open_parts(&root.join("state/secret")), [] as [PathBuf; 0]);
    assert_eq!(fence.open_parts(&root.join("lib")), [root.join("lib")]);
}

#[tokio::test]
async fn without_a_means_a_command_is_refused_with_the_key_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(settings(folder.path()));
    let launch = Launch {
        program: "/bin/true".into(),
        arguments: Vec::new(),
        folder: folder.path().to_owned(),
        env: Vec::new(),
        wants: crate::launch::Wants::Nothing,
        bounds: None,
    };
    let session: SessionKey = "agent:main:main".parse().unwrap();
    let workspace = folder.path().join("work");
    fs::create_dir(&workspace).unwrap();
    let walls = Walls { mode: Mode::Strict, workspace };
    let wrapped = sandbox.wrap(&walls, &session, launch.clone()).await;
    let why = wrapped.unwrap_err();
    assert!(why.contains("tools.exec.sandbox is strict"), "{why}");
    assert!(why.contains("bubblewrap: ") && why.contains("landlock: "), "{why}");
    // Off is off, and asks for nothing.
    let same = sandbox.wrap(&Walls::default(), &session, launch).await.unwrap();
    assert_eq!(same.program, "/bin/true");
}
