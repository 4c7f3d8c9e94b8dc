//! The head of a `SKILL.md`: YAML between two lines of dashes.

use serde::Deserialize;
use serde_json::Value;

/// Longest name and description, in characters: those of the format's specification.
const NAME_CHARS_MAX: usize = 64;
const DESCRIPTION_CHARS_MAX: usize = 1_024;

/// What a skill says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    pub name: String,
    /// On one line.
    pub description: String,
    /// It wants to be in no list.
    pub hidden: bool,
    /// It has no requirements, whatever it lists.
    pub always: bool,
    /// `linux`, `darwin`, `win32`; any if none.
    pub os: Vec<String>,
    pub bins: Vec<String>,
    pub any_bins: Vec<String>,
    pub env: Vec<String>,
    /// Paths of the configuration.
    pub config: Vec<String>,
}

/// The head as it is written. What others have added is left alone.
#[derive(Debug, Deserialize)]
struct Written {
    name: Option<String>,
    description: Option<String>,
    #[serde(default, rename = "disable-model-invocation")]
    hidden: bool,
    metadata: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OpenClaw {
    always: bool,
    os: OneOrMore,
    requires: Requires,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Requires {
    bins: OneOrMore,
    any_bins: OneOrMore,
    env: OneOrMore,
    config: OneOrMore,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> OneOrMore {
        OneOrMore::More(Vec::new())
    }
}

impl From<OneOrMore> for Vec<String> {
    fn from(words: OneOrMore) -> Vec<String> {
        match words {
            OneOrMore::One(word) => vec![word],
            OneOrMore::More(words) => words,
        }
    }
}

/// Reads the head of a file, or says what is wrong with it and where.
pub fn parse(text: &str) -> Result<Front, String> {
    let head = head_of(text)?;
    let written: Written = serde_saphyr::from_str(head).map_err(|error| {
        // The first line of the file is the dashes.
        let line = error.location().map_or(0, |location| location.line() + 1);
        let line = usize::try_from(line).unwrap_or(0).max(2);
        let words = error.without_snippet().to_string();
        format!("line {line}: {}", words.lines().next().unwrap_or_default())
    })?;
    let name = required(head, "name", written.name, NAME_CHARS_MAX)?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.chars().all(good) {
        return Err(format!(
            "line {}: `name` must be of a-z, 0-9, - and _; got `{name}`",
            line_of(head, "name")
        ));
    }
    let description = required(head, "description", written.description, DESCRIPTION_CHARS_MAX)?;
    let extra = openclaw(head, written.metadata)?;
    let Requires { bins, any_bins, env, config } = extra.requires;
    Ok(Front {
        name,
        description: description.split_whitespace().collect::<Vec<_>>().join(" "),
        hidden: written.hidden,
        always: extra.always,
        os: extra.os.into(),
        bins: bins.into(),
        any_bins: any_bins.into(),
        env: env.into(),
        config: config.into(),
    })
}

/// The lines between the dashes.
fn head_of(text: &str) -> Result<&str, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let begins = |line: &str| line.trim_end() == "---";
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if !begins(first) {
        return Err("line 1: expected `---`, then `name` and `description`".to_owned());
    }
    let mut end = first.len();
    for line in lines {
        if begins(line) {
            return Ok(&text[first.len()..end]);
        }
        end += line.len();
    }
    Err("line 1: the head that begins here has no end: expected another line `---`".to_owned())
}

fn required(
    head: &str,
    key: &str,
    value: Option<String>,
    chars_max: usize,
) -> Result<String, String> {
    let line = line_of(head, key);
    let value = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| format!("line {line}: `{key}` is missing or empty"))?;
    let chars = value.chars().count();
    if chars > chars_max {
        let more = "characters; at most";
        return Err(format!("line {line}: `{key}` has {chars} {more} {chars_max} are allowed"));
    }
    Ok(value)
}

/// The line of the file where a key of the head stands, or the head begins.
fn line_of(head: &str, key: &str) -> usize {
    let at = head.lines().position(|line| line.split(':').next() == Some(key));
    at.map_or(1, |at| at + 2)
}

/// What OpenClaw reads. It may also stand there as JSON in a string.
fn openclaw(head: &str, metadata: Option<Value>) -> Result<OpenClaw, String> {
    let line = line_of(head, "metadata");
    let wrong = |error: serde_json::Error| format!("line {line}: `metadata.openclaw`: {error}");
    let metadata = match metadata {
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(wrong)?,
        Some(value) => value,
        None => return Ok(OpenClaw::default()),
    };
    match metadata.get("openclaw") {
        Some(Value::Null) | None => Ok(OpenClaw::default()),
        Some(value) => serde_json::from_value(value.clone()).map_err(wrong),
    }
}
