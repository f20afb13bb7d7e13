//! Where a connector leads: `to` and the keys that only make sense with one kind of it.

use std::collections::HashSet;

use postern_smtp::address::Domain;

use crate::config::model::{LmtpAddress, SmtpHost, Way};
use crate::config::reader::{Reader, Section};
use crate::config::template::Template;
use crate::ports::SUBMISSIONS;

/// One attempt tries no more hosts than this; more would only be waited for.
const HOSTS_MOST: usize = 8;

/// A way as it is written in `to`, before the keys that refine it.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Mx,
    /// Names and ports, in order; never empty.
    Smtp(Vec<(String, u16)>),
    Lmtp(LmtpAddress),
    Maildir(Template),
}

/// Keys, the targets that they are for, what is wrong with them at another one, and what to do.
struct Fitting {
    keys: &'static [&'static str],
    fits: fn(&Target) -> bool,
    what: &'static str,
    remedy: &'static str,
}

const FITTING: [Fitting; 6] = [
    Fitting {
        keys: &["tls", "trust", "pins", "distrust", "post_quantum", "identity"],
        fits: Target::has_wire,
        what: "this way stays on this machine and has no TLS",
        remedy: "remove the key",
    },
    Fitting {
        keys: &["source", "ip"],
        fits: Target::has_wire,
        what: "this way stays on this machine and has no addresses",
        remedy: "remove the key",
    },
    Fitting {
        keys: &["dane"],
        fits: Target::is_mail_exchange,
        what: "only mail that goes by \"mx\" or to an \"smtp:\" host can be protected so",
        remedy: "remove the key",
    },
    Fitting {
        keys: &["mta_sts"],
        fits: |target| matches!(target, Target::Mx),
        what: "it is for \"mx\" only: policies speak of a domain's own mail hosts (RFC 8461 §5)",
        remedy: "remove the key",
    },
    Fitting {
        keys: &["port"],
        fits: |target| matches!(target, Target::Mx),
        what: "it is for \"mx\" only",
        remedy: "write the port behind the host in to, and remove the key",
    },
    Fitting {
        keys: &["implicit_tls"],
        fits: |target| matches!(target, Target::Smtp(_)),
        what: "it is for \"smtp:\" hosts only",
        remedy: "remove the key",
    },
];

impl Target {
    /// Whether mail goes over a network.
    pub(super) fn has_wire(&self) -> bool {
        !matches!(self, Self::Lmtp(LmtpAddress::Unix(_)) | Self::Maildir(_))
    }

    /// Whether it is SMTP to another server.
    pub(super) fn is_mail_exchange(&self) -> bool {
        matches!(self, Self::Mx | Self::Smtp(_))
    }
}

pub(super) fn target<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Target> {
    let targets = reader.one_or_list(at, "to", parse_target)?;
    let target = join(reader, at, targets)?;
    for Fitting { keys, fits, what, remedy } in FITTING {
        if fits(&target) {
            continue;
        }
        for key in keys.iter().filter(|key| at.writes(key)) {
            reader.complain(at, key, what, remedy);
        }
    }
    Some(target)
}

/// One target, or several `smtp:` hosts as one.
fn join(reader: &mut Reader<'_>, at: &Section<'_>, mut targets: Vec<Target>) -> Option<Target> {
    if targets.len() == 1 {
        return targets.pop();
    }
    let all = targets.len();
    let hosts: Vec<_> = targets
        .into_iter()
        .filter_map(|target| if let Target::Smtp(hosts) = target { Some(hosts) } else { None })
        .flatten()
        .collect();
    let mut seen = HashSet::new();
    let (what, remedy) = if all == 0 {
        ("the list is empty".to_owned(), "write where the mail is to go")
    } else if hosts.len() < all {
        let what = "only \"smtp:\" hosts can stand in for each other".to_owned();
        (
            what,
            "write them alone in the list, and the other ways in connectors of their own with another cost",
        )
    } else if all > HOSTS_MOST {
        (format!("{all} hosts are more than the {HOSTS_MOST} that are tried"), "remove the least needed")
    } else if let Some((host, port)) = hosts.iter().find(|host| !seen.insert(*host)) {
        (format!("{host}:{port} is written twice"), "remove one")
    } else {
        return Some(Target::Smtp(hosts));
    };
    reader.complain(at, "to", what, remedy);
    None
}

pub(super) fn way<'a>(reader: &mut Reader<'a>, at: &Section<'a>, target: Target) -> Option<Way> {
    match target {
        Target::Mx => Some(Way::Mx { port: reader.count_or(at, "port", Some("25".to_owned()))? }),
        Target::Smtp(hosts) => Some(Way::Smtp(with_tls(reader, at, hosts)?)),
        Target::Lmtp(address) => Some(Way::Lmtp(address)),
        Target::Maildir(template) => Some(Way::Maildir(template)),
    }
}

/// What is written holds for all hosts; else the port of each says it.
fn with_tls<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    hosts: Vec<(String, u16)>,
) -> Option<Vec<SmtpHost>> {
    let by_port = |port: u16| port == SUBMISSIONS;
    let first = hosts.first().is_some_and(|(_, port)| by_port(*port));
    let alike = hosts.iter().all(|(_, port)| by_port(*port) == first);
    let written = reader.switch(at, "implicit_tls", alike.then_some(first));
    if written.is_none() && at.writes("implicit_tls") {
        return None;
    }
    let host = |(host, port)| SmtpHost { host, port, implicit_tls: written.unwrap_or(by_port(port)) };
    Some(hosts.into_iter().map(host).collect())
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text == "mx" {
        return Ok(Target::Mx);
    }
    match text.split_once(':') {
        Some(("smtp", host)) => host_and_port(host, Some(25)).map(|host| Target::Smtp(vec![host])),
        Some(("lmtp", rest)) => match rest.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Target::Lmtp(LmtpAddress::Unix(path.into()))),
            Some(path) => Err(format!("\"{path}\" is not an absolute path")),
            None => host_and_port(rest, None).map(|(host, port)| Target::Lmtp(LmtpAddress::Tcp(host, port))),
        },
        Some(("maildir", path)) => Template::parse(path).map(Target::Maildir),
        _ => Err(format!("\"{text}\" leads nowhere")),
    }
}

/// `host`, `host:port`, `192.0.2.1:25`, `[2001:db8::1]:25`.
fn host_and_port(text: &str, default: Option<u16>) -> Result<(String, u16), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(port) => {
            port.parse().ok().filter(|port| *port != 0).ok_or(format!("\"{port}\" is not a port"))?
        }
        None => default.ok_or(format!("\"{text}\" has no port"))?,
    };
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let sound = match literal {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok() || host.parse::<Domain>().is_ok(),
    };
    if sound {
        Ok((literal.unwrap_or(host).to_owned(), port))
    } else {
        Err(format!("\"{host}\" is not a host"))
    }
}
