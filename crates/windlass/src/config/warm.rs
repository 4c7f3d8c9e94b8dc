//! `subagents`, as far as sessions are kept and reused: which one a spawn goes to, and for how
//! long an idle child is kept.

use serde::Serialize;
use types::{Name, Reuse};

use super::section::Section;

/// OpenClaw's: an hour.
const ARCHIVE_AFTER_MINUTES: u32 = 60;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warm {
    /// Where a spawn goes that does not say it.
    pub reuse: Reuse,
    /// The key of `reuse: "key"`, for a spawn that names none.
    pub reuse_key: Option<Name>,
    /// May a spawn go to the agent's main session?
    pub allow_reuse_main: bool,
    /// How long an unnamed child is kept idle; zero is for ever.
    pub archive_after_minutes: u32,
}

impl Warm {
    /// Reads the keys of `subagents`; what is not said is as in `defaults`.
    pub(super) fn read(s: &mut Section<'_>, defaults: &Warm) -> Warm {
        Warm {
            reuse: s.word("reuse", Reuse::ALL, &[]).unwrap_or(defaults.reuse),
            reuse_key: reuse_key(s).or_else(|| defaults.reuse_key.clone()),
            allow_reuse_main: s.flag("allowReuseMain").unwrap_or(defaults.allow_reuse_main),
            archive_after_minutes: s
                .count("archiveAfterMinutes", 0..=u32::MAX)
                .unwrap_or(defaults.archive_after_minutes),
        }
    }
}

impl Default for Warm {
    fn default() -> Warm {
        Warm {
            reuse: Reuse::Never,
            reuse_key: None,
            allow_reuse_main: false,
            archive_after_minutes: ARCHIVE_AFTER_MINUTES,
        }
    }
}

fn reuse_key(s: &mut Section<'_>) -> Option<Name> {
    let text = s.text("reuseKey")?;
    text.parse().map_err(|error| s.cx.error(&s.spot_of("reuseKey"), format!("{error}"))).ok()
}
