//! Processes that a gateway has left behind when it was killed.
//!
//! Every process of `exec` carries the id of its run in its environment, and hands it on to what
//! it starts, also to what has left its group. So the next start can prove which processes are its
//! own: those whose run is in its database. Nothing else is touched.
//!
//! Linux only: elsewhere nothing is found.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use types::RunId;

/// Names the run of every process, so that a later start can prove which are its own.
pub(crate) const RUN_VARIABLE: &str = "WINDLASS_RUN_ID";

/// A process that carries the id of a run.
#[derive(Debug)]
pub struct Leftover {
    pub pid: u32,
    pub run: RunId,
    /// The process itself and not its number, which may be given to another.
    handle: rustix::fd::OwnedFd,
}

/// Looks for all processes that carry the id of a run, but for this one and those above it: a
/// gateway may have been started by a run.
pub fn find() -> Vec<Leftover> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let above = ancestors(std::process::id());
    pids.filter(|pid| !above.contains(pid)).filter_map(look).collect()
}

/// This process, its parent, and so on.
fn ancestors(pid: u32) -> Vec<u32> {
    let mut above = vec![pid];
    while let Some(parent) = above.last().copied().and_then(parent) {
        // Numbers grow back in a circle only if /proc changes under us.
        if parent == 0 || above.contains(&parent) {
            break;
        }
        above.push(parent);
    }
    above
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn look(pid: u32) -> Option<Leftover> {
    // Opened before its environment is read, so that both are of one process.
    let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let handle = pidfd_open(number, PidfdFlags::empty()).ok()?;
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let run = variables.find_map(|variable| {
        let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
        (name == RUN_VARIABLE).then(|| value.parse().ok())?
    })?;
    Some(Leftover { pid, run, handle })
}

impl Leftover {
    /// Ends it. Its gateway is gone, so there is nobody to whom it could hand anything in.
    pub fn kill(&self) -> bool {
        pidfd_send_signal(&self.handle, Signal::KILL).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_what_carries_a_run_is_found_and_ended() {
        let run = "run_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8";
        let sleep = |value: Option<&str>| {
            let mut command = Command::new("sleep");
            command.arg("60").stdin(Stdio::null()).env_remove(RUN_VARIABLE);
            if let Some(value) = value {
                command.env(RUN_VARIABLE, value);
            }
            command.spawn().unwrap()
        };
        let (mut ours, mut theirs, mut odd) =
            (sleep(Some(run)), sleep(None), sleep(Some("not a run")));
        let found = find();
        let of = |pid: u32| found.iter().find(|leftover| leftover.pid == pid);
        assert_eq!(of(ours.id()).unwrap().run.to_string(), run);
        assert!(of(theirs.id()).is_none() && of(odd.id()).is_none());
        assert!(of(std::process::id()).is_none());

        assert!(of(ours.id()).unwrap().kill());
        assert!(!ours.wait().unwrap().success());
        assert!(theirs.try_wait().unwrap().is_none(), "a process of somebody else was ended");
        for child in [&mut theirs, &mut odd] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
