//! What a skill needs, and whether it is there.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::Front;

/// Returns what is missing, a few words for each.
pub fn missing(front: &Front, config: &Value) -> Vec<String> {
    if front.always {
        return Vec::new();
    }
    let mut missing = Vec::new();
    if !front.os.is_empty() && !front.os.iter().any(|os| is_this(os)) {
        missing.push(format!("os {}", front.os.join(" or ")));
    }
    for bin in front.bins.iter().filter(|bin| !on_path(bin)) {
        missing.push(format!("program {bin}"));
    }
    if !front.any_bins.is_empty() && !front.any_bins.iter().any(|bin| on_path(bin)) {
        missing.push(format!("program {}", front.any_bins.join(" or ")));
    }
    for name in front.env.iter().filter(|name| !is_set(name)) {
        missing.push(format!("variable {name}"));
    }
    for path in front.config.iter().filter(|path| !is_on(config, path)) {
        missing.push(format!("config {path}"));
    }
    missing
}

/// As Node calls the systems, and as Rust does.
fn is_this(os: &str) -> bool {
    let theirs = if env::consts::OS == "macos" { "darwin" } else { env::consts::OS };
    os.eq_ignore_ascii_case(theirs) || os.eq_ignore_ascii_case(env::consts::OS)
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Is there a program of this name that can be run?
fn on_path(bin: &str) -> bool {
    let runs = |file: &Path| {
        file.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    // A path in the place of a name would look anywhere.
    if bin.is_empty() || bin.contains('/') {
        return false;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| runs(&folder.join(bin)))
}

/// Is something written there that is not empty, false or zero?
fn is_on(config: &Value, path: &str) -> bool {
    let found = path.split('.').try_fold(config, |value, key| value.get(key));
    match found {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty(),
        Some(Value::Bool(true)) => true,
    }
}
