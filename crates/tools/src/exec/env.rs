//! The environment of a command: a little of the gateway's, what the operator adds, what the call
//! adds, and whose it is.

use std::ffi::{OsStr, OsString};

use serde_json::Value;

use crate::ToolContext;
use crate::arguments::{excerpt, wrong};
use crate::processes::{CALL_VARIABLE, RUN_VARIABLE};

/// What a command inherits, besides `LC_*`. The gateway's own environment holds API keys.
pub(super) const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

const ENV_COUNT_MAX: usize = 256;

/// All that a command of this call has in its environment; what comes later wins.
pub(super) fn all(context: &ToolContext, own: &[(String, String)]) -> Vec<(OsString, OsString)> {
    let pair = |(name, value): &(String, String)| (OsString::from(name), OsString::from(value));
    let mut all: Vec<(OsString, OsString)> = inherited(std::env::vars_os()).collect();
    all.extend(context.env.iter().map(pair));
    all.extend(own.iter().map(pair));
    // Last: no one else may say which run a process belongs to.
    all.push((RUN_VARIABLE.into(), context.run.to_string().into()));
    all
}

/// Reads the `env` argument.
pub(super) fn env(value: Option<&Value>) -> Result<Vec<(String, String)>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let Some(fields) = value.as_object() else {
        return Err(wrong("env", "an object of strings", value));
    };
    if fields.len() > ENV_COUNT_MAX {
        let count = fields.len();
        return Err(format!("`env` has {count} variables; at most {ENV_COUNT_MAX} are allowed"));
    }
    fields.iter().map(|(name, value)| variable(name, value)).collect()
}

fn variable(name: &str, value: &Value) -> Result<(String, String), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("`env` has no valid variable name in `{}`", excerpt(name)));
    }
    if [RUN_VARIABLE, CALL_VARIABLE].contains(&name) {
        return Err(format!("`env` must not set {name}: the gateway does"));
    }
    // The value may be a secret: an error shows its name alone.
    match value.as_str() {
        Some(value) if !value.contains('\0') => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err(format!("`env.{}` holds a NUL character", excerpt(name))),
        None => Err(format!("`env.{}` must be a string", excerpt(name))),
    }
}

/// Returns what of the gateway's environment a command may see.
pub(super) fn inherited(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    let safe = |name: &OsStr| {
        name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_"))
    };
    all.filter(move |(name, _)| safe(name))
}
