use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use types::RunId;
use uuid::Uuid;

use super::scripted::{Behaviour, Call, Scripted};
use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    context: ToolContext,
    toolbox: Toolbox,
}

fn fixture_with(config: &Config) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let context = ToolContext {
        workspace: folder.path().to_owned(),
        session: "agent:main:main".parse().unwrap(),
        background: true,
        sandbox: Default::default(),
        run: RunId::new(Uuid::from_u128(7)),
        idempotency_key: "k".to_owned(),
        cancel: CancellationToken::new(),
        env: vec![("TOKEN".to_owned(), "hush".to_owned())],
    };
    Fixture { folder, context, toolbox: Toolbox::builtin(config) }
}

fn fixture() -> Fixture {
    fixture_with(&Config::default())
}

impl Fixture {
    async fn call(&self, tool: &str, arguments: Value) -> ToolOutput {
        self.toolbox.get(tool).unwrap().call(&self.context, &arguments.to_string()).await
    }

    async fn probe(&self, tool: &str, arguments: Value) -> Probe {
        self.toolbox.get(tool).unwrap().probe(&self.context, &arguments.to_string()).await
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(path), content).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path)).unwrap()
    }
}

#[tokio::test]
async fn every_builtin_tool_keeps_the_rules() {
    for (name, effect, valid) in [
        ("read", EffectClass::Pure, json!({"path": "file"})),
        ("search", EffectClass::Pure, json!({"pattern": "one"})),
        ("write", EffectClass::Probed, json!({"path": "new/file", "content": "x"})),
        (
            "edit",
            EffectClass::Probed,
            json!({"path": "file", "edits": [
            {"oldText": "one", "newText": "1"}, {"oldText": "two", "newText": "2"}]}),
        ),
        (
            "apply_patch",
            EffectClass::Probed,
            json!({"input": "*** Begin Patch\n*** Update File: file\n-one\n+1\n*** End Patch"}),
        ),
        ("memory_search", EffectClass::Pure, json!({"query": "one"})),
        ("memory_get", EffectClass::Pure, json!({"path": "MEMORY.md"})),
        ("exec", EffectClass::Opaque, json!({"command": "echo x > out"})),
        ("process", EffectClass::Opaque, json!({"action": "list"})),
    ] {
        let fixture = fixture();
        fixture.put("file", "one\ntwo\n");
        fixture.put("MEMORY.md", "one\n");
        let tool = fixture.toolbox.get(name).unwrap();
        assert_eq!(tool.effect(), effect, "{name}");
        conformance::check(tool.as_ref(), &fixture.context, &valid.to_string()).await;
    }
}

#[test]
fn a_toolbox_has_an_order_and_one_tool_of_a_name() {
    let other = Scripted::new("exec", EffectClass::Pure, [Behaviour::Hang]);
    let toolbox = Toolbox::builtin(&Config::default()).with(Arc::new(other));
    let names: Vec<String> = toolbox.specs().into_iter().map(|spec| spec.name).collect();
    assert_eq!(
        names,
        [
            "read",
            "search",
            "write",
            "edit",
            "apply_patch",
            "exec",
            "process",
            "web_fetch",
            "memory_search",
            "memory_get"
        ]
    );
    assert_eq!(toolbox.get("exec").unwrap().effect(), EffectClass::Pure);
    assert!(toolbox.get("bash").is_none());
    let web_fetch = web_fetch::WebFetch { enabled: false, ..Default::default() };
    let less = Config { apply_patch: false, web_fetch, ..Config::default() };
    let less = Toolbox::builtin(&less);
    assert!(less.get("apply_patch").is_none() && less.get("web_fetch").is_none());
}

#[tokio::test]
async fn a_toolbox_bounds_what_its_tools_say() {
    let script = [Behaviour::Flood(1_000_000), Behaviour::Answer(ToolOutput::ok("a\0b"))];
    let flood = Arc::new(Scripted::new("flood", EffectClass::Probed, script));
    flood.set_probe(Probe::Done(ToolOutput::ok("y".repeat(1_000_000))));
    let toolbox = Toolbox::empty(1_000).with(flood.clone());
    let (context, tool) = (fixture().context, toolbox.get("flood").unwrap());

    let long = tool.call(&context, "{}").await.text;
    assert!(long.len() <= 1_000 && long.contains("bytes cut here"), "{long}");
    assert_eq!(tool.call(&context, "{}").await.text, "a\u{fffd}b");
    assert_eq!(tool.call(&context, "{}").await.text, "a\u{fffd}b");
    match tool.probe(&context, "{}").await {
        Probe::Done(output) => assert!(output.text.len() <= 1_000),
        other => panic!("{other:?}"),
    }
    let call = Call { idempotency_key: "k".to_owned(), arguments: "{}".to_owned() };
    assert_eq!(flood.calls(), vec![call; 3]);
}

#[tokio::test]
async fn a_scripted_tool_hears_of_a_stop_unless_told_otherwise() {
    let script = [Behaviour::HangUntilCancelled, Behaviour::Hang];
    let tool = Scripted::new("t", EffectClass::Pure, script);
    let context = fixture().context;
    context.cancel.cancel();
    assert!(tool.call(&context, "{}").await.is_error);
    let hangs = tokio::time::timeout(Duration::from_millis(50), tool.call(&context, "{}")).await;
    assert!(hangs.is_err());
}

#[test]
fn a_context_does_not_print_its_secrets() {
    let text = format!("{:?}", fixture().context);
    assert!(text.contains("TOKEN") && !text.contains("hush"), "{text}");
}

#[tokio::test]
async fn read_pages_through_a_file() {
    let config = Config { read_lines_max: 3, read_bytes_max: 60, ..Config::default() };
    let fixture = fixture_with(&Config { read_line_bytes_max: 20, ..config });
    fixture.put("five", "1\n2\n3\n4\n5");
    fixture.put("long", format!("{}\nnext\n", "é".repeat(30)));
    fixture.put("wide", "0123456789012345678\n".repeat(4));
    fixture.put("empty", "");
    fixture.put("dos", "a\r\nb\r\n");
    let more = |first, last, next| {
        format!("[lines {first} to {last} shown; there are more: go on with offset {next}]")
    };
    let wide = "0123456789012345678\n";
    for (arguments, expected) in [
        (json!({"path": "five"}), format!("1\n2\n3\n{}", more(1, 3, 4))),
        (json!({"path": "five", "offset": 4}), "4\n5".to_owned()),
        (json!({"path": "five", "offset": 2, "limit": 1}), format!("2\n{}", more(2, 2, 3))),
        (json!({"path": "five", "limit": 3, "offset": 3}), "3\n4\n5".to_owned()),
        (
            json!({"path": "long"}),
            format!("{} [41 more bytes in this line]\nnext\n", "é".repeat(10)),
        ),
        (json!({"path": "wide"}), format!("{}{}", wide.repeat(3), more(1, 3, 4))),
        (json!({"path": "empty"}), "[the file is empty]".to_owned()),
        (json!({"path": "dos"}), "a\r\nb\r\n".to_owned()),
    ] {
        let output = fixture.call("read", arguments.clone()).await;
        assert_eq!(output, ToolOutput::ok(expected), "{arguments}");
    }
}

#[tokio::test]
async fn read_lists_a_folder() {
    let fixture = fixture();
    fs::create_dir(fixture.folder.path().join("sub")).unwrap();
    fixture.put("b", "");
    fixture.put("a\nc", "");
    let output = fixture.call("read", json!({"path": "."})).await;
    assert_eq!(output, ToolOutput::ok("a\u{fffd}c\nb\nsub/\n"));
    let output = fixture.call("read", json!({"path": "sub"})).await;
    assert_eq!(output, ToolOutput::ok("[the folder is empty]"));
}

#[tokio::test]
async fn read_refuses_what_it_cannot_show() {
    let fixture = fixture();
    fixture.put("binary", b"\x7fELF\0\0");
    fixture.put("two", "1\n2\n");
    symlink("/etc", fixture.folder.path().join("etc")).unwrap();
    let pipe = fixture.folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    #[rustfmt::skip]
    let table = [
        (json!({"path": "binary"}), "`binary` is a binary file of 6 bytes"),
        (json!({"path": "missing"}), "there is no file or folder `missing`"),
        (json!({"path": "two/x"}), "cannot read `two/x`"),
        (json!({"path": "pipe"}), "neither a file nor a folder"),
        (json!({"path": "two", "offset": 3}), "offset 3 is past the end: there are 2 lines"),
        (json!({"path": "two", "offset": 9}), "offset 9 is past the end: there are 2 lines"),
        (json!({"path": "two", "offset": 0}), "`offset` must be an integer from 1"),
        (json!({"path": "../x"}), "leads outside the workspace"),
        (json!({"path": "etc/hostname"}), "leads outside the workspace"),
        (json!({"file_path": "two"}), "use `path`"),
    ];
    for (arguments, expected) in table {
        let output = fixture.call("read", arguments).await;
        assert!(output.is_error && output.text.contains(expected), "{expected}: {}", output.text);
    }
}

#[tokio::test]
async fn write_creates_and_replaces() {
    let fixture = fixture();
    for content in ["one\n", "two, é\n", ""] {
        let output = fixture.call("write", json!({"path": "a/b/c", "content": content})).await;
        let expected = format!("wrote {} bytes to `a/b/c`", content.len());
        assert_eq!(output, ToolOutput::ok(expected));
        assert_eq!(fixture.text("a/b/c"), content);
    }
}

#[tokio::test]
async fn write_refuses_what_it_must_not_touch() {
    let fixture = fixture_with(&Config { file_bytes_max: 10, ..Config::default() });
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), fixture.folder.path().join("out")).unwrap();
    fs::create_dir(fixture.folder.path().join("sub")).unwrap();
    fixture.put("locked", "x");
    let mut permissions = fs::metadata(fixture.folder.path().join("locked")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(fixture.folder.path().join("locked"), permissions).unwrap();
    for (path, content, expected) in [
        ("sub", "x", "`sub` is a folder"),
        (".", "x", "`.` is a folder"),
        ("new/", "x", "names a folder"),
        ("locked", "y", "`locked` is read-only"),
        ("out/file", "x", "leads outside the workspace"),
        ("../file", "x", "leads outside the workspace"),
        ("locked/file", "x", "`locked/file`"),
        ("big", "12345678901", "`content` has 11 bytes; at most 10"),
    ] {
        let arguments = json!({"path": path, "content": content});
        let output = fixture.call("write", arguments.clone()).await;
        assert!(output.is_error && output.text.contains(expected), "{path}: {}", output.text);
        assert_eq!(fixture.probe("write", arguments).await, Probe::NotDone, "{path}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fixture.text("locked"), "x");
}

#[tokio::test]
async fn a_write_is_done_when_the_file_has_the_content() {
    let fixture = fixture();
    let arguments = json!({"path": "f", "content": "new"});
    let done = Probe::Done(ToolOutput::ok("wrote 3 bytes to `f`"));
    assert_eq!(fixture.probe("write", arguments.clone()).await, Probe::NotDone);
    for (found, expected) in
        [("old", Probe::NotDone), ("newer", Probe::NotDone), ("", Probe::NotDone), ("new", done)]
    {
        fixture.put("f", found);
        assert_eq!(fixture.probe("write", arguments.clone()).await, expected, "{found:?}");
    }
}

#[tokio::test]
async fn edit_changes_what_it_was_told() {
    for (arguments, expected) in [
        (json!({"edits": [{"oldText": "one", "newText": "1"}]}), "1 two\n"),
        (json!({"oldText": "one", "newText": "1"}), "1 two\n"),
        (json!({"old_string": "one ", "new_string": ""}), "two\n"),
        (
            json!({"edits": [
                {"oldText": "two", "newText": "one"}, {"oldText": "one", "newText": "two"}]}),
            "two one\n",
        ),
    ] {
        let fixture = fixture();
        fixture.put("f", "one two\n");
        let mut arguments = arguments;
        arguments["path"] = json!("f");
        let output = fixture.call("edit", arguments.clone()).await;
        assert!(!output.is_error, "{arguments}: {}", output.text);
        assert_eq!(fixture.text("f"), expected, "{arguments}");
    }
}

#[tokio::test]
async fn edit_refuses_and_changes_nothing() {
    let fixture = fixture_with(&Config { file_bytes_max: 10, ..Config::default() });
    fixture.put("f", "one one\n");
    fixture.put("latin", b"caf\xe9");
    fixture.put("big", "12345678901");
    let edit = |old: &str, new: &str| json!({"oldText": old, "newText": new});
    let table = [
        (
            "f",
            json!({"edits": [edit("one", "1")]}),
            "edits[0].oldText occurs 2 times; it must occur exactly once",
        ),
        (
            "f",
            json!({"edits": [edit("e o", "x"), edit("two", "2")]}),
            "edits[1].oldText does not occur",
        ),
        (
            "f",
            json!({"edits": [edit("e o", "x"), edit("ne o", "y")]}),
            "edits[0] and edits[1] overlap",
        ),
        ("f", json!({"edits": [edit("", "x")]}), "`edits[0].oldText` is empty"),
        ("f", json!({"edits": [edit("x", "x")]}), "are the same"),
        ("f", json!({"edits": [{"oldText": "x"}]}), "`edits[0].newText` is missing"),
        (
            "f",
            json!({"edits": [{"oldText": "x", "newText": 1}]}),
            "`edits[0].newText` must be a string; got 1",
        ),
        ("f", json!({"edits": [{"oldText": "x", "newtext": "y"}]}), "no field `newtext`"),
        ("f", json!({"edits": ["x"]}), "`edits[0]` must be an object"),
        ("f", json!({"edits": []}), "`edits` must be an array of 1 to 200 edits"),
        ("f", json!({}), "`edits` is missing"),
        ("f", json!({"edits": [edit("a", "b")], "oldText": "c"}), "not both"),
        ("f", json!({"oldText": "c"}), "`newText` is missing"),
        ("missing", json!({"oldText": "a", "newText": "b"}), "cannot read `missing`"),
        ("latin", json!({"oldText": "a", "newText": "b"}), "`latin` is not UTF-8 text"),
        ("big", json!({"oldText": "1", "newText": "b"}), "`big` has 11 bytes"),
        ("../f", json!({"oldText": "1", "newText": "b"}), "leads outside the workspace"),
    ];
    for (path, mut arguments, expected) in table {
        arguments["path"] = json!(path);
        let output = fixture.call("edit", arguments).await;
        assert!(output.is_error && output.text.contains(expected), "{expected}: {}", output.text);
    }
    assert_eq!(fixture.text("f"), "one one\n");
}

#[tokio::test]
async fn what_an_edit_left_behind_is_told_from_the_file() {
    let fixture = fixture();
    let arguments = json!({"path": "f", "edits": [{"oldText": "one", "newText": "1"}]});
    assert_eq!(fixture.probe("edit", arguments.clone()).await, Probe::Unsure, "no file");
    let done = Probe::Done(ToolOutput::ok("made 1 edit in `f`"));
    for (found, expected) in
        [("one", Probe::NotDone), ("1", done), ("one 1", Probe::Unsure), ("", Probe::Unsure)]
    {
        fixture.put("f", found);
        assert_eq!(fixture.probe("edit", arguments.clone()).await, expected, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_one_file_at_the_same_time_are_all_kept() {
    let fixture = Arc::new(fixture());
    let names: Vec<String> = (0..20).map(|n| format!("<{n}>")).collect();
    fixture.put("f", names.concat());
    let mut calls = tokio::task::JoinSet::new();
    for name in names.clone() {
        let fixture = fixture.clone();
        calls.spawn(async move {
            let edit = json!({"path": "f", "oldText": name, "newText": "x"});
            assert!(!fixture.call("edit", edit).await.is_error);
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert_eq!(fixture.text("f"), "x".repeat(names.len()));
}
