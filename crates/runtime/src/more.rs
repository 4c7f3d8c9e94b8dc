//! Tools that come from servers: asked for before a session's prefix is rendered, and told to the
//! machine when there are others than it knows.

use std::sync::Arc;

use machine::{Event, Token};
use tools::{Tool, Toolbox};
use types::{RunId, ToolSpec};

use crate::catalogue::catalogue;
use crate::perform::Shared;

impl Shared {
    /// The tool of this name, built in or of a server.
    pub fn tool(&self, name: &str) -> Option<Arc<dyn Tool>> {
        self.toolbox.get(name).or_else(|| self.more()?.get(name))
    }

    /// What the model sees of all these tools, in a stable order.
    pub fn specs(&self) -> Vec<ToolSpec> {
        let more = self.more().map(|more| more.specs()).unwrap_or_default();
        self.toolbox.specs().into_iter().chain(more).collect()
    }

    fn more(&self) -> Option<Arc<Toolbox>> {
        Some(self.handle.config().more.as_ref()?.toolbox())
    }

    /// Lets the machine know which tools there are by now. Says whether it had known others.
    fn tell_machine(&self) -> bool {
        let Some(more) = self.more() else { return false };
        let known = catalogue(&self.toolbox, Some(&more));
        self.handle.change_limits(|limits| {
            let other = limits.tools.catalogue != known;
            if other {
                limits.tools.catalogue = known;
            }
            other
        })
    }
}

/// Asks servers for tools that nobody knows yet, for a bounded time. An event says that the
/// prefix has to be decided on again.
pub async fn settle(shared: &Shared, run: RunId, token: Token) -> Option<Event> {
    let missing = shared.handle.config().more.as_ref()?.settle().await;
    if shared.tell_machine() {
        return Some(Event::PinAgain { run, token });
    }
    if !missing.is_empty() {
        tracing::warn!(%run, ?missing, "a session begins without the tools of these servers");
        shared.handle.hand_in(Event::ToolsMissing { run, servers: missing }).await;
    }
    None
}
