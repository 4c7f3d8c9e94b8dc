//! What is in the gateway's file, read with the shell that users have: whatever a bench counts
//! has to be there, or it does not count.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::run;

#[derive(Clone, Debug)]
pub struct Database {
    path: PathBuf,
}

impl Database {
    pub fn new(path: PathBuf) -> Database {
        Database { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks a question whose answer is one row. Returns its columns by their names.
    pub fn row(&self, sql: &str) -> anyhow::Result<Value> {
        let mut shell = Command::new("sqlite3");
        let text = run::capture(shell.args(["-readonly", "-json"]).arg(&self.path).arg(sql))?;
        let mut rows: Vec<Value> = serde_json::from_str(&text)
            .with_context(|| format!("sqlite3 printed no JSON for `{sql}`"))?;
        rows.pop().with_context(|| format!("`{sql}` has no row"))
    }
}

/// A column with a number in it.
pub fn number(row: &Value, column: &str) -> anyhow::Result<u64> {
    row[column].as_u64().with_context(|| format!("no number `{column}` in {row}"))
}
