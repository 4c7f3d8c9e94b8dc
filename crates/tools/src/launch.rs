//! How a command is started: with a pipe or a terminal, in a group of its own.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::{Child, Command};

/// Rows and columns of a terminal: wide enough for the tables of most programs.
const SIZE: (u16, u16) = (40, 120);

/// A command, ready to be started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) folder: PathBuf,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) wants: Wants,
    /// What it may take, if somebody has to watch that.
    pub(crate) bounds: Option<Bounds>,
}

/// What a command and all that it has started may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) processes: usize,
    pub(crate) memory_bytes: u64,
}

impl Bounds {
    /// Enough to build a large program, and not enough to bring a machine down.
    pub(crate) const STRICT: Bounds = Bounds { processes: 256, memory_bytes: 4 << 30 };
}

/// What a command reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Nothing,
    Pipe,
    Terminal,
}

/// A command that has been started. It leads a process group.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) source: Source,
    pub(crate) input: Option<Input>,
}

/// Where its output comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Pipe(Receiver),
    Terminal(OwnedReadPty),
}

/// Where its input goes to.
#[derive(Debug)]
pub(crate) enum Input {
    Pipe(Sender),
    Terminal(OwnedWritePty),
}

impl Launch {
    pub(crate) fn start(self) -> io::Result<Started> {
        match self.wants {
            Wants::Nothing => self.with_pipes(false),
            Wants::Pipe => self.with_pipes(true),
            Wants::Terminal => self.with_terminal(),
        }
    }

    fn with_pipes(self, reads: bool) -> io::Result<Started> {
        let (reader, writer) = io::pipe()?;
        let source = Source::Pipe(Receiver::from_owned_fd(OwnedFd::from(reader))?);
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.env)
            // One pipe for both keeps what the command wrote in the order in which it wrote it.
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let mut input = None;
        if reads {
            let (theirs, ours) = io::pipe()?;
            command.stdin(theirs);
            input = Some(Input::Pipe(Sender::from_owned_fd(OwnedFd::from(ours))?));
        } else {
            command.stdin(Stdio::null());
        }
        // The command holds our ends of the pipes, and is dropped here: while they are open, the
        // pipes have no end.
        let child = command.spawn()?;
        Ok(Started { child, source, input })
    }

    /// A terminal makes the command the leader of a session, and so of a group.
    fn with_terminal(self) -> io::Result<Started> {
        let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
        let (rows, columns) = SIZE;
        pty.resize(Size::new(rows, columns)).map_err(io::Error::other)?;
        let command = pty_process::Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.env)
            .kill_on_drop(true);
        let child = command.spawn(pts).map_err(|error| match error {
            pty_process::Error::Io(error) => error,
            other => io::Error::other(other),
        })?;
        let (reader, writer) = pty.into_split();
        Ok(Started {
            child,
            source: Source::Terminal(reader),
            input: Some(Input::Terminal(writer)),
        })
    }
}

impl Source {
    /// Reads some of it. A terminal whose other side is closed answers with an error: its end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Pipe(pipe) => pipe.read(buffer).await,
            Source::Terminal(pty) => pty.read(buffer).await,
        }
    }
}

impl Input {
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Input::Terminal(_))
    }

    /// Writes some of `bytes`, and says how many.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Input::Pipe(pipe) => pipe.write(bytes).await,
            Input::Terminal(pty) => pty.write(bytes).await,
        }
    }
}
