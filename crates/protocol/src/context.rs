//! `sessions.context`, ours: what is sent before and with a conversation, and what takes how much.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::{AgentId, Hash, SessionId, SessionKey, Timestamp};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextParams {
    pub session: SessionRef,
    pub agent: Option<AgentId>,
}

impl Params for ContextParams {
    fn read(fields: &Fields<'_>) -> Result<ContextParams, InvalidField> {
        let agent = fields.agent("agentId")?;
        Ok(ContextParams { session: fields.required_session("key")?, agent })
    }
}

/// All numbers are tokens. Those of parts are estimates of ours; `total_tokens` is the provider's
/// count of the last call, with estimates of what came since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextResult {
    pub session_key: SessionKey,
    pub session_id: SessionId,
    pub agent_id: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the model can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_tokens: Option<u64>,
    /// What is configured, if the provider has refused less than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_window_tokens: Option<u64>,
    /// What the next call will send.
    pub total_tokens: u64,
    /// Of the conversation.
    pub history_tokens: u64,
    /// None until the first call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<PinnedPrefix>,
}

/// What stands before the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedPrefix {
    pub hash: Hash,
    pub tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_at: Option<Timestamp>,
    /// Why it was pinned: `start`, `pool`, `refresh`.
    pub reason: String,
    /// Has anything of it changed since?
    pub changed: bool,
    /// Of our own words.
    pub system_tokens: u64,
    pub tools: Vec<ContextTool>,
    pub parts: Vec<ContextPart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextTool {
    pub name: String,
    pub tokens: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextPart {
    /// `file`
    pub kind: String,
    pub name: String,
    pub tokens: u64,
    /// `same`, `changed`, `gone` or `new`, which is not sent yet.
    pub state: String,
    /// There is more of it than is sent.
    pub cut: bool,
}

/// Tools that a short account names: the largest.
const TOOLS_SHOWN: usize = 5;

impl ContextResult {
    /// The account as people read it; `all` names each tool.
    pub fn lines(&self, all: bool, now: Timestamp) -> Vec<String> {
        let model = self.model.as_deref().unwrap_or("no model");
        let window = self.window_tokens.filter(|window| *window > 0);
        let of = window.map_or(String::new(), |window| {
            format!(" of {window} ({} %)", self.total_tokens.saturating_mul(100) / window)
        });
        let mut lines = vec![
            format!("{}, {}, {model}", self.session_key, self.session_id),
            format!("{} tokens{of}", self.total_tokens),
        ];
        match &self.prefix {
            Some(prefix) => lines.extend(prefix.lines(all, now)),
            None => lines.push("Nothing is pinned yet: the first call reads the files.".to_owned()),
        }
        lines.push(row("conversation", self.history_tokens, ""));
        if let Some(configured) = self.configured_window_tokens {
            lines.push(format!(
                "By its refusals the provider takes no more than this; contextWindow of the model \
                 is configured as {configured}."
            ));
        }
        if self.prefix.as_ref().is_some_and(|prefix| prefix.changed) {
            lines.push(
                "What has changed is sent from the next /new on, or after /context refresh."
                    .to_owned(),
            );
        }
        lines
    }
}

impl PinnedPrefix {
    fn lines(&self, all: bool, now: Timestamp) -> Vec<String> {
        let when = self.pinned_at.map_or(String::new(), |at| format!(" {}", ago(now.since(at))));
        let hash = self.hash.to_string();
        let mut lines = vec![format!(
            "{} of them before the conversation, pinned{when} ({}), hash {}",
            self.tokens,
            self.reason,
            &hash[..12]
        )];
        let mut tools: Vec<&ContextTool> = self.tools.iter().collect();
        tools.sort_by_key(|tool| std::cmp::Reverse(tool.tokens));
        let sum = tools.iter().map(|tool| tool.tokens).sum();
        let named = if all { tools.len() } else { TOOLS_SHOWN };
        let words = tools.iter().take(named).map(|tool| format!("{} {}", tool.name, tool.tokens));
        let mut words: Vec<String> = words.collect();
        if tools.len() > named {
            words.push(format!("{} more", tools.len() - named));
        }
        lines.push(row(&format!("{} tools", tools.len()), sum, &words.join(", ")));
        lines.push(row("system prompt", self.system_tokens, ""));
        for part in &self.parts {
            let mut note = match part.state.as_str() {
                "same" => String::new(),
                "new" => "new, not sent yet".to_owned(),
                other => format!("{other} since"),
            };
            if part.cut {
                note = format!("cut {note}").trim_end().to_owned();
            }
            lines.push(row(&part.name, part.tokens, &note));
        }
        lines
    }
}

/// How long ago, in one unit.
fn ago(since: Duration) -> String {
    match since.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

fn row(name: &str, tokens: u64, note: &str) -> String {
    format!("  {name:<16} {tokens:>7}  {note}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_as_people_read_it() {
        let tool = |n: u64| ContextTool { name: format!("tool_{n}"), tokens: 10 * n };
        let part = |name: &str, state: &str, cut| ContextPart {
            kind: "file".to_owned(),
            name: name.to_owned(),
            tokens: 40,
            state: state.to_owned(),
            cut,
        };
        let prefix = PinnedPrefix {
            hash: Hash::of("p"),
            tokens: 400,
            pinned_at: Some(Timestamp(0)),
            reason: "start".to_owned(),
            changed: true,
            system_tokens: 110,
            tools: (1..=7).map(tool).collect(),
            parts: vec![part("AGENTS.md", "same", true), part("SOUL.md", "changed", false)],
        };
        let result = ContextResult {
            session_key: "agent:main:main".parse().unwrap(),
            session_id: "ses_00000000000000000000000000000000".parse().unwrap(),
            agent_id: AgentId::main(),
            model: Some("stub/m".to_owned()),
            window_tokens: Some(2_000),
            configured_window_tokens: None,
            total_tokens: 500,
            history_tokens: 100,
            prefix: Some(prefix),
        };
        insta::assert_snapshot!(result.lines(false, Timestamp(300_000)).join("\n"), @r"
        agent:main:main, ses_00000000000000000000000000000000, stub/m
        500 tokens of 2000 (25 %)
        400 of them before the conversation, pinned 5 min ago (start), hash 148de9c5a7a4
          7 tools              280  tool_7 70, tool_6 60, tool_5 50, tool_4 40, tool_3 30, 2 more
          system prompt        110
          AGENTS.md             40  cut
          SOUL.md               40  changed since
          conversation         100
        What has changed is sent from the next /new on, or after /context refresh.
        ");
        assert!(result.lines(true, Timestamp(0))[3].ends_with("tool_2 20, tool_1 10"));
        let fresh = ContextResult { prefix: None, configured_window_tokens: Some(9_000), ..result };
        let lines = fresh.lines(false, Timestamp(0));
        assert!(lines[2].starts_with("Nothing is pinned yet"));
        assert!(lines[4].ends_with("is configured as 9000."), "{lines:?}");
    }
}
