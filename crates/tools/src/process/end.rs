//! How a command has ended, and the words for it.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::group::Remains;

/// Why a command was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// By `process` with action kill.
    Killed,
    /// Its run was stopped while it was waited for.
    RunStopped,
    /// Its run has ended, and it was in the background.
    RunEnded,
    GatewayStops,
    /// Whoever waited for it is gone.
    Dropped,
}

/// Why a command is over.
#[derive(Debug)]
pub(crate) enum Ending {
    Exited(ExitStatus),
    TimedOut(Duration),
    Stopped(Why),
    /// It has taken more than it may.
    TookTooMuch(String),
    /// It was there when its gateway was killed.
    WithGateway,
    /// As an earlier gateway has put it down.
    Told(String),
    Unknown(String),
}

/// The end of a command.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) ending: Ending,
    pub(crate) remains: Remains,
    pub(crate) took: Duration,
    pub(crate) grace: Duration,
}

impl End {
    /// An end that nobody has seen.
    pub(crate) fn lost() -> End {
        End::of(Ending::Unknown("its keeper broke off".to_owned()))
    }

    /// An end of which nothing else is known.
    pub(crate) fn of(ending: Ending) -> End {
        let (took, grace) = (Duration::ZERO, Duration::ZERO);
        End { ending, remains: Remains::None, took, grace }
    }

    pub(crate) fn is_success(&self) -> bool {
        matches!(self.ending, Ending::Exited(status) if status.success())
    }

    /// A few words, for a list.
    pub(crate) fn short(&self) -> String {
        match &self.ending {
            Ending::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => format!("ended as {status}"),
            },
            Ending::TimedOut(_) => "timed out".to_owned(),
            Ending::TookTooMuch(_) => "took too much".to_owned(),
            Ending::Stopped(Why::Killed) => "killed".to_owned(),
            Ending::Stopped(Why::RunStopped) => "the run was stopped".to_owned(),
            Ending::Stopped(Why::RunEnded) => "ended with its run".to_owned(),
            Ending::Stopped(Why::GatewayStops | Why::Dropped) | Ending::WithGateway => {
                "ended with the gateway".to_owned()
            }
            Ending::Told(words) => words.clone(),
            Ending::Unknown(_) => "ended, nobody knows how".to_owned(),
        }
    }

    /// The last lines of a result.
    pub(crate) fn words(&self) -> String {
        let took = format!("{:.1} s", self.took.as_secs_f64());
        let short = self.short();
        let mut words = match &self.ending {
            Ending::Exited(_) => format!("[{short} after {took}]"),
            Ending::TimedOut(timeout) => format!(
                "[timed out: stopped after timeoutSeconds {}, with all it had started]",
                timeout.as_secs_f64()
            ),
            Ending::TookTooMuch(what) => format!("[stopped after {took}: it took {what}]"),
            Ending::Stopped(Why::RunStopped) => {
                format!("[the run was stopped: the command ended after {took}]")
            }
            Ending::Stopped(Why::RunEnded) => format!(
                "[it was stopped after {took}, when its run ended: what runs in the background \
                 ends with its run]"
            ),
            Ending::Stopped(Why::Killed) => format!("[killed after {took}]"),
            Ending::Stopped(Why::GatewayStops | Why::Dropped) => format!(
                "[it was stopped after {took}, with the gateway: start it again if it is needed]"
            ),
            Ending::WithGateway => "[it ended with the gateway, which was killed: nobody knows \
                how far it came; start it again if it is needed]"
                .to_owned(),
            Ending::Told(words) => format!("[{words}]"),
            Ending::Unknown(why) => format!("[it has ended, and nobody knows how: {why}]"),
        };
        match &self.remains {
            Remains::Stopped if matches!(self.ending, Ending::Exited(_)) => {
                words.push_str("\n[it left processes in the background; they were stopped]");
            }
            Remains::None | Remains::Stopped => {}
            Remains::Alive(pids) => {
                let seconds = self.grace.as_secs_f64();
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                // Writing to a string cannot fail.
                let _ = write!(
                    words,
                    "\n[some of its processes live on, {seconds} s after SIGTERM and in spite of \
                     SIGKILL: {}]",
                    pids.join(", ")
                );
            }
        }
        words
    }
}
