//! `windlass db`: where the database is, whether it is sound, and copies of it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use store::Reader;
use store::sqlite::Check;

use crate::output;
use crate::setup::Setup;

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Copy the database to a new file, also while a gateway uses it
    Backup {
        /// A file that does not exist yet
        file: PathBuf,
    },
    /// Check the file, its foreign keys, and the invariants of the rows
    Check,
    /// Print where the database is
    Path,
}

pub async fn run(command: DbCommand, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let path = setup.state_dir().join(store::sqlite::FILE);
    match command {
        DbCommand::Path => output::path(setup.json, &path, out)?,
        DbCommand::Backup { file } => {
            if file.exists() {
                bail!("{} exists already; a backup is a new file", file.display());
            }
            Reader::open(&path)?.backup(&file).context("no copy was made")?;
            output::path(setup.json, &file, out)?;
        }
        DbCommand::Check => {
            let found = Reader::open(&path)?.check(&setup.limits()?)?;
            if setup.json {
                output::json_lines(out, std::slice::from_ref(&found))?;
            } else {
                for problem in problems(&found) {
                    writeln!(out, "{problem}")?;
                }
            }
            if !found.is_well() {
                bail!("{} is not sound", path.display());
            }
            eprintln!("{} is sound", path.display());
        }
    }
    Ok(())
}

/// All that a check has found, as lines.
pub fn problems(found: &Check) -> impl Iterator<Item = &String> {
    found.damage.iter().chain(&found.dangling).chain(&found.violations)
}
