//! One tool call: find its arguments, run it, bound the result.

use std::path::{Path, PathBuf};

use machine::Event;
use machine::effect::ToolStart;
use machine::event::ToolDone;
use tokio_util::sync::CancellationToken;
use tools::sandbox::{Mode, Walls};
use tools::sessions::SessionsCall;
use tools::workspace::Workspace;
use tools::{Probe, Tool, ToolContext, ToolOutput};
use types::{AgentId, AssistantMessage, Hash, RunId, SessionKey};

use crate::edition::Edition;
use crate::kept_read;
use crate::perform::Shared;
use crate::session_tools;

/// Runs the tool. `None` says that the call has gone on its way as another event.
pub async fn call_tool(
    shared: &Shared,
    start: &ToolStart,
    cancel: CancellationToken,
) -> Option<Event> {
    let done = |result: ToolDone| {
        let (run, token, step) = (start.run, start.token, start.step);
        // Asked now that the call is over: what it waited for is gone from the list.
        let result = ToolDone { background: shared.processes.goes_on(run), ..result };
        Some(Event::ToolFinished { run, token, step, result })
    };
    let arguments = match arguments(shared, start).await {
        Ok(arguments) => arguments,
        Err(why) => return done(told(ToolOutput::error(why))),
    };
    let edition = shared.handle.of_run(start.run, &start.session.agent);
    if let Some(tool) = edition.tool(&start.name) {
        return match context(shared, start, cancel).await {
            Ok(context) => done(run_tool(&*tool, &context, &arguments, start.again).await),
            Err(why) => done(told(ToolOutput::error(why))),
        };
    }
    match tools::sessions::parse(&start.name, &arguments) {
        Ok(SessionsCall::Internal(call)) => {
            let (run, token, step) = (start.run, start.token, start.step);
            Some(Event::InternalCall { run, token, step, call })
        }
        Ok(SessionsCall::Read(read)) => {
            done(told(session_tools::read(shared, &start.session, read).await))
        }
        Ok(SessionsCall::Kept(request)) => {
            done(told(kept_read::read(shared, &start.session, request).await))
        }
        Err(why) => done(told(ToolOutput::error(why))),
    }
}

fn told(output: ToolOutput) -> ToolDone {
    ToolDone { text: output.text, is_error: output.is_error, unknown: false, background: false }
}

/// Reads the call's arguments from the answer that asked for it: the transcript is the truth,
/// before and after a crash.
async fn arguments(shared: &Shared, start: &ToolStart) -> Result<String, String> {
    let entry = shared
        .handle
        .store()
        .entry_of_step(start.run, start.asked_by)
        .await
        .map_err(|error| format!("The call could not be read back: {error}"))?
        .ok_or("The answer that asked for this call is not in the transcript.")?;
    let message: AssistantMessage = serde_json::from_str(&entry.body)
        .map_err(|error| format!("The answer that asked for this call is damaged: {error}"))?;
    let call = message.calls.into_iter().find(|call| call.id == start.call_id);
    call.map(|call| call.arguments)
        .ok_or_else(|| format!("The answer holds no call `{}`.", start.call_id))
}

/// Finds out where the tool works. Not knowing is an error: it would work in another folder.
async fn context(
    shared: &Shared,
    start: &ToolStart,
    cancel: CancellationToken,
) -> Result<ToolContext, String> {
    let workspace = workspace_of(shared, start.run, &start.session).await?;
    let key = Hash::of(format!("{}/{}/{}", start.run, start.step, start.call_id));
    Ok(ToolContext {
        workspace,
        session: start.session.clone(),
        background: start.background,
        sandbox: walls(shared, start.run, &start.session).await?,
        run: start.run,
        idempotency_key: key.to_string(),
        cancel,
        env: Vec::new(),
    })
}

/// The walls around the commands of a session: those of its agent, and never less than those of
/// the sessions that it works for, or a command could get out by asking somebody else.
async fn walls(shared: &Shared, run: RunId, key: &SessionKey) -> Result<Walls, String> {
    let edition = shared.handle.of_run(run, &key.agent);
    let own = edition.config.agents.get(&key.agent);
    let workspace = own.map(|agent| agent.workspace.clone()).unwrap_or_default();
    let of = |edition: &Edition, agent: &AgentId| {
        edition.config.agents.get(agent).map_or(Mode::Off, |agent| agent.sandbox)
    };
    let (mut mode, mut next) = (Mode::Off, Some(key.clone()));
    while let Some(key) = next {
        // Walls that were built since hold at once.
        let now = shared.handle.of_agent(&key.agent);
        mode = mode.max(of(&edition, &key.agent)).max(of(&now, &key.agent));
        let session = shared.handle.store().session(&key).await;
        let session = session.map_err(|error| format!("The session could not be read: {error}"))?;
        next = session.and_then(|session| session.parent_key);
    }
    Ok(Walls { mode, workspace })
}

/// The folder that a session works in, made if it is not there.
pub async fn workspace_of(
    shared: &Shared,
    run: RunId,
    key: &SessionKey,
) -> Result<PathBuf, String> {
    let agent = &key.agent;
    let edition = shared.handle.of_run(run, agent);
    let known = edition.config.agents.get(agent);
    let known = known.ok_or_else(|| {
        format!("The agent \"{agent}\" is not configured any more, so it has no workspace.")
    })?;
    let session = shared
        .handle
        .store()
        .session(key)
        .await
        .map_err(|error| format!("The session could not be read: {error}"))?;
    let folder = match session.and_then(|session| session.cwd) {
        Some(cwd) => {
            make(&known.workspace).await;
            inside(&known.workspace, &cwd)?
        }
        None => known.workspace.clone(),
    };
    make(&folder).await;
    Ok(folder)
}

async fn make(folder: &Path) {
    if let Err(error) = tokio::fs::create_dir_all(folder).await {
        tracing::warn!(path = %folder.display(), %error, "no workspace folder");
    }
}

/// The folder that a spawn's `cwd` means. It is the root of the child's file tools, and a model
/// chooses it: so it lies in the workspace, wherever a link may lead.
fn inside(workspace: &Path, cwd: &str) -> Result<PathBuf, String> {
    let refused = |why: String| {
        format!(
            "This session was given `cwd` \"{cwd}\": {why}. It has to lie in the workspace of its \
             agent; for another folder spawn an agent that has it as `workspace`."
        )
    };
    let root = Workspace::open(workspace).map_err(|error| refused(error.to_string()))?;
    root.resolve(cwd).map_err(|error| refused(error.to_string()))
}

/// Runs a tool, or finds out first whether a crash has cut it after it was done.
async fn run_tool(
    tool: &dyn Tool,
    context: &ToolContext,
    arguments: &str,
    again: bool,
) -> ToolDone {
    if again && tool.effect() == types::EffectClass::Probed {
        match tool.probe(context, arguments).await {
            Probe::Done(output) => return told(output),
            Probe::NotDone => {}
            Probe::Unsure => {
                let text = "Interrupted by a gateway restart. The outcome is unknown. Check \
                            before doing it again.";
                return ToolDone {
                    text: text.to_owned(),
                    is_error: true,
                    unknown: true,
                    background: false,
                };
            }
        }
    }
    told(tool.call(context, arguments).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_a_child_lies_in_the_workspace_of_its_agent() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path().canonicalize().unwrap().join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        std::os::unix::fs::symlink("/", workspace.join("out")).unwrap();
        for cwd in ["sub", "a/b", "./sub", workspace.join("sub").to_str().unwrap()] {
            assert!(inside(&workspace, cwd).unwrap().starts_with(&workspace), "{cwd}");
        }
        for cwd in ["/", "/etc", "..", "sub/../..", "out", "out/etc", "~"] {
            let refused = inside(&workspace, cwd).unwrap_err();
            assert!(refused.contains("has to lie in the workspace"), "{cwd}: {refused}");
        }
    }
}
