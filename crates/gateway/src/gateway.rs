//! What all connections share.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ErrorShape;
use runtime::{Clock, Handle};
use store::StoreError;
use types::{AgentId, NodeId, SessionKey, Timestamp};

use crate::auth::Gate;
use crate::config::Config;
use crate::configured::{Configured, Shown};
use crate::roster::Roster;
use crate::subscribe::Hub;

/// Who serves: told to clients at the start of each connection.
#[derive(Clone, Debug)]
pub struct Info {
    pub version: String,
    /// This start of the gateway.
    pub node: NodeId,
    pub state_dir: PathBuf,
    pub database: PathBuf,
    pub config_path: Option<PathBuf>,
    pub clock: Arc<dyn Clock>,
    pub configured: Arc<dyn Configured>,
    /// Whoever can write the agents of the file, if there is one.
    pub roster: Option<Arc<dyn Roster>>,
}

#[derive(Debug)]
pub struct Gateway {
    pub config: Config,
    pub info: Info,
    pub handle: Handle,
    pub gate: Gate,
    pub hub: Hub,
    pub keys: Keys,
    pub health: crate::methods::health::Cache,
    pub started: Timestamp,
}

impl Gateway {
    pub fn new(config: Config, info: Info, handle: Handle) -> Gateway {
        Gateway {
            gate: Gate::new(config.token.clone()),
            hub: Hub::default(),
            keys: Keys::default(),
            health: Default::default(),
            started: info.clock.now(),
            config,
            info,
            handle,
        }
    }

    /// What of the configuration is shown at this moment.
    pub fn shown(&self) -> Arc<Shown> {
        self.info.configured.shown()
    }

    /// The agent of short session keys, and of calls that name none.
    pub fn default_agent(&self) -> AgentId {
        self.shown().default_agent.clone()
    }

    pub fn now(&self) -> Timestamp {
        self.info.clock.now()
    }

    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.now().since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Makes text that nobody can foresee, for names of connections and challenges.
    pub fn nonce(&self) -> String {
        format!("{:016x}{:016x}", self.info.clock.seed(), self.info.clock.seed())
    }
}

/// A read that failed: the same call may succeed later.
pub fn unreadable(error: StoreError) -> ErrorShape {
    tracing::error!(%error, "a read failed");
    ErrorShape::unavailable(format!("the store could not be read: {error}"))
}

/// Keys of recent inputs and their sessions: a client that waits for a run names only the key.
#[derive(Debug, Default)]
pub struct Keys(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    sessions: HashMap<String, SessionKey>,
    order: VecDeque<String>,
}

/// Keys that are remembered. Older ones are looked for in the store.
const KEYS_MAX: usize = 4_096;

impl Keys {
    pub fn remember(&self, key: &str, session: &SessionKey) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.sessions.insert(key.to_owned(), session.clone()).is_some() {
            return;
        }
        recent.order.push_back(key.to_owned());
        if recent.order.len() > KEYS_MAX
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.sessions.remove(&oldest);
        }
    }

    pub fn session(&self, key: &str) -> Option<SessionKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sessions.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_keys_are_remembered() {
        let keys = Keys::default();
        let main: SessionKey = "agent:main:main".parse().unwrap();
        for n in 0..=KEYS_MAX {
            keys.remember(&n.to_string(), &main);
        }
        keys.remember("1", &main);
        assert_eq!(keys.session("0"), None);
        assert_eq!(keys.session("1"), Some(main));
        assert_eq!(keys.0.lock().unwrap().sessions.len(), KEYS_MAX);
    }
}
