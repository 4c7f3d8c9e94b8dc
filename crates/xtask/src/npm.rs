//! `cargo xtask npm`: the tool servers of others that tests talk to, in the versions that they were
//! tried with.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::metadata::Metadata;
use crate::run;

/// They lie in `npm` of the target folder: nothing of them is ours.
const PACKAGES: &[(&str, &str)] = &[
    ("@modelcontextprotocol/server-everything", "2026.8.31"),
    ("@modelcontextprotocol/server-filesystem", "2026.8.31"),
];

/// Installs what is missing.
pub fn install() -> anyhow::Result<()> {
    let folder = Metadata::load()?.target_directory.join("npm");
    if PACKAGES.iter().all(|(name, version)| is_there(&folder, name, version)) {
        return Ok(());
    }
    if !run::succeeds(Command::new("npm").arg("--version")) {
        bail!("`npm` is missing: tests talk to tool servers that are written for node 20 or later");
    }
    fs::create_dir_all(&folder)?;
    let packages = PACKAGES.iter().map(|(name, version)| format!("{name}@{version}"));
    // Scripts of packages are not run: these have none that they need.
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]);
    run::stream(npm.arg(&folder).args(packages))
}

fn is_there(folder: &Path, name: &str, version: &str) -> bool {
    let path = folder.join("node_modules").join(name).join("package.json");
    let text = fs::read_to_string(path).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package["version"] == version
}
