//! The command line, as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    agent, agents, approvals, chat, config, context, db, demo, flow, gateway, mcp, models, sandbox,
    sessions, skills, spawn, status, tasks, tools, usage,
};

/// The gateway for fleets of LLM agents that must not lose work
#[derive(Debug, Parser)]
#[command(name = "windlass", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub struct Global {
    /// Read this configuration file instead of ~/.windlass/windlass.json or
    /// $WINDLASS_CONFIG_PATH
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Keep the database and all else in this folder instead of ~/.windlass or
    /// $WINDLASS_STATE_DIR
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Talk to the gateway at this address instead of the configured one or
    /// $WINDLASS_GATEWAY_URL
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,

    /// Print data as JSON: one object, or one a line
    #[arg(long, global = true)]
    pub json: bool,

    /// Say more on stderr; repeat for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until it is told to stop
    Gateway(gateway::GatewayArgs),
    /// Send one message to an agent and print its answer
    Agent(agent::AgentArgs),
    /// Start a sub-agent without a model in between
    Spawn(Box<spawn::SpawnArgs>),
    /// Talk to an agent
    Chat(chat::ChatArgs),
    /// Look at the agents that are configured; add, change and remove them
    #[command(subcommand)]
    Agents(agents::AgentsCommand),
    /// Look at sessions, and administer them
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// List the named conversations, and what they are about
    Threads(sessions::ThreadsArgs),
    /// Show what is sent before and with a conversation, and what takes how much
    Context(context::ContextArgs),
    /// See which models there are and which is asked, and ask another in a conversation
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Look at sub-agents, as a tree
    #[command(subcommand)]
    Subagents(tasks::SubagentsCommand),
    /// Look at tasks, and stop them
    #[command(subcommand)]
    Tasks(tasks::TasksCommand),
    /// See which tools there are, and which a session has
    #[command(subcommand)]
    Tools(tools::ToolsCommand),
    /// Look at the servers that bring tools
    #[command(subcommand)]
    Mcp(mcp::McpCommand),
    /// See which skills there are, which an agent has, and what is wrong with the others
    #[command(subcommand)]
    Skills(skills::SkillsCommand),
    /// Start, watch and stop declared flows of tasks
    #[command(subcommand)]
    Flow(flow::FlowCommand),
    /// Look at commands that wait until you allow them, and answer
    #[command(subcommand)]
    Approvals(approvals::ApprovalsCommand),
    /// Show what was spent: on which agent, session, tree, model or day
    Usage(usage::UsageArgs),
    /// Look at what may be spent, and allow more
    #[command(subcommand)]
    Budget(usage::BudgetCommand),
    /// Show what the gateway is doing
    Status(status::StatusArgs),
    /// Ask the gateway whether it is well
    Health,
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look after the database
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Look at the walls around the commands of agents
    #[command(subcommand)]
    Sandbox(sandbox::SandboxCommand),
    /// Check configuration, folder, database and gateway, and say what to mend
    Doctor,
    /// Watch three sub-agents finish their work although the gateway is killed
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
