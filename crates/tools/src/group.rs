//! A child process and everything it starts: watched, heard, and ended together.
//!
//! The child leads a process group of its own, and signals go to the group. A process that
//! makes itself a new session (`setsid`) leaves the group and is out of reach here; it can keep
//! the pipe open, so nothing waits for the end of the pipe without a bound.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::bound::HeadTail;

/// What is read at once; a pipe holds as much.
const READ_BYTES: usize = 64 * 1024;

/// How often a group is asked whether it still lives. The system has no way to be told.
const ALIVE_EVERY: Duration = Duration::from_millis(20);

/// How long the rest of a command may outlive its shell before it counts as left behind.
const LINGER: Duration = Duration::from_millis(250);

/// How long the death of a killed group may take: it does not unless the kernel is stuck.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// What became of the processes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    None,
    /// Something outlived the command and was stopped.
    Stopped,
    /// Something is still there after SIGKILL.
    Alive,
}

/// A command that runs. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    status: Option<ExitStatus>,
    group: Group,
    intake: Intake,
}

impl Running {
    /// Starts `command` with nothing to read, and keeps of its output what `kept` keeps.
    pub(crate) fn start(mut command: Command, kept: HeadTail) -> io::Result<Running> {
        let (reader, writer) = io::pipe()?;
        let pipe = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        // One pipe for both keeps what the command wrote in the order in which it wrote it.
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        // The command holds our ends for writing: while they are open, the pipe has no end.
        drop(command);
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let leader = leader.ok_or_else(|| io::Error::other("the process has no id"))?;
        let intake = Intake { pipe: Some(pipe), buffer: vec![0; READ_BYTES], kept };
        Ok(Running { child, status: None, group: Group { leader, gone: false }, intake })
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
        if timeout(grace, self.gone()).await.is_ok() {
            return Remains::Stopped;
        }
        self.group.signal(Signal::KILL);
        match timeout(KILLED_WITHIN, self.gone()).await {
            Ok(()) => Remains::Stopped,
            Err(_) => Remains::Alive,
        }
    }

    /// After the child's exit: stops what it left behind.
    pub(crate) async fn clear(&mut self, grace: Duration) -> Remains {
        match timeout(LINGER, self.gone()).await {
            Ok(()) => Remains::None,
            Err(_) => self.stop(grace).await,
        }
    }

    /// Returns what was kept of the output, with what is still in the pipe.
    pub(crate) async fn into_output(mut self) -> HeadTail {
        // Late only if a process outside the group holds the pipe open.
        let _late = timeout(LINGER, self.intake.rest()).await;
        let empty = HeadTail::new(0);
        std::mem::replace(&mut self.intake.kept, empty)
    }

    /// Waits until no process of the group is left. May be dropped and called again.
    async fn gone(&mut self) {
        let mut ask = tokio::time::interval(ALIVE_EVERY);
        loop {
            tokio::select! {
                // Until the child is reaped, it counts as a living member.
                status = self.child.wait(), if self.status.is_none() => self.status = status.ok(),
                () = self.intake.some() => {}
                _ = ask.tick() => if self.status.is_some() && !self.group.lives() { return },
            }
        }
    }
}

/// A process group, by the id of its leader. The id is not given to others while the group has
/// a member.
#[derive(Debug)]
struct Group {
    leader: Pid,
    gone: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if !self.gone {
            // It fails if the group is gone, which is what is wanted.
            let _gone = kill_process_group(self.leader, signal);
        }
    }

    /// Once it is gone it stays gone: another group may have its id by now.
    fn lives(&mut self) -> bool {
        self.gone |=
            test_kill_process_group(self.leader) == Err(Errno::SRCH) || only_zombies(self.leader);
        !self.gone
    }
}

/// A zombie runs no more but counts as a member, for ever where the first process of a container
/// does not reap what it inherits. Only Linux shows which members are zombies.
#[cfg(target_os = "linux")]
fn only_zombies(group: Pid) -> bool {
    let group = group.as_raw_nonzero().to_string();
    let runs = |stat: &str| {
        // `pid (name) state parent group …`, and a name may hold anything.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let zombie = matches!(fields.next(), Some("Z" | "X"));
        fields.nth(1) == Some(&group) && !zombie
    };
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    let mut stats = entries.flatten().filter(is_process).filter_map(|entry| {
        // What has gone since it was listed runs no more.
        std::fs::read_to_string(entry.path().join("stat")).ok()
    });
    !stats.any(|stat| runs(&stat))
}

#[cfg(target_os = "linux")]
fn is_process(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

#[cfg(not(target_os = "linux"))]
fn only_zombies(_group: Pid) -> bool {
    false
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The reading end of a command's output.
#[derive(Debug)]
struct Intake {
    pipe: Option<Receiver>,
    buffer: Vec<u8>,
    kept: HeadTail,
}

impl Intake {
    /// Takes in what is there, and waits for ever after the end. May be dropped at any time.
    async fn some(&mut self) {
        let Some(pipe) = &mut self.pipe else { return pending().await };
        match pipe.read(&mut self.buffer).await {
            Ok(count) if count > 0 => self.kept.push(&self.buffer[..count]),
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    async fn rest(&mut self) {
        while self.pipe.is_some() {
            self.some().await;
        }
    }
}
