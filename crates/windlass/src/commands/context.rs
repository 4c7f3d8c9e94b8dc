//! `windlass context`: what is sent before and with a conversation, and what takes how much.

use std::io::Write;

use clap::Args;
use protocol::Method;
use protocol::context::ContextResult;
use runtime::{Clock, SystemClock};
use serde_json::json;

use crate::client::Client;
use crate::output::json_lines;
use crate::setup::Setup;

#[derive(Debug, Args)]
pub struct ContextArgs {
    /// `main`, `thread:<name>`, or a full key
    #[arg(long, value_name = "KEY", default_value = "main")]
    session: String,

    /// The agent of a short key, instead of the default one
    #[arg(long, value_name = "ID")]
    agent: Option<String>,

    /// Name each tool, and not only the largest
    #[arg(long)]
    detail: bool,
}

pub async fn run(args: ContextArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let key = setup.session_key(&args.session, args.agent.as_deref())?;
    let mut client = Client::connect(&setup.target()?).await?;
    let result: ContextResult = client.get(Method::SessionsContext, json!({ "key": key })).await?;
    if setup.json {
        return Ok(json_lines(out, &[result])?);
    }
    for line in result.lines(args.detail, SystemClock.now()) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
