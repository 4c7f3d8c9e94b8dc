//! The walls of bubblewrap: the command sees a file system of its own, made of what it may reach.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Fence, Mode};

/// Finds the program.
pub(super) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("bwrap")).find(|file| file.is_file())
}

/// What it is called with, before the command.
pub(super) fn arguments(fence: &Fence, folder: &Path) -> Vec<OsString> {
    let mut all: Vec<OsString> = [
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--cap-drop",
        "ALL",
    ]
    .map(OsString::from)
    .into();
    if fence.mode == Mode::Strict {
        all.push("--unshare-net".into());
    }
    let mut add = |words: [&dyn AsRef<std::ffi::OsStr>; 3]| {
        all.extend(words.iter().map(|word| word.as_ref().to_owned()));
    };
    for path in &fence.read {
        add([&"--ro-bind-try", path, path]);
    }
    for path in &fence.hidden {
        // What is not seen anyway need not be covered.
        if !fence.read.iter().any(|read| is_below(path, read)) {
            continue;
        }
        if path.is_dir() {
            add([&"--perms", &"000", &"--tmpfs"]);
            add([path, &"--remount-ro", path]);
        } else {
            add([&"--ro-bind", &"/dev/null", path]);
        }
    }
    add([&"--proc", &"/proc", &"--dev"]);
    add([&"/dev", &"--bind", &fence.temporary]);
    add([&"/tmp", &"--bind", &fence.temporary]);
    add([&"/var/tmp", &"--bind", &fence.workspace]);
    add([&fence.workspace, &"--chdir", &folder]);
    all.push("--".into());
    all
}

/// A folder of the system may be a link, and what is hidden in it is named by its own path.
fn is_below(path: &Path, folder: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| path.starts_with(folder))
}
