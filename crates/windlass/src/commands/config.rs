//! `windlass config`: where the configuration is, whether it is right, what it says, and that a
//! running gateway take it.

use std::io::Write;

use anyhow::bail;
use clap::Subcommand;
use protocol::config::{ConfigStanding, Rejected, ReloadResult, Reloaded};
use protocol::{Method, Scope};
use serde_json::json;
use types::Timestamp;

use crate::args::Global;
use crate::client::Client;
use crate::output::path;
use crate::setup::{self, Setup};
use crate::{EXIT_USAGE, Exit};

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
    /// Ask the gateway what of the file is new to it: what it would apply, and what needs a restart
    Diff,
    /// Have the gateway read the file now; open runs go on with what they began with
    Reload,
}

pub async fn run(
    command: ConfigCommand,
    global: &Global,
    out: &mut impl Write,
) -> anyhow::Result<()> {
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
        ConfigCommand::Diff => reload(true, global, out).await?,
        ConfigCommand::Reload => reload(false, global, out).await?,
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

async fn reload(dry_run: bool, global: &Global, out: &mut impl Write) -> anyhow::Result<()> {
    // The file may be wrong: that is the gateway's to say, which knows the one before.
    let (setup, _) = Setup::load_or_default(global)?;
    let mut client = Client::connect_as(&setup.target()?, &[Scope::Read, Scope::Admin]).await?;
    let result: ReloadResult =
        client.get(Method::ConfigReload, json!({ "dryRun": dry_run })).await?;
    if let Some(rejected) = &result.rejected {
        if global.json {
            writeln!(out, "{}", serde_json::to_string(&result)?)?;
        }
        let message = format!("{}\nwhat was applied last stays in use", rejected.message);
        return Err(Exit { code: EXIT_USAGE, message }.into());
    }
    if global.json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&result)?)?);
    }
    for line in lines(&result) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What has come of a file, or would.
fn lines(result: &ReloadResult) -> Vec<String> {
    let ReloadResult { status, path, applied, restart_pending, open_runs, .. } = result;
    let mut lines = vec![match status {
        Reloaded::Unchanged => format!("{path} says nothing new"),
        Reloaded::Checked => format!("{path} is right; it would be applied"),
        Reloaded::Applied | Reloaded::Rejected => format!("{path} is applied"),
    }];
    let keys = |keys: &[String]| if keys.is_empty() { "-".to_owned() } else { keys.join(", ") };
    if *status != Reloaded::Unchanged {
        lines.push(format!("without a restart: {}", keys(applied)));
    }
    if *status != Reloaded::Unchanged || !restart_pending.is_empty() {
        lines.push(format!("needs a restart: {}", keys(restart_pending)));
    }
    if *open_runs > 0 && *status != Reloaded::Unchanged {
        lines.push(format!("{open_runs} open runs go on with what they began with"));
    }
    lines
}

/// What a person should know of a running gateway's configuration.
pub fn standing(standing: &ConfigStanding, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if !standing.restart_pending.is_empty() {
        lines.push(format!("restart pending: {}", standing.restart_pending.join(", ")));
    }
    if let Some(Rejected { since, message, .. }) = &standing.rejected {
        let (wrong, applied) = (now.since(*since).as_secs(), standing.applied_at);
        let applied = now.since(applied).as_secs();
        lines.push(format!(
            "configuration wrong since {wrong} s, the one of {applied} s ago is used: {message}"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(status: Reloaded, applied: &[&str], restart: &[&str], open_runs: u64) -> String {
        let keys = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
        let (path, rejected) = ("/c.json".to_owned(), None);
        let (applied, restart_pending) = (keys(applied), keys(restart));
        lines(&ReloadResult { status, path, applied, restart_pending, open_runs, rejected })
            .join("; ")
    }

    #[test]
    fn what_is_hot_and_what_is_not_is_said_apart() {
        assert_eq!(result(Reloaded::Unchanged, &[], &[], 3), "/c.json says nothing new");
        assert_eq!(
            result(Reloaded::Checked, &["agents.entries.ops"], &["gateway.port"], 0),
            "/c.json is right; it would be applied; without a restart: agents.entries.ops; needs \
             a restart: gateway.port"
        );
        assert_eq!(
            result(Reloaded::Applied, &["budget.day.usd"], &[], 2),
            "/c.json is applied; without a restart: budget.day.usd; needs a restart: -; 2 open \
             runs go on with what they began with"
        );
    }

    #[test]
    fn a_file_that_is_wrong_is_told_with_its_age() {
        let rejected =
            Rejected { since: Timestamp(5_000), message: "line 1".to_owned(), problems: vec![] };
        let told = ConfigStanding {
            path: String::new(),
            watched: true,
            applied_at: Timestamp(1_000),
            restart_pending: vec!["gateway.port".to_owned()],
            rejected: Some(rejected),
        };
        assert_eq!(
            standing(&told, Timestamp(8_000)),
            [
                "restart pending: gateway.port",
                "configuration wrong since 3 s, the one of 7 s ago is used: line 1",
            ]
        );
    }
}
