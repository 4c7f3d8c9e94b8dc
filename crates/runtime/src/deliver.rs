//! Looks whether what a task has to hand in is there.

use machine::effect::Check;
use types::AssistantMessage;

use crate::perform::Shared;
use crate::tool_call::workspace_of;

/// Returns what is missing, a sentence for each thing. What cannot be looked at is missing: a task
/// must not count as completed because a disk could not be read.
pub async fn missing(shared: &Shared, check: &Check) -> Vec<String> {
    match look(shared, check).await {
        Ok(missing) => missing,
        Err(why) => vec![format!("it could not be looked for: {why}")],
    }
}

async fn look(shared: &Shared, check: &Check) -> Result<Vec<String>, String> {
    let workspace = workspace_of(shared, check.run, &check.session).await?;
    let answer = shared.handle.store().entry_of_step(check.run, check.asked_by).await;
    let answer = answer.map_err(|error| format!("the answer could not be read: {error}"))?;
    let answer = answer.ok_or("the answer is not in the transcript")?;
    let answer: AssistantMessage = serde_json::from_str(&answer.body)
        .map_err(|error| format!("the answer is damaged: {error}"))?;
    let wanted = check.wanted.clone();
    // Files and patterns may be slow; the runtime's own threads wait for neither.
    let look = move || tools::deliver::missing(&wanted, &workspace, &answer.text);
    tokio::task::spawn_blocking(look).await.map_err(|error| format!("the check failed: {error}"))
}
