//! A child process and everything it starts: watched, heard, and ended together.
//!
//! The child leads a process group of its own, and signals go to the group. A process that
//! makes itself a new session (`setsid`) leaves the group: it is found by the mark of its call,
//! which every process has in its environment, and ended with the others. It can keep the pipe
//! open, so nothing waits for the end of the pipe without a bound.

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
use tokio::time::{Instant, sleep_until, timeout};

use crate::launch::{Input, Launch, Source, Started};
use crate::output::Output;
use crate::processes::{self, CALL_VARIABLE, Process};

/// What is read at once; a pipe holds as much.
const READ_BYTES: usize = 64 * 1024;

/// When it is first asked whether a group still lives. The system has no way to be told.
const ALIVE_FIRST: Duration = Duration::from_millis(20);

/// It is asked less and less often, but as often as this.
const ALIVE_EVERY_MAX: Duration = Duration::from_millis(160);

/// How long the rest of a command may outlive its shell before it counts as left behind.
const LINGER: Duration = Duration::from_millis(250);

/// How long the death of a killed group may take: it does not unless the kernel is stuck.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// What became of the processes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    None,
    /// Something outlived the command and was stopped.
    Stopped,
    /// These are still there after SIGKILL.
    Alive(Vec<u32>),
}

/// Sets the calls of this process apart, and so the marks of what they start.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// A command that runs. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    status: Option<ExitStatus>,
    group: Group,
    intake: Intake,
}

impl Running {
    /// Starts a command whose output goes to `output`, and returns what it reads from.
    pub(crate) fn start(
        mut launch: Launch,
        output: Arc<Output>,
    ) -> io::Result<(Running, Option<Input>)> {
        let mark = format!("{}-{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed));
        launch.env.push((OsString::from(CALL_VARIABLE), OsString::from(&mark)));
        let Started { child, source, input } = launch.start()?;
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let leader = leader.ok_or_else(|| io::Error::other("the process has no id"))?;
        let intake = Intake { source: Some(source), buffer: vec![0; READ_BYTES], output };
        let group = Group { leader, mark, gone: false };
        Ok((Running { child, status: None, group, intake }, input))
    }

    /// How many processes it is by now, and how much memory they take together.
    pub(crate) async fn load(&mut self) -> (usize, u64) {
        let alive = self.group.alive().await;
        (alive.len(), alive.iter().map(|pid| processes::memory_bytes(*pid)).sum())
    }

    /// Waits for the child, not for what it started. May be dropped and called again.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                status = self.child.wait() => {
                    let status = status?;
                    self.status = Some(status);
                    return Ok(status);
                }
                () = self.intake.some() => {}
            }
        }
    }

    /// Ends what is left: SIGTERM, and SIGKILL after `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Remains {
        self.group.signal(Signal::TERM);
        self.group.signal_strays(Signal::TERM).await;
        if timeout(grace, self.gone()).await.is_ok() {
            return Remains::Stopped;
        }
        let killed = async {
            loop {
                // Again for what was born while it was looked.
                self.group.signal(Signal::KILL);
                self.group.signal_strays(Signal::KILL).await;
                if timeout(ALIVE_EVERY_MAX, self.gone()).await.is_ok() {
                    return;
                }
            }
        };
        match timeout(KILLED_WITHIN, killed).await {
            Ok(()) => Remains::Stopped,
            Err(_) => match self.group.alive().await {
                alive if alive.is_empty() => Remains::Stopped,
                alive => Remains::Alive(alive),
            },
        }
    }

    /// After the child's exit: stops what it left behind.
    pub(crate) async fn clear(&mut self, grace: Duration) -> Remains {
        match timeout(LINGER, self.gone()).await {
            Ok(()) => Remains::None,
            Err(_) => self.stop(grace).await,
        }
    }

    /// Takes in what is still in the pipe.
    pub(crate) async fn rest(&mut self) {
        // Late only if a process outside the group holds the pipe open.
        let _late = timeout(LINGER, self.intake.rest()).await;
    }

    /// Waits until nothing is left of what was started. May be dropped and called again.
    async fn gone(&mut self) {
        let mut wait = ALIVE_FIRST;
        let mut ask = Instant::now();
        loop {
            tokio::select! {
                // Until the child is reaped, it counts as a living member.
                status = self.child.wait(), if self.status.is_none() => self.status = status.ok(),
                () = self.intake.some() => {}
                () = sleep_until(ask) => {
                    if self.status.is_some() && self.group.alive().await.is_empty() {
                        return;
                    }
                    ask = Instant::now() + wait;
                    wait = ALIVE_EVERY_MAX.min(wait * 2);
                }
            }
        }
    }
}

/// A process group, by the id of its leader, and what has left it. The id is not given to others
/// while the group has a member.
#[derive(Debug)]
struct Group {
    leader: Pid,
    /// What the environment of every process says that belongs to it.
    mark: String,
    gone: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if !self.gone {
            // It fails if the group is gone, which is what is wanted.
            let _gone = kill_process_group(self.leader, signal);
        }
    }

    /// To what has left the group.
    async fn signal_strays(&self, signal: Signal) {
        let now = processes::now().await;
        for process in now.iter().filter(|process| self.is_stray(process)) {
            process.signal(signal);
        }
    }

    fn is_stray(&self, process: &Process) -> bool {
        process.call.as_ref() == Some(&self.mark) && !process.is_in(self.leader)
    }

    /// What lives of all that was started. Only Linux shows what has left the group, and which
    /// members are zombies: those run no more but count as members, for ever where the first
    /// process of a container does not reap what it inherits.
    async fn alive(&mut self) -> Vec<u32> {
        // Once it is gone it stays gone: another group may have its id by now.
        self.gone |= test_kill_process_group(self.leader) == Err(Errno::SRCH);
        let now = processes::now().await;
        let of_group = |process: &Process| !self.gone && process.is_in(self.leader);
        let mut alive: Vec<u32> =
            now.iter().filter(|p| of_group(p) || self.is_stray(p)).map(|p| p.pid).collect();
        if cfg!(target_os = "linux") {
            self.gone |= !now.iter().any(of_group);
        } else if !self.gone {
            alive.push(self.leader.as_raw_nonzero().get().unsigned_abs());
        }
        alive
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The reading end of a command's output.
#[derive(Debug)]
struct Intake {
    source: Option<Source>,
    buffer: Vec<u8>,
    output: Arc<Output>,
}

impl Intake {
    /// Takes in what is there, and waits for ever after the end. May be dropped at any time.
    async fn some(&mut self) {
        let Some(source) = &mut self.source else { return pending().await };
        match source.read(&mut self.buffer).await {
            Ok(count) if count > 0 => self.output.push(&self.buffer[..count]),
            Ok(_) | Err(_) => self.source = None,
        }
    }

    async fn rest(&mut self) {
        while self.source.is_some() {
            self.some().await;
        }
    }
}
