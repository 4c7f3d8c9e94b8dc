//! `windlass config`: where the configuration is, whether it is right, what it says.

use std::io::Write;

use anyhow::bail;
use clap::Subcommand;

use crate::args::Global;
use crate::output::path;
use crate::setup::{self, Setup};

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the file, and say what is wrong with its line and column
    Validate,
    /// Print what stands at a path such as `gateway.port`, defaults included, secrets hidden
    Get {
        /// The whole configuration if none
        path: Option<String>,
    },
    /// Print where the file is
    Path,
}

pub fn run(command: ConfigCommand, global: &Global, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Path => path(global.json, &setup::paths(global)?.config, out)?,
        ConfigCommand::Get { path } => {
            let setup = Setup::load(global)?;
            let path = path.unwrap_or_default();
            let Some(value) = setup.config.get(&path) else {
                bail!("there is no `{path}` in the configuration; see `windlass config get`");
            };
            match value {
                serde_json::Value::String(text) if !global.json => writeln!(out, "{text}")?,
                value => writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?,
            }
        }
        ConfigCommand::Validate => validate(global, out)?,
    }
    Ok(())
}

fn validate(global: &Global, out: &mut impl Write) -> anyhow::Result<()> {
    let setup = Setup::load(global)?;
    for warning in &setup.warnings {
        if setup.json {
            writeln!(out, "{}", serde_json::json!({ "warning": warning.to_string() }))?;
        } else {
            eprintln!("warning: {warning}");
        }
    }
    match &setup.config_path {
        Some(path) => eprintln!("{} is right", path.display()),
        None => eprintln!("there is no file: all defaults stand"),
    }
    Ok(())
}
