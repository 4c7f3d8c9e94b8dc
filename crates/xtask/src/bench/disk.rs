//! How fast the disk is, without Windlass: the figure beside which every rate is read.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::waits::Waits;

/// One page of SQLite's write-ahead log, which is what a small commit appends.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// What a disk does without Windlass.
#[derive(Clone, Copy, Debug)]
pub struct Syncs {
    pub per_second: f64,
    /// The slowest in a hundred.
    pub slowest_percent: Duration,
}

/// Appends pages to a new file in `folder` and syncs each, for `duration`.
pub fn syncs(folder: &Path, duration: Duration) -> anyhow::Result<Syncs> {
    let path = folder.join("syncs");
    let mut file =
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let start = Instant::now();
    let mut waits = Vec::new();
    while start.elapsed() < duration {
        let asked = Instant::now();
        file.write_all(&PAGE)
            .and_then(|()| file.sync_data())
            .with_context(|| format!("cannot sync {}", path.display()))?;
        waits.push(asked.elapsed());
    }
    let per_second = waits.len() as f64 / start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    let slowest_percent = Waits::of(waits)?.slowest_percent;
    Ok(Syncs { per_second, slowest_percent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_syncs_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let syncs = syncs(folder.path(), Duration::from_millis(20)).unwrap();
        assert!(syncs.per_second > 0.0 && syncs.slowest_percent > Duration::ZERO);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);

        let gone = folder.path().join("gone");
        let error = super::syncs(&gone, Duration::from_millis(20)).unwrap_err();
        assert!(error.to_string().starts_with("cannot create"), "{error}");
    }
}
