//! A server that is a process of ours: started in a group of its own, heard, and ended with all
//! that it has started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tools::marked;

use crate::MARK_VARIABLE;
use crate::config::Reach;

/// What a server may need of our environment. Everything else of it, and our keys are there, it
/// gets only if the configuration says so.
const INHERITED: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "LANG", "LC_ALL", "TZ"];

/// How long a server has to end by itself when its input is closed, and then after SIGTERM.
const CLOSED_GRACE: Duration = Duration::from_secs(2);
const TERM_GRACE: Duration = Duration::from_secs(1);

/// How long what is left of it may take to die.
const DEAD_WITHIN: Duration = Duration::from_secs(2);

/// How much of its last words is kept.
const WORDS_BYTES_MAX: usize = 2_000;

/// A process that runs. Dropping it kills its group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    mark: String,
}

/// What a server says beside the protocol, as far as it is worth keeping.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words(Arc<Mutex<String>>);

impl Words {
    fn add(&self, text: &str) {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.push_str(text);
        if words.len() > WORDS_BYTES_MAX {
            let from = words.ceil_char_boundary(words.len() - WORDS_BYTES_MAX);
            words.drain(..from);
        }
    }

    /// The newest of it, on one line, as the end of a sentence; nothing if it is silent.
    pub(crate) fn last(&self) -> String {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match words.trim() {
            "" => String::new(),
            words => format!("; it says: {}", words.replace('\n', " | ")),
        }
    }
}

impl Process {
    /// Starts the server of `name`; `mark` is in the environment of all that it starts.
    pub(crate) fn start(
        name: &str,
        reach: &Reach,
        mark: String,
        words: &Words,
    ) -> io::Result<(Process, ChildStdout, ChildStdin)> {
        let Reach::Stdio { command, args, env, cwd } = reach else {
            return Err(io::Error::other("it is no process of ours"));
        };
        let mut starting = Command::new(command);
        starting.args(args).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                starting.env(name, value);
            }
        }
        starting.envs(env).env(MARK_VARIABLE, &mark);
        if let Some(cwd) = cwd {
            starting.current_dir(cwd);
        }
        starting.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = starting.process_group(0).kill_on_drop(true).spawn()?;
        let missing = || io::Error::other("the process has no pipes");
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = group.ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stdin = child.stdin.take().ok_or_else(missing)?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(name.to_owned(), stderr, words.clone()));
        }
        Ok((Process { child, group, mark }, stdout, stdin))
    }

    /// Ends it and all that it has started. Its input must be closed already: a server that knows
    /// its manners ends by that.
    pub(crate) async fn end(mut self) -> Option<ExitStatus> {
        let mut status = self.exited(CLOSED_GRACE).await;
        if status.is_none() {
            self.signal(Signal::TERM);
            status = self.exited(TERM_GRACE).await;
        }
        self.signal(Signal::KILL);
        if status.is_none() {
            status = self.exited(DEAD_WITHIN).await;
        }
        let (_, alive) = marked::end(MARK_VARIABLE, &self.mark, DEAD_WITHIN).await;
        if !alive.is_empty() {
            tracing::warn!(?alive, "processes of a tool server live on");
        }
        status
    }

    async fn exited(&mut self, within: Duration) -> Option<ExitStatus> {
        timeout(within, self.child.wait()).await.ok()?.ok()
    }

    fn signal(&self, signal: Signal) {
        // It fails if the group is gone, which is what is wanted.
        let _gone = kill_process_group(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Reads what the server says beside the protocol, so that it is never held up, and keeps the end.
async fn listen(name: String, stderr: ChildStderr, words: Words) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // Of a longer line, so much as is worth keeping.
        let mut some = (&mut reader).take(WORDS_BYTES_MAX as u64);
        match some.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        tracing::debug!(server = name, "{}", text.trim_end());
        words.add(&text);
    }
}
