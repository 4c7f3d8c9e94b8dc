//! `agents.files.*`: the files that say what an agent is, seen and written by whoever may.

use std::io::ErrorKind;
use std::path::PathBuf;

use protocol::ErrorShape;
use protocol::agents::{
    AgentFile, FilesGetParams, FilesGetResult, FilesListParams, FilesListResult, FilesSetParams,
    FilesSetResult,
};
use runtime::workspace::named::{self, Found, Trouble};
use types::{AgentId, Timestamp};

use crate::gateway::Gateway;

/// `agents.files.list`
pub async fn list(
    gateway: &Gateway,
    params: FilesListParams,
) -> Result<FilesListResult, ErrorShape> {
    let workspace = workspace(gateway, &params.agent)?.0;
    let files = blocking({
        let workspace = workspace.clone();
        move || {
            let names = runtime::workspace::FILES.iter().map(|file| file.name);
            let read = |name| named::read(&workspace, name).map(|found| file(found, false));
            names.map(read).collect::<Result<Vec<_>, _>>()
        }
    });
    let files = files.await?;
    Ok(FilesListResult {
        agent_id: params.agent,
        workspace: workspace.display().to_string(),
        files,
    })
}

/// `agents.files.get`
pub async fn get(gateway: &Gateway, params: FilesGetParams) -> Result<FilesGetResult, ErrorShape> {
    let FilesGetParams { agent, name } = params;
    let workspace = workspace(gateway, &agent)?.0;
    let read = blocking({
        let workspace = workspace.clone();
        move || named::read(&workspace, &name)
    });
    let (file, workspace) = (file(read.await?, true), workspace.display().to_string());
    Ok(FilesGetResult { agent_id: agent, workspace, file })
}

/// `agents.files.set`
pub async fn set(gateway: &Gateway, params: FilesSetParams) -> Result<FilesSetResult, ErrorShape> {
    let FilesSetParams { agent, name, content, expected_hash } = params;
    let (workspace, fill) = workspace(gateway, &agent)?;
    let written = blocking({
        let workspace = workspace.clone();
        move || named::write(&workspace, &name, &content, expected_hash, fill)
    });
    let (file, workspace) = (file(written.await?, true), workspace.display().to_string());
    Ok(FilesSetResult { ok: true, agent_id: agent, workspace, file })
}

/// Where an agent works, and whether a new folder of its gets files to begin with.
fn workspace(gateway: &Gateway, agent: &AgentId) -> Result<(PathBuf, bool), ErrorShape> {
    let config = gateway.handle.config();
    let found =
        config.agents.get(agent).map(|agent| (agent.workspace.clone(), agent.bootstrap.fill));
    found.ok_or_else(|| ErrorShape::unknown_agent(agent.as_str()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, ErrorShape> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| ErrorShape::unavailable(format!("a bug: {error}")))?;
    done.map_err(|trouble| match &trouble {
        // Another try may find room.
        Trouble::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
            ErrorShape::unavailable(trouble.to_string())
        }
        _ => ErrorShape::invalid_request(trouble.to_string()),
    })
}

fn file(found: Found, whole: bool) -> AgentFile {
    let Found { name, path, text, changed } = found;
    AgentFile {
        name: name.to_owned(),
        path: path.display().to_string(),
        missing: text.is_none(),
        size: text.as_ref().map(|text| text.len() as u64),
        updated_at_ms: changed.map(Timestamp),
        hash: text.as_ref().map(types::Hash::of),
        content: text.filter(|_| whole),
    }
}
