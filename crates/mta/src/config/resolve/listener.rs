//! `[[listener]]`: where clients come in, what each may and must do, and the limits.
//!
//! [`listeners`] reads them all, [`limits`] the limits of one section: those of `[limits]` are the defaults of each listener.
//! The types to know: [`OfAll`], what listeners take from other sections; [`Listener`], what comes out. Much of a listener's
//! defaults follows from its role (`ByRole`), and what contradicts it is a problem or a warning here.
//!
//! What it deliberately does not do: open sockets, read certificates (they are known by name only), or say what a client
//! may send where: that is `relay`.

use std::collections::HashSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use postern_pki::{MinimumVersion, Tickets};
use postern_smtp::server::{AuthOffer, Limits, LineEndings, Timeouts};

use super::certificates::Identities;
use super::width::{canonical, too_wide, wants_reason};
use super::{Unique, network};
use crate::config::files::Named;
use crate::config::model::{
    ClientCertificates, Expects, FromCheck, FrontEndLogin, FrontEnds, Greets, Listener, ListenerLimits,
    ListenerTls, Role, SessionLimits,
};
use crate::config::reader::{Reader, Section};
use crate::ports::{SUBMISSION, SUBMISSIONS};

/// RFC 5321 §4.5.3.2.7: a server should wait at least five minutes for the next command.
const USUAL_COMMAND_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(5);

/// The versions of TLS that can be the oldest.
pub(super) const VERSIONS: [(&str, MinimumVersion); 2] =
    [("1.2", MinimumVersion::Tls12), ("1.3", MinimumVersion::Tls13)];

/// As it is written in a configuration.
pub(super) fn version_word(version: MinimumVersion) -> &'static str {
    match version {
        MinimumVersion::Tls12 => "1.2",
        MinimumVersion::Tls13 => "1.3",
    }
}

/// What a listener takes from other sections: limits, those that bound all listeners together, and what is true of TLS.
pub(super) struct OfAll<'s, 'a> {
    pub(super) section: &'s Section<'a>,
    pub(super) sessions: Option<SessionLimits>,
    pub(super) minimum: Option<MinimumVersion>,
    /// The identities that a listener may name.
    pub(super) identities: &'s Identities<'a>,
}

pub(super) fn listeners<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    of_all: &OfAll<'_, 'a>,
    bound: &mut HashSet<SocketAddr>,
) -> Option<Vec<Listener>> {
    let sections = reader.sections(top, "listener");
    if sections.is_empty() {
        let remedy = "write at least one [[listener]] with name, role and bind";
        reader.complain(top, "listener", "there is none, so nobody could bring mail", remedy);
    }
    let mut names = Unique::new("a listener");
    let mut listeners = Vec::new();
    for at in &sections {
        listeners.push(listener(reader, at, of_all, bound));
        names.check(reader, at, None);
    }
    listeners.into_iter().collect()
}

/// The limits of one section, and how many hops a message may have made.
pub(super) fn limits<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<(ListenerLimits, usize)> {
    let sessions = reader.count(at, "sessions");
    let sessions_per_address = reader.count(at, "sessions_per_address");
    let smtp = smtp_limits(reader, at);
    let timeouts = timeouts(reader, at);
    let hops = reader.count(at, "hops");
    Some((
        ListenerLimits {
            sessions: SessionLimits { all: sessions?, per_address: sessions_per_address? },
            smtp: smtp?,
            timeouts: timeouts?,
        },
        hops?,
    ))
}

fn smtp_limits<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Limits> {
    let message_size = reader.size(at, "message_size");
    let recipients = reader.count(at, "recipients");
    let transactions = reader.count(at, "transactions");
    let errors = reader.count(at, "errors");
    let idle_commands = reader.count(at, "idle_commands");
    let auth_attempts = reader.count(at, "auth_attempts");
    Some(Limits {
        message_size: message_size?,
        recipients: recipients?,
        transactions: transactions?,
        idle_commands: idle_commands?,
        errors: errors?,
        auth_attempts: auth_attempts?,
    })
}

fn timeouts<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Timeouts> {
    let command = reader.duration(at, "command_timeout");
    let content = reader.duration(at, "content_timeout");
    let session = reader.duration(at, "session_timeout");
    if at.writes("command_timeout") && command.is_some_and(|command| command < USUAL_COMMAND_TIMEOUT) {
        let what = "it is less than the five minutes of RFC 5321 §4.5.3.2.7, and slow clients may lose their session";
        reader.warn(at, "command_timeout", what, "write \"5m\" unless there is a reason");
    }
    Some(Timeouts { command: command?, content: content?, session: session? })
}

fn listener<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    of_all: &OfAll<'_, 'a>,
    bound: &mut HashSet<SocketAddr>,
) -> Option<Listener> {
    let name = reader.name(at, "name");
    let role = reader.choice(
        at,
        "role",
        None,
        &[("relay", Role::Relay), ("submission", Role::Submission), ("device", Role::Device)],
    );
    let bind = bind(reader, at, bound);
    let by_role = ByRole::of(role.unwrap_or(Role::Submission));
    let tls = tls(reader, at, &by_role);
    let auth = auth(reader, at, role);
    let proxy_from = front_ends(reader, at, "proxy_protocol");
    let xclient = xclient(reader, at);
    let endings = [("strict", LineEndings::Strict), ("repair", LineEndings::Repair)];
    let line_endings = reader.choice(at, "line_endings", Some(by_role.line_endings), &endings);
    let minimum = reader.choice(at, "tls_minimum", of_all.minimum.map(version_word), &VERSIONS);
    let client_certificates = client_certificates(reader, at);
    let identities = identities(reader, at, of_all.identities);
    let tickets = reader.switch(at, "session_tickets", Some(by_role.session_tickets));
    let check = reader.switch(at, "check_from_header", None);
    let own = &reader.heir(at, "limits", of_all.section);
    let limits = limits(reader, own);
    if let (Some((limits, _)), Some(all)) = (&limits, of_all.sessions) {
        judge_sessions(reader, own, limits.sessions, all);
    }
    if let (Some(role), Some(tls), Some(bind)) = (role, tls, &bind) {
        judge_tls(reader, at, role, tls, bind);
        if let Some(ClientCertificates::Required(_)) = &client_certificates {
            judge_required_certificates(reader, at, role, tls, bind);
        }
    }
    let (limits, hops) = limits?;
    Some(Listener {
        name: name?,
        role: role?,
        bind: bind?,
        tls: tls?,
        auth: auth?,
        proxy_from: proxy_from?,
        xclient: xclient?,
        line_endings: line_endings?,
        minimum: minimum?,
        client_certificates: client_certificates?,
        identities: identities?,
        session_tickets: if tickets? { Tickets::On } else { Tickets::Off },
        check_from_header: if check? { FromCheck::Enforced } else { FromCheck::Off },
        limits,
        hops,
    })
}

/// A listener cannot have more sessions than all listeners together.
fn judge_sessions(reader: &mut Reader<'_>, at: &Section<'_>, own: SessionLimits, all: SessionLimits) {
    let pairs = [("sessions", own.all, all.all), ("sessions_per_address", own.per_address, all.per_address)];
    for (key, own, all) in pairs {
        if at.writes(key) && own > all {
            let what = format!("it is never reached: {all} is the limit for all listeners together");
            reader.warn(at, key, what, format!("lower it, or raise {key} in [limits]"));
        }
    }
}

/// The defaults that depend on the role.
struct ByRole {
    tls: &'static str,
    line_endings: &'static str,
    session_tickets: bool,
}

impl ByRole {
    fn of(role: Role) -> Self {
        match role {
            Role::Relay => Self { tls: "offered", line_endings: "strict", session_tickets: false },
            Role::Device => Self { tls: "offered", line_endings: "repair", session_tickets: true },
            Role::Submission => Self { tls: "auto", line_endings: "repair", session_tickets: true },
        }
    }
}

fn bind<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    bound: &mut HashSet<SocketAddr>,
) -> Option<Vec<SocketAddr>> {
    let bind = addresses(reader, at, bound)?;
    if bind.is_empty() {
        reader.complain(at, "bind", "the list is empty", "write bind = [\"[::]:587\"] or the like");
        return None;
    }
    Some(bind)
}

/// The addresses of `bind`, which may be none. No two sections listen on the same one.
pub(super) fn addresses<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    bound: &mut HashSet<SocketAddr>,
) -> Option<Vec<SocketAddr>> {
    let (bind, sound) = reader.list_and_items(at, "bind", |text| {
        text.parse().map_err(|_| {
            format!("\"{text}\" is not an address with a port such as \"[::]:25\" or \"192.0.2.1:25\"")
        })
    });
    refuse_second_bind(reader, at, &sound, bound);
    bind
}

fn tls<'a>(reader: &mut Reader<'a>, at: &Section<'a>, by_role: &ByRole) -> Option<ListenerTls> {
    let modes = [
        ("offered", ListenerTls::Offered),
        ("required", ListenerTls::Required),
        ("implicit", ListenerTls::Implicit),
        ("auto", ListenerTls::Auto(Expects::ByPort)),
    ];
    let mode = reader.choice(at, "tls", Some(by_role.tls), &modes);
    let expects =
        reader.choice(at, "tls_expects", None, &[("starttls", Expects::StartTls), ("tls", Expects::Tls)]);
    match (mode?, expects) {
        (ListenerTls::Auto(_), None) if at.writes("tls_expects") => None,
        (ListenerTls::Auto(_), expects) => Some(ListenerTls::Auto(expects.unwrap_or_default())),
        (mode, Some(_)) => {
            let what = "it has no effect: this listener serves one beginning only";
            reader.warn(at, "tls_expects", what, "write tls = \"auto\" beside it, or remove the key");
            Some(mode)
        }
        (mode, None) => Some(mode),
    }
}

fn auth<'a>(reader: &mut Reader<'a>, at: &Section<'a>, role: Option<Role>) -> Option<AuthOffer> {
    let auth = reader.switch(at, "auth", Some(role != Some(Role::Relay)))?;
    match (role?, auth) {
        // Each device has its own.
        (Role::Device, _) if at.writes("auth") => {
            let what = "each device says for itself whether it signs in";
            reader.complain(at, "auth", what, "remove the key, and write sign_in in the [[device]]");
            None
        }
        (Role::Device, _) | (Role::Relay, true) => Some(AuthOffer::Optional),
        (Role::Relay, false) => Some(AuthOffer::Never),
        (Role::Submission, true) => Some(AuthOffer::Mandatory),
        (Role::Submission, false) => {
            let remedy = "remove the key; clients that cannot sign in belong in [[relay.networks]] and on a relay listener";
            reader.complain(
                at,
                "auth",
                "a submission listener takes mail from signed-in people only",
                remedy,
            );
            None
        }
    }
}

/// Addresses whose word for who the client is counts. No reason makes a wide network of them right: a front end that has to be
/// looked for among thousands of strangers is none.
fn front_ends<'a>(reader: &mut Reader<'a>, at: &Section<'a>, key: &'static str) -> Option<Vec<IpNet>> {
    let (networks, sound) = reader.list_and_items(at, key, network);
    let is_crowd = |network: IpNet| too_wide(network).is_some() || wants_reason(network);
    for everybody in sound.iter().filter(|network| is_crowd(canonical(**network))) {
        let what = format!("{everybody} lets every client say that it is another one");
        reader.complain(at, key, what, "name the addresses of the front ends only");
    }
    networks
}

fn xclient<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<FrontEnds> {
    let networks = front_ends(reader, at, "xclient");
    let login = reader.switch(at, "xclient_login", None)?;
    if login && networks.as_ref().is_some_and(Vec::is_empty) {
        let what = "nobody may say XCLIENT on this listener, so nobody can say who has signed in";
        reader.complain(at, "xclient_login", what, "name the front ends in xclient, or leave this out");
    }
    let login = if login { FrontEndLogin::Honoured } else { FrontEndLogin::Refused };
    Some(FrontEnds { networks: networks?, login })
}

/// Without the key, none: all are presented, those too that are put into the certificate store later.
fn identities<'a>(reader: &mut Reader<'a>, at: &Section<'a>, known: &Identities<'_>) -> Option<Vec<String>> {
    let named = reader.list(at, "identities", |text| Ok(text.to_owned()));
    let Some(named) = named else {
        return (!at.writes("identities")).then(Vec::new);
    };
    if named.is_empty() {
        reader.complain(
            at,
            "identities",
            "the list is empty",
            "name an identity, or remove the key to present all",
        );
    }
    for unknown in named.iter().filter(|name| !known.knows(name)) {
        known.refuse_unknown(reader, at, "identities", unknown);
    }
    Some(named)
}

/// Whether a listener asks, before it is known by which authorities it verifies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Never,
    Politely,
    Firmly,
}

fn client_certificates<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<ClientCertificates> {
    let words = [("ignored", Ask::Never), ("asked", Ask::Politely), ("required", Ask::Firmly)];
    let ask = reader.choice(at, "client_certificates", None, &words);
    let authorities = reader.path(at, "client_ca");
    let place = reader.place(at, "client_ca", authorities.as_ref());
    reader.named.extend(place.map(Named::ClientCa));
    match (ask?, authorities) {
        (Ask::Never, authorities) => {
            if authorities.is_some() {
                let what = "it has no effect: clients are not asked for certificates";
                let remedy = "write client_certificates = \"asked\" or \"required\", or remove the key";
                reader.warn(at, "client_ca", what, remedy);
            }
            Some(ClientCertificates::Ignored)
        }
        (Ask::Politely, Some(authorities)) => Some(ClientCertificates::Asked(authorities)),
        (Ask::Firmly, Some(authorities)) => Some(ClientCertificates::Required(authorities)),
        (Ask::Politely | Ask::Firmly, None) => {
            if !at.writes("client_ca") {
                let what = "client_ca is missing beside it: it is not said whose certificates count";
                let remedy = "write client_ca = a PEM file with the authorities that issue them";
                reader.complain(at, "client_certificates", what, remedy);
            }
            None
        }
    }
}

fn judge_required_certificates(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    role: Role,
    tls: ListenerTls,
    bind: &[SocketAddr],
) {
    let public = role == Role::Relay && bind.iter().any(|address| address.port() == 25);
    let (what, remedy) = if public {
        let what = "other servers have no certificate of these authorities: with them TLS fails, and their mail comes in clear or not at all";
        (what, "write client_certificates = \"asked\" unless only known servers connect")
    } else if tls == ListenerTls::Offered {
        let what = "a client that does not start TLS is never asked for its certificate";
        (what, "write tls = \"auto\", \"required\" or \"implicit\"")
    } else {
        return;
    };
    reader.warn(at, "client_certificates", what, remedy);
}

fn judge_tls(reader: &mut Reader<'_>, at: &Section<'_>, role: Role, tls: ListenerTls, bind: &[SocketAddr]) {
    let on = |port: u16| bind.iter().any(|address| address.port() == port);
    if role == Role::Submission && tls == ListenerTls::Offered {
        let what = "people must not be able to send passwords or mail in clear";
        return reader.complain(
            at,
            "tls",
            what,
            "remove the key: what then holds serves STARTTLS and TLS from the first octet, and nothing in clear",
        );
    }
    if role == Role::Relay && tls != ListenerTls::Offered && on(25) {
        let what = "other servers that cannot do this cannot deliver here; RFC 3207 §4 forbids it on a public port 25";
        reader.warn(at, "tls", what, "write tls = \"offered\" unless only known servers connect");
    }
    if tls.greets(SUBMISSIONS) == Greets::InClear && on(SUBMISSIONS) {
        let what = "clients expect TLS from the first byte on port 465 (RFC 8314 §3.3)";
        reader.warn(at, "tls", what, "write tls = \"auto\", or use port 587");
    }
    if tls.greets(SUBMISSION) == Greets::AfterTls && on(SUBMISSION) {
        let what = "clients expect STARTTLS on port 587 (RFC 6409 §3.1)";
        reader.warn(at, "tls", what, "write tls = \"auto\" without tls_expects, or use port 465");
    }
}

fn refuse_second_bind(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    bind: &[SocketAddr],
    bound: &mut HashSet<SocketAddr>,
) {
    // Port 0 is a new one each time.
    for address in bind.iter().filter(|address| address.port() != 0) {
        if !bound.insert(*address) {
            let what = format!("{address} is listened on already");
            reader.complain(at, "bind", what, "use another address or port, or remove one");
        }
    }
}
