//! What a command may not ask of the kernel, beside files.

use std::collections::BTreeMap;

use super::Mode;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Puts a character into the input of a terminal: of the one that the gateway was started from.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// The second way into the kernel of x86-64, with numbers of its own.
const X32: i64 = 0x4000_0000;

/// Calls for which no tool of an agent has a need, and through which a wall could be passed.
const DENIED: &[i64] = &[
    // Sockets and files by another door, past the rules for the calls themselves.
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
];

/// Denies, from now on and for all that this process becomes, what passes the walls of `mode`.
pub(super) fn deny(mode: Mode) -> Result<(), seccompiler::Error> {
    let program = program(mode)?;
    seccompiler::apply_filter(&program)
}

/// For a process that goes on to put up other walls, which need more of the kernel: only what they
/// leave open is denied.
pub(super) fn deny_the_rest(mode: Mode) -> Result<(), seccompiler::Error> {
    let mut sockets = vec![equals(0, libc::AF_VSOCK as u64)?];
    // With a network of its own it has its own names for sockets, too.
    if mode != Mode::Strict {
        sockets.push(equals(0, libc::AF_UNIX as u64)?);
    }
    let rules = BTreeMap::from([terminal()?, (libc::SYS_socket, sockets)]);
    seccompiler::apply_filter(&compile(rules)?)
}

fn program(mode: Mode) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|call| (*call, Vec::new())).collect();
    // Through the sockets of the machine's services a command could have others write for it.
    let sockets = match mode {
        Mode::Strict => Vec::new(),
        _ => vec![equals(0, libc::AF_UNIX as u64)?, equals(0, libc::AF_VSOCK as u64)?],
    };
    rules.insert(libc::SYS_socket, sockets);
    rules.extend([terminal()?]);
    compile(rules)
}

fn terminal() -> Result<(i64, Vec<SeccompRule>), BackendError> {
    Ok((libc::SYS_ioctl, vec![equals(1, TIOCSTI)?, equals(1, TIOCLINUX)?]))
}

/// The call is meant if its argument `n` is `value`.
fn equals(n: u8, value: u64) -> Result<SeccompRule, BackendError> {
    let length = SeccompCmpArgLen::Dword;
    SeccompRule::new(vec![SeccompCondition::new(n, length, SeccompCmpOp::Eq, value)?])
}

fn compile(mut rules: BTreeMap<i64, Vec<SeccompRule>>) -> Result<BpfProgram, BackendError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    if matches!(arch, TargetArch::x86_64) {
        let doors: Vec<_> = rules.iter().map(|(call, r)| (call | X32, r.clone())).collect();
        rules.extend(doors);
    }
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, denied, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_programs_that_the_kernel_takes() {
        for mode in [Mode::Workspace, Mode::Strict] {
            let program = program(mode).unwrap();
            assert!((10..4_096).contains(&program.len()), "{mode}: {}", program.len());
        }
        assert!(program(Mode::Strict).unwrap().len() < program(Mode::Workspace).unwrap().len());
    }
}
