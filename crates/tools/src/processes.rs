//! What runs on this machine now, looked at once for all who ask at the same time.
//!
//! The only way to learn of processes that have left their group is to read `/proc`, all of it.
//! A stop of a large tree has many commands that ask again and again; they share each look.
//!
//! Linux only: elsewhere nothing is seen.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::Mutex;

/// Names the run of every process, so that a later start can prove which are its own.
pub(crate) const RUN_VARIABLE: &str = "WINDLASS_RUN_ID";

/// Names the call of every process. Two calls of one run end at different times.
pub(crate) const CALL_VARIABLE: &str = "WINDLASS_CALL_ID";

/// A process that runs. A zombie does not, and is never seen here.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    group: i32,
    /// Values of the two variables, if they can be read.
    pub(crate) run: Option<String>,
    pub(crate) call: Option<String>,
}

/// The last look, and when it was begun.
static LAST: Mutex<Option<(Instant, Arc<[Process]>)>> = Mutex::const_new(None);

/// What runs at a moment after this call.
pub(crate) async fn now() -> Arc<[Process]> {
    let asked = Instant::now();
    let mut last = LAST.lock().await;
    // Whoever was looking when we asked may have passed what we ask for already.
    if let Some((_, processes)) = last.as_ref().filter(|(begun, _)| *begun >= asked) {
        return Arc::clone(processes);
    }
    let begun = Instant::now();
    let processes = tokio::task::spawn_blocking(look).await.unwrap_or_default();
    let processes: Arc<[Process]> = processes.into();
    *last = Some((begun, Arc::clone(&processes)));
    processes
}

/// Looks at every process there is.
pub(crate) fn look() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

fn read(pid: u32) -> Option<Process> {
    // What has gone since it was listed runs no more.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent group …`, and a name may hold anything.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let zombie = matches!(fields.next(), Some("Z" | "X"));
    let group = fields.nth(1)?.parse().ok()?;
    // That of somebody else's process cannot be read, and is none of ours.
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let (run, call) = (value(&environment, RUN_VARIABLE), value(&environment, CALL_VARIABLE));
    (!zombie).then_some(Process { pid, group, run, call })
}

/// Memory of a process that is in use, shared parts included.
pub(crate) fn memory_bytes(pid: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"));
    let resident = pages.ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    resident.unwrap_or(0) * rustix::param::page_size() as u64
}

/// What a variable says in an environment as `/proc` shows it.
pub(crate) fn value(environment: &[u8], name: &str) -> Option<String> {
    let mut variables = environment.split(|byte| *byte == 0);
    variables.find_map(|variable| {
        let value = std::str::from_utf8(variable).ok()?.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

impl Process {
    pub(crate) fn is_in(&self, group: Pid) -> bool {
        self.group == group.as_raw_nonzero().get()
    }

    /// Sends a signal to this very process, and not to another that has its number by now. Says
    /// whether it was sent.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        // Opened before its environment is read again, so that both are of one process.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        let same = |now: Process| (now.run, now.call) == (self.run.clone(), self.call.clone());
        read(self.pid).is_some_and(same) && pidfd_send_signal(&handle, signal).is_ok()
    }
}
