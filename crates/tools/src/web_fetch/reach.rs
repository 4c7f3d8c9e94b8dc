//! Which hosts may be reached: by name before a request, by address when it is connected.
//!
//! A name is looked up once, by the resolver that the connection uses, and the address that was
//! checked is the one that is connected to. So a name that means another address the second time
//! gains nothing, and neither does a redirect: each hop is a request of its own.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// `tools.web.fetch.ssrfPolicy`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// `dangerouslyAllowPrivateNetwork`
    pub private: bool,
    /// `allowRfc2544BenchmarkRange`
    pub benchmark: bool,
    /// `allowIpv6UniqueLocalRange`
    pub unique_local: bool,
    /// `allowedHostnames`: these whatever their address.
    pub allowed: Vec<String>,
    /// `blockedHostnames`: never these.
    pub blocked: Vec<String>,
}

/// Why a host is not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    Scheme(String),
    NoHost,
    /// A password in a URL would stand in the transcript, and go to whoever is redirected to.
    Credentials,
    Blocked(String),
    Address {
        host: String,
        address: IpAddr,
        kind: Kind,
    },
}

/// What an address is that is not one of the public web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Private,
    Benchmark,
    UniqueLocal,
    /// Not one host of the internet: for documentation, multicast, or nothing yet.
    Special,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = "tools.web.fetch.ssrfPolicy";
        match self {
            Unreachable::Scheme(scheme) => {
                write!(f, "only http and https are fetched, not `{scheme}`")
            }
            Unreachable::NoHost => write!(f, "the URL names no host"),
            Unreachable::Credentials => {
                write!(f, "the URL holds a user name or password; leave it out")
            }
            Unreachable::Blocked(host) => {
                write!(f, "`{host}` is not fetched: {policy}.blockedHostnames names it")
            }
            Unreachable::Address { host, address, kind } => {
                let (what, key) = match kind {
                    Kind::Private => ("a private address", "dangerouslyAllowPrivateNetwork"),
                    Kind::Benchmark => ("a benchmark address", "allowRfc2544BenchmarkRange"),
                    Kind::UniqueLocal => ("a unique local address", "allowIpv6UniqueLocalRange"),
                    Kind::Special => ("not a host's address", "allowedHostnames"),
                };
                write!(
                    f,
                    "`{host}` is not fetched: {address} is {what}. An operator can allow it with \
                     {policy}.{key}, or the host with {policy}.allowedHostnames"
                )
            }
        }
    }
}

impl Error for Unreachable {}

impl Reach {
    /// Checks what a URL says. A name's address is checked when it is looked up.
    pub(super) fn check(&self, url: &Url) -> Result<(), Unreachable> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Unreachable::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Unreachable::Credentials);
        }
        let host = plain(url.host_str().ok_or(Unreachable::NoHost)?);
        if names(&self.blocked, &host) {
            return Err(Unreachable::Blocked(host));
        }
        // An address is not looked up, so the resolver does not see it.
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) => self.check_address(&host, address),
            Err(_) => Ok(()),
        }
    }

    fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Unreachable> {
        let Some(kind) = kind(address) else { return Ok(()) };
        let allowed = match kind {
            Kind::Private => self.private,
            Kind::Benchmark => self.benchmark || self.private,
            Kind::UniqueLocal => self.unique_local || self.private,
            Kind::Special => false,
        };
        if allowed || names(&self.allowed, host) {
            return Ok(());
        }
        Err(Unreachable::Address { host: host.to_owned(), address, kind })
    }
}

/// A host's name as it is compared.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Does the list name the host, itself or as `*.example.org`?
fn names(list: &[String], host: &str) -> bool {
    list.iter().map(|name| plain(name.trim())).any(|name| match name.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => name == host || name == host.trim_matches(['[', ']']),
    })
}

/// What an address is; none if it is one of the public web.
fn kind(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

/// After IANA's registry of special-purpose addresses.
fn kind_v4(address: Ipv4Addr) -> Option<Kind> {
    match address.octets() {
        [0 | 10 | 127, ..]
        | [169, 254, ..]
        | [192, 168, ..]
        | [100, 64..=127, ..]
        | [172, 16..=31, ..] => Some(Kind::Private),
        [198, 18 | 19, ..] => Some(Kind::Benchmark),
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [224..=255, ..] => Some(Kind::Special),
        _ => None,
    }
}

fn kind_v6(address: Ipv6Addr) -> Option<Kind> {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Some(Kind::Private),
        // Addresses of IPv4 in other clothes.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Some(Kind::Private),
        [0xfc00..=0xfdff, ..] => Some(Kind::UniqueLocal),
        [0xfe80..=0xfeff, ..] => Some(Kind::Private),
        [0x100, 0, 0, 0, ..] | [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => Some(Kind::Special),
        [0xff00..=0xffff, ..] => Some(Kind::Special),
        // All that is given to hosts today.
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Kind::Special),
    }
}

/// Looks names up, and hands on only addresses that may be reached.
#[derive(Debug)]
pub(super) struct Guarded(pub Reach);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let host = plain(name.as_str());
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = found.collect();
            // One bad address is enough: which one is connected to is not ours to choose.
            for address in &addresses {
                reach.check_address(&host, address.ip())?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reach: &Reach, url: &str) -> Result<(), String> {
        reach.check(&Url::parse(url).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_of_the_public_web_are_reached_and_no_others() {
        for address in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "198.20.0.1"] {
            assert_eq!(
                check(&Reach::default(), &format!("http://{address}/")),
                Ok(()),
                "{address}"
            );
        }
        for address in ["2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::1.1.1.1"] {
            assert_eq!(check(&Reach::default(), &format!("http://[{address}]/")), Ok(()));
        }
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[2001::1]",
            "[100::1]",
            "[4000::1]",
        ] {
            let url = format!("http://{host}/");
            let error = check(&Reach::default(), &url).expect_err(host);
            assert!(error.contains("ssrfPolicy"), "{host}: {error}");
        }
    }

    #[test]
    fn an_operator_can_allow_and_block() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let private = Reach { private: true, ..Reach::default() };
        assert_eq!(check(&private, "http://127.0.0.1/"), Ok(()));
        assert_eq!(check(&private, "http://[fd12::1]/"), Ok(()));
        assert!(check(&private, "http://224.0.0.1/").is_err());
        let local = Reach { unique_local: true, benchmark: true, ..Reach::default() };
        assert_eq!(check(&local, "http://[fd12::1]/"), Ok(()));
        assert_eq!(check(&local, "http://198.18.0.1/"), Ok(()));
        assert!(check(&local, "http://10.0.0.1/").is_err());
        let named = Reach {
            allowed: list(&["127.0.0.1", "[::1]"]),
            blocked: list(&["*.Evil.example", "bad.example"]),
            ..Reach::default()
        };
        assert_eq!(check(&named, "http://127.0.0.1/"), Ok(()));
        assert_eq!(check(&named, "http://[::1]/"), Ok(()));
        assert!(check(&named, "http://127.0.0.2/").is_err());
        for host in ["a.evil.example", "BAD.example.", "a.b.evil.example"] {
            let error = check(&named, &format!("https://{host}/")).expect_err(host);
            assert!(error.contains("blockedHostnames"), "{error}");
        }
        assert_eq!(check(&named, "https://evil.example/"), Ok(()));
        assert_eq!(check(&named, "https://notevil.example/"), Ok(()));
    }

    #[test]
    fn other_schemes_and_passwords_are_refused() {
        for (url, expected) in [
            ("file:///etc/passwd", "not `file`"),
            ("ftp://example.org/", "not `ftp`"),
            ("http://user@example.org/", "user name or password"),
            ("https://u:p@example.org/", "user name or password"),
        ] {
            let error = check(&Reach::default(), url).expect_err(url);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_address() {
        let lookup = |reach: Reach| async move {
            let resolving = Guarded(reach).resolve("localhost".parse().unwrap());
            resolving.await.map(Iterator::count).map_err(|error| error.to_string())
        };
        let error = lookup(Reach::default()).await.unwrap_err();
        assert!(error.contains("`localhost` is not fetched"), "{error}");
        let allowed = Reach { allowed: vec!["localhost".to_owned()], ..Reach::default() };
        assert!(lookup(allowed).await.unwrap() > 0);
    }
}
