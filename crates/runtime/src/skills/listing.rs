//! The list of skills in a prefix: a line each, bounded.

use super::{Skill, Skills, Standing};

const HEAD: &str =
    "Instructions for special work. When one fits, first read skills/<name>/SKILL.md.\n";

/// Longest description in the list: it says when to read the skill, and no more.
const DESCRIPTION_CHARS: usize = 200;

/// The list, and whether it was cut. None if there is nothing to list.
pub(crate) fn listing(skills: &Skills, found: &[Skill]) -> Option<(String, bool)> {
    let ready: Vec<&Skill> =
        found.iter().filter(|skill| skill.standing == Standing::Ready).collect();
    if ready.is_empty() || skills.listed_max == 0 || skills.chars_max == 0 {
        return None;
    }
    let mut text = HEAD.to_owned();
    let mut chars = text.chars().count();
    let mut listed = 0;
    for skill in ready.iter().take(skills.listed_max) {
        let line = format!("- {}: {}\n", skill.name, shortened(&skill.description));
        chars += line.chars().count();
        if chars > skills.chars_max {
            break;
        }
        text += &line;
        listed += 1;
    }
    let left = ready.len() - listed;
    if left > 0 {
        // Which bound it was is for the operator; that there are more, for the agent.
        text += &format!("[{left} more skills are not listed: the list is full]\n");
    }
    Some((text, left > 0))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(DESCRIPTION_CHARS) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
