//! Where things are.

use std::path::PathBuf;

use super::outside::{Outside, Process};

/// The two places that everything else follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `WINDLASS_CONFIG_PATH`, or `windlass.json` in the state folder.
    pub config: PathBuf,
    /// Did someone name the file, so that its absence is worth a word?
    pub config_named: bool,
    /// `WINDLASS_STATE_DIR`, or `~/.windlass`.
    pub state: PathBuf,
    /// The person's home folder, for `~`.
    pub home: Option<PathBuf>,
}

/// Neither `WINDLASS_STATE_DIR` nor a home folder says where the state is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no home folder is known; set WINDLASS_STATE_DIR to a folder for the gateway's state")]
pub struct NoHome;

impl Paths {
    pub fn from_env() -> Result<Paths, NoHome> {
        Paths::of(&Process, std::env::home_dir())
    }

    pub(super) fn of(outside: &dyn Outside, home: Option<PathBuf>) -> Result<Paths, NoHome> {
        let home = home.filter(|home| !home.as_os_str().is_empty());
        let named = |name: &str| {
            let text = outside.var(name)?;
            let under_home = text.strip_prefix("~/").zip(home.as_ref());
            let path =
                under_home.map_or_else(|| PathBuf::from(&text), |(rest, home)| home.join(rest));
            // What cannot be made absolute cannot be opened either, and opening says why.
            Some(std::path::absolute(&path).unwrap_or(path))
        };
        let state = named("WINDLASS_STATE_DIR")
            .or_else(|| home.as_ref().map(|home| home.join(".windlass")))
            .ok_or(NoHome)?;
        let config = named("WINDLASS_CONFIG_PATH");
        Ok(Paths {
            config_named: config.is_some(),
            config: config.unwrap_or_else(|| state.join("windlass.json")),
            state,
            home,
        })
    }
}
