//! Is a folder a place for a database? Locks and shared memory do not work on network file
//! systems, and a database there is damaged sooner or later.

use std::path::Path;

use crate::error::StoreError;

/// Kinds of file systems, as the kernel calls them, that are known to be far away.
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "ceph",
    "lustre",
    "fuse.sshfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.glusterfs",
    "fuse.gcsfuse",
    "fuse.ceph",
];

/// Refuses a folder on a network file system, as far as this system tells.
pub fn check(dir: &Path) -> Result<(), StoreError> {
    let Ok(table) = std::fs::read_to_string("/proc/self/mountinfo") else {
        // Not Linux: there is nothing to look at.
        return Ok(());
    };
    let Ok(stat) = rustix::fs::stat(dir) else { return Ok(()) };
    let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    match kind_of(&table, device) {
        Some(kind) if NETWORK.contains(&kind) => {
            Err(StoreError::NetworkFs { path: dir.to_owned(), kind: kind.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Finds the kind of the file system on `device` in the kernel's table of mounts.
///
/// # Source
///
/// `proc_pid_mountinfo(5)`: the third field is `major:minor`, and the first after the separator
/// `-` is the kind.
fn kind_of(table: &str, (major, minor): (u32, u32)) -> Option<&str> {
    let device = format!("{major}:{minor}");
    table
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&device))
        .and_then(|line| line.split(" - ").nth(1))
        .and_then(|rest| rest.split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_kind_of_a_device() {
        let table = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 22 0:52 / /home/a\\040b rw shared:7 master:2 - nfs4 server:/home rw,vers=4.2
91 22 0:53 /x /mnt rw - fuse.sshfs me@host:/ rw
";
        assert_eq!(kind_of(table, (254, 0)), Some("ext4"));
        assert_eq!(kind_of(table, (0, 52)), Some("nfs4"));
        assert_eq!(kind_of(table, (0, 53)), Some("fuse.sshfs"));
        assert_eq!(kind_of(table, (0, 5)), None);
    }

    #[test]
    fn a_local_folder_is_a_place() {
        check(&std::env::temp_dir()).unwrap();
    }
}
