//! How fast the disk is, without Windlass: the figure beside which every rate is read.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// One page of SQLite's write-ahead log, which is what a small commit appends.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// Appends pages to a new file in `folder` and syncs each, for `duration`.
pub fn syncs_per_second(folder: &Path, duration: Duration) -> anyhow::Result<f64> {
    let path = folder.join("syncs");
    let mut file =
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < duration {
        file.write_all(&PAGE)
            .and_then(|()| file.sync_data())
            .with_context(|| format!("cannot sync {}", path.display()))?;
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_syncs_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let rate = syncs_per_second(folder.path(), Duration::from_millis(20)).unwrap();
        assert!(rate > 0.0);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);

        let gone = folder.path().join("gone");
        let error = syncs_per_second(&gone, Duration::from_millis(20)).unwrap_err();
        assert!(error.to_string().starts_with("cannot create"), "{error}");
    }
}
