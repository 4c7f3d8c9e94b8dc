//! A tool that does what a test says, faults included.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use types::{EffectClass, ToolSpec};

use crate::{Probe, Tool, ToolContext, ToolOutput};

/// What a scripted tool does when it is called.
#[derive(Clone, Debug)]
pub enum Behaviour {
    Answer(ToolOutput),
    /// Answers later, or as soon as the run is stopped.
    AnswerAfter(Duration, ToolOutput),
    /// Never answers, but for a stop of the run.
    HangUntilCancelled,
    /// Never answers, and does not hear of a stop either.
    Hang,
    /// Answers with so many bytes.
    Flood(usize),
    Panic(&'static str),
}

/// One call that a scripted tool has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub idempotency_key: String,
    pub arguments: String,
}

/// A tool that follows a script. The last behaviour is repeated for ever.
#[derive(Debug)]
pub struct Scripted {
    spec: ToolSpec,
    effect: EffectClass,
    script: Mutex<VecDeque<Behaviour>>,
    probe: Mutex<Probe>,
    calls: Mutex<Vec<Call>>,
}

impl Scripted {
    /// # Panics
    ///
    /// If `script` is empty: there would be nothing to do on the first call.
    pub fn new(
        name: &str,
        effect: EffectClass,
        script: impl IntoIterator<Item = Behaviour>,
    ) -> Scripted {
        let script: VecDeque<Behaviour> = script.into_iter().collect();
        assert!(!script.is_empty(), "the script of `{name}` is empty");
        let spec = ToolSpec {
            name: name.to_owned(),
            description: "Follows a script.".to_owned(),
            input_schema: json!({ "type": "object" }),
        };
        Scripted {
            spec,
            effect,
            script: Mutex::new(script),
            probe: Mutex::new(Probe::Unsure),
            calls: Mutex::new(Vec::new()),
        }
    }

    /// Sets what every probe from now on says.
    pub fn set_probe(&self, probe: Probe) {
        *lock(&self.probe) = probe;
    }

    /// Every call so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    fn next(&self) -> Behaviour {
        let mut script = lock(&self.script);
        if script.len() > 1
            && let Some(first) = script.pop_front()
        {
            return first;
        }
        script[0].clone()
    }
}

/// A scripted panic must not spoil the record of it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Tool for Scripted {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> EffectClass {
        self.effect
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        lock(&self.calls).push(Call {
            idempotency_key: context.idempotency_key.clone(),
            arguments: arguments.to_owned(),
        });
        let stopped = || ToolOutput::error("the run was stopped");
        match self.next() {
            Behaviour::Answer(output) => output,
            Behaviour::AnswerAfter(delay, output) => tokio::select! {
                () = tokio::time::sleep(delay) => output,
                () = context.cancel.cancelled() => stopped(),
            },
            Behaviour::HangUntilCancelled => {
                context.cancel.cancelled().await;
                stopped()
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Flood(bytes) => ToolOutput::ok("x".repeat(bytes)),
            Behaviour::Panic(message) => panic!("{message}"),
        }
    }

    async fn probe(&self, _context: &ToolContext, _arguments: &str) -> Probe {
        lock(&self.probe).clone()
    }
}
