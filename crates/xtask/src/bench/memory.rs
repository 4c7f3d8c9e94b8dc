//! How much memory a process holds, from `/proc`.

use anyhow::Context;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In RAM now.
    pub resident_bytes: u64,
    /// The most that was in RAM at once.
    pub peak_bytes: u64,
}

pub fn of(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: has the process ended?"))?;
    parse(&text).with_context(|| format!("{path} has no VmRSS and VmHWM in kB"))
}

fn parse(status: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Memory { resident_bytes: bytes("VmRSS")?, peak_bytes: bytes("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_two_lines() {
        let text = "Name:\twindlass\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t4\n";
        let expected = Memory { resident_bytes: 10_485_760, peak_bytes: 20_971_520 };
        assert_eq!(parse(text), Some(expected));
        // A zombie has neither.
        assert_eq!(parse("Name:\twindlass\nThreads:\t1\n"), None);
    }

    #[test]
    fn reads_a_real_process() {
        let memory = of(std::process::id()).unwrap();
        assert!(memory.resident_bytes > 0 && memory.peak_bytes >= memory.resident_bytes);
    }
}
