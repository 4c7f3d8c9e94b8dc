//! Skills: folders with a `SKILL.md`, which an agent reads when it needs one.
//!
//! ```text
//!  <workspace>/skills ─▶ <state>/skills ─▶ skills.load.extraDirs ─▶ bundled
//!        the first that has the name counts; the others are shadowed
//! ```
//!
//! Only names and descriptions are in the prefix, of those that can be used here; the text is read
//! with `read` when it is needed. Nothing of a skill is ever run by the gateway: what it brings is
//! run by an agent, with the tools that this has.
//!
//! # Invariants
//!
//! - A file that is wrong takes nothing away but its own skill, and is named with its line.
//! - The list is the same for the same folders, whatever the order of the disk.
//! - It is bounded, and a cut is visible.

mod front;
mod listing;
mod needs;
pub(crate) mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use types::word_enum;

pub use front::Front;
pub(crate) use listing::listing;

/// The file that makes a folder a skill.
pub const FILE: &str = "SKILL.md";

/// Folders that are looked at in one place. OpenClaw's bound.
const CANDIDATES_MAX: usize = 300;

/// What the configuration says of skills.
#[derive(Clone, Debug)]
pub struct Skills {
    /// `skills` of the state folder.
    pub user: PathBuf,
    /// `skills.load.extraDirs`
    pub extra: Vec<PathBuf>,
    /// Names whose entry says `enabled: false`.
    pub disabled: BTreeSet<String>,
    /// `skills.allowBundled`; all if none.
    pub bundled: Option<BTreeSet<String>>,
    /// The most that a prefix lists, and the most characters of the list.
    pub listed_max: usize,
    pub chars_max: usize,
    pub file_bytes_max: u64,
    /// The whole configuration with its secrets hidden, for `requires.config`.
    pub config: Arc<Value>,
}

impl Default for Skills {
    fn default() -> Skills {
        Skills {
            user: PathBuf::new(),
            extra: Vec::new(),
            disabled: BTreeSet::new(),
            bundled: None,
            listed_max: 50,
            chars_max: 4_000,
            file_bytes_max: 256 * 1024,
            config: Arc::new(Value::Null),
        }
    }
}

word_enum! {
    /// Where a skill lies; the first wins.
    pub enum Source {
        Workspace = "workspace",
        User = "user",
        Extra = "extra",
        Bundled = "bundled",
    }
}

/// Why a skill can be used, or cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Ready,
    /// It can be read, and is in no list: its file wants that.
    Unlisted,
    /// Another of its name comes first.
    Shadowed(Source),
    /// The configuration says so, under this key.
    Off(String),
    /// What it needs and is not there.
    Needs(Vec<String>),
    /// Its file is wrong.
    Bad(String),
}

/// A skill that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skill {
    pub name: String,
    pub description: String,
    pub source: Source,
    /// Its folder; none of a bundled one.
    pub folder: Option<PathBuf>,
    pub standing: Standing,
    /// What is odd about it, and does no harm.
    pub remark: Option<String>,
}

/// A skill of the binary.
struct Bundled {
    name: &'static str,
    text: &'static str,
}

macro_rules! bundled {
    ($($name:literal),+) => {
        [$(Bundled { name: $name, text: include_str!(concat!("skills/bundled/", $name, ".md")) }),+]
    };
}

const BUNDLED: [Bundled; 3] = bundled!("research", "review-code", "write-skill");

/// The text of a bundled skill.
pub(crate) fn bundled_text(name: &str) -> Option<&'static str> {
    BUNDLED.iter().find(|skill| skill.name == name).map(|skill| skill.text)
}

/// Looks at all places, for an agent with this workspace, which may use the skills of `allow` only
/// if there is such a list. By name; of one name the one that counts comes first.
pub fn survey(skills: &Skills, workspace: &Path, allow: Option<&BTreeSet<String>>) -> Vec<Skill> {
    let mut found = Vec::new();
    let mut places = vec![(Source::Workspace, workspace.join("skills"))];
    places.push((Source::User, skills.user.clone()));
    places.extend(skills.extra.iter().map(|folder| (Source::Extra, folder.clone())));
    for (source, place) in &places {
        found.extend(in_place(skills, *source, place));
    }
    for bundled in &BUNDLED {
        let front = front::parse(bundled.text);
        let mut skill = skill(bundled.name, Source::Bundled, None, front, skills);
        let left_out =
            skills.bundled.as_ref().is_some_and(|allowed| !allowed.contains(bundled.name));
        if left_out {
            skill.standing = Standing::Off("skills.allowBundled".to_owned());
        }
        found.push(skill);
    }
    judge(&mut found, skills, allow);
    found
}

/// Says of each whether another comes first, or the configuration has it off.
fn judge(found: &mut [Skill], skills: &Skills, allow: Option<&BTreeSet<String>>) {
    // Places are in their order already, and a stable sort leaves them so.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let mut first: BTreeMap<String, Source> = BTreeMap::new();
    for skill in found {
        // One that is wrong must not hide one that works.
        if matches!(skill.standing, Standing::Bad(_)) {
            continue;
        }
        if let Some(before) = first.get(&skill.name) {
            skill.standing = Standing::Shadowed(*before);
            continue;
        }
        if matches!(skill.standing, Standing::Off(_)) {
            continue;
        }
        first.insert(skill.name.clone(), skill.source);
        if skills.disabled.contains(&skill.name) {
            skill.standing = Standing::Off(format!("skills.entries.{}.enabled", skill.name));
        } else if allow.is_some_and(|allow| !allow.contains(&skill.name)) {
            skill.standing = Standing::Off("agents.*.skills".to_owned());
        }
    }
}

/// The skills of a folder of skills.
fn in_place(skills: &Skills, source: Source, place: &Path) -> Vec<Skill> {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(path = %place.display(), %error, "a folder of skills is left out");
            }
            return Vec::new();
        }
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.join(FILE).symlink_metadata().is_ok());
    folders.sort();
    if folders.len() > CANDIDATES_MAX {
        let path = place.display();
        tracing::warn!(%path, count = folders.len(), "only {CANDIDATES_MAX} skills are looked at");
        folders.truncate(CANDIDATES_MAX);
    }
    let one = |folder: PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let front = text_of(place, &folder.join(FILE), skills.file_bytes_max)
            .and_then(|text| front::parse(&text));
        skill(&name, source, Some(folder), front, skills)
    };
    folders.into_iter().map(one).collect()
}

/// Reads a file that lies in `place`, also through links.
fn text_of(place: &Path, file: &Path, bytes_max: u64) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("{FILE} cannot be read: {error}");
    let real = file.canonicalize().map_err(cannot)?;
    let root = place.canonicalize().map_err(cannot)?;
    if !real.starts_with(&root) {
        return Err(format!("{FILE} is a link to {}, outside of its place", real.display()));
    }
    if !real.metadata().map_err(cannot)?.is_file() {
        return Err(format!("{FILE} is no file"));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(&real).map_err(cannot)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!(
            "{FILE} has more than {bytes_max} bytes (skills.limits.maxSkillFileBytes)"
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("line {line}: not UTF-8")
    })
}

fn skill(
    folder_name: &str,
    source: Source,
    folder: Option<PathBuf>,
    front: Result<Front, String>,
    skills: &Skills,
) -> Skill {
    let named = |name: String, description, standing, remark| Skill {
        name,
        description,
        source,
        folder: folder.clone(),
        standing,
        remark,
    };
    let front = match front {
        Ok(front) => front,
        Err(why) => {
            return named(folder_name.to_owned(), String::new(), Standing::Bad(why), None);
        }
    };
    let remark = (front.name != folder_name).then(|| {
        format!("its folder is called `{folder_name}`: other programs want the two to be the same")
    });
    let missing = needs::missing(&front, &skills.config);
    let standing = match (missing.is_empty(), front.hidden) {
        (false, _) => Standing::Needs(missing),
        (true, true) => Standing::Unlisted,
        (true, false) => Standing::Ready,
    };
    named(front.name, front.description, standing, remark)
}

#[cfg(test)]
mod tests;
