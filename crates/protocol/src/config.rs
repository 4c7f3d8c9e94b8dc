//! `config.reload`: the configuration file is read anew; and what has come of that, for `status`.

use serde::{Deserialize, Serialize};
use types::{Timestamp, word_enum};

use crate::fields::{Fields, InvalidField};
use crate::method::Params;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadParams {
    /// Only say what would come of it.
    pub dry_run: bool,
}

impl Params for ReloadParams {
    fn read(fields: &Fields<'_>) -> Result<ReloadParams, InvalidField> {
        Ok(ReloadParams { dry_run: fields.boolean("dryRun")?.unwrap_or(false) })
    }
}

word_enum! {
    /// What has come of a file that was read.
    pub enum Reloaded {
        Applied = "applied",
        /// It says what it has said before.
        Unchanged = "unchanged",
        /// It is wrong; what was applied last holds.
        Rejected = "rejected",
        /// It is right, and was only asked about.
        Checked = "checked",
    }
}

/// The result of `config.reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReloadResult {
    pub status: Reloaded,
    /// The file.
    pub path: String,
    /// Keys whose change holds from now on.
    pub applied: Vec<String>,
    /// Keys whose change holds from the next start on.
    pub restart_pending: Vec<String>,
    /// Runs that are open, and go on with what they began with.
    pub open_runs: u64,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
}

/// A file that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// When it was first seen to be wrong.
    pub since: Timestamp,
    /// All of it, for people.
    pub message: String,
    /// In the order of the file; empty if it is not the text that is wrong.
    pub problems: Vec<ConfigProblem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// Counted from one, as are columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Empty for the whole file.
    pub key: String,
    pub message: String,
}

/// Which configuration holds, in `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStanding {
    pub path: String,
    /// Is the file looked at, or only read when somebody asks for it?
    pub watched: bool,
    pub applied_at: Timestamp,
    /// Keys that are others in the file than in this process: they hold from the next start on.
    pub restart_pending: Vec<String>,
    /// What is wrong with the file as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
}
