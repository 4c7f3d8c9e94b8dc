//! A secret that a program tells: run once, by the first who needs it, and for a bounded time.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Longest secret, in bytes. A program that prints more is another than was meant.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A program and its arguments, and what it has said.
#[derive(Debug)]
pub(super) struct Teller {
    argv: Vec<String>,
    timeout: Duration,
    /// Kept as long as this process lives. A failure is not: the next one may ask again.
    told: OnceLock<String>,
}

/// Why a program has told no secret. Neither its arguments nor what it printed are repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the command `{program}` of this secret {why}")]
pub struct Untold {
    program: String,
    why: String,
}

impl PartialEq for Teller {
    fn eq(&self, other: &Teller) -> bool {
        (&self.argv, self.timeout) == (&other.argv, other.timeout)
    }
}

impl Eq for Teller {}

impl Teller {
    /// `argv` names the program first.
    pub fn new(argv: Vec<String>, timeout: Duration) -> Teller {
        Teller { argv, timeout, told: OnceLock::new() }
    }

    pub fn tell(&self) -> Result<&str, Untold> {
        if let Some(text) = self.told.get() {
            return Ok(text);
        }
        let text = self.ask()?;
        Ok(self.told.get_or_init(|| text))
    }

    fn ask(&self) -> Result<String, Untold> {
        let program = self.argv.first().cloned().unwrap_or_default();
        let untold = |why: String| Untold { program: program.clone(), why };
        let mut command = Command::new(&program);
        command.args(self.argv.iter().skip(1));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|error| untold(format!("cannot be run: {}", error.kind())))?;
        let pipe = child.stdout.take();
        // One message, and then it is over.
        let (said, heard) = sync_channel(1);
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = pipe.map(|pipe| pipe.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes));
            // Nobody listens any more if it came too late.
            let _ = said.send(read.is_some_and(|read| read.is_ok()).then_some(bytes));
        });
        let bytes = match heard.recv_timeout(self.timeout) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(untold(format!("said nothing within {} s", self.timeout.as_secs())));
            }
        };
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            let _ = child.kill();
            let _ = child.wait();
            return Err(untold(format!("printed more than {SECRET_BYTES_MAX} bytes")));
        }
        let status = child.wait().map_err(|error| untold(format!("is lost: {}", error.kind())))?;
        if !status.success() {
            return Err(untold(format!("has failed ({status})")));
        }
        let text = String::from_utf8(bytes).unwrap_or_default().trim().to_owned();
        if text.is_empty() { Err(untold("printed no text".to_owned())) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teller(script: &str, seconds: u64) -> Teller {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        Teller::new(argv, Duration::from_secs(seconds))
    }

    #[test]
    fn a_program_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!("echo x >> {}; echo ' s3cret '", count.display());
        let teller = teller(&script, 60);
        assert_eq!(teller.tell(), Ok("s3cret"));
        assert_eq!(teller.tell(), Ok("s3cret"));
        assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
    }

    #[test]
    fn a_failure_says_why_and_never_what_was_printed() {
        for (script, seconds, why) in [
            ("echo s3cret; exit 3", 60, "has failed (exit status: 3)"),
            ("true # s3cret", 60, "printed no text"),
            ("echo s3cret; exec sleep 60", 1, "said nothing within 1 s"),
            ("printf '%070000d' 5", 60, "printed more than 65536 bytes"),
        ] {
            let told = teller(script, seconds).tell().unwrap_err().to_string();
            assert_eq!(told, format!("the command `sh` of this secret {why}"));
        }
        let argv = vec!["/no/such/program".to_owned()];
        let told = Teller::new(argv, Duration::from_secs(1)).tell().unwrap_err().to_string();
        assert!(told.ends_with("cannot be run: entity not found"), "{told}");
    }
}
