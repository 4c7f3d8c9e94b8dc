//! Builds the binaries that are measured.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::run;

#[derive(Debug)]
pub struct Binaries {
    pub windlass: PathBuf,
    pub stub: PathBuf,
}

impl Binaries {
    /// Builds with `profile` into the folder `target`.
    pub fn build(target: &Path, profile: &str) -> anyhow::Result<Binaries> {
        let packages = ["-p", "windlass", "-p", "windlass-stub"];
        run::stream(run::cargo().args(["build", "--bins", "--profile", profile]).args(packages))?;
        // Cargo keeps the folder's name from before profiles had names.
        let folder = target.join(if profile == "dev" { "debug" } else { profile });
        let binaries =
            Binaries { windlass: folder.join("windlass"), stub: folder.join("windlass-stub") };
        for binary in [&binaries.windlass, &binaries.stub] {
            if !binary.is_file() {
                bail!("cargo built no {}", binary.display());
            }
        }
        Ok(binaries)
    }
}
