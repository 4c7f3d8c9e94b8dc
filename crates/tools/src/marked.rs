//! Processes that are no run's: servers that live as long as the gateway, known by a mark in their
//! environment, which what they start inherits.
//!
//! Linux only: elsewhere nothing is found.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use crate::leftover::ancestors;
use crate::processes::value;

/// How long after a signal it is looked whether it has worked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that carries a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub pid: u32,
    /// What `variable` says in its environment.
    pub mark: String,
}

/// Looks for all processes whose `variable` begins with `mark`, but for this one and those above
/// it.
pub fn find(variable: &str, mark: &str) -> Vec<Marked> {
    let above = ancestors(std::process::id());
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let others = pids.filter(|pid| !above.contains(pid));
    let marked = others.filter_map(|pid| Some(Marked { pid, mark: mark_of(pid, variable)? }));
    marked.filter(|process| process.mark.starts_with(mark)).collect()
}

/// Ends them with SIGKILL, and looks for as long as `within` whether they are gone. Returns how
/// many there were at first, and the numbers of those that live on.
pub async fn end(variable: &'static str, mark: &str, within: Duration) -> (usize, Vec<u32>) {
    let until = Instant::now() + within;
    let mut first = None;
    loop {
        let wanted = mark.to_owned();
        let look = tokio::task::spawn_blocking(move || find(variable, &wanted));
        let alive = look.await.unwrap_or_default();
        let first = *first.get_or_insert(alive.len());
        if alive.is_empty() || Instant::now() >= until {
            return (first, alive.iter().map(|process| process.pid).collect());
        }
        for process in alive {
            process.kill(variable);
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Marked {
    /// Ends this very process, and not another that has its number by now.
    fn kill(&self, variable: &str) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        // Opened before its environment is read again, so that both are of one process.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if mark_of(self.pid, variable).as_ref() == Some(&self.mark) {
            // It fails if the process is gone, which is what is wanted.
            let _gone = pidfd_send_signal(&handle, Signal::KILL);
        }
    }
}

/// A zombie has no environment any more, and that of somebody else's process cannot be read.
fn mark_of(pid: u32, variable: &str) -> Option<String> {
    value(&fs::read(format!("/proc/{pid}/environ")).ok()?, variable)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const VARIABLE: &str = "WINDLASS_TEST_MARK";

    fn sleeper(mark: &str) -> Child {
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::null()).env(VARIABLE, mark).spawn().unwrap()
    }

    #[tokio::test]
    async fn what_carries_the_mark_is_ended_and_nothing_else() {
        let (mut ours, mut theirs) = (sleeper("house-1/files"), sleeper("house-2/files"));
        let found = find(VARIABLE, "house-1/");
        assert_eq!(found, [Marked { pid: ours.id(), mark: "house-1/files".to_owned() }]);
        let within = Duration::from_secs(60);
        assert_eq!(end(VARIABLE, "house-1/", within).await, (1, Vec::new()));
        assert!(!ours.wait().unwrap().success());
        assert!(theirs.try_wait().unwrap().is_none(), "a process of another house was ended");
        theirs.kill().unwrap();
        theirs.wait().unwrap();
    }
}
