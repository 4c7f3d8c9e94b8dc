//! What people do to conversations as a whole: reset, rename, delete; and commands that they type.

use std::time::Duration;

use machine::attempt::Retry;
use machine::event::{Act, Asked, Change, Command, Patch};
use machine::queue::{Drop, QueueMode, QueueWish};
use machine::rows::{EndReason, Outcome, Task};
use machine::status::TaskStatus;
use machine::{Answer, Event, Refusal};
use types::{
    AgentId, Announce, FlowId, FlowRequest, FlowTarget, Footer, InternalCall, Reasoning,
    SessionKey, SpawnRequest, TaskId, TaskTarget, Timestamp,
};
use uuid::Uuid;

use crate::plan::BIRTH;
use crate::rng::Rng;
use crate::script;

/// Something that a person wants done, and asks for until he hears that it is.
#[derive(Clone, Debug)]
pub struct Order {
    pub at: Timestamp,
    pub session: SessionKey,
    /// Instead of `session`, that of a child, whichever there is then.
    pub of_child: bool,
    /// A task that is there then is meant, by the session at the head of its tree.
    pub of_task: bool,
    pub what: What,
    pub on_way: bool,
    /// How often it was sent.
    pub sent: usize,
    /// What he has heard at last.
    pub heard: Option<Answer>,
}

#[derive(Clone, Debug)]
pub enum What {
    Change(Change),
    /// Typed, under this idempotency key.
    Act {
        key: String,
        act: Act,
    },
    /// Asked for by a program, under this mark, in the name of the session.
    Ask {
        mark: String,
        call: InternalCall,
    },
    /// A task is to be carried again; typed, if it is under a key of the conversation.
    Retry {
        task: TaskId,
        key: Option<String>,
        typed: Option<String>,
    },
}

impl Order {
    /// What gives way in a full queue from then on, if it says so.
    pub fn drops(&self) -> Option<Drop> {
        match &self.what {
            What::Change(Change::Patch(patch)) | What::Act { act: Act::Patch(patch), .. } => {
                patch.queue.flatten()?.drop
            }
            _ => None,
        }
    }

    /// It is given to some session, within so many ms from the beginning.
    fn within(
        rng: &mut Rng,
        ms: u64,
        session: &impl Fn(&mut Rng) -> SessionKey,
        what: What,
    ) -> Order {
        Order {
            at: BIRTH + Duration::from_millis(rng.below(ms)),
            session: session(rng),
            of_child: false,
            of_task: false,
            what,
            on_way: false,
            sent: 0,
            heard: None,
        }
    }

    pub fn event(&self) -> Event {
        let (session, by) = (self.session.clone(), "owner".to_owned());
        match self.what.clone() {
            What::Change(change) => Event::Change { session, by, change },
            What::Act { key, act } => Event::Command(Command {
                session,
                owner: by,
                origin: "web".to_owned(),
                text: format!("{act:?}"),
                idem_key: key,
                act,
            }),
            What::Ask { mark, call } => {
                Event::Ask(Asked { session, owner: by, origin: "web".to_owned(), mark, call })
            }
            What::Retry { task, typed: Some(idem_key), .. } => Event::Command(Command {
                session,
                owner: by,
                origin: "web".to_owned(),
                text: "/tasks retry".to_owned(),
                idem_key,
                act: Act::Retry(task),
            }),
            What::Retry { task, key, typed: None } => {
                Event::RetryTask(Retry { task, owner: by, below: None, idem_key: key })
            }
        }
    }

    /// Means this task, if it is one that a task can be named in.
    pub fn aim(&mut self, task: &Task) {
        let call = match &mut self.what {
            What::Retry { task: meant, .. } => {
                *meant = task.id;
                self.session = task.root_key.clone();
                return;
            }
            What::Act { act: Act::Call(call), .. } | What::Ask { call, .. } => call,
            _ => return,
        };
        match call {
            InternalCall::Kill { target } | InternalCall::Steer { target, .. } => {
                *target = TaskTarget(task.id.to_string());
            }
            InternalCall::CancelFlow { target } => match task.flow {
                Some(flow) => *target = FlowTarget::Flow(flow),
                None => *target = FlowTarget::Task(task.id),
            },
            _ => return,
        }
        self.session = task.root_key.clone();
    }

    /// May it be about this task? A retry is about work that has failed, the others about what goes
    /// on; a cancel of a flow about one.
    pub fn means(&self, task: &Task) -> bool {
        let open = task.outcome.is_none();
        match &self.what {
            What::Retry { .. } => task.outcome.is_some_and(|end| end != Outcome::Completed),
            What::Act { act: Act::Call(InternalCall::CancelFlow { .. }), .. }
            | What::Ask { call: InternalCall::CancelFlow { .. }, .. } => {
                open && task.flow.is_some()
            }
            _ => open,
        }
    }

    /// Takes the answer in. Says whether to ask again, and when.
    pub fn hear(&mut self, answer: &Answer) -> Option<Duration> {
        self.on_way = false;
        match answer {
            Answer::Refused(refusal) => {
                let again = refusal.retry_after_ms().map(Duration::from_millis);
                if again.is_none() {
                    assert!(may_be_refused(refusal), "{:?} is refused: {refusal}", self.what);
                    self.heard = Some(answer.clone());
                }
                again
            }
            Answer::Changed(_) | Answer::Ordered(_) => {
                assert!(matches!(self.what, What::Change(_)));
                self.heard = Some(answer.clone());
                None
            }
            Answer::Commanded(told) => {
                assert!(!matches!(self.what, What::Change(_) | What::Ask { .. }));
                assert!(!told.answer.is_empty());
                self.heard = Some(answer.clone());
                None
            }
            Answer::Told { text, .. } => {
                assert!(!matches!(self.what, What::Change(_) | What::Act { .. }));
                assert!(!text.is_empty());
                if text.contains(r#""code":"draining""#) {
                    return Some(Duration::from_secs(2));
                }
                self.heard = Some(answer.clone());
                None
            }
            other => panic!("an order is answered {other:?}"),
        }
    }
}

fn may_be_refused(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::SessionNotFound(_)
            | Refusal::SessionArchived(_)
            | Refusal::NotArchived { .. }
            | Refusal::UnknownModel { .. }
            | Refusal::UnknownAgent(_)
            | Refusal::RunOpen(_)
            | Refusal::NotDeclarable
    )
}

/// The orders of a seed.
///
/// They have dice of their own, so that lives which older seeds have found stay as they were.
pub fn random(seed: u64, session: impl Fn(&mut Rng) -> SessionKey) -> Vec<Order> {
    let rng = &mut Rng::about(seed, "orders");
    let mut orders = Vec::new();
    if !rng.chance(500) {
        return orders;
    }
    for n in 0..1 + rng.below(5) {
        let what = if rng.chance(400) {
            What::Change(change(rng))
        } else {
            What::Act { key: format!("order-{n}"), act: act(rng) }
        };
        let mut order = Order::within(rng, 120_000, &session, what);
        order.of_child = rng.chance(250);
        orders.push(order);
    }
    elaborate(seed, &mut orders);
    with_footers(seed, &mut orders);
    orders
}

/// What came to be possible later has dice of its own, too.
fn elaborate(seed: u64, orders: &mut [Order]) {
    let rng = &mut Rng::about(seed, "elaborate orders");
    for order in orders.iter_mut() {
        match &mut order.what {
            What::Act { act: Act::Reset { first, .. }, .. } if rng.chance(600) => {
                *first = Some("the first words anew".to_owned());
            }
            What::Change(Change::Patch(patch)) | What::Act { act: Act::Patch(patch), .. } => {
                patch.reasoning = rng.chance(300).then(|| *rng.pick(Reasoning::ALL));
                let Some(Some(wish)) = &mut patch.queue else { continue };
                wish.cap = rng.chance(500).then(|| 1 + rng.below(4) as u32);
                wish.drop = rng.chance(500).then(|| *rng.pick(Drop::ALL));
                wish.debounce_ms = rng.chance(500).then(|| 1_000 * rng.below(20) as i64);
            }
            _ => {}
        }
    }
    // Only here and there, so that most older lives stay as they were.
    let rng = &mut Rng::about(seed, "refreshes");
    for order in orders.iter_mut().filter(|_| rng.chance(120)) {
        if let What::Act { act, .. } = &mut order.what {
            *act = Act::Refresh { changed: Vec::new() };
        }
    }
}

/// What programs ask for in this life, and orders about work that is there.
pub fn asks(seed: u64, session: impl Fn(&mut Rng) -> SessionKey) -> Vec<Order> {
    let rng = &mut Rng::about(seed, "asks");
    let mut orders = Vec::new();
    if !rng.chance(500) {
        return orders;
    }
    for n in 0..1 + rng.below(5) {
        let mark = format!("ask-{n}");
        let call = match rng.below(10) {
            0..3 => InternalCall::spawn(SpawnRequest {
                idempotency_key: Some(mark.clone()),
                ..script::random_spawn(rng)
            }),
            3..5 => InternalCall::StartFlow(Box::new(FlowRequest {
                idempotency_key: Some(mark.clone()),
                ..script::random_flow(rng)
            })),
            5..7 => InternalCall::Kill { target: TaskTarget("n1".to_owned()) },
            7 => InternalCall::CancelFlow { target: FlowTarget::Flow(FlowId::new(Uuid::nil())) },
            _ => {
                let message = "go on with this".to_owned();
                InternalCall::Steer { target: TaskTarget("n1".to_owned()), message }
            }
        };
        // Also as a person types it.
        let typed = rng.chance(300);
        let what = match typed && !matches!(call, InternalCall::StartFlow(_)) {
            true => What::Act { key: format!("typed-{n}"), act: Act::Call(call) },
            false => What::Ask { mark, call },
        };
        let mut order = Order::within(rng, 120_000, &session, what);
        order.of_task = true;
        orders.push(order);
    }
    orders
}

/// Conversations that people want to be compacted.
pub fn compactions(seed: u64, session: impl Fn(&mut Rng) -> SessionKey) -> Vec<Order> {
    let rng = &mut Rng::about(seed, "compactions");
    let mut orders = Vec::new();
    for n in 0..rng.below(4) {
        let hint = if rng.chance(500) { "the map".to_owned() } else { String::new() };
        let what = match rng.chance(500) {
            true => What::Change(Change::Compact { origin: "web".to_owned(), hint }),
            false => What::Act { key: format!("compact-{n}"), act: Act::Compact { hint } },
        };
        let mut order = Order::within(rng, 150_000, &session, what);
        order.of_child = rng.chance(200);
        orders.push(order);
    }
    orders
}

/// Flows that people start, and stop in the middle.
pub fn flows(seed: u64, session: impl Fn(&mut Rng) -> SessionKey) -> Vec<Order> {
    let rng = &mut Rng::about(seed, "flows");
    let mut orders = Vec::new();
    if !rng.chance(300) {
        return orders;
    }
    for n in 0..1 + rng.below(2) {
        let at = BIRTH + Duration::from_millis(rng.below(90_000));
        let mark = format!("flow-{n}");
        let flow = FlowRequest {
            idempotency_key: Some(mark.clone()),
            announce: *rng.pick(&[Announce::None, Announce::Parent, Announce::Person]),
            ..script::random_flow(rng)
        };
        let start = What::Ask { mark, call: InternalCall::StartFlow(Box::new(flow)) };
        let cancel =
            InternalCall::CancelFlow { target: FlowTarget::Flow(FlowId::new(Uuid::nil())) };
        let cancel = What::Ask { mark: format!("cancel-{n}"), call: cancel };
        let order = |at, what| Order {
            at,
            session: SessionKey::main(AgentId::main()),
            of_child: false,
            of_task: true,
            what,
            on_way: false,
            sent: 0,
            heard: None,
        };
        orders.push(Order { session: session(rng), ..order(at, start) });
        if rng.chance(600) {
            orders.push(order(at + Duration::from_millis(1 + rng.below(30_000)), cancel));
        }
    }
    orders
}

/// Work that is to be carried again, whichever has ended by then.
pub fn retries(seed: u64, session: impl Fn(&mut Rng) -> SessionKey) -> Vec<Order> {
    let rng = &mut Rng::about(seed, "retries");
    let mut orders = Vec::new();
    if !rng.chance(400) {
        return orders;
    }
    for n in 0..1 + rng.below(5) {
        let what = What::Retry {
            task: TaskId::new(Uuid::from_u128(7)),
            key: rng.chance(500).then(|| format!("retry-{n}")),
            typed: rng.chance(300).then(|| format!("typed-retry-{n}")),
        };
        let mut order = Order::within(rng, 200_000, &session, what);
        order.of_task = true;
        orders.push(order);
    }
    orders
}

fn change(rng: &mut Rng) -> Change {
    match rng.below(6) {
        0 => Change::Reset(EndReason::Reset),
        1 => Change::Delete,
        2 => Change::Archive,
        3 => Change::Restore,
        _ => Change::Patch(patch(rng)),
    }
}

/// And so has what is told under answers.
fn with_footers(seed: u64, orders: &mut [Order]) {
    let rng = &mut Rng::about(seed, "footers of orders");
    for order in orders.iter_mut() {
        if let What::Change(Change::Patch(patch)) | What::Act { act: Act::Patch(patch), .. } =
            &mut order.what
        {
            patch.footer = rng.chance(300).then(|| *rng.pick(Footer::ALL));
        }
    }
}

fn patch(rng: &mut Rng) -> Patch {
    let mode = rng.chance(600).then(|| *rng.pick(QueueMode::ALL));
    Patch {
        label: rng.chance(300).then(|| Some("a title".to_owned())),
        model: rng.chance(300).then(|| Some((*rng.pick(&["m", "no-such-model"])).to_owned())),
        thinking: None,
        queue: rng
            .chance(600)
            .then(|| mode.map(|mode| QueueWish { mode: Some(mode), ..QueueWish::default() })),
        declared: rng.chance(400).then(|| Some(*rng.pick(TaskStatus::ALL))),
        reasoning: None,
        footer: None,
    }
}

fn act(rng: &mut Rng) -> Act {
    let target = || TaskTarget("n1".to_owned());
    match rng.below(8) {
        0 => Act::Stop,
        1 => Act::StopChildren,
        2 => Act::Reset { reason: EndReason::New, first: None },
        3 => Act::Patch(patch(rng)),
        4 => Act::Call(InternalCall::Kill { target: target() }),
        5 => {
            let message = "from a person".to_owned();
            Act::Call(InternalCall::Steer { target: target(), message })
        }
        6 => {
            let brief = format!("a person's brief {}", rng.below(3));
            let named = rng.chance(500).then(|| "n1".to_owned());
            Act::Call(InternalCall::spawn(SpawnRequest {
                task_name: named,
                ..SpawnRequest::of(&brief)
            }))
        }
        _ => {
            Act::Tell { answer: "words".to_owned(), is_error: rng.chance(300), listed: Vec::new() }
        }
    }
}
