//! Slash commands: what they ask for, and what is told without asking the machine.
//!
//! What only reads is answered from one snapshot of the rows; what changes something is an event,
//! which the machine answers. Both answers are kept under the message's key, and none costs a model
//! call.

use std::sync::Arc;

use machine::effect::Commanded;
use machine::event::{Act, Command as Event, Patch};
use machine::queue::{Drop, QueueWish};
use machine::rows::EndReason;
use machine::{Answer, Limits};
use protocol::ErrorShape;
use protocol::approvals::Decision;
use protocol::command::{
    self, Command, Context, Handle, Model, Queue, QueueDrop, QueueSettings, Subagents, Think,
    Victims, WrongForm,
};
use store::StoreError;
use store::query::{Query, ask};
use store::view::{Below, SessionView, TaskFilter, TaskView};
use types::{
    InternalCall, SendRequest, SendTarget, SessionKey, SessionRef, SpawnRequest, TaskId,
    TaskTarget, Timestamp,
};

use crate::card::{self, Card};
use crate::gateway::{Gateway, unreadable};
use crate::methods::approvals;
use crate::methods::chat::{ORIGIN, OWNER, queue_mode};
use crate::methods::context;
use crate::methods::models;
use crate::refusal::{not_submitted, refused, unexpected};

/// Commands among which the last list is looked for.
const RECENT: usize = 200;

/// Tasks below a conversation among which one is looked for by its name, newest first.
const SCAN_MAX: usize = 1_000;

/// A command as it was typed.
#[derive(Clone, Debug)]
pub struct Typed {
    pub session: SessionKey,
    pub key: String,
    pub text: String,
    pub command: Result<Command, WrongForm>,
}

impl Typed {
    pub fn stops(&self) -> bool {
        matches!(self.command, Ok(Command::Stop))
    }

    /// Is something said to the agent with it?
    pub fn says(&self) -> bool {
        matches!(self.command, Ok(Command::New(Some(_)) | Command::Reset(Some(_))))
    }
}

/// Carries a command out. It is done, and its answer kept, when this returns.
pub async fn carry_out(gateway: &Gateway, typed: Typed) -> Result<Commanded, ErrorShape> {
    let Typed { session, key, text, command } = typed;
    let act = match command {
        Ok(command) => act(gateway, &session, command).await?,
        Err(wrong) => wrong_form(wrong.to_string()),
    };
    let event = Event {
        session: session.clone(),
        owner: OWNER.to_owned(),
        origin: ORIGIN.to_owned(),
        idem_key: key.clone(),
        text,
        act,
    };
    match gateway.handle.submit(machine::Event::Command(event)).await {
        Ok(Answer::Commanded(told)) => {
            gateway.keys.remember(&key, &session);
            Ok(told)
        }
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

fn wrong_form(answer: String) -> Act {
    Act::Tell { answer, is_error: true, listed: Vec::new() }
}

fn tell(answer: String) -> Act {
    Act::Tell { answer, is_error: false, listed: Vec::new() }
}

async fn act(gateway: &Gateway, session: &SessionKey, command: Command) -> Result<Act, ErrorShape> {
    let read = match command {
        Command::Help => return Ok(tell(command::help())),
        Command::Agents => return Ok(tell(agents(gateway))),
        Command::Stop => return Ok(Act::Stop),
        Command::New(first) => return Ok(Act::Reset { reason: EndReason::New, first }),
        Command::Compact(hint) => return Ok(Act::Compact { hint }),
        Command::Reset(first) => return Ok(Act::Reset { reason: EndReason::Reset, first }),
        Command::Context(wanted) => return context_act(gateway, session, wanted).await,
        Command::Queue(Queue::Set(settings)) => {
            let queue = Some(Some(wish(settings)));
            return Ok(Act::Patch(Patch { queue, ..Patch::default() }));
        }
        Command::Queue(Queue::Default) => {
            return Ok(Act::Patch(Patch { queue: Some(None), ..Patch::default() }));
        }
        Command::Model(Model::Set(name)) => return Ok(patch_model(Some(name))),
        Command::Model(Model::Default) => return Ok(patch_model(None)),
        Command::Think(Think::Set(level)) => {
            let thinking = Some(level);
            return Ok(Act::Patch(Patch { thinking, ..Patch::default() }));
        }
        Command::Models(provider) => {
            let limits = Arc::clone(&gateway.handle.config().limits);
            return Ok(tell(models::list(&limits, provider.as_deref())));
        }
        Command::Reasoning(reasoning @ Some(_)) => {
            return Ok(Act::Patch(Patch { reasoning, ..Patch::default() }));
        }
        Command::Usage(footer @ Some(_)) => {
            return Ok(Act::Patch(Patch { footer, ..Patch::default() }));
        }
        Command::Subagents(Subagents::Kill(Victims::All)) => return Ok(Act::StopChildren),
        Command::Subagents(Subagents::Spawn { agent, task, model }) => {
            let request = SpawnRequest { agent: Some(agent), model, ..SpawnRequest::of(&task) };
            return Ok(Act::Call(InternalCall::spawn(request)));
        }
        read => read,
    };
    let (key, now) = (session.clone(), gateway.now());
    let limits = Arc::clone(&gateway.handle.config().limits);
    let running =
        card::Running { version: gateway.info.version.clone(), uptime_ms: gateway.uptime_ms() };
    let asked = ask(gateway.handle.store(), move |rows| {
        let asked = Asked { rows, limits: &limits, running: &running, key: &key, now };
        asked.act(read)
    });
    asked.await.map_err(unreadable)
}

/// What is sent with a conversation, and that it be read anew.
async fn context_act(
    gateway: &Gateway,
    session: &SessionKey,
    wanted: Context,
) -> Result<Act, ErrorShape> {
    if wanted == Context::Refresh {
        return Ok(Act::Refresh { changed: context::changed(gateway, session).await? });
    }
    let Some(account) = context::of_session(gateway, session).await? else {
        return Ok(tell(format!("{session}: nothing has been said here yet.")));
    };
    Ok(tell(match wanted {
        Context::Json => serde_json::to_string(&account).expect("an account is JSON"),
        shown => account.lines(shown == Context::Detail, gateway.now()).join("\n"),
    }))
}

fn patch_model(model: Option<String>) -> Act {
    Act::Patch(Patch { model: Some(model), ..Patch::default() })
}

fn wish(settings: QueueSettings) -> QueueWish {
    let QueueSettings { mode, debounce_ms, cap, drop } = settings;
    QueueWish {
        mode: mode.map(queue_mode),
        debounce_ms: debounce_ms.and_then(|ms| i64::try_from(ms).ok()),
        cap,
        drop: drop.map(|drop| match drop {
            QueueDrop::Summarize => Drop::Summarize,
            QueueDrop::Old => Drop::Old,
            QueueDrop::New => Drop::New,
        }),
    }
}

/// The agents that are configured, as people call them.
fn agents(gateway: &Gateway) -> String {
    let (config, shown) = (gateway.handle.config(), gateway.shown());
    let lines = config.agents.keys().map(|id| {
        let title = shown.agents.get(id).cloned().unwrap_or_default();
        let model = config.limits.agents.get(id).map_or("", |limits| limits.model.as_str());
        card::agent(id, *id == shown.default_agent, &title, model)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A question about a conversation, put to one snapshot.
struct Asked<'a> {
    rows: &'a dyn Query,
    limits: &'a Limits,
    running: &'a card::Running,
    key: &'a SessionKey,
    now: Timestamp,
}

type Told<T> = Result<T, StoreError>;

impl Asked<'_> {
    fn act(&self, command: Command) -> Told<Act> {
        let session = self.rows.session(self.key)?;
        let card = Card { rows: self.rows, limits: self.limits, now: self.now };
        Ok(match command {
            Command::Status => tell(card.status(self.key, session.as_ref(), self.running)?),
            Command::Threads => tell(card.threads(&self.key.agent)?),
            Command::Queue(_) => tell(card.queue(session.as_ref())?),
            Command::Model(_) => {
                let agent = self.limits.agents.get(&self.key.agent);
                let of_agent = agent.map_or("", |agent| agent.model.as_str());
                tell(models::card(self.limits, session.as_ref(), of_agent))
            }
            Command::Think(_) => {
                let line = session.as_ref();
                let line = line.and_then(|session| models::thinking_line(self.limits, session));
                let line = line.unwrap_or_else(|| "thinking: as the provider likes".to_owned());
                tell(format!("{line}\n/think {}|default sets it", models::levels()))
            }
            Command::Reasoning(_) => tell(card::reasoning(session.as_ref())),
            Command::Usage(_) => tell(card.usage(self.key, session.as_ref())?),
            Command::Tasks => listed(card.tasks(self.key)?),
            Command::Retry(handle) => match self.find(session.as_ref(), &handle)? {
                Ok(task) => Act::Retry(task.id),
                Err(why) => wrong_form(why),
            },
            Command::Subagents(Subagents::List) => listed(card.subagents(self.key)?),
            Command::Subagents(Subagents::Info(handle)) => {
                self.of_task(session.as_ref(), &handle, |task| card.info(task))?
            }
            Command::Subagents(Subagents::Log { task, limit }) => {
                let limit = limit as usize;
                self.of_task(session.as_ref(), &task, |task| card.log(task, limit))?
            }
            Command::Subagents(Subagents::Steer { task, message }) => {
                self.call(session.as_ref(), &task, |task| InternalCall::Steer {
                    target: target(task),
                    message,
                })?
            }
            Command::Subagents(Subagents::Send { task, message }) => {
                self.call(session.as_ref(), &task, |task| {
                    let to = SendTarget::Session(SessionRef::Full(task.session_key.clone()));
                    InternalCall::Send(Box::new(SendRequest::to(to, &message)))
                })?
            }
            Command::Subagents(Subagents::Kill(Victims::One(task))) => {
                self.call(session.as_ref(), &task, |task| InternalCall::Kill {
                    target: target(task),
                })?
            }
            Command::Approvals => tell(approvals::waiting(self.rows, self.key, self.now)?),
            Command::Approve { id, decision } => self.decide(id.as_deref(), decision)?,
            // Those are no questions.
            Command::Help
            | Command::Agents
            | Command::Models(_)
            | Command::Compact(_)
            | Command::Stop
            | Command::New(_)
            | Command::Reset(_)
            | Command::Context(_)
            | Command::Subagents(Subagents::Kill(Victims::All) | Subagents::Spawn { .. }) => {
                tell(command::help())
            }
        })
    }

    /// Answers the question that is meant.
    fn decide(&self, id: Option<&str>, decision: Decision) -> Told<Act> {
        Ok(match approvals::meant(self.rows, self.key, id)? {
            Ok(row) => Act::Decide(row.id, approvals::decision(decision)),
            Err(why) => wrong_form(why.to_string()),
        })
    }

    /// Tells of one task.
    fn of_task(
        &self,
        session: Option<&SessionView>,
        handle: &Handle,
        told: impl FnOnce(&TaskView) -> Told<String>,
    ) -> Told<Act> {
        Ok(match self.find(session, handle)? {
            Ok(task) => tell(told(&task)?),
            Err(why) => wrong_form(why),
        })
    }

    /// Asks for something to be done with one task.
    fn call(
        &self,
        session: Option<&SessionView>,
        handle: &Handle,
        call: impl FnOnce(&TaskView) -> InternalCall,
    ) -> Told<Act> {
        Ok(match self.find(session, handle)? {
            Ok(task) => Act::Call(call(&task)),
            Err(why) => wrong_form(why),
        })
    }

    /// Finds the task that a person means, below this conversation.
    fn find(
        &self,
        session: Option<&SessionView>,
        handle: &Handle,
    ) -> Told<Result<TaskView, String>> {
        let none = |why: &str| Ok(Err(format!("{why} {}", command::HANDLES)));
        let Some(session) = session else { return none("This conversation has no tasks.") };
        let found = match handle {
            Handle::Number(n) => match self.numbered(session, *n)? {
                Some(id) => self.rows.task(id)?,
                None => {
                    return none(&format!("The last list has no #{n}; see /subagents list."));
                }
            },
            Handle::Last => self.below(session)?.into_iter().next(),
            Handle::Name(name) => {
                let named = |task: &&TaskView| {
                    task.id.to_string() == *name
                        || task.session_key.to_string() == *name
                        || task.task_name.as_ref() == Some(name)
                };
                let tasks = self.below(session)?;
                let open = tasks.iter().filter(named).find(|task| task.outcome.is_none());
                open.or_else(|| tasks.iter().find(named)).cloned()
            }
        };
        match found {
            Some(task) => Ok(Ok(task)),
            None => none(&format!("There is no task `{handle}` below this conversation.")),
        }
    }

    /// The task of this number in the list that was shown last.
    fn numbered(&self, session: &SessionView, n: u32) -> Told<Option<TaskId>> {
        let commands = self.rows.commands(session.session_id, RECENT)?;
        let last = commands.into_iter().find(|command| !command.listed.is_empty());
        Ok(last.and_then(|command| command.listed.get(n as usize - 1).copied()))
    }

    /// Tasks below this conversation, newest first.
    fn below(&self, session: &SessionView) -> Told<Vec<TaskView>> {
        let below = Some(Below::Session(session.key.clone()));
        self.rows.tasks(&TaskFilter { below, limit: SCAN_MAX, ..TaskFilter::default() })
    }
}

fn target(task: &TaskView) -> TaskTarget {
    TaskTarget(task.id.to_string())
}

fn listed((answer, listed): (String, Vec<TaskId>)) -> Act {
    Act::Tell { answer, is_error: false, listed }
}
