//! Finds one value of a configuration by its path.

use serde_json::Value;

use super::key_path::{KeyPath, Step};

/// Takes what stands at `path` out of `whole`. An index may also be written as a key: `a.0`.
pub fn lookup(whole: Value, path: &str) -> Option<Value> {
    let path = KeyPath::parse(path)?;
    path.steps().iter().try_fold(whole, |mut value, step| {
        let found = match step {
            Step::Key(key) if value.is_array() => value.get_mut(key.parse::<usize>().ok()?),
            Step::Key(key) => value.get_mut(key.as_str()),
            Step::Index(index) => value.get_mut(*index),
        };
        found.map(Value::take)
    })
}
