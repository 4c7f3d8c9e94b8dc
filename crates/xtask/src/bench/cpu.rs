//! How long a process has kept a core busy, from `/proc`.

use std::time::Duration;

use anyhow::Context;

/// The unit of `/proc/<pid>/stat`: a hundredth of a second on every Linux that people run.
const TICK: Duration = Duration::from_millis(10);

/// Time on a core since the process began, of all its threads.
pub fn of(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: has the process ended?"))?;
    parse(&text).with_context(|| format!("odd text in {path}"))
}

fn parse(stat: &str) -> Option<Duration> {
    // The name, in brackets, may hold blanks and brackets. `utime` and `stime` are the 14th and
    // 15th field, and the name is the second.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_two_fields_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(stat), Some(Duration::from_millis(420)));
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn a_real_process_has_been_busy() {
        let start = std::time::Instant::now();
        while of(std::process::id()).unwrap().is_zero() {
            assert!(start.elapsed() < Duration::from_secs(60));
        }
    }
}
