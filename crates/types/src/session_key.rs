//! The name of a conversation.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::{serde_as_str, word_enum};

/// An agent's id: `[a-z0-9][a-z0-9_-]{0,63}`. Capitals are folded when it is parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

/// A user's name for a thread, or a reuse key: `[a-z0-9][a-z0-9._-]{0,63}`, capitals folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Folds and checks a name: a letter or digit first, then also `extra`, 64 at most.
fn folded(text: &str, extra: &[u8]) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid = text.len() <= 64
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || extra.contains(&b));
    valid.then_some(text)
}

macro_rules! name {
    ($name:ident, $extra:literal, $expected:literal) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<$name, ParseNameError> {
                let invalid = || ParseNameError { expected: $expected, text: text.to_owned() };
                folded(text, $extra).map($name).ok_or_else(invalid)
            }
        }

        serde_as_str!($name);
    };
}

name!(AgentId, b"_-", "an agent id: a letter or digit, then up to 63 of `a-z 0-9 _ -`");
name!(Name, b"._-", "a name: a letter or digit, then up to 63 of `a-z 0-9 . _ -`");

impl AgentId {
    /// The agent of a gateway that has no other.
    pub fn main() -> AgentId {
        AgentId("main".to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}; got `{text}`")]
pub struct ParseNameError {
    expected: &'static str,
    text: String,
}

/// Names the conversation that a message belongs to. The text form is the one users see:
///
/// ```text
/// agent:<agent>:main
/// agent:<agent>:thread:<name>
/// agent:<agent>:subagent:<uuid or reuse key>
/// agent:<agent>:acp:<uuid>
/// agent:<agent>:cron:<job>[:run:<uuid>]
/// agent:<agent>:hook:<uuid>
/// agent:<agent>:<anything else that OpenClaw writes>
/// ```
///
/// Text becomes a `SessionKey` once, where it enters the process. Code past that point matches
/// on [`Scope`] and never looks at the text again. The text is folded to lower case, except the
/// room of a Matrix key and the group of a Signal key, which are case-sensitive over there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    pub agent: AgentId,
    pub scope: Scope,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The agent's own conversation with its owner.
    Main,
    /// A named conversation, the same one tomorrow.
    Thread(Name),
    /// An unnamed child.
    Subagent(Uuid),
    /// A warm child under a stable key.
    WarmSubagent(Name),
    Acp(Uuid),
    Cron {
        job: String,
        run: Option<Uuid>,
    },
    Hook(Uuid),
    /// Any other form of OpenClaw's: channels, groups, dashboard. Kept as it is.
    Other(String),
}

word_enum! {
    /// The sort of conversation that a key names: what lists can be asked for.
    pub enum ScopeKind {
        Main = "main",
        Thread = "thread",
        Subagent = "subagent",
        Acp = "acp",
        Cron = "cron",
        Hook = "hook",
        /// A group or channel of a chat service.
        Group = "group",
        Other = "other",
    }
}

impl Scope {
    pub fn kind(&self) -> ScopeKind {
        match self {
            Scope::Main => ScopeKind::Main,
            Scope::Thread(_) => ScopeKind::Thread,
            Scope::Subagent(_) | Scope::WarmSubagent(_) => ScopeKind::Subagent,
            Scope::Acp(_) => ScopeKind::Acp,
            Scope::Cron { .. } => ScopeKind::Cron,
            Scope::Hook(_) => ScopeKind::Hook,
            Scope::Other(rest) if rest.contains(":group:") || rest.contains(":channel:") => {
                ScopeKind::Group
            }
            Scope::Other(_) => ScopeKind::Other,
        }
    }
}

impl SessionKey {
    pub fn new(agent: AgentId, scope: Scope) -> SessionKey {
        SessionKey { agent, scope }
    }

    pub fn main(agent: AgentId) -> SessionKey {
        SessionKey::new(agent, Scope::Main)
    }

    /// Reads what a person may type: a full key, or a short one (`main`, `thread:budget`), which
    /// is resolved under `agent`.
    pub fn resolve(text: &str, agent: &AgentId) -> Result<SessionKey, ParseSessionKeyError> {
        if has_agent_prefix(text) {
            return text.parse();
        }
        let scope = Scope::parse(text).ok_or_else(|| ParseSessionKeyError(text.to_owned()))?;
        Ok(SessionKey { agent: agent.clone(), scope })
    }
}

fn has_agent_prefix(text: &str) -> bool {
    text.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("agent:"))
}

/// Longest key that is read, in bytes: every key is an index entry.
const KEY_BYTES_MAX: usize = 512;

impl Scope {
    /// Reads what follows `agent:<agent>:`.
    fn parse(rest: &str) -> Option<Scope> {
        let clean = |c: char| !c.is_control() && !c.is_whitespace();
        if rest.is_empty() || rest.starts_with(':') || rest.len() > KEY_BYTES_MAX {
            return None;
        }
        if !rest.chars().all(clean) {
            return None;
        }
        let rest = fold_case(rest);
        let parts: Vec<&str> = rest.split(':').collect();
        match parts[..] {
            ["main"] => Some(Scope::Main),
            ["thread", name] => name.parse().ok().map(Scope::Thread),
            ["subagent", text] => Some(match one_uuid(text) {
                Some(uuid) => Scope::Subagent(uuid),
                None => Scope::WarmSubagent(text.parse().ok()?),
            }),
            ["acp", uuid] if one_uuid(uuid).is_some() => one_uuid(uuid).map(Scope::Acp),
            ["cron", job] if !job.is_empty() => {
                Some(Scope::Cron { job: job.to_owned(), run: None })
            }
            ["cron", job, "run", run] if !job.is_empty() && one_uuid(run).is_some() => {
                Some(Scope::Cron { job: job.to_owned(), run: one_uuid(run) })
            }
            ["hook", uuid] if one_uuid(uuid).is_some() => one_uuid(uuid).map(Scope::Hook),
            ["thread", ..] => None,
            _ => Some(Scope::Other(rest)),
        }
    }
}

/// Reads a UUID in the one form that is printed: lower case, with hyphens.
fn one_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|uuid| uuid.to_string() == text)
}

/// Folds a key to lower case but for the parts that are case-sensitive at their channel.
fn fold_case(rest: &str) -> String {
    let lower = rest.to_lowercase();
    for keeps in ["signal:group:", "matrix:channel:", "matrix:group:"] {
        if lower.starts_with(keeps) && rest.is_char_boundary(keeps.len()) {
            return format!("{keeps}{}", &rest[keeps.len()..]);
        }
    }
    lower
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Main => f.write_str("main"),
            Scope::Thread(name) => write!(f, "thread:{name}"),
            Scope::Subagent(uuid) => write!(f, "subagent:{uuid}"),
            Scope::WarmSubagent(name) => write!(f, "subagent:{name}"),
            Scope::Acp(uuid) => write!(f, "acp:{uuid}"),
            Scope::Cron { job, run: None } => write!(f, "cron:{job}"),
            Scope::Cron { job, run: Some(run) } => write!(f, "cron:{job}:run:{run}"),
            Scope::Hook(uuid) => write!(f, "hook:{uuid}"),
            Scope::Other(rest) => f.write_str(rest),
        }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("agent:{}:{}", self.agent, self.scope))
    }
}

impl FromStr for SessionKey {
    type Err = ParseSessionKeyError;

    fn from_str(text: &str) -> Result<SessionKey, ParseSessionKeyError> {
        let invalid = || ParseSessionKeyError(text.to_owned());
        if !has_agent_prefix(text) {
            return Err(invalid());
        }
        let (agent, rest) = text[6..].split_once(':').ok_or_else(invalid)?;
        let agent = agent.parse().map_err(|_| invalid())?;
        let scope = Scope::parse(rest).ok_or_else(invalid)?;
        Ok(SessionKey { agent, scope })
    }
}

serde_as_str!(SessionKey);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a session key; expected a form such as `agent:main:main` or \
     `thread:budget-planning`"
)]
pub struct ParseSessionKeyError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_one_text() {
        for text in [
            "agent:main:main",
            "agent:main:thread:budget-planning",
            "agent:a_b-9:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8",
            "agent:main:subagent:researcher.v2",
            "agent:main:acp:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8",
            "agent:main:cron:daily",
            "agent:main:cron:daily:run:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8",
            "agent:main:hook:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8",
            "agent:main:telegram:group:-100:topic:7",
            "agent:main:matrix:group:!Room:Server",
            "agent:main:acp:binding:slack:t1:abc",
        ] {
            let key: SessionKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
            assert_eq!(key.to_string().parse::<SessionKey>().unwrap(), key);
        }
    }

    #[test]
    fn case_is_folded_where_the_channel_does_not_care() {
        let key: SessionKey = "Agent:Main:Telegram:Direct:ANNA".parse().unwrap();
        assert_eq!(key.to_string(), "agent:main:telegram:direct:anna");
        let key: SessionKey = "agent:main:Signal:Group:AbC=".parse().unwrap();
        assert_eq!(key.to_string(), "agent:main:signal:group:AbC=");
    }

    #[test]
    fn a_short_key_is_resolved_under_the_agent() {
        let ops: AgentId = "ops".parse().unwrap();
        for (text, full) in [
            ("main", "agent:ops:main"),
            ("thread:Budget", "agent:ops:thread:budget"),
            ("agent:main:main", "agent:main:main"),
        ] {
            assert_eq!(SessionKey::resolve(text, &ops).unwrap().to_string(), full);
        }
    }

    #[test]
    fn rejects_what_is_no_key() {
        for text in [
            "",
            "main",
            "agent:",
            "agent:main",
            "agent:main:",
            "agent:main::x",
            "agent:-x:main",
            "agent:main:thread:",
            "agent:main:thread:a b",
            "agent:main:thread:a:b",
            "agent:main:x\ny",
        ] {
            assert!(text.parse::<SessionKey>().is_err(), "{text:?} must not parse");
        }
    }
}
