//! `agents`, as far as the files of a workspace are sent: whether there are any, and how much.

use serde::Serialize;

use super::section::Section;

/// The keys of `agents.defaults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// A new workspace gets no files.
    pub skip_bootstrap: bool,
    #[serde(flatten)]
    pub bounds: BootstrapBounds,
}

/// Those that an agent can have of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapBounds {
    /// Most characters of one file that are sent.
    pub bootstrap_max_chars: u32,
    /// Most characters of all files together.
    pub bootstrap_total_max_chars: u32,
}

/// More than any model can be sent.
const CHARS_MAX: u32 = 10_000_000;

impl Bootstrap {
    pub(super) fn read(s: &mut Section<'_>) -> Bootstrap {
        Bootstrap {
            skip_bootstrap: s.flag("skipBootstrap").unwrap_or(false),
            bounds: BootstrapBounds::read(s, BootstrapBounds::default()),
        }
    }
}

impl Default for BootstrapBounds {
    fn default() -> BootstrapBounds {
        let bounds = runtime::Bootstrap::default();
        let chars = |chars: usize| u32::try_from(chars).unwrap_or(CHARS_MAX);
        BootstrapBounds {
            bootstrap_max_chars: chars(bounds.file_chars_max),
            bootstrap_total_max_chars: chars(bounds.total_chars_max),
        }
    }
}

impl BootstrapBounds {
    /// Reads the keys; what is not said is as in `defaults`.
    pub(super) fn read(s: &mut Section<'_>, defaults: BootstrapBounds) -> BootstrapBounds {
        let one = s.count("bootstrapMaxChars", 1..=CHARS_MAX);
        let all = s.count("bootstrapTotalMaxChars", 1..=CHARS_MAX);
        BootstrapBounds {
            bootstrap_max_chars: one.unwrap_or(defaults.bootstrap_max_chars),
            bootstrap_total_max_chars: all.unwrap_or(defaults.bootstrap_total_max_chars),
        }
    }
}
