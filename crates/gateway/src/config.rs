//! How the gateway is reached, and by whom. Closed by default: this machine only, with a token.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::TcpListener;

/// OpenClaw's port, so that its clients find us without being told.
pub const PORT: u16 = 18_789;

/// Where to listen, and whom to let in.
#[derive(Clone, Debug)]
pub struct Config {
    /// `gateway.bind`
    pub address: IpAddr,
    /// `gateway.port`
    pub port: u16,
    /// `gateway.auth.token`. None lets in whoever reaches the port, so it needs a loopback
    /// address.
    pub token: Option<Token>,
}

impl Config {
    /// This machine only, on the usual port.
    pub fn loopback(token: Option<Token>) -> Config {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Config { address, port: PORT, token }
    }

    /// Refuses what would let strangers in.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.token.is_none() && !self.address.is_loopback() {
            return Err(ConfigError::Open(self.address));
        }
        Ok(())
    }
}

/// Settings that contradict each other, or text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "gateway.bind is {0}, which other machines can reach, and there is no gateway.auth.token; \
         set a token, or bind to 127.0.0.1"
    )]
    Open(IpAddr),
    #[error("gateway.auth.token is empty, or has blanks in it; `openssl rand -hex 32` makes one")]
    Token,
    #[error(
        "gateway.controlUi.allowedOrigins: expected an origin such as `https://ui.example.org`, \
         without a path and without `*`; got `{0}`"
    )]
    Origin(String),
}

/// The secret of `gateway.auth.token`. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for Token {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Token, ConfigError> {
        let blank = |c: char| c.is_whitespace() || c.is_control();
        if text.is_empty() || text.contains(blank) {
            return Err(ConfigError::Token);
        }
        Ok(Token(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a web page comes from, as a browser says it: `https://ui.example.org:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    /// With the port, if it is not the usual one of the scheme.
    authority: String,
}

impl Origin {
    /// The name or address, and the port if there is one.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for Origin {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Origin, ConfigError> {
        let invalid = || ConfigError::Origin(text.to_owned());
        let text = text.trim().to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
        let usual_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if scheme.is_empty() || authority.is_empty() || !authority.chars().all(plain) {
            return Err(invalid());
        }
        let short = authority.strip_suffix(usual_port).unwrap_or(authority);
        Ok(Origin { scheme: scheme.to_owned(), authority: short.to_owned() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "port {port} of {address} is in use, perhaps by another gateway; stop it, or set another \
         gateway.port"
    )]
    InUse { address: IpAddr, port: u16 },
    #[error("this user may not listen on port {port}; set a gateway.port above 1023")]
    Denied { port: u16 },
    #[error("{address} is no address of this machine; see gateway.bind")]
    NoSuchAddress { address: IpAddr },
    #[error("cannot listen on {address} port {port}")]
    Other {
        address: IpAddr,
        port: u16,
        #[source]
        source: io::Error,
    },
}

/// Opens the port, so that a wrong setting is known before anything is started.
pub async fn bind(config: &Config) -> Result<TcpListener, BindError> {
    config.check()?;
    let (address, port) = (config.address, config.port);
    TcpListener::bind(SocketAddr::new(address, port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, port },
        io::ErrorKind::PermissionDenied => BindError::Denied { port },
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { address },
        _ => BindError::Other { address, port, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_door_is_refused() {
        let lan = "192.168.1.7".parse().unwrap();
        let token: Token = "s3cret".parse().unwrap();
        let config = |address, token| Config { address, ..Config::loopback(token) };
        assert!(Config::loopback(None).check().is_ok());
        assert!(config(lan, Some(token.clone())).check().is_ok());
        assert_eq!(config(lan, None).check(), Err(ConfigError::Open(lan)));
        assert!(!format!("{:?}", config(lan, Some(token))).contains("s3cret"));
    }

    #[test]
    fn an_origin_has_one_text() {
        for (text, one) in [
            ("http://localhost:5173", Some("http://localhost:5173")),
            ("HTTPS://Ui.Example.org:443/", Some("https://ui.example.org")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("*", None),
            ("https://*.example.org", None),
            ("https://ui.example.org/path", None),
            ("ui.example.org", None),
            ("null", None),
        ] {
            let parsed = text.parse::<Origin>().ok().map(|origin| origin.to_string());
            assert_eq!(parsed.as_deref(), one, "{text}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind(&Config { port: 0, ..Config::loopback(None) }).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind(&Config { port, ..Config::loopback(None) }).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&port.to_string()) && told.contains("gateway.port"), "{told}");
    }
}
