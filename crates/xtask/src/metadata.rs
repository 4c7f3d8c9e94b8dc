//! What `cargo metadata` says of the workspace: its crates, their targets and dependencies.

use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use crate::run;

#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Our crates and everything they pull in.
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
    pub target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub kind: Option<Kind>,
    pub features: Vec<String>,
}

/// A dependency that is not there for the code itself. Cargo gives that one no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Dev,
    Build,
}

#[derive(Debug, Deserialize)]
pub struct Target {
    pub kind: Vec<String>,
    pub src_path: PathBuf,
}

impl Metadata {
    pub fn load() -> anyhow::Result<Metadata> {
        let json = run::capture(run::cargo().args(["metadata", "--format-version", "1"]))?;
        serde_json::from_str(&json).context("cargo metadata printed something unexpected")
    }

    /// Our own crates.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}

impl Target {
    /// Tells whether only `cargo test` and `cargo bench` build it.
    pub fn is_test(&self) -> bool {
        self.kind.iter().any(|kind| matches!(kind.as_str(), "test" | "bench" | "example"))
    }
}
