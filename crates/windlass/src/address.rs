//! Where the gateway of a state folder listens, for the commands on this machine: by now its file
//! may name another port, or be wrong.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::wire::write_private;

/// File of the state folder with an address such as `127.0.0.1:18789`.
const FILE: &str = "gateway.address";

/// The file, while the gateway listens. A killed one leaves it to the next start.
#[derive(Debug)]
pub struct Listed(PathBuf);

impl Listed {
    pub fn new(state_dir: &Path, listening: SocketAddr) -> io::Result<Listed> {
        let file = state_dir.join(FILE);
        write_private(&file, &near(listening).to_string())?;
        Ok(Listed(file))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        // Whoever asks there now is told that nobody answers.
        let _ = fs::remove_file(&self.0);
    }
}

/// Where the gateway of this folder listens, or has listened when it was killed.
pub fn of(state_dir: &Path) -> Option<SocketAddr> {
    fs::read_to_string(state_dir.join(FILE)).ok()?.trim().parse().ok()
}

/// The address at which this machine reaches it.
fn near(listening: SocketAddr) -> SocketAddr {
    let ip = listening.ip();
    let ip = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_while_it_listens() {
        let folder = tempfile::tempdir().unwrap();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(of(folder.path()), None);
        for (listening, reached) in
            [("127.0.0.1:18789", "127.0.0.1:18789"), ("0.0.0.0:7", "127.0.0.1:7")]
        {
            let listed = Listed::new(folder.path(), at(listening)).unwrap();
            assert_eq!(of(folder.path()), Some(at(reached)));
            drop(listed);
            assert_eq!(of(folder.path()), None);
        }
        fs::write(folder.path().join(FILE), "nowhere").unwrap();
        assert_eq!(of(folder.path()), None);
    }
}
