//! What stands before a session's conversation, and whether it would be the same today.

use std::sync::Arc;

use machine::policy::Role;
use store::StoreError;
use types::{AgentId, Hash};

use crate::handle::Handle;
use crate::pin::{self, Part, Stored};

/// A part, and what has become of it since it was pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub part: Part,
    pub state: PartState,
}

types::word_enum! {
    /// What has become of a part since it was pinned.
    pub enum PartState {
        Same = "same",
        Changed = "changed",
        /// It is sent, and is not there any more.
        Gone = "gone",
        /// It is there, and is not sent.
        New = "new",
    }
}

/// A pinned prefix, compared with what is there now.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    pub stored: Stored,
    pub parts: Vec<Seen>,
}

impl Look {
    /// Names of the parts that are not as they were pinned.
    pub fn changed(&self) -> Vec<String> {
        let changed = self.parts.iter().filter(|seen| seen.state != PartState::Same);
        changed.map(|seen| seen.part.name.clone()).collect()
    }
}

/// Looks at the prefix of this hash. `None` if it is not in the store.
pub async fn look(
    handle: &Handle,
    agent: &AgentId,
    role: Role,
    hash: Hash,
) -> Result<Option<Look>, StoreError> {
    let Some(text) = handle.store().blob(hash).await? else { return Ok(None) };
    let stored: Stored = serde_json::from_str(&text)
        .map_err(|error| StoreError::Broken(format!("prefix {hash}: {error}")))?;
    let config = handle.config();
    let now = match config.agents.get(agent).cloned() {
        Some(agent) => {
            let skills = Arc::clone(&config.skills);
            let tools = stored.prefix.tools.clone();
            let read = move || pin::parts_now(&agent, role, &skills, &tools);
            tokio::task::spawn_blocking(read).await.map_err(|error| {
                StoreError::Broken(format!("the files could not be read: {error}"))
            })?
        }
        // One that is not configured any more has no files to compare with.
        None => stored.parts.clone(),
    };
    let parts = compare(&stored.parts, now);
    Ok(Some(Look { stored, parts }))
}

fn compare(pinned: &[Part], mut now: Vec<Part>) -> Vec<Seen> {
    let mut seen = Vec::new();
    for part in pinned {
        let at = now.iter().position(|other| other.name == part.name && other.kind == part.kind);
        let state = match at.map(|at| now.remove(at)) {
            Some(other) if other.hash == part.hash => PartState::Same,
            Some(_) => PartState::Changed,
            None => PartState::Gone,
        };
        seen.push(Seen { part: part.clone(), state });
    }
    seen.extend(now.into_iter().map(|part| Seen { part, state: PartState::New }));
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pin::PartKind;

    fn part(name: &str, text: &str) -> Part {
        let (name, hash) = (name.to_owned(), Hash::of(text));
        Part { kind: PartKind::File, name, tokens: 1, hash, cut: false }
    }

    #[test]
    fn each_part_is_the_same_changed_gone_or_new() {
        let pinned = [part("a", "1"), part("b", "1"), part("c", "1")];
        let seen = compare(&pinned, vec![part("b", "2"), part("a", "1"), part("d", "1")]);
        let words: Vec<String> =
            seen.iter().map(|seen| format!("{} {}", seen.part.name, seen.state)).collect();
        assert_eq!(words, ["a same", "b changed", "c gone", "d new"]);
    }
}
