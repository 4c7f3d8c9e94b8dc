//! `tools.exec`, of all agents and of one: which commands run, and which a person has to allow.

pub use machine::approve::{AskFallback, ExecMode};
use serde::Serialize;

use super::section::Section;

/// What is said; what is not is as for all agents, or as [`machine::approve::ExecRules`] has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecRules {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ExecMode>,
    /// Patterns of commands that run without a question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<Vec<String>>,
    /// Programs that only look; with mode `auto` they run inside the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_bins: Option<Vec<String>>,
    /// What becomes of a question that nobody can be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask_fallback: Option<AskFallback>,
    /// How long a question waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_timeout_seconds: Option<u64>,
}

/// A week: whoever has not answered by then does not know any more what it was about.
const WAIT_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;

impl ExecRules {
    pub(super) fn read(s: &mut Section<'_>) -> ExecRules {
        let allowlist = patterns(s, "allowlist");
        let safe_bins = s.texts("safeBins");
        if let Some(odd) =
            safe_bins.iter().flatten().find(|name| name.contains(char::is_whitespace))
        {
            let message = format!("expected names of programs, without arguments; got `{odd}`");
            let spot = s.spot_of("safeBins");
            s.cx.error(&spot, message);
        }
        ExecRules {
            mode: s.word("mode", ExecMode::ALL, &[]),
            allowlist,
            safe_bins,
            ask_fallback: s.word("askFallback", AskFallback::ALL, &[]),
            approval_timeout_seconds: s.integer("approvalTimeoutSeconds", 1..=WAIT_SECONDS_MAX),
        }
    }

    /// As the machine decides by them, with `own` in the place of what it says.
    pub fn with(&self, own: &ExecRules) -> machine::approve::ExecRules {
        let base = machine::approve::ExecRules::default();
        let seconds = own.approval_timeout_seconds.or(self.approval_timeout_seconds);
        machine::approve::ExecRules {
            mode: own.mode.or(self.mode).unwrap_or(base.mode),
            allow: own.allowlist.clone().or(self.allowlist.clone()).unwrap_or(base.allow),
            safe: own.safe_bins.clone().or(self.safe_bins.clone()).unwrap_or(base.safe),
            fallback: own.ask_fallback.or(self.ask_fallback).unwrap_or(base.fallback),
            wait: seconds.map_or(base.wait, std::time::Duration::from_secs),
        }
    }
}

/// Reads patterns of commands. One that is blank covers nothing, and is a slip.
fn patterns(s: &mut Section<'_>, key: &str) -> Option<Vec<String>> {
    let texts = s.texts(key)?;
    if texts.iter().any(|text| text.trim().is_empty()) {
        let spot = s.spot_of(key);
        s.cx.error(&spot, "expected commands such as `git status *`; got an empty text".to_owned());
    }
    Some(texts)
}
