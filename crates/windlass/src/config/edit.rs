//! Changes of the file by commands: one value is set or taken out, and every comment stays.
//!
//! A change is written only if the whole file is right with it. It gets the file's name when it is
//! whole, and what was there before lies beside it as `.bak`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::Value;

use super::document::JSON5;
use super::outside::Outside;
use super::paths::Paths;
use super::{ConfigErrors, check};

/// What becomes of the value at a path.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    Set(&'a Value),
    Remove,
}

/// Changes the file that `paths` names, and returns where it is. A file that is not there is made.
pub fn edit(
    paths: &Paths,
    outside: &dyn Outside,
    path: &[&str],
    edit: Edit<'_>,
) -> anyhow::Result<PathBuf> {
    // Behind a link lies the file that is meant.
    let file = fs::canonicalize(&paths.config).unwrap_or_else(|_| paths.config.clone());
    let before = match outside.read(&file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context(format!("cannot read {}", file.display())),
    };
    let after = edited(before.as_deref().unwrap_or("{\n}\n"), path, edit)?;
    if let Err(problems) = check(Some(&after), paths, outside) {
        return Err(ConfigErrors::Invalid { path: file, problems })
            .context("nothing was changed: the file would not be right");
    }
    write(&file, before.as_deref(), &after)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The text with the change in it.
fn edited(text: &str, path: &[&str], edit: Edit<'_>) -> anyhow::Result<String> {
    let root = CstRootNode::parse(text, &JSON5).context("the file is not JSON5")?;
    let (last, above) = path.split_last().context("a path has an end")?;
    let not_object = |path: &[&str]| format!("`{}` is not an object", path.join("."));
    let mut object: CstObject = root.object_value_or_create().context(not_object(&[]))?;
    for (at, key) in above.iter().enumerate() {
        let below = match edit {
            Edit::Set(_) => object.object_value_or_create(key),
            Edit::Remove => object.object_value(key),
        };
        object = below.with_context(|| not_object(&path[..=at]))?;
    }
    match (edit, object.get(last)) {
        (Edit::Set(value), Some(found)) => found.set_value(input(value)),
        (Edit::Set(value), None) => drop(object.append(last, input(value))),
        (Edit::Remove, Some(found)) => found.remove(),
        (Edit::Remove, None) => bail!("there is no `{}`", path.join(".")),
    }
    Ok(root.to_string())
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

fn write(file: &Path, before: Option<&str>, after: &str) -> io::Result<()> {
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

    #[test]
    fn comments_and_order_stay() {
        let path = ["mcp", "servers", "two"];
        let two = json!({ "command": "b", "args": ["-u"], "trusted": true });
        let text = edited(FILE, &path, Edit::Set(&two)).unwrap();
        for kept in ["// who answers", "// here", "/* kept */", "one: { command: \"a\" }", "-u"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let without = edited(&text, &path, Edit::Remove).unwrap();
        assert!(!without.contains("two") && without.contains("/* kept */"), "{without}");
        let error = edited(&without, &path, Edit::Remove).unwrap_err().to_string();
        assert_eq!(error, "there is no `mcp.servers.two`");
        let new = edited("{}", &path, Edit::Set(&two)).unwrap();
        let read: Value = jsonc_parser::parse_to_serde_value(&new, &JSON5).unwrap();
        assert_eq!(read, json!({ "mcp": { "servers": { "two": two } } }));
        let odd = edited("{ mcp: [] }", &path, Edit::Set(&two)).unwrap_err().to_string();
        assert_eq!(odd, "`mcp` is not an object");
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
