//! Where tools come from that are not built in, and may change while the gateway runs.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::Toolbox;

/// Tools beside the built-in ones.
#[async_trait]
pub trait Source: Send + Sync + fmt::Debug {
    /// What there is now, by name.
    fn toolbox(&self) -> Arc<Toolbox>;

    /// Tries for a bounded time to learn of the tools that nobody knows yet, and says of whose
    /// tools none are known after that.
    async fn settle(&self) -> Vec<String>;
}
