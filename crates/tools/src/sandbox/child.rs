//! What runs between the gateway and a command in a sandbox: puts up the walls and becomes it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Backend, Fence, Mode, bubblewrap, system_calls, walls};

/// Largest memory of one process under `strict`, as the kernel keeps it at once. What all take
/// together is watched.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// Most processes of the gateway's user while a command under `strict` makes one more. The kernel
/// does not count those of root.
const PROCESSES_MAX: u64 = 1_024;

/// Longest time that one process under `strict` may compute.
const COMPUTES_SECONDS_MAX: u64 = 3_600;

/// Largest file that a command under `strict` may write.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// Puts up the walls that the first argument describes, and becomes the command after `--`.
/// Returns only if that fails, with the reason.
pub fn enter(arguments: impl Iterator<Item = OsString>) -> Result<Infallible, String> {
    let mut arguments = arguments;
    let fence = arguments.next().and_then(|text| text.into_string().ok()).ok_or("no fence")?;
    let fence: Fence = serde_json::from_str(&fence).map_err(|error| format!("fence: {error}"))?;
    if arguments.next().is_none_or(|word| word != "--") {
        return Err("expected `--` and a command".to_owned());
    }
    let program = arguments.next().ok_or("no command")?;
    if fence.mode == Mode::Strict {
        bound().map_err(|error| format!("the bounds cannot be set: {error}"))?;
    }
    let mut command = match fence.backend {
        Backend::Landlock => {
            walls::put_up(&fence)?;
            Command::new(program)
        }
        Backend::Auto | Backend::Bubblewrap => {
            let bwrap = bubblewrap::find().ok_or("bubblewrap is gone")?;
            let folder = std::env::current_dir().map_err(|error| error.to_string())?;
            rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())?;
            system_calls::deny_the_rest(fence.mode).map_err(|error| format!("seccomp: {error}"))?;
            let mut command = Command::new(bwrap);
            command.args(bubblewrap::arguments(&fence, &folder)).arg(program);
            command
        }
    };
    Err(format!("cannot run the command: {}", command.args(arguments).exec()))
}

fn bound() -> io::Result<()> {
    let set =
        |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    set(Resource::Data, MEMORY_BYTES_MAX)?;
    set(Resource::Nproc, PROCESSES_MAX)?;
    set(Resource::Cpu, COMPUTES_SECONDS_MAX)?;
    set(Resource::Fsize, FILE_BYTES_MAX)?;
    set(Resource::Core, 0)?;
    Ok(())
}
