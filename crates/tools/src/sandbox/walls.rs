//! The walls of the kernel: Landlock for files, seccomp for what else a process can ask of it.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::{Fence, Mode, system_calls};

/// Before it, a file elsewhere could be cut to nothing. (Linux 6.2)
const ABI_MIN: ABI = ABI::V3;

/// The first that keeps signals inside. (Linux 6.12)
const ABI_STRICT: ABI = ABI::V6;

/// Devices that every program uses.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

/// Puts up the walls around this process, for good.
pub(super) fn put_up(fence: &Fence) -> Result<(), String> {
    drop_capabilities().map_err(|error| format!("capabilities are not dropped: {error}"))?;
    files(fence).map_err(|error| format!("Landlock: {error}"))?;
    system_calls::deny(fence.mode).map_err(|error| format!("seccomp: {error}"))
}

/// Root without its powers is a user whose files are the system's.
fn drop_capabilities() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

fn files(fence: &Fence) -> Result<(), RulesetError> {
    let strict = fence.mode == Mode::Strict;
    let all = AccessFs::from_all(ABI::V5);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI_MIN))?
        .set_compatibility(if strict {
            CompatLevel::HardRequirement
        } else {
            CompatLevel::BestEffort
        })
        .scope(Scope::from_all(ABI_STRICT))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?;
    let ruleset =
        if strict { ruleset.handle_access(AccessNet::from_all(ABI::V4))? } else { ruleset };
    let mut rules = ruleset.create()?;
    let read = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});
    // A device made in the workspace would be a way to the disk below.
    let write = all & !make_bitflags!(AccessFs::{MakeChar | MakeBlock | IoctlDev});
    let device = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | IoctlDev});
    let mut beneath: Vec<(PathBuf, BitFlags<AccessFs>)> = Vec::new();
    for folder in &fence.read {
        beneath.extend(fence.open_parts(folder).into_iter().map(|part| (part, read)));
    }
    if !strict {
        // Of other processes it shows names; their memory and environment are behind a wall.
        beneath.push((PathBuf::from("/proc"), read));
    }
    beneath.extend(DEVICES.iter().map(|path| (PathBuf::from(path), device)));
    beneath.push((fence.workspace.clone(), write));
    beneath.push((fence.temporary.clone(), write));
    for (path, access) in beneath {
        // What is not there, or may not be opened, is behind the wall already.
        let Ok(opened) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V5) };
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    let status = rules.restrict_self()?;
    debug_assert_ne!(status.ruleset, RulesetStatus::NotEnforced, "a hard requirement was not kept");
    Ok(())
}

/// Is the kernel able to?
pub(super) fn is_there() -> bool {
    Path::new("/proc/sys/kernel").exists()
        && Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI_MIN))
            .is_ok_and(|ruleset| ruleset.create().is_ok())
}
