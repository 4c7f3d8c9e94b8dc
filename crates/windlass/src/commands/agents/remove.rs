//! `windlass agents remove`: out of the file, with all that it has left where it is.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::bail;
use serde_json::json;
use store::view::SessionFilter;
use store::{Reader, Reads};
use types::AgentId;

use super::{RemoveArgs, live};
use crate::output::json_lines;
use crate::roster;
use crate::setup::Setup;
use windlass::config::roster as plan;

/// Open runs that are named.
const OPEN_MAX: usize = 20;

/// What an agent has, beside its entry.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    pub sessions: u64,
    /// Sessions in which it is at work.
    pub open: Vec<String>,
    pub open_count: u64,
}

/// Reads the database, whether a gateway runs or not.
pub async fn holdings(setup: &Setup, id: &AgentId) -> anyhow::Result<Holdings> {
    let file = setup.state_dir().join(store::sqlite::FILE);
    if !file.exists() {
        return Ok(Holdings::default());
    }
    let reader = Reader::open(&file)?;
    let all = SessionFilter { agent: Some(id.clone()), limit: OPEN_MAX, ..Default::default() };
    let busy = SessionFilter { open_only: true, ..all.clone() };
    let open = reader.sessions(busy.clone()).await?;
    Ok(Holdings {
        sessions: reader.count_sessions(all).await?,
        open: open.iter().map(|session| session.key.to_string()).collect(),
        open_count: reader.count_sessions(busy).await?,
    })
}

pub async fn run(args: &RemoveArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let RemoveArgs { id, drop_references, yes } = args;
    // What cannot be is said before anything is asked.
    plan::remove(&setup.present()?, id, *drop_references)?;
    let held = holdings(setup, id).await?;
    if !yes && !confirmed(setup, id, &held)? {
        bail!("nothing was changed");
    }
    let removed = roster::remove(setup, id, *drop_references)?;
    let workspace = removed.decided.display().to_string();
    if setup.json {
        let row = json!({
            "id": id, "workspace": workspace, "sessions": held.sessions, "open": held.open,
        });
        json_lines(out, &[row])?;
    } else {
        writeln!(out, "agent {id} is removed: {}", what_stays(&held, &workspace))?;
    }
    if let Some(line) = open_words(id, &held) {
        eprintln!("{line}");
    }
    let now = setup.again()?;
    eprintln!("{}: {}", removed.file.display(), live::words(&now, id, false).await);
    Ok(())
}

fn what_stays(held: &Holdings, workspace: &str) -> String {
    let sessions = match held.sessions {
        0 => "it had no sessions".to_owned(),
        1 => "its session stays and can be read".to_owned(),
        count => format!("its {count} sessions stay and can be read"),
    };
    format!("{sessions}, its folder {workspace} stays as it is")
}

/// Names the runs that are open, which nobody has asked to stop.
fn open_words(id: &AgentId, held: &Holdings) -> Option<String> {
    let named = held.open.join(", ");
    let more = match held.open_count.saturating_sub(held.open.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let plural = if held.open_count == 1 { "" } else { "s" };
    (held.open_count > 0).then(|| {
        format!(
            "note: {id} is at work in {} session{plural}: {named}{more}; `windlass tasks` and \
             `/stop` end what should not go on",
            held.open_count
        )
    })
}

/// Asks the person, if there is one.
fn confirmed(setup: &Setup, id: &AgentId, held: &Holdings) -> anyhow::Result<bool> {
    let workspace = setup.config.agents.entries.get(id).map(|agent| agent.workspace.display());
    let workspace = workspace.map(|path| path.to_string()).unwrap_or_default();
    if !std::io::stdin().is_terminal() {
        bail!("`agents remove {id}` wants to be confirmed: pass --yes");
    }
    eprintln!("agent {id} is to be removed: {}", what_stays(held, &workspace));
    if let Some(line) = open_words(id, held) {
        eprintln!("{line}");
    }
    eprint!("remove it? [y/N] ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
