//! Changes of the file by commands: one value is set or taken out, and every comment stays.
//!
//! A change is written only if the whole file is right with it. It gets the file's name when it is
//! whole, and what was there before lies beside it as `.bak`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode};
use serde_json::Value;
use types::AgentId;

use super::document::JSON5;
use super::key_path::{KeyPath, Step};
use super::outside::Outside;
use super::paths::Paths;
use super::problem::Problem;
use super::{Checked, Config, ConfigErrors, check, checked};

/// What becomes of the value at a path.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    Set(&'a Value),
    Remove,
}

/// One change of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub path: KeyPath,
    /// None takes the value out.
    pub to: Option<Value>,
}

impl Change {
    pub fn set(path: KeyPath, value: Value) -> Change {
        Change { path, to: Some(value) }
    }

    pub fn remove(path: KeyPath) -> Change {
        Change { path, to: None }
    }
}

/// The file as it is, for whoever decides what to change in it.
#[derive(Clone, Debug)]
pub struct Present {
    pub config: Config,
    /// What is written, and nothing else; an empty object if there is no file.
    pub written: Value,
    /// Where an agent is named, and which one.
    pub references: Vec<(KeyPath, AgentId)>,
}

/// A file that was changed.
#[derive(Debug)]
pub struct Changed<T> {
    pub file: PathBuf,
    pub config: Config,
    pub warnings: Vec<Problem>,
    /// What the decision says beside the changes.
    pub decided: T,
}

/// Changes the file that `paths` names, and returns where it is. A file that is not there is made.
pub fn edit(
    paths: &Paths,
    outside: &dyn Outside,
    path: &[&str],
    edit: Edit<'_>,
) -> anyhow::Result<PathBuf> {
    let file = file(paths);
    let _turn = turn(&file)?;
    let before = read(&file, outside)?;
    let path = path.iter().map(|key| Step::Key((*key).to_owned())).collect();
    let to = match edit {
        Edit::Set(value) => Some(value.clone()),
        Edit::Remove => None,
    };
    let after = edited(before.as_deref(), &[Change { path, to }])?;
    right(&file, &after, paths, outside)?;
    write(&file, before.as_deref(), &after)?;
    Ok(file)
}

/// Changes the file as `decide` says, which sees it as it is: nobody else changes it in between
/// by this way. It must be right before, and will be after. No change leaves it as it is.
pub fn change<T>(
    paths: &Paths,
    outside: &dyn Outside,
    decide: impl FnOnce(&Present) -> anyhow::Result<(Vec<Change>, T)>,
) -> anyhow::Result<Changed<T>> {
    let file = file(paths);
    let _turn = turn(&file)?;
    let before = read(&file, outside)?;
    let present = present_in(&file, before.as_deref(), paths, outside)?;
    let (changes, decided) = decide(&present)?;
    let after = edited(before.as_deref(), &changes)?;
    let (config, warnings) = right(&file, &after, paths, outside)?;
    if !changes.is_empty() {
        write(&file, before.as_deref(), &after)?;
    }
    Ok(Changed { file, config, warnings, decided })
}

/// Reads the file that `paths` names, with what is written in it.
pub fn present(paths: &Paths, outside: &dyn Outside) -> anyhow::Result<Present> {
    let file = file(paths);
    let text = read(&file, outside)?;
    present_in(&file, text.as_deref(), paths, outside)
}

fn present_in(
    file: &Path,
    text: Option<&str>,
    paths: &Paths,
    outside: &dyn Outside,
) -> anyhow::Result<Present> {
    let Checked { config, references, .. } = checked(text, paths, outside)
        .map_err(|problems| ConfigErrors::Invalid { path: file.to_owned(), problems })?;
    let text = text.unwrap_or("{}");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let written = jsonc_parser::parse_to_serde_value(text, &JSON5)?;
    Ok(Present { config, written, references })
}

/// Behind a link lies the file that is meant.
fn file(paths: &Paths) -> PathBuf {
    fs::canonicalize(&paths.config).unwrap_or_else(|_| paths.config.clone())
}

fn read(file: &Path, outside: &dyn Outside) -> anyhow::Result<Option<String>> {
    match outside.read(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(format!("cannot read {}", file.display())),
    }
}

/// Keeps other commands from changing the same file until it is dropped: of two that read before
/// either writes, the first would be lost.
fn turn(file: &Path) -> anyhow::Result<fs::File> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = fs::File::open(folder)?;
    // Some network disks have no locks. There the last one wins, as with any editor.
    if let Err(error) = folder.lock() {
        tracing::debug!(%error, "the folder of the configuration cannot be locked");
    }
    Ok(folder)
}

/// The text with the changes in it.
fn edited(text: Option<&str>, changes: &[Change]) -> anyhow::Result<String> {
    let text = text.unwrap_or("{\n}\n");
    let root = CstRootNode::parse(text, &JSON5).context("the file is not JSON5")?;
    for Change { path, to } in changes {
        apply(&root, path, to.as_ref())?;
    }
    Ok(root.to_string())
}

/// What has values below it.
enum Container {
    Object(CstObject),
    Array(CstArray),
}

impl Container {
    fn of(node: &CstNode) -> Option<Container> {
        let object = node.as_object().map(Container::Object);
        object.or_else(|| node.as_array().map(Container::Array))
    }

    /// What is at a step, if anything is.
    fn at(&self, step: &Step) -> Option<CstNode> {
        match (self, step) {
            (Container::Object(object), Step::Key(key)) => object.get(key)?.value(),
            (Container::Array(array), Step::Index(index)) => array.elements().get(*index).cloned(),
            _ => None,
        }
    }
}

fn apply(root: &CstRootNode, path: &KeyPath, to: Option<&Value>) -> anyhow::Result<()> {
    let not_object = |steps: &[Step]| {
        let path: KeyPath = steps.iter().cloned().collect();
        format!("`{path}` is not an object")
    };
    let missing = || format!("there is no `{path}`");
    let steps = path.steps();
    let (last, above) = steps.split_last().context("a path has an end")?;
    let object = root.object_value_or_create().context("the file is not an object")?;
    let mut container = Container::Object(object);
    for (n, step) in above.iter().enumerate() {
        let below = container.at(step);
        container = match (&container, step, below, to) {
            (_, _, Some(node), _) => {
                Container::of(&node).with_context(|| not_object(&steps[..=n]))?
            }
            (Container::Object(object), Step::Key(key), None, Some(_)) => Container::Object(
                object.object_value_or_create(key).with_context(|| not_object(&steps[..=n]))?,
            ),
            (Container::Array(_), Step::Key(_), ..) => bail!(not_object(&steps[..n])),
            _ => bail!(missing()),
        };
    }
    match (&container, last, to) {
        (Container::Object(object), Step::Key(key), Some(value)) => match object.get(key) {
            Some(found) => found.set_value(input(value)),
            None => drop(object.append(key, input(value))),
        },
        (Container::Object(object), Step::Key(key), None) => {
            object.get(key).with_context(missing)?.remove();
        }
        (Container::Array(_), Step::Index(_), None) => {
            container.at(last).with_context(missing)?.remove();
        }
        _ => bail!(not_object(above)),
    }
    Ok(())
}

/// Refuses a text that would not be right.
fn right(
    file: &Path,
    text: &str,
    paths: &Paths,
    outside: &dyn Outside,
) -> anyhow::Result<(Config, Vec<Problem>)> {
    check(Some(text), paths, outside)
        .map_err(|problems| ConfigErrors::Invalid { path: file.to_owned(), problems })
        .context("nothing was changed: the file would not be right")
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(flag) => CstInputValue::Bool(*flag),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), input(value)));
            CstInputValue::Object(fields.collect())
        }
    }
}

fn write(file: &Path, before: Option<&str>, after: &str) -> anyhow::Result<()> {
    write_whole(file, before, after).with_context(|| format!("cannot write {}", file.display()))
}

fn write_whole(file: &Path, before: Option<&str>, after: &str) -> io::Result<()> {
    use std::io::Write;

    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    if let Some(before) = before {
        let mut backup = file.as_os_str().to_owned();
        backup.push(".bak");
        replace(folder, Path::new(&backup), file, |new| new.write_all(before.as_bytes()))?;
    }
    replace(folder, file, file, |new| new.write_all(after.as_bytes()))
}

/// Writes a file as a whole, with the rights of `like`; nobody else may read a new one.
fn replace(
    folder: &Path,
    to: &Path,
    like: &Path,
    fill: impl FnOnce(&mut tempfile::NamedTempFile) -> io::Result<()>,
) -> io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    fill(&mut new)?;
    if let Ok(metadata) = fs::metadata(like) {
        new.as_file().set_permissions(metadata.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(to).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "{\n  // who answers\n  agents: { entries: { main: {} } }, // here\n  mcp: { servers: {\n    one: { command: \"a\" }, /* kept */\n  } },\n}\n";

    fn with(text: &str, changes: &[(&str, Option<Value>)]) -> anyhow::Result<String> {
        let change = |(path, to): &(&str, Option<Value>)| Change {
            path: KeyPath::parse(path).unwrap(),
            to: to.clone(),
        };
        edited(Some(text), &changes.iter().map(change).collect::<Vec<_>>())
    }

    #[test]
    fn comments_and_order_stay() {
        let path = "mcp.servers.two";
        let two = json!({ "command": "b", "args": ["-u"], "trusted": true });
        let text = with(FILE, &[(path, Some(two.clone()))]).unwrap();
        for kept in ["// who answers", "// here", "/* kept */", "one: { command: \"a\" }", "-u"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let without = with(&text, &[(path, None)]).unwrap();
        assert!(!without.contains("two") && without.contains("/* kept */"), "{without}");
        let error = with(&without, &[(path, None)]).unwrap_err().to_string();
        assert_eq!(error, "there is no `mcp.servers.two`");
        let new = with("{}", &[(path, Some(two.clone()))]).unwrap();
        let read: Value = jsonc_parser::parse_to_serde_value(&new, &JSON5).unwrap();
        assert_eq!(read, json!({ "mcp": { "servers": { "two": two } } }));
        let odd = with("{ mcp: [] }", &[(path, Some(two))]).unwrap_err().to_string();
        assert_eq!(odd, "`mcp` is not an object");
    }

    #[test]
    fn items_of_lists_are_reached_and_taken_out() {
        let text = "{ agents: { list: [ // those\n  { id: \"a\" }, // first\n  { id: \"b\", \
                    allow: [\"a\", /* and */ \"c\"] },\n] } }";
        let changes = [
            ("agents.list[0].default", Some(json!(true))),
            ("agents.list[1].allow[0]", None),
            ("agents.list[1].allow[0]", None),
        ];
        let after = with(text, &changes).unwrap();
        let read: Value = jsonc_parser::parse_to_serde_value(&after, &JSON5).unwrap();
        let list = json!([{ "id": "a", "default": true }, { "id": "b", "allow": [] }]);
        assert_eq!(read, json!({ "agents": { "list": list } }));
        assert!(after.contains("// those") && after.contains("// first"), "{after}");
        let none = with(text, &[("agents.list[7]", None)]).unwrap_err().to_string();
        assert_eq!(none, "there is no `agents.list[7]`");
    }

    #[test]
    fn what_would_be_wrong_is_not_written() {
        use super::super::Process;

        let folder = tempfile::tempdir().unwrap();
        let mut paths = Paths::of(&Process, Some(folder.path().to_owned())).unwrap();
        paths.config = folder.path().join("windlass.json");
        let path = ["mcp", "servers", "two"];
        let set = |value: &Value| edit(&paths, &Process, &path, Edit::Set(value));
        set(&json!({ "command": "b" })).unwrap();
        let good = fs::read_to_string(&paths.config).unwrap();
        let error = format!("{:#}", set(&json!({ "comand": "b" })).unwrap_err());
        assert!(error.starts_with("nothing was changed") && error.contains("comand"), "{error}");
        assert_eq!(fs::read_to_string(&paths.config).unwrap(), good);
        set(&json!({ "command": "c" })).unwrap();
        let backup = fs::read_to_string(folder.path().join("windlass.json.bak")).unwrap();
        assert_eq!(backup, good);
    }
}
