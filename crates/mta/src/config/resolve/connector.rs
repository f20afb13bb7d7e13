//! `[[connector]]`.

use std::collections::HashMap;
use std::sync::LazyLock;

use postern_queue::retry::Schedule;
use postern_smtp::address::Domain;
use postern_smtp::tls::TlsRequirement;

use super::Unique;
use crate::config::files::Named;
use crate::config::model::{
    AddressSpace, Connector, ConnectorName, CredentialFile, CredentialSource, IpPreference, LmtpAddress,
    PeerDemand, SmtpHost, Way,
};
use crate::config::reader::{Reader, Section};
use crate::config::template::Template;
use crate::config::value::Table;

/// The name of the connector that exists when none serves everybody.
pub(super) const IMPLICIT: &str = "mx";
/// What would be written for it. The cost is higher than any that people are likely to write.
const IMPLICIT_TEXT: &str = r#"
name = "mx"
to = "mx"
address_space = ["*"]
cost = 100
"#;
static IMPLICIT_TABLE: LazyLock<Table> = LazyLock::new(|| toml::from_str(IMPLICIT_TEXT).unwrap_or_default());

/// What connectors take from other sections.
#[derive(Clone, Copy)]
pub(super) struct Common<'c> {
    pub(super) hostname: Option<&'c Domain>,
    pub(super) retry: Option<&'c Schedule>,
}

pub(super) fn connectors<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    common: Common<'_>,
) -> Option<Vec<Connector>> {
    let sections = reader.sections(top, "connector");
    let mut names = Unique::new("a connector");
    let mut spaces = HashMap::new();
    let mut connectors = Vec::new();
    for at in &sections {
        connectors.push(connector(reader, at, common, &mut spaces));
        names.check(reader, at, None);
    }
    let mut connectors: Vec<_> = connectors.into_iter().collect::<Option<_>>()?;
    if !connectors.iter().any(|connector| connector.spaces.contains(&AddressSpace::Any)) {
        connectors.push(implicit(reader, top, &connectors, common)?);
    }
    Some(connectors)
}

/// A way as it is written in `to`, before the keys that refine it.
enum Target {
    Mx,
    Smtp { host: String, port: u16 },
    Lmtp(LmtpAddress),
    Maildir(Template),
}

fn connector<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    common: Common<'_>,
    served: &mut Served,
) -> Option<Connector> {
    let name = reader.name(at, "name");
    let target = target(reader, at);
    let (spaces, sound_spaces) = reader.list_and_items(at, "address_space", address_space);
    let cost = reader.count(at, "cost");
    if let (Some(name), Some(cost)) = (&name, cost) {
        refuse_ambiguity(reader, at, Claim { name, spaces: &sound_spaces, cost }, served);
    }
    let credential = credential(reader, at, target.as_ref());
    let way = target.and_then(|target| way(reader, at, target));
    let requirement = requirement(reader, at, way.as_ref());
    let trust = reader.path(at, "trust");
    let place = reader.place(at, "trust", trust.as_ref());
    reader.named.extend(place.map(Named::Trust));
    if trust.is_some() && requirement.is_some_and(|requirement| requirement != TlsRequirement::VERIFIED) {
        let what = "it has no effect: certificates are verified only with tls = \"verified\"";
        reader.warn(at, "trust", what, "write tls = \"verified\", or remove the key");
    }
    let concurrency = reader.count(at, "concurrency");
    let messages_per_connection = reader.count(at, "messages_per_connection");
    let idle = reader.duration(at, "idle");
    let hello: Option<Domain> =
        reader.parsed(at, "hello", common.hostname.map(|name| name.as_str().to_owned()));
    Some(Connector {
        name: ConnectorName(name?),
        spaces: spaces?,
        cost: cost?,
        dane: matches!(way, Some(Way::Mx { .. } | Way::Smtp(_))),
        mta_sts: matches!(way, Some(Way::Mx { .. })),
        to: way?,
        peer: PeerDemand { requirement: requirement?, trust, pins: Vec::new(), distrust: Vec::new() },
        post_quantum: true,
        source: Vec::new(),
        ip: IpPreference::default(),
        credential: credential.map(CredentialSource::Password),
        mechanism: None,
        identity: None,
        concurrency: concurrency?,
        messages_per_connection: messages_per_connection?,
        idle: idle?,
        hello: hello?.as_str().to_owned(),
        rate: None,
        retry: common.retry?.clone(),
        enabled: true,
    })
}

fn target<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Target> {
    let text = reader.name(at, "to")?;
    match parse_target(&text) {
        Ok(target) => Some(target),
        Err(what) => {
            let remedy = "write \"mx\", \"smtp:host:587\", \"lmtp:unix:/path\", \"lmtp:host:24\" or \"maildir:/srv/mail/{local}\"";
            reader.complain(at, "to", what, remedy);
            None
        }
    }
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text == "mx" {
        return Ok(Target::Mx);
    }
    match text.split_once(':') {
        Some(("smtp", host)) => {
            let (host, port) = host_and_port(host, Some(25))?;
            Ok(Target::Smtp { host, port })
        }
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

fn address_space(text: &str) -> Result<AddressSpace, String> {
    if text == "*" {
        return Ok(AddressSpace::Any);
    }
    let parse = |name: &str| {
        let wrong = |error| format!("\"{text}\" is not \"*\", a domain or \"*.domain\": {error}");
        name.parse::<Domain>().map_err(wrong)
    };
    match text.strip_prefix("*.") {
        Some(name) => parse(name).map(AddressSpace::Below),
        None => parse(text).map(AddressSpace::Exact),
    }
}

fn credential<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    target: Option<&Target>,
) -> Option<CredentialFile> {
    let user = reader.name(at, "user");
    let password_file = reader.path(at, "password_file");
    let place = reader.place(at, "password_file", password_file.as_ref());
    reader.named.extend(place.map(Named::Password));
    if at.writes("user") != at.writes("password_file") {
        let (written, missing) =
            if at.writes("user") { ("user", "password_file") } else { ("password_file", "user") };
        reader.complain(
            at,
            written,
            format!("{missing} is missing beside it"),
            format!("write {missing} too, or remove {written}"),
        );
    }
    if at.writes("user") && target.is_some_and(|target| !matches!(target, Target::Smtp { .. })) {
        reader.complain(
            at,
            "user",
            "only an \"smtp:\" host can be signed in to",
            "remove user and password_file",
        );
    }
    Some(CredentialFile { user: user?, password_file: password_file? })
}

fn way<'a>(reader: &mut Reader<'a>, at: &Section<'a>, target: Target) -> Option<Way> {
    if at.writes("port") && !matches!(target, Target::Mx) {
        reader.complain(
            at,
            "port",
            "it is for \"mx\" only",
            "write the port behind the host in to, and remove the key",
        );
    }
    if at.writes("implicit_tls") && !matches!(target, Target::Smtp { .. }) {
        reader.complain(at, "implicit_tls", "it is for \"smtp:\" hosts only", "remove the key");
    }
    match target {
        Target::Mx => Some(Way::Mx { port: reader.count_or(at, "port", Some("25".to_owned()))? }),
        Target::Smtp { host, port } => {
            let implicit_tls = reader.switch(at, "implicit_tls", Some(port == 465))?;
            Some(Way::Smtp(vec![SmtpHost { host, port, implicit_tls }]))
        }
        Target::Lmtp(address) => Some(Way::Lmtp(address)),
        Target::Maildir(template) => Some(Way::Maildir(template)),
    }
}

fn requirement<'a>(reader: &mut Reader<'a>, at: &Section<'a>, way: Option<&Way>) -> Option<TlsRequirement> {
    let signs_in = at.writes("user") || at.writes("password_file");
    if matches!(way, Some(Way::Lmtp(LmtpAddress::Unix(_)) | Way::Maildir(_))) {
        refuse_tls_keys(reader, at);
        return Some(TlsRequirement::NONE);
    }
    let words = [
        ("none", TlsRequirement::NONE),
        ("opportunistic", TlsRequirement::OPPORTUNISTIC),
        ("required", TlsRequirement::REQUIRED),
        ("verified", TlsRequirement::VERIFIED),
    ];
    let default = if signs_in { "verified" } else { "opportunistic" };
    let requirement = reader.choice(at, "tls", Some(default), &words)?;
    if signs_in && requirement != TlsRequirement::VERIFIED {
        let what =
            format!("with \"{requirement}\" the password could be sent to anybody who poses as the host");
        reader.complain(
            at,
            "tls",
            what,
            "remove the key or write tls = \"verified\"; for a private CA set trust",
        );
    }
    if requirement == TlsRequirement::NONE
        && let Some(Way::Smtp(hosts)) = way
        && hosts.iter().any(|host| host.implicit_tls)
    {
        let what = "it says never to use TLS, and implicit_tls (or port 465) says always";
        reader.complain(at, "tls", what, "remove the key, or use another port and implicit_tls = false");
    }
    Some(requirement)
}

/// No wire, no TLS.
fn refuse_tls_keys(reader: &mut Reader<'_>, at: &Section<'_>) {
    for key in ["tls", "trust"] {
        if at.writes(key) {
            reader.complain(at, key, "this way stays on this machine and has no TLS", "remove the key");
        }
    }
}

/// Where an address space was written first, by space and cost.
type Served = HashMap<(AddressSpace, u32), String>;

/// What a connector serves, and for what cost.
#[derive(Clone, Copy)]
struct Claim<'c> {
    name: &'c str,
    spaces: &'c [AddressSpace],
    cost: u32,
}

fn refuse_ambiguity(reader: &mut Reader<'_>, at: &Section<'_>, claim: Claim<'_>, served: &mut Served) {
    for space in claim.spaces {
        let Some(other) = served.insert((space.clone(), claim.cost), claim.name.to_owned()) else {
            continue;
        };
        let what = if other == claim.name {
            format!("\"{space}\" is written twice")
        } else {
            format!("connector \"{other}\" serves \"{space}\" at the same cost, so neither would win")
        };
        reader.complain(at, "address_space", what, "remove one, or give one a higher cost: the lowest wins");
    }
}

fn implicit(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    others: &[Connector],
    common: Common<'_>,
) -> Option<Connector> {
    if others.iter().any(|other| other.name.0 == IMPLICIT) {
        let what = "no connector serves \"*\", and the name \"mx\" of the one that would be added is taken";
        reader.complain(
            top,
            "connector",
            what,
            "add address_space = [\"*\"] to a connector, or name that one otherwise",
        );
        return None;
    }
    let at = &reader.implicit("connector", &IMPLICIT_TABLE);
    connector(reader, at, common, &mut HashMap::new())
}
