//! Who plays in a probe: the model, which is counted, and sub-agents, which cost nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use providers::{Delta, ModelRequest, Provider, ProviderError, Reply};
use serde_json::json;
use types::{AssistantMessage, FailureClass, Hash, StopReason, Usage, Wire};

use super::case::{CALLS_MAX, Case};

/// The model of the sub-agents.
pub const WORKER: &str = "probe-worker";

/// How long a sub-agent is at work: long enough that nobody has its result by accident.
const WORK: Duration = Duration::from_secs(1);

/// What the case that is played allows, and what it has used.
#[derive(Debug)]
pub struct Stage {
    case: Mutex<Case>,
    calls: AtomicU32,
    refused: AtomicBool,
    failed: AtomicBool,
    /// Nobody who does not know it can tell what a sub-agent finds out.
    secret: String,
}

impl Stage {
    pub fn new(secret: String) -> Stage {
        Stage {
            case: Mutex::new(Case::Unasked),
            calls: AtomicU32::new(0),
            refused: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            secret,
        }
    }

    pub fn begin(&self, case: Case) {
        *self.case.lock().unwrap_or_else(PoisonError::into_inner) = case;
        self.calls.store(0, SeqCst);
        self.refused.store(false, SeqCst);
        self.failed.store(false, SeqCst);
    }

    /// Has the model asked for more calls than a case may have?
    pub fn was_too_long(&self) -> bool {
        self.refused.load(SeqCst)
    }

    /// Is this the sub-agent that is to fail?
    fn fails(&self) -> bool {
        let case = *self.case.lock().unwrap_or_else(PoisonError::into_inner);
        case == Case::Failure && !self.failed.swap(true, SeqCst)
    }

    /// What a sub-agent finds out.
    fn code(&self, conversation: &str) -> String {
        let digest = Hash::of(format!("{} {conversation}", self.secret)).to_string();
        let digit = u32::from(digest.as_bytes()[0]) % 10;
        format!("WL-{digit}{}", digest[1..6].to_uppercase())
    }
}

/// The model that is probed: the real one, so many times and no more.
#[derive(Debug)]
pub struct Counted {
    pub model: Arc<dyn Provider>,
    pub stage: Arc<Stage>,
}

#[async_trait]
impl Provider for Counted {
    async fn call(
        &self,
        request: &ModelRequest,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        if self.stage.calls.fetch_add(1, SeqCst) >= CALLS_MAX {
            self.stage.refused.store(true, SeqCst);
            let why = format!("a case of the probe has {CALLS_MAX} model calls");
            return Err(ProviderError::refused("probe", FailureClass::BadRequest, &why));
        }
        self.model.call(request, on_delta).await
    }

    fn wire(&self) -> Wire {
        self.model.wire()
    }
}

/// A sub-agent: it looks something up that nobody else can know, or fails.
#[derive(Debug)]
pub struct Worker(pub Arc<Stage>);

#[async_trait]
impl Provider for Worker {
    async fn call(
        &self,
        request: &ModelRequest,
        _on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        tokio::time::sleep(WORK).await;
        if self.0.fails() {
            let why = "the archive did not answer";
            return Err(ProviderError::refused("probe", FailureClass::BadRequest, why));
        }
        let text = format!("Looked up: it is {}.", self.0.code(&request.conversation));
        let raw = serde_json::value::to_raw_value(&json!({ "text": text, "calls": [] }));
        let raw = raw.expect("a text is JSON");
        let message = AssistantMessage {
            wire: Wire::Scripted,
            model: WORKER.to_owned(),
            asked: None,
            text,
            calls: Vec::new(),
            stop: StopReason::End,
            raw,
        };
        Ok(Reply { message, usage: Usage::default() })
    }

    fn wire(&self) -> Wire {
        Wire::Scripted
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::codes;
    use super::*;

    #[test]
    fn what_is_found_out_is_a_code_and_another_for_each() {
        let stage = Stage::new("secret".to_owned());
        let found: Vec<String> = (0..50).map(|n| stage.code(&n.to_string())).collect();
        for code in &found {
            assert_eq!(codes(code), [code.as_str()]);
        }
        let distinct: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!(distinct.len(), found.len());
        assert_ne!(Stage::new("other".to_owned()).code("1"), stage.code("1"));
    }

    #[test]
    fn one_sub_agent_fails_in_one_case() {
        let stage = Stage::new(String::new());
        assert!(!stage.fails());
        stage.begin(Case::Failure);
        assert!(stage.fails() && !stage.fails());
    }
}
