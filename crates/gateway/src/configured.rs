//! What of the configuration clients see, and how it is read anew. It may change at any moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use protocol::config::{ConfigStanding, ReloadResult};
use types::AgentId;

use crate::config::Origin;

/// Whoever has read the configuration.
#[async_trait]
pub trait Configured: Send + Sync + fmt::Debug {
    /// As it is applied now.
    fn shown(&self) -> Arc<Shown>;

    fn standing(&self) -> ConfigStanding;

    /// Reads the file anew and applies it, or only says what would come of that.
    async fn reload(&self, dry_run: bool) -> ReloadResult;
}

/// What is shown of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The agent of short session keys, and of calls that name none.
    pub default_agent: AgentId,
    /// What people call the agents.
    pub agents: BTreeMap<AgentId, Title>,
    /// The providers that are configured, by id.
    pub providers: Vec<ProviderKeys>,
    /// `gateway.controlUi.allowedOrigins`: web pages, besides the gateway's own, that may connect.
    pub allowed_origins: Vec<Origin>,
    /// `gateway.http.endpoints.chatCompletions.enabled`: is OpenAI's API served?
    pub chat_completions: bool,
}

impl Shown {
    /// An agent of which nothing else is known.
    pub fn of(default_agent: AgentId) -> Shown {
        Shown {
            default_agent,
            agents: BTreeMap::new(),
            providers: Vec::new(),
            allowed_origins: Vec::new(),
            chat_completions: false,
        }
    }
}

/// With which keys a provider can be asked. No key is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderKeys {
    pub id: String,
    /// Names of its accounts, in the order in which they are asked.
    pub accounts: Vec<String>,
    /// Are calls without a key sure to be refused?
    pub wants_key: bool,
}

/// What people call an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    pub name: Option<String>,
    pub description: Option<String>,
}
