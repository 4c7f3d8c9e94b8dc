//! `result_read`: pages of a text that is kept whole, for the tree of sessions that it belongs to.

use store::query::ask;
use tools::ToolOutput;
use tools::sessions::KeptRequest;
use types::SessionKey;

use crate::perform::Shared;

/// Answers a call of the session `caller`. A text of another tree is not there.
pub async fn read(shared: &Shared, caller: &SessionKey, request: KeptRequest) -> ToolOutput {
    let (key, hash) = (caller.clone(), request.id.hash());
    let found = ask(shared.handle.store(), move |rows| {
        let Some(session) = rows.session(&key)? else { return Ok(None) };
        rows.kept(&session.root_key, hash)
    });
    let text = match found.await {
        Ok(Some(text)) => text,
        Ok(None) => {
            let keep = shared.handle.config().limits.retention.keep.as_secs() / 86_400;
            return ToolOutput::error(format!(
                "No text {} is kept for this session: an id stands in the mark of a text that was \
                 cut, and is good for {keep} days.",
                request.id
            ));
        }
        Err(error) => return ToolOutput::error(format!("The store could not be read: {error}")),
    };
    // Megabytes and a pattern are more than a thread of the loop may be kept with.
    match tokio::task::spawn_blocking(move || request.page(&text)).await {
        Ok(page) => page.into(),
        Err(error) => ToolOutput::error(format!("The text could not be paged: {error}")),
    }
}
