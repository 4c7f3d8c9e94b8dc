//! `windlass doctor`: is everything as it should be, and what to do if not.

use std::io::Write;
use std::path::Path;

use machine::audit;
use protocol::Method;
use protocol::health::Status;
use runtime::{Clock, SystemClock};
use serde::Serialize;
use serde_json::json;
use store::{Reader, Reads};
use tools::sandbox::Mode;

use crate::args::Global;
use crate::client::{Client, is_final};
use crate::commands::{config, db, mcp, sandbox};
use crate::output::json_lines;
use crate::setup::Setup;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Error,
}

pub async fn run(global: &Global, out: &mut impl Write) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    match Setup::load_or_default(global)? {
        (setup, Some(wrong)) => {
            findings.push(finding("config", State::Error, format!("{wrong:#}")));
            look_at_gateway(&setup, &mut findings).await;
        }
        (setup, None) => {
            look_at_config(&setup, &mut findings);
            look_at_folder(setup.state_dir(), &mut findings);
            look_at_servers(&setup, &mut findings);
            look_at_sandbox(&setup, &mut findings).await;
            look_at_database(&setup, &mut findings).await;
            look_at_gateway(&setup, &mut findings).await;
        }
    }
    if global.json {
        json_lines(out, &findings)?;
    } else {
        for Finding { what, state, detail } in &findings {
            let word = match state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Error => "error",
            };
            writeln!(out, "{word:<8} {what:<10} {detail}")?;
        }
    }
    let errors = findings.iter().filter(|finding| finding.state == State::Error).count();
    if errors == 0 { Ok(()) } else { anyhow::bail!("{errors} things need mending") }
}

fn finding(what: &'static str, state: State, detail: impl Into<String>) -> Finding {
    Finding { what, state, detail: detail.into() }
}

fn look_at_config(setup: &Setup, findings: &mut Vec<Finding>) {
    let file = match &setup.config_path {
        Some(path) => path.display().to_string(),
        None => format!("no file at {}: all defaults stand", setup.config_file().display()),
    };
    findings.push(finding("config", State::Ok, file));
    for warning in &setup.warnings {
        findings.push(finding("config", State::Warning, warning.to_string()));
    }
    match setup.limits() {
        Err(error) => findings.push(finding("config", State::Error, format!("{error:#}"))),
        Ok(limits) => {
            for (id, agent) in &limits.agents {
                let known = limits.models.contains_key(&agent.model);
                let detail = match (agent.model.as_str(), known) {
                    ("", _) => format!("agent {id}: {}", runtime::NO_MODEL),
                    (model, true) => format!("agent {id} uses {model}"),
                    (model, false) => format!("agent {id} wants {model}, which is not configured"),
                };
                let state = if known { State::Ok } else { State::Warning };
                findings.push(finding("agent", state, detail));
            }
        }
    }
}

/// Writes what a commit writes, and takes it away again: that a folder looks writable says little
/// on a disk that is full, read only by now, or over its quota.
fn look_at_folder(folder: &Path, findings: &mut Vec<Finding>) {
    if !folder.exists() {
        let detail = format!("none yet at {}; the first start makes it", folder.display());
        findings.push(finding("folder", State::Ok, detail));
        return;
    }
    findings.push(match test_write(folder) {
        Ok(()) => finding("folder", State::Ok, format!("{} can be written", folder.display())),
        Err(error) => {
            let detail = format!(
                "{} cannot be written: {error}; nothing can be accepted until it can: look at its \
                 owner, its rights and the room on its disk",
                folder.display()
            );
            finding("folder", State::Error, detail)
        }
    });
}

fn test_write(folder: &Path) -> std::io::Result<()> {
    let page = [0x5a_u8; 4_096];
    let mut file = tempfile::Builder::new().prefix(".doctor-").tempfile_in(folder)?;
    file.write_all(&page)?;
    file.as_file().sync_all()?;
    file.close()?;
    // The name is a part of the folder, and that has to reach the disk as well.
    std::fs::File::open(folder)?.sync_all()
}

/// Says what is known of the servers that bring tools; none of them is started for that.
fn look_at_servers(setup: &Setup, findings: &mut Vec<Finding>) {
    for standing in mcp::standings(setup) {
        let server = &setup.config.mcp.servers[&standing.name];
        let missing = server.command.as_ref().filter(|command| !is_there(command));
        let (state, detail) = match missing {
            Some(command) if standing.enabled => {
                let path = "; it is looked for on the PATH";
                let path = if command.contains('/') { "" } else { path };
                (
                    State::Warning,
                    format!(
                        "`{command}` (mcp.servers.{}.command) is not there{path}",
                        standing.name
                    ),
                )
            }
            _ => (State::Ok, standing.words()),
        };
        findings.push(finding("mcp", state, format!("{}: {detail}", standing.name)));
    }
}

/// Is there such a program?
fn is_there(command: &str) -> bool {
    if command.contains('/') {
        return Path::new(command).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

/// Tries the walls around commands, of the agents that have some.
async fn look_at_sandbox(setup: &Setup, findings: &mut Vec<Finding>) {
    // It is tried in there, and the first start makes it.
    if !setup.state_dir().exists() {
        return;
    }
    for kept in sandbox::look(setup).await.iter().filter(|kept| kept.mode != Mode::Off) {
        let (agent, mode) = (&kept.agent, kept.mode);
        findings.push(match (&kept.backend, &kept.refused) {
            (Some(backend), _) => {
                let detail = format!("commands of agent {agent}: {mode}, by {backend}");
                finding("sandbox", State::Ok, detail)
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or_default();
                let detail = format!(
                    "commands of agent {agent} are refused: tools.exec.sandbox is {mode}, and \
                     there is no such sandbox: {why}"
                );
                finding("sandbox", State::Error, detail)
            }
        });
    }
}

async fn look_at_database(setup: &Setup, findings: &mut Vec<Finding>) {
    let file = setup.state_dir().join(store::sqlite::FILE);
    if !Path::exists(&file) {
        let detail = format!("none yet at {}; the first start makes it", file.display());
        findings.push(finding("database", State::Ok, detail));
        return;
    }
    let reader = match Reader::open(&file) {
        Ok(reader) => reader,
        Err(error) => return findings.push(finding("database", State::Error, error.to_string())),
    };
    // Limits that cannot be made have been reported with the configuration.
    let limits = setup.limits().unwrap_or_default();
    match reader.check(&limits) {
        Err(error) => findings.push(finding("database", State::Error, error.to_string())),
        Ok(found) if found.is_well() => {
            findings.push(finding("database", State::Ok, file.display().to_string()));
        }
        Ok(found) => {
            let lines = db::problems(&found);
            findings.extend(lines.map(|line| finding("database", State::Error, line)));
        }
    }
    for gate in reader.gates().await.unwrap_or_default() {
        let resumes =
            gate.reopen.map_or("is being tried".to_owned(), |at| format!("resumes at {at}"));
        let reason = gate.reason.unwrap_or_default();
        let detail = format!("{}: {} runs wait, {resumes}: {reason}", gate.gate, gate.waiting);
        findings.push(finding("provider", State::Warning, detail));
    }
    let now = SystemClock.now();
    if let Ok(rows) = reader.open_rows(audit::since(now, &limits)).await {
        for audit::Finding { what, fix, .. } in audit::audit(&rows, now, &limits) {
            findings.push(finding("ledger", State::Warning, format!("{what}: `{fix}`")));
        }
    }
}

async fn look_at_gateway(setup: &Setup, findings: &mut Vec<Finding>) {
    let asked = async {
        let target = setup.target()?;
        let mut client = Client::connect(&target).await?;
        client.call(Method::Health, json!({})).await?;
        let status: Status = client.get(Method::Status, json!({})).await?;
        anyhow::Ok((target.url, status))
    };
    let asked = asked.await;
    if let Ok((_, Status { config: Some(standing), ts, .. })) = &asked {
        let lines = config::standing(standing, *ts).into_iter();
        findings.extend(lines.map(|line| finding("gateway", State::Warning, line)));
    }
    findings.push(match asked {
        Ok((url, _)) => finding("gateway", State::Ok, format!("answers at {url}")),
        // It is there, and will not have us: starting it would not help.
        Err(error) if is_final(&error) => {
            let detail = format!(
                "{error:#}; the token comes from gateway.auth.token, gateway.remote.token, \
                 WINDLASS_GATEWAY_TOKEN, or gateway.token in the state folder"
            );
            finding("gateway", State::Error, detail)
        }
        Err(error) => finding("gateway", State::Warning, format!("{error:#}")),
    });
}
