//! Processes of a run that are still there when they should not be.
//!
//! Every process of `exec` carries the id of its run in its environment, and hands it on to what
//! it starts, also to what has left its group. So a stop can find all that a run has started, and
//! the next start of a gateway can prove which processes are its own: those whose run is in its
//! database. Nothing else is touched.
//!
//! What clears its environment and leaves its group is not found.
//!
//! Linux only: elsewhere nothing is found.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use types::RunId;

use crate::processes::{self, Process};

/// How long after a signal it is looked whether it has worked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that carries the id of a run.
#[derive(Debug)]
pub struct Leftover {
    pub pid: u32,
    pub run: RunId,
    process: Process,
}

/// Looks for all processes that carry the id of a run, but for this one and those above it: a
/// gateway may have been started by a run.
pub fn find() -> Vec<Leftover> {
    let above = ancestors(std::process::id());
    let others = processes::look().into_iter().filter(|process| !above.contains(&process.pid));
    others
        .filter_map(|process| {
            let run = process.run.as_ref()?.parse().ok()?;
            Some(Leftover { pid: process.pid, run, process })
        })
        .collect()
}

/// Ends every process that carries the id of `run` and looks whether it is gone, for as long as
/// `within`. Returns the numbers of those that live on.
///
/// With SIGKILL, and again for what was born meanwhile: whoever was to hear of the end has had
/// its time before this is called.
pub async fn end(run: RunId, within: Duration) -> Vec<u32> {
    let (until, run) = (Instant::now() + within, run.to_string());
    let above = ancestors(std::process::id());
    loop {
        let now = processes::now().await;
        let ours = |process: &&Process| {
            process.run.as_ref() == Some(&run) && !above.contains(&process.pid)
        };
        let alive: Vec<&Process> = now.iter().filter(ours).collect();
        if alive.is_empty() || Instant::now() >= until {
            return alive.iter().map(|process| process.pid).collect();
        }
        for process in alive {
            process.signal(Signal::KILL);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// This process, its parent, and so on.
pub(crate) fn ancestors(pid: u32) -> Vec<u32> {
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
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

impl Leftover {
    /// Ends it. Its gateway is gone, so there is nobody to whom it could hand anything in.
    pub fn kill(&self) -> bool {
        self.process.signal(Signal::KILL)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::processes::RUN_VARIABLE;

    fn sleep_for(run: Option<&str>) -> Child {
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::null()).env_remove(RUN_VARIABLE);
        if let Some(run) = run {
            command.env(RUN_VARIABLE, run);
        }
        command.spawn().unwrap()
    }

    #[test]
    fn only_what_carries_a_run_is_found_and_ended() {
        let run = "run_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8";
        let (mut ours, mut theirs, mut odd) =
            (sleep_for(Some(run)), sleep_for(None), sleep_for(Some("not a run")));
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

    /// A process that is seen to live after all was tried is named, and one that is gone is not.
    #[tokio::test]
    async fn what_lives_on_is_named() {
        let text = "run_0193a5f06c7e7cc2a1b2d3e4f5a6b7c9";
        let run: RunId = text.parse().unwrap();
        let other = "run_0193a5f06c7e7cc2a1b2d3e4f5a6b7ca";
        let (mut ours, mut theirs) = (sleep_for(Some(text)), sleep_for(Some(other)));
        // There is no time to see it die.
        assert_eq!(end(run, Duration::ZERO).await, [ours.id()]);
        assert_eq!(end(run, Duration::from_secs(60)).await, [0; 0]);
        assert!(!ours.wait().unwrap().success());
        assert!(theirs.try_wait().unwrap().is_none(), "another run was ended");
        theirs.kill().unwrap();
        theirs.wait().unwrap();
    }
}
