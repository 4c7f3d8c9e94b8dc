//! One model call: assemble, stream, collect, plan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use machine::Event;
use machine::context::Span;
use machine::effect::ModelCall;
use machine::event::{CallPlan, ModelFailure, ModelReply, Overflow, PlannedCall};
use machine::rows::{GateKey, Purpose};
use providers::{ModelRequest, Reply, Sampling};
use store::StoreError;
use tools::sessions::SessionsCall;
use types::{EffectClass, FailureClass, Hash, Message, Prefix, RunId, StopReason, ToolCall};

use crate::edition::Edition;
use crate::perform::Shared;
use crate::prompt::{self, BadEntry, Line};

/// Entries that are read at a time.
const PAGE: usize = 500;

/// Prefixes kept in memory: one for each agent and role, as a rule.
const PREFIXES_MAX: usize = 64;

/// What to do where no model can be asked, in three lines.
pub const NO_MODEL: &str = "no model is chosen, and no provider has a key. Do one of these:\n  \
    set a key and start the gateway anew: export ANTHROPIC_API_KEY=… (or OPENAI_API_KEY, \
    GEMINI_API_KEY, OPENROUTER_API_KEY, GROQ_API_KEY, ZAI_API_KEY, DASHSCOPE_API_KEY)\n  \
    or name a local model in the configuration: agents.defaults.model: \"ollama/NAME\" \
    (127.0.0.1:11434) or \"llama-server/NAME\" (:8080); to look around first: windlass demo";

/// Rendered prefixes, parsed, by hash.
#[derive(Debug, Default)]
pub struct Prefixes(Mutex<HashMap<Hash, Arc<Prefix>>>);

/// Why a request could not be made.
#[derive(Debug, thiserror::Error)]
enum Unassembled {
    #[error("{NO_MODEL}")]
    NoModel,
    #[error("model `{0}` is not configured any more; see models.providers")]
    UnknownModel(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entry(#[from] BadEntry),
    #[error("the prefix {0} is missing or damaged in the store")]
    Prefix(Hash),
    #[error("the summary {0} is missing in the store")]
    Head(Hash),
}

/// Makes the call. Its result carries the token of the run's present life.
pub async fn call_model(shared: &Shared, call: &ModelCall) -> Event {
    let failed =
        |failure| Event::ModelFailed { run: call.run, token: call.token, step: call.step, failure };
    let edition = shared.handle.of_run(call.run, &call.session.agent);
    // One that a person has chosen since may be newer than what the run began with.
    let present = shared.handle.config();
    let model = edition.config.models.get(&call.model);
    let Some(model) = model.or_else(|| present.models.get(&call.model)) else {
        let why = match call.model.as_str() {
            "" => Unassembled::NoModel,
            model => Unassembled::UnknownModel(model.to_owned()),
        };
        return failed(unassembled(&why));
    };
    let agent = call.session.agent.clone();
    let wanted = (agent, GateKey::base(&call.model).to_owned());
    let tuning = edition.config.tuning.get(&wanted).copied().unwrap_or_default();
    let most = model.max_output_tokens;
    let limit = tuning.output_max.map_or(most, |max| max.min(most));
    let request = match assemble(shared, call, &model.name, limit, tuning.sampling).await {
        Ok(request) => request,
        Err(error) => return failed(unassembled(&error)),
    };
    let live = shared.handle.live();
    if call.purpose == Purpose::Reply {
        live.calling(call);
    }
    // Nobody waits for what is said of notes and summaries.
    let mut on_delta = |delta| {
        if call.purpose == Purpose::Reply {
            live.delta(call, delta);
        }
    };
    match model.provider.call(&request, &mut on_delta).await {
        Ok(reply) => Event::ModelReplied {
            run: call.run,
            token: call.token,
            step: call.step,
            reply: planned(&edition, reply, limit),
        },
        Err(error) => failed(ModelFailure {
            class: error.class(),
            message: error.to_string(),
            retry_after_ms: error
                .retry_after()
                .map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            paid: error.paid(),
            overflow: error.overflow(),
        }),
    }
}

fn unassembled(error: &Unassembled) -> ModelFailure {
    let class = match error {
        Unassembled::NoModel | Unassembled::UnknownModel(_) => FailureClass::UnknownModel,
        _ => FailureClass::Internal,
    };
    let (message, overflow) = (error.to_string(), Overflow::default());
    ModelFailure { class, message, retry_after_ms: None, paid: false, overflow }
}

async fn assemble(
    shared: &Shared,
    call: &ModelCall,
    model: &str,
    max_output_tokens: u32,
    sampling: Sampling,
) -> Result<ModelRequest, Unassembled> {
    let prefix = prefix(shared, call.prefix).await?;
    let mut messages = Vec::new();
    for span in &call.shown.spans {
        if let Some(head) = span.head {
            let text = shared.handle.store().blob(head).await?.ok_or(Unassembled::Head(head))?;
            messages.push(Message::User(text));
        }
        read(shared, span, None, &mut messages).await?;
    }
    let mut messages = prompt::in_order(messages);
    if let Some(ask) = &call.shown.ask {
        messages.push(Message::User(ask.text.clone()));
        if let Some(own) = call.shown.spans.last().filter(|_| ask.silent) {
            let mut behind = Vec::new();
            read(shared, own, Some(call.run), &mut behind).await?;
            messages.extend(prompt::in_order(behind));
        }
    }
    Ok(ModelRequest {
        model: model.to_owned(),
        prefix,
        messages,
        max_output_tokens,
        thinking: call.thinking,
        sampling,
        idempotency_key: format!("{}-{}", call.run, call.step),
        conversation: call.session_id.to_string(),
    })
}

/// Reads the entries of a span as messages: those that all calls are shown, or those that a run
/// has written while it took notes.
async fn read(
    shared: &Shared,
    span: &Span,
    notes_of: Option<RunId>,
    messages: &mut Vec<Message>,
) -> Result<(), Unassembled> {
    let (mut from, to) = (span.first_seq, span.last_seq);
    if from > to {
        return Ok(());
    }
    loop {
        let page = shared.handle.store().entries(span.session_id, from, PAGE).await?;
        for entry in page.iter().take_while(|entry| entry.seq <= to) {
            let wanted = match notes_of {
                None => !entry.silent,
                // What opened the run is silent, too, and nobody has said it.
                Some(run) => entry.silent && entry.run == run && entry.step.is_some(),
            };
            if !wanted {
                continue;
            }
            let clip = span.clip.filter(|clip| entry.seq < clip.before);
            let bytes_max = clip.map(|clip| clip.bytes);
            let line = Line { seq: entry.seq, kind: entry.kind, body: &entry.body, bytes_max };
            messages.push(prompt::message(line)?);
        }
        match page.last() {
            Some(last) if page.len() == PAGE && last.seq < to => from = last.seq + 1,
            _ => return Ok(()),
        }
    }
}

async fn prefix(shared: &Shared, hash: Hash) -> Result<Arc<Prefix>, Unassembled> {
    if let Some(prefix) = shared.prefixes.get(hash) {
        return Ok(prefix);
    }
    let text = shared.handle.store().blob(hash).await?.ok_or(Unassembled::Prefix(hash))?;
    let prefix: Prefix = serde_json::from_str(&text).map_err(|_| Unassembled::Prefix(hash))?;
    Ok(shared.prefixes.keep(hash, prefix))
}

impl Prefixes {
    fn get(&self, hash: Hash) -> Option<Arc<Prefix>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    fn keep(&self, hash: Hash, prefix: Prefix) -> Arc<Prefix> {
        let prefix = Arc::new(prefix);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PREFIXES_MAX {
            kept.clear();
        }
        kept.insert(hash, Arc::clone(&prefix));
        prefix
    }
}

/// Looks each call of an answer up, so that the machine can decide without knowing tools. `limit`
/// is that of the answer, in tokens.
fn planned(edition: &Edition, reply: Reply, limit: u32) -> ModelReply {
    let calls = reply.message.calls.iter().map(|call| PlannedCall {
        call_id: call.id.clone(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
        command: edition.toolbox.get(&call.name).and_then(|t| t.command_line(&call.arguments)),
        plan: plan(edition, call),
    });
    ModelReply {
        calls: calls.collect(),
        text: reply.message.text.clone(),
        usage: reply.usage,
        model: reply.message.model.clone(),
        cut_at: (reply.message.stop == StopReason::Length).then_some(limit),
        body: serde_json::to_string(&reply.message).expect("a message is JSON"),
    }
}

/// What the call would be. Whether the session may make it is the machine's to say.
fn plan(edition: &Edition, call: &ToolCall) -> CallPlan {
    if let Some(tool) = edition.tool(&call.name) {
        return CallPlan::External(tool.effect_of(&call.arguments));
    }
    match tools::sessions::parse(&call.name, &call.arguments) {
        Ok(SessionsCall::Internal(call)) => CallPlan::Internal(call),
        Ok(SessionsCall::Read(_) | SessionsCall::Kept(_)) => CallPlan::External(EffectClass::Pure),
        Err(why) => CallPlan::Refused(why),
    }
}
