//! `windlass skills`: which there are, which an agent can use, and what is wrong with the others.

use std::io::Write;

use clap::{Args, Subcommand};
use runtime::skills::{Skill, Standing, survey};
use serde::Serialize;
use types::AgentId;

use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;
use crate::wire;
use crate::{EXIT_USAGE, Exit};

#[derive(Debug, Subcommand)]
pub enum SkillsCommand {
    /// List the skills that were found, in the order in which they count
    List(SkillsArgs),
    /// Show those that cannot be used, and why; fails if a file is wrong
    Check(SkillsArgs),
}

#[derive(Debug, Args)]
pub struct SkillsArgs {
    /// As this agent has them; the default one if none
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
}

/// A skill that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    description: String,
    source: String,
    /// `ready`, `unlisted`, `shadowed`, `off`, `needs` or `bad`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

pub fn run(command: SkillsCommand, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let (args, check) = match command {
        SkillsCommand::List(args) => (args, false),
        SkillsCommand::Check(args) => (args, true),
    };
    let id = args.agent.unwrap_or_else(|| setup.default_agent());
    let Some(agent) = setup.config.agents.entries.get(&id) else {
        let known: Vec<&str> = setup.config.agents.entries.keys().map(AgentId::as_str).collect();
        let message = format!("no agent `{id}` is configured; there are {}", known.join(", "));
        return Err(Exit { code: EXIT_USAGE, message }.into());
    };
    let skills = wire::skills(&setup.config, setup.state_dir())?;
    let allow = wire::allowed_skills(agent);
    let mut rows: Vec<Row> =
        survey(&skills, &agent.workspace, allow.as_ref()).into_iter().map(row).collect();
    let bad = rows.iter().filter(|row| row.state == "bad").count();
    if check {
        rows.retain(|row| row.state != "ready" || row.remark.is_some());
    }
    if setup.json {
        json_lines(out, &rows)?;
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        table(out, &["SKILL", "FROM", "STATE", "WHY", "DESCRIPTION"], &cells)?;
    }
    if check && bad > 0 {
        let message = format!("{bad} of the files are wrong; the other skills can be used");
        return Err(Exit { code: 1, message }.into());
    }
    Ok(())
}

fn row(skill: Skill) -> Row {
    let (state, why) = match skill.standing {
        Standing::Ready => ("ready", None),
        Standing::Unlisted => {
            ("unlisted", Some("disable-model-invocation is true in its file".to_owned()))
        }
        Standing::Shadowed(by) => ("shadowed", Some(format!("there is one of {by}"))),
        Standing::Off(key) => ("off", Some(key)),
        Standing::Needs(missing) => ("needs", Some(missing.join(", "))),
        Standing::Bad(why) => ("bad", Some(why)),
    };
    Row {
        name: skill.name,
        description: skill.description,
        source: skill.source.to_string(),
        state,
        why,
        folder: skill.folder.map(|folder| folder.display().to_string()),
        remark: skill.remark,
    }
}

fn cells(row: &Row) -> Vec<String> {
    let why = row.why.as_deref().or(row.remark.as_deref()).unwrap_or_default();
    vec![
        row.name.clone(),
        row.source.clone(),
        row.state.to_owned(),
        why.to_owned(),
        one_line(&row.description, 60),
    ]
}
