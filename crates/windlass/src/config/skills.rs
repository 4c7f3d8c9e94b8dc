//! `skills`: where they are looked for, which are used, and how many a prefix lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::section::Section;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skills {
    /// The bundled ones that are used; all if it is not written.
    pub allow_bundled: Option<Vec<String>>,
    pub load: Load,
    pub limits: SkillLimits,
    pub entries: BTreeMap<String, SkillEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Folders of skills, after those of the workspace and of the state folder.
    pub extra_dirs: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SkillLimits {
    pub max_skills_in_prompt: u32,
    pub max_skills_prompt_chars: u32,
    pub max_skill_file_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SkillEntry {
    pub enabled: bool,
}

/// More is no list that a model reads.
const LISTED_MAX: u32 = 1_000;
const CHARS_MAX: u32 = 1_000_000;
/// A skill is words.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Skills {
    pub(super) fn read(s: &mut Section<'_>) -> Skills {
        let defaults = runtime::Skills::default();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Skills {
            allow_bundled: s.texts("allowBundled"),
            load: s.section("load", |s| {
                let texts = s.texts("extraDirs").unwrap_or_default();
                let paths = texts.iter().map(|text| super::absolute(text, s.cx.paths));
                Load { extra_dirs: paths.collect() }
            }),
            limits: s.section("limits", |s| SkillLimits {
                max_skills_in_prompt: s
                    .count("maxSkillsInPrompt", 0..=LISTED_MAX)
                    .unwrap_or(count(defaults.listed_max)),
                max_skills_prompt_chars: s
                    .count("maxSkillsPromptChars", 0..=CHARS_MAX)
                    .unwrap_or(count(defaults.chars_max)),
                max_skill_file_bytes: s
                    .integer("maxSkillFileBytes", 0..=BYTES_MAX)
                    .unwrap_or(defaults.file_bytes_max),
            }),
            entries: s.section("entries", |s| {
                let mut entries = BTreeMap::new();
                s.each(|name, s| {
                    let enabled = s.flag("enabled").unwrap_or(true);
                    entries.insert(name.to_owned(), SkillEntry { enabled });
                });
                entries
            }),
        }
    }

    /// Names of those that are switched off.
    pub fn disabled(&self) -> BTreeSet<String> {
        let off = self.entries.iter().filter(|(_, entry)| !entry.enabled);
        off.map(|(name, _)| name.clone()).collect()
    }
}
