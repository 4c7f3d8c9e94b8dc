//! A program that we started, in a process group of its own, and end whatever happens.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command`; its stdout and stderr are the caller's to set.
    pub fn start(command: &mut Command) -> anyhow::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        // A Ctrl-C at our terminal must not reach it before us: we could not tell its end
        // from a crash.
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        let child = child.with_context(|| format!("`{name}` could not be started"))?;
        Ok(Process { child, name })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its stdout, the first time, if that was piped.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Returns how it ended, or nothing while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask for the end of `{}`", self.name))
    }

    /// Asks it to end and waits up to `grace`; after that kills its group, which is an error.
    pub fn terminate(mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            bail!("`{}` had ended already ({status})", self.name);
        }
        kill_process(self.pid(), Signal::TERM)
            .with_context(|| format!("cannot signal `{}`", self.name))?;
        let asked = Instant::now();
        while asked.elapsed() < grace {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        bail!("`{}` was asked to end and still ran {grace:?} later", self.name)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Until it is waited for, its pid and group cannot belong to anybody else.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sh(script: &str) -> Process {
        Process::start(Command::new("/bin/sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_polite_process_ends_when_asked() {
        let status = sh("exec sleep 60").terminate(Duration::from_secs(5)).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn a_deaf_process_is_killed_and_reported() {
        let folder = tempfile::tempdir().unwrap();
        let deaf = folder.path().join("deaf");
        let script = format!("trap '' TERM; touch {}; while :; do sleep 1; done", deaf.display());
        let process = sh(&script);
        let id = process.id();
        while !deaf.exists() {
            std::thread::sleep(POLL);
        }
        let error = process.terminate(Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("still ran 50ms later"), "{error}");
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn an_end_of_its_own_is_reported() {
        let mut process = sh("exit 3");
        while process.ended().unwrap().is_none() {
            std::thread::sleep(POLL);
        }
        let error = process.terminate(Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.to_string(), "`/bin/sh` had ended already (exit status: 3)");
    }
}
