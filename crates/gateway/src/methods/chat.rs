//! `chat.send`, `chat.abort`

use machine::effect::{Accepted, Stopped};
use machine::event::Inbound;
use machine::queue::QueueMode;
use machine::rows::InboxKind;
use machine::{Answer, Event};
use protocol::ErrorShape;
use protocol::chat::{
    self, ChatAbortParams, ChatAbortResult, ChatSendParams, ChatSendResult, SendStatus,
};
use protocol::command;
use protocol::stop::StopReport;
use serde_json::{Value, json};
use store::StoreError;
use store::query::{Query, ask};
use types::{RunId, SessionKey};

use crate::ending::{self, Sight, Subject};
use crate::gateway::{Gateway, unreadable};
use crate::methods::commands;
use crate::refusal::{not_submitted, refused, unexpected};
use crate::standing;

/// Where answers to a client go: back to the operator, whichever of his programs asks. One text
/// for all of them, so that what he writes in one program steers the run that he began in another.
pub const ORIGIN: &str = r#"{"channel":"gateway","peer":"operator"}"#;

/// Who owns the sessions that clients make.
pub const OWNER: &str = "operator";

/// What a client wants to say.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub body: String,
    pub key: String,
    pub mode: Option<chat::QueueMode>,
    pub model: Option<String>,
    pub label: Option<String>,
    pub timeout_ms: Option<u64>,
}

/// Puts a message into a session. It is durable when this returns.
pub async fn submit(
    gateway: &Gateway,
    session: SessionKey,
    words: Words,
) -> Result<Accepted, ErrorShape> {
    let inbound = Inbound {
        session,
        kind: InboxKind::User,
        body: words.body,
        idem_key: words.key.clone(),
        origin: ORIGIN.to_owned(),
        owner: OWNER.to_owned(),
        mode: words.mode.map(queue_mode),
        model: words.model,
        label: words.label,
        // Zero is no bound: what OpenClaw's clients mean by it, and so does the machine.
        timeout_ms: words.timeout_ms.map(clamp_ms),
        sender: None,
        hops: 0,
    };
    match gateway.handle.submit(Event::MessageReceived(inbound)).await {
        Ok(Answer::Accepted(accepted)) => {
            gateway.keys.remember(&words.key, &accepted.session);
            Ok(accepted)
        }
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

pub fn queue_mode(mode: chat::QueueMode) -> QueueMode {
    match mode {
        chat::QueueMode::Steer => QueueMode::Steer,
        chat::QueueMode::Followup => QueueMode::Followup,
        chat::QueueMode::Collect => QueueMode::Collect,
        chat::QueueMode::Interrupt => QueueMode::Interrupt,
    }
}

fn clamp_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// `chat.send`. What is typed to the gateway itself is answered at once, and is no message.
pub async fn send(gateway: &Gateway, params: ChatSendParams) -> Result<Value, ErrorShape> {
    let session = params.session.resolve(&gateway.default_agent());
    let key = params.idempotency_key.clone();
    if let Some(command) = command::parse(&params.message) {
        let typed = commands::Typed { session, key: key.clone(), text: params.message, command };
        let stops = typed.stops();
        let told = commands::carry_out(gateway, typed).await?;
        let mut result = json!({ "runId": key, "status": SendStatus::Ok });
        // Sent again, it has stopped nothing more; what it had stopped is in its answer.
        if stops && !told.duplicate {
            let stopped = stopped_result(gateway, told.stopped).await?;
            result["ok"] = json!(stopped.ok);
            result["aborted"] = json!(stopped.aborted);
            result["runIds"] = json!(stopped.run_ids);
            if !stopped.stop.is_empty() {
                result["stop"] = json!(stopped.stop);
            }
        }
        return Ok(result);
    }
    let words = Words {
        body: params.message,
        key: params.idempotency_key,
        mode: params.queue_mode,
        timeout_ms: params.timeout_ms,
        ..Words::default()
    };
    let accepted = submit(gateway, session, words).await?;
    let status = if !accepted.duplicate {
        SendStatus::Started
    } else {
        let subject = Subject::Input { session: accepted.session, key: key.clone() };
        let over = ending::look(gateway, &subject).await?.is_over();
        if over { SendStatus::Ok } else { SendStatus::InFlight }
    };
    Ok(serde_json::to_value(ChatSendResult { run_id: key, status }).unwrap_or_default())
}

/// `chat.abort`. With a run id, only if that is what runs, at the moment of the stop too.
pub async fn abort(
    gateway: &Gateway,
    params: ChatAbortParams,
) -> Result<ChatAbortResult, ErrorShape> {
    let session = params.session.resolve(&gateway.default_agent());
    abort_run(gateway, session, params.run_id).await
}

/// Stops a session; with the name of a run, only if that is what runs.
pub async fn abort_run(
    gateway: &Gateway,
    session: SessionKey,
    run: Option<String>,
) -> Result<ChatAbortResult, ErrorShape> {
    let Some(name) = run else { return stop(gateway, session, None).await };
    match open_run(gateway, &session, name).await? {
        Some(run) => stop(gateway, session, Some(run)).await,
        None => Ok(ChatAbortResult {
            ok: true,
            aborted: false,
            run_ids: Vec::new(),
            stop: StopReport::default(),
        }),
    }
}

/// The open run of a session, if it has this name or has taken in the message of this name.
async fn open_run(
    gateway: &Gateway,
    session: &SessionKey,
    name: String,
) -> Result<Option<RunId>, ErrorShape> {
    let row = gateway.handle.store().session(session).await.map_err(unreadable)?;
    let Some(open) = row.and_then(|session| session.open_run) else { return Ok(None) };
    if open.wire_id == name || open.id.to_string() == name {
        return Ok(Some(open.id));
    }
    let subject = Subject::Input { session: session.clone(), key: name };
    let sight = ending::look(gateway, &subject).await?;
    let taken_in = matches!(sight, Sight::Open(Some(run)) if run.facts.id == open.id);
    Ok(taken_in.then_some(open.id))
}

async fn stop(
    gateway: &Gateway,
    session: SessionKey,
    run: Option<RunId>,
) -> Result<ChatAbortResult, ErrorShape> {
    let event = Event::Stop { session, run, by: OWNER.to_owned() };
    let stopped = match gateway.handle.submit(event).await {
        Ok(Answer::Stopped(stopped)) => stopped,
        // There is nothing to stop in a session that does not exist.
        Ok(Answer::Refused(machine::Refusal::SessionNotFound(_))) => Stopped::default(),
        Ok(Answer::Refused(refusal)) => return Err(refused(&refusal)),
        Ok(answer) => return Err(unexpected(&answer)),
        Err(error) => return Err(not_submitted(&error)),
    };
    stopped_result(gateway, stopped).await
}

/// What has been stopped, in the names that clients know.
async fn stopped_result(
    gateway: &Gateway,
    stopped: Stopped,
) -> Result<ChatAbortResult, ErrorShape> {
    let aborted = !stopped.runs.is_empty() || !stopped.tasks.is_empty();
    let told = ask(gateway.handle.store(), move |rows| {
        let run_ids = names_of(rows, &stopped.runs)?;
        let stop = standing::of_stop(rows, &stopped)?;
        Ok(ChatAbortResult { ok: true, aborted, run_ids, stop })
    });
    told.await.map_err(unreadable)
}

pub fn names_of(rows: &dyn Query, runs: &[RunId]) -> Result<Vec<String>, StoreError> {
    let name = |run: &RunId| Ok(rows.run(*run)?.map(|run| run.facts.wire_id));
    runs.iter().filter_map(|run| name(run).transpose()).collect()
}
