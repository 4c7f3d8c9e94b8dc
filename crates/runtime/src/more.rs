//! Tools that come from servers: asked for before a session's prefix is rendered, and told to the
//! machine when there are others than it knows.

use machine::{Event, Token};
use types::RunId;

use crate::catalogue::catalogue;
use crate::perform::Shared;

impl Shared {
    /// Lets the machine know which tools there are by now. Says whether it had known others.
    fn tell_machine(&self) -> bool {
        let present = self.handle.present();
        let Some(more) = present.more() else { return false };
        let known = catalogue(&present.toolbox, Some(&more));
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
    let present = shared.handle.present();
    let missing = present.config.more.as_ref()?.settle().await;
    if shared.tell_machine() {
        return Some(Event::PinAgain { run, token });
    }
    if !missing.is_empty() {
        tracing::warn!(%run, ?missing, "a session begins without the tools of these servers");
        shared.handle.hand_in(Event::ToolsMissing { run, servers: missing }).await;
    }
    None
}
