//! The table itself, in the order of the reference chapter.
//!
//! One [`Key`] for each setting: its name, kind, default, reason and an example. It is the only place where a default
//! stands, and where a key is explained: the reader, `postern config explain` and `docs/configuration.md` all take it
//! from here. After a change, run the tests once with `POSTERN_BLESS=1`; they write the chapter anew.

use super::Kind::{
    Aliases, Choice, Count, Domain, Duration, DurationOrNever, List, Mailbox, Path, Rate, RateOrNone,
    Recipient, Share, Size, Switch, Text, Url, VolumeOrNone, Ways,
};
use super::Occurs::{Often, Once};
use super::Preset::{Absent, Depends, Required, Value};
use super::{Key, Kind, Section};

/// Every section of the file with every key.
pub const SECTIONS: &[Section] = &[
    section("", Once, "Who this server is.", TOP),
    section("log", Once, "What is written to standard error, and how.", LOG),
    section(
        "history",
        Once,
        "What is kept of what happened, so that `postern why` can tell what became of a message or of somebody's sign-ins. What \
         exceeds any of the three bounds goes, the oldest first. At most a tenth of the events are those of clients that \
         never signed in and brought no mail, so that no flood of strangers pushes out the rest.",
        HISTORY,
    ),
    section("dns", Once, "Whom to ask for the names of other servers.", DNS),
    section(
        "limits",
        Once,
        "Bounds for every listener; a listener may set its own. Sessions are also counted over all listeners together.",
        LIMITS,
    ),
    section(
        "sessions",
        Once,
        "What is kept of sessions that have ended, for `postern session` and `postern trouble`. No password, no other secret of a \
         sign-in and nothing of a message's content is ever in it. [Sessions and troubles](sessions-and-troubles.md) says more.",
        SESSIONS,
    ),
    section("tls", Once, "What Postern shows to clients that start TLS.", TLS),
    section(
        "tls.identity",
        Often,
        "A certificate with its key. Clients get the one whose names match what they ask for (SNI), else the first that \
         bears the host name. What lies in the certificate store, where `postern cert` puts it, is used without being \
         listed here, behind those that are. Where none bears the host name, a private CA in the data directory \
         issues one for it.",
        IDENTITY,
    ),
    section("listener", Often, "Addresses on which Postern listens, and what is spoken there.", LISTENER),
    Section {
        path: "listener.limits",
        occurs: Once,
        about: "Bounds of the listener above it.",
        keys: &[],
        inherits: Some("limits"),
    },
    section("auth", Once, "How people sign in, on all listeners that let them.", AUTH),
    section(
        "directory",
        Often,
        "A directory that the organisation has already: people sign in with the name and password that they have there. \
         Directories are asked in the order of the file; the first that says yes counts. Exactly one section below it says \
         of what kind it is.",
        DIRECTORY,
    ),
    section(
        "directory.ldap",
        Once,
        "The directory above it is LDAP or Active Directory. Postern finds the entry of whoever signs in, and has the \
         server judge the password. [Directories](directories.md) has complete examples.",
        LDAP,
    ),
    section(
        "directory.passwd_file",
        Once,
        "The directory above it is a file: Dovecot's passwd-file, or shadow(5). It is read again as soon as it changes; replace it \
         by renaming another over it, so that nobody reads half of it. `postern config check` names the lines that cannot be \
         used.",
        PASSWD_FILE,
    ),
    section(
        "directory.sql",
        Once,
        "The directory above it is a database that is asked by queries. Fields such as {login} in a query are bound as values and \
         never become text of a statement, so they stand without quotes.",
        SQL,
    ),
    section(
        "directory.saslauthd",
        Once,
        "The directory above it is PAM, or whatever else Cyrus' saslauthd asks. Postern needs the right to write to its \
         socket: on Debian, the group `sasl`.",
        SASLAUTHD,
    ),
    section(
        "directory.dovecot",
        Once,
        "The directory above it is whatever Dovecot checks passwords with. Dovecot needs a socket that Postern may write to: \
         `service auth { unix_listener postern { mode = 0600, user = postern } }`.",
        DOVECOT,
    ),
    section(
        "directory.oauth",
        Once,
        "The directory above it are the access tokens of an identity provider, for mail programs that sign in by OAUTHBEARER or \
         XOAUTH2. Exactly one of discover, jwks_url, jwks_file and introspection_url says how tokens are judged.",
        TOKENS,
    ),
    section(
        "rates",
        Once,
        "How much anybody may do in how much time. Loopback, trusted front ends, networks that may relay and those in \
         [bans] never have none by address; who has signed in is counted wherever he comes from.",
        &[],
    ),
    section(
        "rates.principal",
        Once,
        "What each person or program that has signed in may send. The client hears for how long to wait.",
        PRINCIPAL_RATES,
    ),
    section(
        "rates.address",
        Once,
        "What each client address may do; an IPv6 network of 64 bits is one address.",
        ADDRESS_RATES,
    ),
    section(
        "rates.network",
        Once,
        "What each client network may do: 24 bits of IPv4, 64 bits of IPv6.",
        NETWORK_RATES,
    ),
    section("rates.listener", Once, "What each listener takes from everybody together.", LISTENER_RATES),
    section(
        "guessing",
        Once,
        "What wrong passwords lead to. Only different ones count, so that a telephone with a stale password counts once. \
         Guessers wait longer and longer; then the account is closed to networks where it never signed in, and a network \
         from which nobody signs in is banned. Nobody waits where he signed in lately.",
        GUESSING,
    ),
    section("bans", Once, "How long those are turned away who guess passwords, and who never is.", BANS),
    section(
        "bursts",
        Once,
        "Mail from an account that suddenly sends much more than it ever did is accepted and held until an administrator \
         releases or discards it (`postern burst`): a stolen password looks like that.",
        BURSTS,
    ),
    section(
        "send_as",
        Often,
        "Who may write as addresses that are not his own: shared addresses, deputies, service accounts. People of any directory \
         can be named. `postern user may-send` says what follows from it.",
        SEND_AS,
    ),
    section(
        "device",
        Often,
        "A printer, a scanner or an old application, known by its address to the listeners with role = \"device\". It may do what \
         stands here and nothing else. Without TLS, or without signing in, only where its own section says so.",
        DEVICE,
    ),
    section("inbound", Once, "What is demanded of clients beyond what their listener demands.", &[]),
    section(
        "inbound.policy",
        Often,
        "A demand on the mail of some senders and of some clients. It holds where the reverse-path is in one of its \
         address spaces, and where the client is in one of its networks.",
        INBOUND_POLICY,
    ),
    section("relay", Once, "Who may relay without signing in.", &[]),
    section(
        "relay.networks",
        Often,
        "Clients, by network, that may relay to anywhere through relay listeners without signing in: printers, monitoring. \
         Whole continents, and networks that hold the default gateway's address, are refused: behind a container bridge \
         every client looks like the gateway.",
        NETWORKS,
    ),
    section(
        "relay.certificates",
        Often,
        "Clients, by certificate, that may relay to anywhere through relay listeners without signing in: other offices, \
         branch servers. The listener must ask for certificates, and what is shown must verify with its client_ca.",
        CERTIFICATES,
    ),
    section("domain", Often, "A domain that Postern is the final destination of.", DOMAIN),
    section("queue", Once, "How long and how often delivery is tried.", QUEUE),
    section(
        "outbound",
        Once,
        "What is demanded of all mail that leaves by SMTP, whichever connector it takes. Demands add up: what is written \
         here, in a policy, in the connector, in the DNS and by the sender (REQUIRETLS) all must be true.",
        OUTBOUND,
    ),
    section(
        "outbound.policy",
        Often,
        "A demand on the mail to some destinations, whichever connector it takes. The most specific address space wins.",
        OUTBOUND_POLICY,
    ),
    section(
        "connector",
        Often,
        "A named way out. The most specific address space wins, then the lowest cost. If no connector has the address \
         space \"*\", there is one named \"mx\" with to = \"mx\", address_space = [\"*\"] and cost = 100.",
        CONNECTOR,
    ),
    section(
        "connector.oauth",
        Once,
        "Where the connector above it gets access tokens (RFC 6749), for the large providers that take no passwords.",
        OAUTH,
    ),
    section("report", Once, "The reports that senders get (bounces).", REPORT),
    section(
        "tls_reports",
        Once,
        "Reports about TLS (RFC 8460): what Postern tells others once a day, and what others tell about reaching us.",
        TLS_REPORTS,
    ),
    section(
        "acme",
        Often,
        "A certificate authority that issues by ACME (RFC 8555), such as Let's Encrypt. Identities name it as their issuer; \
         it is asked for their certificates, and for new ones in time.",
        ACME,
    ),
    section(
        "certificates",
        Once,
        "Who hears when a certificate comes to its end: those that are served, their intermediates, and the private CA's own.",
        CERTIFICATE_WARNINGS,
    ),
    section(
        "metrics",
        Once,
        "Figures for a monitoring system: OpenMetrics text (as Prometheus reads it) under /metrics, over HTTP.",
        METRICS,
    ),
    section(
        "http",
        Once,
        "The private CA over HTTP: its root certificate, its revocation list, answers about single certificates (OCSP), and \
         requests for certificates. Nothing there is secret and all that matters is signed, so that it needs no TLS.",
        HTTP,
    ),
    section(
        "ca",
        Once,
        "What may be asked of the private CA over HTTP, what its certificates are like, and how its key is opened. What \
         `postern ca issue` issues is not bound to the names here.",
        CA,
    ),
];

const fn section(
    path: &'static str,
    occurs: super::Occurs,
    about: &'static str,
    keys: &'static [Key],
) -> Section {
    Section { path, occurs, about, keys, inherits: None }
}

/// A whole number, at least one.
const fn count(unit: &'static str) -> Kind {
    Count { unit, least: 1, most: 1_000_000_000 }
}

/// What pins look like.
const PINS: &str = "digests: \"sha256:…\" of a certificate or \"spki-sha256:…\" of its key";
/// What can be demanded of peers.
const GENERAL: &[&str] = &["none", "opportunistic", "required", "verified", "dane"];
const OF_KNOWN: &[&str] = &["none", "opportunistic", "required", "verified", "dane", "pinned"];

const TOP: &[Key] = &[
    Key {
        name: "hostname",
        kind: Domain,
        default: Required,
        reason: "The name in the banner, in EHLO and in Received fields; the world expects it to resolve to this machine and back.",
        example: "\"mail.example.org\"",
    },
    Key {
        name: "data_dir",
        kind: Path,
        default: Value("\"/var/lib/postern\""),
        reason: "Holds the queue, the users and the private CA; only Postern may read it, and it belongs on a disk that survives.",
        example: "\"/var/lib/postern\"",
    },
    Key {
        name: "postmaster",
        kind: Mailbox,
        default: Absent("postmaster@ of each own domain goes where that domain's mail goes"),
        reason: "Where mail for postmaster@ of every own domain goes when nobody there bears that name; every domain must have one (RFC 5321 §4.5.1).",
        example: "\"anna@example.org\"",
    },
];

const HISTORY: &[Key] = &[
    Key {
        name: "keep",
        kind: DurationOrNever,
        default: Value("\"30d\""),
        reason: "How long events are kept. They tell who wrote to whom, when, and from where: your rules on personal data may want a shorter time. \"never\" keeps nothing, and removes what was kept.",
        example: "\"7d\"",
    },
    Key {
        name: "events",
        kind: Count { unit: "events", least: 1000, most: 1_000_000_000 },
        default: Value("10000000"),
        reason: "At most so many are kept. A message for one recipient makes two or three; ten million are found in as readily as a thousand.",
        example: "1000000",
    },
    Key {
        name: "size",
        kind: Size { least: 1 << 20 },
        default: Value("\"4 GiB\""),
        reason: "At most so much of the disk is used for them; ten million events take some 3 GiB. The file keeps the size that it once had, and uses the room again.",
        example: "\"500 MiB\"",
    },
];

const LOG: &[Key] = &[
    Key {
        name: "format",
        kind: Choice(&["text", "json"]),
        default: Value("\"text\""),
        reason: "One readable line per event for people, or one JSON object for programs.",
        example: "\"json\"",
    },
    Key {
        name: "level",
        kind: Choice(&["info", "debug"]),
        default: Value("\"info\""),
        reason: "How much is logged; \"debug\" is for hunting a fault and is too much for every day.",
        example: "\"debug\"",
    },
];

const SESSIONS: &[Key] = &[
    Key {
        name: "transcripts",
        kind: Choice(&["troubled", "all", "off"]),
        default: Value("\"troubled\""),
        reason: "Of which sessions a transcript is kept: those in which something went wrong, all, or none. With \"off\" nothing is diagnosed, either.",
        example: "\"all\"",
    },
    Key {
        name: "keep",
        kind: Duration,
        default: Value("\"14d\""),
        reason: "For how long sessions and cases are kept: who was away for a week can still ask what went wrong before.",
        example: "\"3d\"",
    },
    Key {
        name: "most",
        kind: Count { unit: "sessions", least: 100, most: 1_000_000 },
        default: Value("20000"),
        reason: "So many sessions at most; then those that concern nobody go first, and the oldest of them. Of one client or user with one trouble only the first three and the last five are kept.",
        example: "5000",
    },
    Key {
        name: "space",
        kind: Size { least: 1_048_576 },
        default: Value("\"256 MiB\""),
        reason: "So many octets of transcripts at most, whatever clients say; a usual one has two thousand.",
        example: "\"64 MiB\"",
    },
];

const DNS: &[Key] = &[
    Key {
        name: "servers",
        kind: List("addresses, with a port unless it is 53"),
        default: Absent("the system's (/etc/resolv.conf)"),
        reason: "Name servers to ask; a resolver on this machine is the fastest and the most trustworthy.",
        example: "[\"127.0.0.1:53\"]",
    },
    Key {
        name: "timeout",
        kind: Duration,
        default: Value("\"5s\""),
        reason: "How long to wait for an answer to one question before it is asked again or put off.",
        example: "\"5s\"",
    },
    Key {
        name: "dnssec",
        kind: Choice(&["resolver", "own", "off"]),
        default: Value("\"resolver\""),
        reason: "Who checks DNSSEC, on which DANE rests: validating resolvers on this machine, whose word (the AD bit) is taken while that of others never is, so that without one there is no DANE; Postern itself; or nobody.",
        example: "\"own\"",
    },
    Key {
        name: "trust_anchors",
        kind: Path,
        default: Absent("the root's keys, which are built in"),
        reason: "A file with DS or DNSKEY records to start from with dnssec = \"own\", for a private root.",
        example: "\"/etc/postern/root.key\"",
    },
];

const LIMITS: &[Key] = &[
    Key {
        name: "sessions",
        kind: count("sessions"),
        default: Value("1000"),
        reason: "Sessions at the same time, so that a flood costs a known amount of memory. Here it bounds all listeners together; what a listener sets bounds that listener besides.",
        example: "1000",
    },
    Key {
        name: "sessions_per_address",
        kind: count("sessions"),
        default: Value("50"),
        reason: "Sessions at the same time from one client, which is an IPv4 address or an IPv6 network of 64 bits, so that one client cannot take all of them. Here it bounds all listeners together; what a listener sets bounds that listener besides.",
        example: "50",
    },
    Key {
        name: "message_size",
        kind: Size { least: 65_536 },
        default: Value("\"35 MiB\""),
        reason: "The largest message taken, announced with SIZE; 35 MiB holds a 25 MiB attachment after base64 (the least allowed is RFC 5321 §4.5.3.1.7's).",
        example: "\"35 MiB\"",
    },
    Key {
        name: "recipients",
        kind: Count { unit: "recipients", least: 100, most: 1_000_000 },
        default: Value("1000"),
        reason: "Recipients per message; RFC 5321 §4.5.3.1.8 demands that 100 are always taken.",
        example: "1000",
    },
    Key {
        name: "transactions",
        kind: count("messages"),
        default: Value("1000"),
        reason: "Messages per session, so that sessions end some day and a drain does not wait for ever.",
        example: "1000",
    },
    Key {
        name: "errors",
        kind: count("refused commands"),
        default: Value("10"),
        reason: "Refused commands before the session ends; an accepted message clears them. Unknown recipients beside accepted ones count a tenth, so that an old address list gets through and a harvester of addresses does not.",
        example: "10",
    },
    Key {
        name: "idle_commands",
        kind: count("commands"),
        default: Value("100"),
        reason: "Commands that send no mail (NOOP, RSET, VRFY …) before the session ends.",
        example: "100",
    },
    Key {
        name: "auth_attempts",
        kind: count("attempts"),
        default: Value("3"),
        reason: "Attempts to sign in per session; guessing passwords then costs a connection and a handshake each time.",
        example: "3",
    },
    Key {
        name: "command_timeout",
        kind: Duration,
        default: Value("\"5m\""),
        reason: "How long to wait for the next command; RFC 5321 §4.5.3.2.7 asks for five minutes.",
        example: "\"5m\"",
    },
    Key {
        name: "content_timeout",
        kind: Duration,
        default: Value("\"5m\""),
        reason: "How long to wait for the next piece of a message's content.",
        example: "\"5m\"",
    },
    Key {
        name: "session_timeout",
        kind: Duration,
        default: Value("\"1h\""),
        reason: "How long a session may last in all, however slowly its client speaks.",
        example: "\"1h\"",
    },
    Key {
        name: "hops",
        kind: Count { unit: "Received fields", least: 10, most: 1000 },
        default: Value("100"),
        reason: "A message with more Received fields than this goes in circles and is refused (RFC 5321 §6.3).",
        example: "100",
    },
];

const TLS: &[Key] = &[Key {
    name: "minimum",
    kind: Choice(&["1.2", "1.3"]),
    default: Value("\"1.2\""),
    reason: "The oldest version of TLS that listeners accept; older ones than 1.2 are broken, and much good equipment speaks no 1.3.",
    example: "\"1.3\"",
}];

const IDENTITY: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "The name by which listeners and connectors refer to this identity; in the certificate store it is the name of its folder.",
        example: "\"main\"",
    },
    Key {
        name: "certificate",
        kind: Path,
        default: Absent("it lies in the certificate store, where `postern cert` puts it"),
        reason: "A PEM file with the certificate followed by its intermediate certificates (fullchain.pem), which somebody else writes and renews; it is looked at every ten seconds and served as soon as it is new.",
        example: "\"/etc/postern/fullchain.pem\"",
    },
    Key {
        name: "key",
        kind: Path,
        default: Absent("it lies in the certificate store"),
        reason: "A PEM file with the private key that belongs to certificate, readable by Postern only.",
        example: "\"/etc/postern/privkey.pem\"",
    },
    Key {
        name: "issuer",
        kind: Text,
        default: Absent("it is installed and renewed by hand, with `postern cert`"),
        reason: "Who issues this certificate and renews it, into the certificate store: \"private-ca\", or the name of an [[acme]].",
        example: "\"private-ca\"",
    },
    Key {
        name: "names",
        kind: List("host names, wildcards and addresses"),
        default: Depends("hostname"),
        reason: "What the certificate is issued for: every name that clients use to reach this server.",
        example: "[\"mail.example.org\", \"smtp.example.org\"]",
    },
    Key {
        name: "key_type",
        kind: Text,
        default: Value("\"ecdsa-p256\""),
        reason: "The key that is made for it: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096; the first is fast, small and understood by everything that speaks TLS 1.2.",
        example: "\"rsa-2048\"",
    },
];

const ACME: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "The name by which identities refer to this authority; the account is kept in the folder acme/ of this name in the data directory.",
        example: "\"letsencrypt\"",
    },
    Key {
        name: "directory",
        kind: Url,
        default: Required,
        reason: "The address of its directory, from its documentation. Try a new setup with a staging directory first: real ones count failures.",
        example: "\"https://acme-v02.api.letsencrypt.org/directory\"",
    },
    Key {
        name: "terms_agreed",
        kind: Switch,
        default: Required,
        reason: "Whether you agree to the authority's terms of service; Postern cannot do that for you, and without it there is no account.",
        example: "true",
    },
    Key {
        name: "contact",
        kind: List("mail addresses"),
        default: Absent("the authority is given no address"),
        reason: "Where the authority may write to about the account; a change is told to it at the next order.",
        example: "[\"postmaster@example.org\"]",
    },
    Key {
        name: "trust",
        kind: Path,
        default: Absent("the certificate authorities that the operating system trusts"),
        reason: "A PEM file with the authorities whose certificate the ACME server itself must show: for one of your own.",
        example: "\"/etc/postern/acme-root.pem\"",
    },
    Key {
        name: "challenge",
        kind: Choice(&["http-01", "tls-alpn-01", "dns-01"]),
        default: Value("\"http-01\""),
        reason: "How names are proved: by a page on port 80 (the simplest), by a TLS handshake on port 443 (nothing else there may end TLS), or by a record in the DNS (the only way for wildcards, and for servers that the authority cannot reach).",
        example: "\"dns-01\"",
    },
    Key {
        name: "bind",
        kind: List("addresses with a port"),
        default: Depends(
            "[\"[::]:80\"] with http-01; with tls-alpn-01 the listeners with implicit TLS, to one of which port 443 must then lead",
        ),
        reason: "Where http-01 or tls-alpn-01 is answered. It stays bound, so that a port that cannot be had is seen at the start and not months later; nothing but challenges is answered there.",
        example: "[\"192.0.2.1:80\"]",
    },
    Key {
        name: "eab_key_id",
        kind: Text,
        default: Absent("the account is bound to no other"),
        reason: "The key id of the account that you have with the authority, for those that take no others (external account binding).",
        example: "\"kid-1\"",
    },
    Key {
        name: "eab_key_file",
        kind: Path,
        default: Absent("the account is bound to no other"),
        reason: "A file whose first line is the MAC key that belongs to eab_key_id, in base64url as the authority gave it.",
        example: "\"/etc/postern/eab.key\"",
    },
    Key {
        name: "profile",
        kind: Text,
        default: Absent("the authority's own choice"),
        reason: "One of the certificate profiles that the authority offers.",
        example: "\"tlsserver\"",
    },
    Key {
        name: "dns_server",
        kind: Text,
        default: Absent("no dynamic updates"),
        reason: "For dns-01: the name server that takes dynamic updates (RFC 2136), the zone's primary one; port 53 unless another is given.",
        example: "\"192.0.2.53\"",
    },
    Key {
        name: "dns_zone",
        kind: Domain,
        default: Absent("the server is asked"),
        reason: "The zone that is changed.",
        example: "\"example.org\"",
    },
    Key {
        name: "dns_key_name",
        kind: Text,
        default: Absent("no dynamic updates"),
        reason: "The name of the TSIG key (RFC 8945) at the name server; let it change TXT records below _acme-challenge and nothing else.",
        example: "\"postern.example.org\"",
    },
    Key {
        name: "dns_key_file",
        kind: Path,
        default: Absent("no dynamic updates"),
        reason: "A file whose first line is the TSIG key's secret, in base64.",
        example: "\"/etc/postern/tsig.key\"",
    },
    Key {
        name: "dns_algorithm",
        kind: Choice(&["hmac-sha256", "hmac-sha384", "hmac-sha512"]),
        default: Value("\"hmac-sha256\""),
        reason: "The TSIG key's algorithm, as at the name server; others are too weak.",
        example: "\"hmac-sha512\"",
    },
    Key {
        name: "hook",
        kind: Path,
        default: Absent("no program"),
        reason: "For dns-01 without dynamic updates: a program that is run as PROGRAM present|cleanup _acme-challenge.NAME VALUE and sets or removes that TXT record before it ends with 0. VALUE may begin with a hyphen: it must not be taken for an option.",
        example: "\"/etc/postern/dns-hook\"",
    },
];

const LISTENER: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "The name that the log gives to this listener.",
        example: "\"submission\"",
    },
    Key {
        name: "role",
        kind: Choice(&["relay", "submission", "device"]),
        default: Required,
        reason: "\"relay\" takes mail from other servers for own domains; \"submission\" takes mail from signed-in people to anywhere; \"device\" takes mail from those that a [[device]] names, as it says.",
        example: "\"submission\"",
    },
    Key {
        name: "bind",
        kind: List("addresses with a port"),
        default: Required,
        reason: "Where to listen: 25 for relay; 587 and, with TLS from the first byte, 465 for submission. [::] means every address of this machine, IPv4 included.",
        example: "[\"[::]:587\"]",
    },
    Key {
        name: "tls",
        kind: Choice(&["offered", "required", "implicit", "auto"]),
        default: Depends("\"auto\" for submission, \"offered\" for relay and device"),
        reason: "STARTTLS offered, STARTTLS before anything else, TLS from the first byte, or (\"auto\") TLS before anything else in whichever of the two ways the client begins; other servers on port 25 cannot be forced (RFC 3207 §4), people can.",
        example: "\"implicit\"",
    },
    Key {
        name: "tls_expects",
        kind: Choice(&["starttls", "tls"]),
        default: Depends("\"tls\" on port 465, \"starttls\" on all others"),
        reason: "With tls = \"auto\", how clients are expected to begin: they are served without delay, others after a silence. To be written where a router or a container leads port 465 to another one.",
        example: "\"tls\"",
    },
    Key {
        name: "auth",
        kind: Switch,
        default: Depends("true for submission (always), false for relay; a device has its own"),
        reason: "Whether a relay listener offers signing in after STARTTLS, for devices that know only port 25.",
        example: "true",
    },
    Key {
        name: "proxy_protocol",
        kind: List("addresses or networks"),
        default: Value("[]"),
        reason: "Load balancers that must say with the PROXY protocol (v1 or v2) who the client is; from all others it is not interpreted.",
        example: "[\"10.0.0.5\", \"192.0.2.0/24\"]",
    },
    Key {
        name: "xclient",
        kind: List("addresses or networks"),
        default: Value("[]"),
        reason: "Front ends that may say with XCLIENT for which client they speak: limits, bans, the log and Received then see that client. Nobody else may say it.",
        example: "[\"10.0.0.6\"]",
    },
    Key {
        name: "xclient_login",
        kind: Switch,
        default: Value("false"),
        reason: "Whether those front ends may also say who the client has signed in as. Whoever controls one can then send as everybody; the user must exist in a directory.",
        example: "true",
    },
    Key {
        name: "line_endings",
        kind: Choice(&["strict", "repair"]),
        default: Depends("\"repair\" for submission and device, \"strict\" for relay"),
        reason: "A bare LF in a message is refused, or becomes CRLF: some programs and devices send it, and between servers it is how mail is smuggled.",
        example: "\"strict\"",
    },
    Key {
        name: "tls_minimum",
        kind: Choice(&["1.2", "1.3"]),
        default: Depends("minimum of [tls]"),
        reason: "The oldest version of TLS that this listener accepts.",
        example: "\"1.3\"",
    },
    Key {
        name: "client_certificates",
        kind: Choice(&["ignored", "asked", "required"]),
        default: Value("\"ignored\""),
        reason: "Whether clients are asked for a certificate, to relay or to sign in with it; \"asked\" lets those without one go on, \"required\" ends their handshake, which no public port 25 can afford.",
        example: "\"asked\"",
    },
    Key {
        name: "client_ca",
        kind: Path,
        default: Absent("needed with \"asked\" and \"required\""),
        reason: "A PEM file with the authorities whose client certificates count; the system's are never used, for they issue to anybody.",
        example: "\"/etc/postern/offices.pem\"",
    },
    Key {
        name: "identities",
        kind: List("names of identities"),
        default: Absent("all that there are"),
        reason: "The identities that this listener presents: of [[tls.identity]], or by their name in the certificate store.",
        example: "[\"main\"]",
    },
    Key {
        name: "session_tickets",
        kind: Switch,
        default: Depends("true for submission, false for relay"),
        reason: "Whether TLS sessions may be resumed; on port 25 tickets broke delivery from a large provider and gain nothing.",
        example: "false",
    },
    Key {
        name: "check_from_header",
        kind: Switch,
        default: Value("true"),
        reason: "Whether the From: field of signed-in people must be an address of theirs, as the reverse-path must in any case.",
        example: "false",
    },
];

const DOMAIN: &[Key] = &[
    Key {
        name: "name",
        kind: Domain,
        default: Required,
        reason: "The domain; its subdomains are domains of their own.",
        example: "\"example.org\"",
    },
    Key {
        name: "deliver",
        kind: Text,
        default: Required,
        reason: "The name of the connector that leads to the mailboxes of this domain.",
        example: "\"mailstore\"",
    },
    Key {
        name: "mailboxes",
        kind: List("local parts"),
        default: Value("[]"),
        reason: "Local parts that exist besides the addresses of Postern's own users; mail for unknown ones is refused at RCPT, so that nobody gets bounces for forged mail.",
        example: "[\"anna\", \"info\"]",
    },
    Key {
        name: "aliases",
        kind: Aliases,
        default: Value("{}"),
        reason: "Local parts whose mail goes elsewhere; one that names itself among others keeps a copy in the mailbox of that name.",
        example: "{ sales = [\"anna\", \"bob@elsewhere.example\"] }",
    },
    Key {
        name: "plus",
        kind: Text,
        default: Value("\"+\""),
        reason: "The character that separates a detail from the mailbox, as in anna+lists; \"\" switches this off.",
        example: "\"-\"",
    },
    Key {
        name: "catch_all",
        kind: Recipient,
        default: Absent("mail for unknown recipients is refused"),
        reason: "Where mail for unknown local parts goes; it attracts what is sent to made-up addresses.",
        example: "\"anna@example.org\"",
    },
    Key {
        name: "backup",
        kind: Switch,
        default: Value("false"),
        reason: "Whether Postern only stands in for another server: the domain's mail goes on to where its MX records lead. Strangers may send there then, so that it has to be said for a domain whose connector looks the way up in the DNS.",
        example: "true",
    },
];

const CONNECTOR: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "The name by which domains refer to this connector, and that the log gives to it.",
        example: "\"mailstore\"",
    },
    Key {
        name: "to",
        kind: Ways,
        default: Required,
        reason: "Where it leads: \"mx\", \"smtp:host:port\", \"lmtp:unix:/path\", \"lmtp:host:port\" or \"maildir:/path\" with the fields {local}, {domain}, {address} and {detail}. Of several \"smtp:\" hosts the next one takes the mail when those before do not answer.",
        example: "\"lmtp:unix:/run/dovecot/lmtp\"",
    },
    Key {
        name: "address_space",
        kind: List("\"*\", domains or \"*.domain\""),
        default: Value("[]"),
        reason: "The recipients' domains that take this way; without any it serves only the domains that name it.",
        example: "[\"partner.example\", \"*.partner.example\"]",
    },
    Key {
        name: "cost",
        kind: Count { unit: "points", least: 0, most: 65_535 },
        default: Value("10"),
        reason: "Among equally specific address spaces the lowest cost wins.",
        example: "20",
    },
    Key {
        name: "enabled",
        kind: Switch,
        default: Value("true"),
        reason: "Whether it is in service; while it is not, the mail that takes it waits, and takes no weaker way instead.",
        example: "false",
    },
    Key {
        name: "tls",
        kind: Choice(OF_KNOWN),
        default: Depends(
            "\"opportunistic\"; with pins \"pinned\"; with signing in \"verified\"; over a socket in the file system none",
        ),
        reason: "What must be true before mail is sent: nothing, TLS where the peer has it, TLS with any certificate, with one that verifies, with one that matches a TLSA record (DANE), or with one that is pinned. DANE and MTA-STS may still demand more where they are on, even of \"none\".",
        example: "\"verified\"",
    },
    Key {
        name: "trust",
        kind: Path,
        default: Absent("the system's trust anchors"),
        reason: "A PEM file with the trust anchors to verify against in place of the system's, for a peer with a private CA.",
        example: "\"/etc/postern/partner-roots.pem\"",
    },
    Key {
        name: "pins",
        kind: List(PINS),
        default: Value("[]"),
        reason: "The certificates or keys of the peer, one of which it must show with tls = \"pinned\"; a key outlives the renewal of its certificate. `postern probe HOST` shows the digests.",
        example: "[\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]",
    },
    Key {
        name: "distrust",
        kind: List(PINS),
        default: Value("[]"),
        reason: "Certificates and keys that prove nothing any more, whatever else speaks for them: revocation by hand.",
        example: "[\"sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\"]",
    },
    Key {
        name: "dane",
        kind: Switch,
        default: Depends("dane of [outbound]"),
        reason: "Whether a peer that publishes TLSA records must match them (RFC 7672); for \"mx\" and \"smtp:\" hosts.",
        example: "false",
    },
    Key {
        name: "mta_sts",
        kind: Switch,
        default: Depends("mta_sts of [outbound]"),
        reason: "Whether the policies that recipients' domains publish are obeyed (RFC 8461); for \"mx\".",
        example: "false",
    },
    Key {
        name: "post_quantum",
        kind: Switch,
        default: Value("true"),
        reason: "Whether a hybrid post-quantum key exchange is offered; it makes the first packet large, which a few old middleboxes do not survive.",
        example: "false",
    },
    Key {
        name: "identity",
        kind: Text,
        default: Absent("no client certificate is shown"),
        reason: "The [[tls.identity]] to show to a peer that asks for a client certificate.",
        example: "\"main\"",
    },
    Key {
        name: "user",
        kind: Text,
        default: Absent("no signing in"),
        reason: "The name to sign in with at a smarthost; it is sent only to a peer that proves who it is (verified, dane or pinned).",
        example: "\"office@example.org\"",
    },
    Key {
        name: "password_file",
        kind: Path,
        default: Absent("no password"),
        reason: "A file whose first line is the password to sign in with, readable by Postern only.",
        example: "\"/etc/postern/smarthost.password\"",
    },
    Key {
        name: "token_file",
        kind: Path,
        default: Absent("no token"),
        reason: "A file whose first line is the access token to sign in with, readable by Postern only, where another program keeps it fresh; Postern fetches tokens itself with [connector.oauth].",
        example: "\"/run/postern/smarthost.token\"",
    },
    Key {
        name: "mechanism",
        kind: Choice(&[
            "plain",
            "login",
            "scram-sha-256",
            "scram-sha-256-plus",
            "scram-sha-1",
            "scram-sha-1-plus",
            "xoauth2",
            "oauthbearer",
            "external",
        ]),
        default: Absent("the strongest that the peer offers"),
        reason: "The only way to sign in, for peers that offer one that does not work; \"external\" signs in with the client certificate alone.",
        example: "\"scram-sha-256\"",
    },
    Key {
        name: "port",
        kind: Count { unit: "the port", least: 1, most: 65_535 },
        default: Depends("25 for \"mx\"; for others it stands in to"),
        reason: "The port of the recipients' mail hosts; the world listens on 25, another one is for trials.",
        example: "2525",
    },
    Key {
        name: "concurrency",
        kind: count("connections"),
        default: Value("20"),
        reason: "Connections to one destination at the same time; many receivers slow down those who open more.",
        example: "20",
    },
    Key {
        name: "messages_per_connection",
        kind: count("messages"),
        default: Value("100"),
        reason: "Messages over one connection before a new one is made, so that the load spreads over several hosts.",
        example: "100",
    },
    Key {
        name: "idle",
        kind: Duration,
        default: Value("\"10s\""),
        reason: "How long a finished connection is kept for the next message.",
        example: "\"10s\"",
    },
    Key {
        name: "hello",
        kind: Domain,
        default: Depends("hostname"),
        reason: "The name in EHLO or LHLO where it must differ from the host name.",
        example: "\"out.example.org\"",
    },
    Key {
        name: "implicit_tls",
        kind: Switch,
        default: Depends("true for \"smtp:\" on port 465, else false"),
        reason: "Whether TLS starts with the first byte at an \"smtp:\" host, instead of with STARTTLS.",
        example: "true",
    },
    Key {
        name: "source",
        kind: List("own addresses, at most one of each family"),
        default: Value("[]"),
        reason: "The addresses to connect from, on a machine with several; without one of a family the system chooses.",
        example: "[\"192.0.2.7\", \"2001:db8::7\"]",
    },
    Key {
        name: "ip",
        kind: Choice(&["ipv6-first", "ipv4-first", "ipv4-only", "ipv6-only"]),
        default: Value("\"ipv6-first\""),
        reason: "Which addresses of a host to use, and which first; \"ipv4-only\" for a machine whose IPv6 address has no good name or reputation.",
        example: "\"ipv4-only\"",
    },
    Key {
        name: "rate",
        kind: Rate,
        default: Absent("as fast as the peer takes it"),
        reason: "The most messages in a time over all connections of this connector, for providers that count them.",
        example: "\"100/1m\"",
    },
    Key {
        name: "retry",
        kind: List("time spans"),
        default: Absent("retry of [queue]"),
        reason: "The waits after the first, second … attempt by this connector.",
        example: "[\"2m\", \"5m\", \"15m\"]",
    },
    Key {
        name: "jitter",
        kind: Share,
        default: Absent("jitter of [queue]"),
        reason: "How much each wait varies at random, as a share of it.",
        example: "0.1",
    },
    Key {
        name: "expire",
        kind: Duration,
        default: Absent("expire of [queue]"),
        reason: "When to give up mail that takes this connector and tell the sender.",
        example: "\"1d\"",
    },
    Key {
        name: "delay_warning",
        kind: DurationOrNever,
        default: Absent("delay_warning of [queue]"),
        reason: "When to tell the sender that a message for this connector is still waiting.",
        example: "\"30m\"",
    },
];

const OAUTH: &[Key] = &[
    Key {
        name: "token_url",
        kind: Url,
        default: Required,
        reason: "The token endpoint of the provider; nothing but HTTPS is spoken with it.",
        example: "\"https://login.provider.example/oauth2/v2.0/token\"",
    },
    Key {
        name: "client_id",
        kind: Text,
        default: Required,
        reason: "The name under which the provider knows this installation of Postern.",
        example: "\"1d8c3f7e-postern\"",
    },
    Key {
        name: "client_secret_file",
        kind: Path,
        default: Absent("a public client, which has none"),
        reason: "A file whose first line is the client's secret, readable by Postern only.",
        example: "\"/etc/postern/oauth.secret\"",
    },
    Key {
        name: "refresh_token_file",
        kind: Path,
        default: Absent("the client credentials grant (RFC 6749 §4.4)"),
        reason: "A file whose first line is the refresh token that a person granted once (RFC 6749 §6), readable by Postern only.",
        example: "\"/etc/postern/oauth.refresh\"",
    },
    Key {
        name: "scope",
        kind: Text,
        default: Absent("what the provider thinks fit"),
        reason: "What the token is to be good for, in the words of the provider.",
        example: "\"https://mail.provider.example/SMTP.Send\"",
    },
];

const OUTBOUND: &[Key] = &[
    Key {
        name: "tls",
        kind: Choice(GENERAL),
        default: Value("\"none\""),
        reason: "What must be true of every peer before mail is sent; \"none\" demands nothing beyond what connectors and policies do.",
        example: "\"opportunistic\"",
    },
    Key {
        name: "dane",
        kind: Switch,
        default: Value("true"),
        reason: "Whether peers that publish TLSA records must match them (RFC 7672), for connectors that do not say otherwise: whoever publishes them wants it so.",
        example: "false",
    },
    Key {
        name: "mta_sts",
        kind: Switch,
        default: Value("true"),
        reason: "Whether the policies that recipients' domains publish are obeyed (RFC 8461), for connectors that do not say otherwise.",
        example: "false",
    },
];

const OUTBOUND_POLICY: &[Key] = &[
    Key {
        name: "address_space",
        kind: List("\"*\", domains or \"*.domain\""),
        default: Required,
        reason: "The recipients' domains that it holds for.",
        example: "[\"bank.example\", \"*.bank.example\"]",
    },
    Key {
        name: "tls",
        kind: Choice(OF_KNOWN),
        default: Depends("with pins \"pinned\", else \"none\""),
        reason: "What must be true before mail is sent there; it adds to what the connector demands.",
        example: "\"verified\"",
    },
    Key {
        name: "trust",
        kind: Path,
        default: Absent("the system's trust anchors"),
        reason: "A PEM file with the trust anchors to verify against in place of the system's.",
        example: "\"/etc/postern/bank-roots.pem\"",
    },
    Key {
        name: "pins",
        kind: List(PINS),
        default: Value("[]"),
        reason: "The certificates or keys one of which the peer must show with tls = \"pinned\".",
        example: "[\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]",
    },
    Key {
        name: "distrust",
        kind: List(PINS),
        default: Value("[]"),
        reason: "Certificates and keys that prove nothing any more, whatever else speaks for them.",
        example: "[\"sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\"]",
    },
];

const AUTH: &[Key] = &[
    Key {
        name: "mechanisms",
        kind: List("SASL mechanisms"),
        default: Depends("PLAIN and LOGIN, and besides what every directory can judge"),
        reason: "The mechanisms that are announced, never before TLS. Programs take the strongest that they find: one that only some \
         of the directories can judge keeps the people of the others out.",
        example: "[\"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\"]",
    },
    Key {
        name: "own_users",
        kind: Choice(&["first", "last", "off"]),
        default: Value("\"first\""),
        reason: "When Postern's own users (`postern user`) are asked: before or after the directories of this file, or never.",
        example: "\"last\"",
    },
];

const DIRECTORY: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "Its name in the log and in commands. `users` are Postern's own.",
        example: "\"staff\"",
    },
    Key {
        name: "domains",
        kind: List("domain names"),
        default: Value("[]"),
        reason: "Only names in these domains are looked for here, such as anna@example.org. Without, all names.",
        example: "[\"example.org\"]",
    },
    Key {
        name: "timeout",
        kind: Duration,
        default: Value("\"10s\""),
        reason: "How long one question may take. A directory that does not answer gives the client 454, so that it tries again and asks \
         nobody for another password.",
        example: "\"5s\"",
    },
    Key {
        name: "remember",
        kind: DurationOrNever,
        default: Value("\"never\""),
        reason: "So long a sign-in that was right is not asked for again; at most 24 hours. It spares a slow directory work, and somebody \
         who was removed from it goes on for as long.",
        example: "\"5m\"",
    },
    Key {
        name: "bridge",
        kind: DurationOrNever,
        default: Value("\"never\""),
        reason: "While the directory does not answer, a sign-in that was right counts for so long; at most 24 hours.",
        example: "\"1h\"",
    },
    Key {
        name: "addresses",
        kind: List("addresses with {user}, {login}, {local} or {domain}"),
        default: Value("[]"),
        reason: "Sender addresses that follow from the name, besides those that the directory tells.",
        example: "[\"{user}@example.org\"]",
    },
    Key {
        name: "app_passwords_only",
        kind: Switch,
        default: Value("false"),
        reason: "The passwords of the directory are not taken, only app passwords (`postern user app-password`).",
        example: "true",
    },
];

const DEVICE: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "What the log, replies and `postern device list` call it.",
        example: "\"scanner-2nd-floor\"",
    },
    Key {
        name: "addresses",
        kind: List("addresses or networks"),
        default: Required,
        reason: "Where it is. No two devices have the same; of several that hold a client the one with the longest prefix counts. A list with \
         the default gateway, with a whole private network or with more than a /16 (IPv6: /48) needs because.",
        example: "[\"192.0.2.17\"]",
    },
    Key {
        name: "because",
        kind: Text,
        default: Absent("none"),
        reason: "Why so wide a list is right, for whoever reads it next.",
        example: "\"the warehouse's scanners get their addresses by DHCP, and nothing else is in that network\"",
    },
    Key {
        name: "sender",
        kind: Mailbox,
        default: Required,
        reason: "The address it sends as: in MAIL, in From: and in Sender:. In ASCII.",
        example: "\"scanner@example.org\"",
    },
    Key {
        name: "rewrite_sender",
        kind: Switch,
        default: Value("false"),
        reason: "Other senders are replaced by that address instead of being refused, for devices that cannot be told. The fields of before \
         stay as Original-From: and Original-Sender:.",
        example: "true",
    },
    Key {
        name: "recipient_domains",
        kind: List("\"*\", domains or \"*.domain\""),
        default: Required,
        reason: "The domains it may send to, own and foreign ones.",
        example: "[\"example.org\"]",
    },
    Key {
        name: "rate",
        kind: Rate,
        default: Value("\"100/1h\""),
        reason: "So many messages in so much time, or \"never\" for no limit; above it 450. A scanner that went wrong, or somebody in its place, sends \
         no more than that.",
        example: "\"30/1h\"",
    },
    Key {
        name: "tls",
        kind: Choice(&["required", "offered"]),
        default: Value("\"required\""),
        reason: "\"offered\" lets it go without TLS: its mail can be read on the way, and with clear_text_sign_in its password. What the listener \
         demands counts besides.",
        example: "\"offered\"",
    },
    Key {
        name: "sign_in",
        kind: Choice(&["required", "none"]),
        default: Value("\"required\""),
        reason: "\"none\" lets it go without signing in: whoever can take its address can send as it. Who signs in must be allowed to send as the \
         device's sender.",
        example: "\"none\"",
    },
    Key {
        name: "clear_text_sign_in",
        kind: Switch,
        default: Value("false"),
        reason: "Its password may cross the network without TLS. Give it one that is good for nothing else.",
        example: "true",
    },
];

const LDAP: &[Key] = &[
    Key {
        name: "urls",
        kind: List("addresses that begin with ldap:// or ldaps://"),
        default: Required,
        reason: "Servers that know the same people. They are tried in this order; one that does not answer is left alone for 30 \
         seconds. ldap:// begins TLS by StartTLS, always.",
        example: "[\"ldap://ldap1.example.org\", \"ldaps://ldap2.example.org\"]",
    },
    Key {
        name: "flavour",
        kind: Choice(&["ldap", "active-directory"]),
        default: Value("\"ldap\""),
        reason: "What kind of servers they are: it sets the defaults of filter, name and group_filter, and `CORP\\anna` is anna in \
         Active Directory.",
        example: "\"active-directory\"",
    },
    Key {
        name: "tls",
        kind: Choice(&["verified", "off"]),
        default: Value("\"verified\""),
        reason: "Servers must prove their names, for they are shown passwords. off is only for a server on the same machine.",
        example: "\"off\"",
    },
    Key {
        name: "trust",
        kind: Path,
        default: Absent("the certificate authorities that the system trusts"),
        reason: "The certificate authorities that may vouch for the servers, in a PEM file.",
        example: "\"/etc/postern/ldap-ca.pem\"",
    },
    Key {
        name: "step_timeout",
        kind: Duration,
        default: Value("\"3s\""),
        reason: "How long connecting, or one answer, may take before the next server is tried. Keep it well below the timeout of the \
         directory, which bounds all of it.",
        example: "\"2s\"",
    },
    Key {
        name: "bind_dn",
        kind: Text,
        default: Absent("questions are asked without signing in"),
        reason: "The account that Postern asks its questions with. It needs to read people and groups, and nothing else.",
        example: "\"cn=postern,ou=services,dc=example,dc=org\"",
    },
    Key {
        name: "bind_password_file",
        kind: Path,
        default: Absent("there is no account to ask with"),
        reason: "The file whose first line is the password of bind_dn.",
        example: "\"/etc/postern/ldap.password\"",
    },
    Key {
        name: "bind_as",
        kind: Text,
        default: Absent("people are searched for with base and filter"),
        reason: "Whom somebody binds as without being searched for: a DN with {local} or {login} in it, or an account such as \
         \"{local}@corp.example\" in Active Directory. Without bind_dn, nobody can be looked up who does not sign in with a password.",
        example: "\"uid={local},ou=people,dc=example,dc=org\"",
    },
    Key {
        name: "base",
        kind: Text,
        default: Absent("bind_as says where people are"),
        reason: "The entry below which people are.",
        example: "\"ou=people,dc=example,dc=org\"",
    },
    Key {
        name: "scope",
        kind: Choice(&["subtree", "one-level", "base"]),
        default: Value("\"subtree\""),
        reason: "How far below base people are looked for.",
        example: "\"one-level\"",
    },
    Key {
        name: "filter",
        kind: Text,
        default: Depends(
            "(uid={local}), or in Active Directory the account's name or userPrincipalName, of people only",
        ),
        reason: "What finds the one entry of somebody: {login} is what he signs in as, {local} and {domain} the parts of that before and \
         behind its @. Who must be in a group to send mail: (&(uid={local})(memberOf=cn=mail,ou=groups,dc=example,dc=org)).",
        example: "\"(&(objectClass=inetOrgPerson)(|(uid={local})(mail={login})))\"",
    },
    Key {
        name: "name",
        kind: Text,
        default: Depends("uid, or sAMAccountName in Active Directory"),
        reason: "The attribute that says what somebody is called here, whatever he signs in as.",
        example: "\"uid\"",
    },
    Key {
        name: "mail",
        kind: List("attributes"),
        default: Value("[\"mail\", \"mailAlternateAddress\", \"proxyAddresses\"]"),
        reason: "The attributes that hold the addresses he may send as. People must not be able to change them themselves.",
        example: "[\"mail\"]",
    },
    Key {
        name: "member_of",
        kind: Text,
        default: Value("\"memberOf\""),
        reason: "The attribute of a person's entry that names his groups; empty if there is none. A group is called by its cn.",
        example: "\"isMemberOf\"",
    },
    Key {
        name: "group_base",
        kind: Text,
        default: Absent("member_of alone says which groups somebody is in"),
        reason: "The entry below which groups are, if they are to be searched for.",
        example: "\"ou=groups,dc=example,dc=org\"",
    },
    Key {
        name: "group_filter",
        kind: Text,
        default: Depends(
            "(|(member={dn})(uniqueMember={dn})(memberUid={name})), or in Active Directory (member={dn})",
        ),
        reason: "What finds the groups of somebody: {dn} is his entry, {name} what he is called.",
        example: "\"(&(objectClass=groupOfNames)(member={dn}))\"",
    },
    Key {
        name: "nested_groups",
        kind: Switch,
        default: Value("false"),
        reason: "Active Directory also finds the groups that his groups are in, at some cost (its matching rule in chain).",
        example: "true",
    },
];

const SEND_AS: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "What `postern user may-send` calls it.",
        example: "\"service desk\"",
    },
    Key {
        name: "addresses",
        kind: List("addresses, with at most one * before the @"),
        default: Required,
        reason: "The addresses. With `*`, whole families of them: \"crm-*@example.org\", \"*@example.org\". They need not be of an own domain.",
        example: "[\"info@example.org\", \"crm-*@example.org\"]",
    },
    Key {
        name: "users",
        kind: List("user names"),
        default: Value("[]"),
        reason: "Who may, by the name that the log gives to people who have signed in. \"*\" is everybody.",
        example: "[\"anna\"]",
    },
    Key {
        name: "groups",
        kind: List("groups"),
        default: Value("[]"),
        reason: "And who is in one of these groups, as the directory names them, in any case.",
        example: "[\"service desk\"]",
    },
    Key {
        name: "directory",
        kind: Text,
        default: Absent("of all directories"),
        reason: "Only people and groups of this directory are meant. \"users\" are Postern's own.",
        example: "\"users\"",
    },
    Key {
        name: "on_behalf",
        kind: Switch,
        default: Value("false"),
        reason: "The address may stand in From: only beside a Sender: field with an address that is the user's own (RFC 5322 §3.6.2), so \
         that readers see who wrote.",
        example: "true",
    },
];

const PASSWD_FILE: &[Key] = &[
    Key {
        name: "path",
        kind: Path,
        default: Required,
        reason: "The file. Postern's user must be able to read it, and others should not.",
        example: "\"/etc/dovecot/users\"",
    },
    Key {
        name: "format",
        kind: Choice(&["dovecot", "shadow"]),
        default: Value("\"dovecot\""),
        reason: "What its lines are: name:{SCHEME}hash:… as Dovecot reads them, or those of shadow(5) with their expiry dates.",
        example: "\"shadow\"",
    },
    Key {
        name: "names",
        kind: Choice(&["login", "local"]),
        default: Value("\"login\""),
        reason: "What of a sign-in name is looked for: all of it, or what stands before its @.",
        example: "\"local\"",
    },
    ALLOW_PLAIN,
    Key {
        name: "rehash",
        kind: Switch,
        default: Value("false"),
        reason: "Whether a password that was right is stored anew as argon2id where it was stored otherwise. Postern then replaces \
         the file, with the same owner and mode; other lines stay as they are. Only with format = \"dovecot\".",
        example: "true",
    },
];

const ALLOW_PLAIN: Key = Key {
    name: "allow_plain",
    kind: Switch,
    default: Value("false"),
    reason: "Whether passwords that are stored in clear, as {PLAIN} or {CLEARTEXT}, are taken. Whoever reads them has them.",
    example: "true",
};

const SQL: &[Key] = &[
    Key {
        name: "url",
        kind: Text,
        default: Required,
        reason: "The database: postgresql://USER@HOST/DATABASE, where hosts may stand in for each other \
         (HOST1,HOST2/DATABASE?target_session_attrs=read-write), or sqlite:/PATH. A server on another machine must show a \
         certificate that is right for its name.",
        example: "\"postgresql://postern@db.example.org/mail\"",
    },
    Key {
        name: "password_file",
        kind: Path,
        default: Absent("none; the server lets Postern's user in by other means"),
        reason: "The file whose first line is the password of USER. It is read at each connection.",
        example: "\"/etc/postern/sql-password\"",
    },
    Key {
        name: "trust",
        kind: Path,
        default: Absent("the certificate authorities that the operating system trusts"),
        reason: "A PEM file with the authorities that vouch for the server.",
        example: "\"/etc/postern/database-root.pem\"",
    },
    Key {
        name: "query",
        kind: Text,
        default: Required,
        reason: "Who somebody is, with the fields {login}, {local} and {domain} (null without one), all in lower case. Its columns count by \
         their names: password (the stored hash), and if they are there name, addresses and groups (arrays, or texts with \
         commas) and enabled. Two rows are refused.",
        example: "\"SELECT password, name, addresses, enabled FROM people WHERE login = {login}\"",
    },
    Key {
        name: "compare",
        kind: Choice(&["here", "there"]),
        default: Value("\"here\""),
        reason: "Who compares passwords: Postern with the stored hash, or the database: then the query is given {password} too, and \
         gives a row only when it is right.",
        example: "\"there\"",
    },
    Key {
        name: "lookup_query",
        kind: Text,
        default: Absent("with compare = \"here\" the query; otherwise nobody is known without his password"),
        reason: "Who somebody is without his password, in the columns of the query: for app passwords, certificates and \
         administrators' questions.",
        example: "\"SELECT name, enabled FROM people WHERE login = {login}\"",
    },
    Key {
        name: "addresses_query",
        kind: Text,
        default: Absent("only the column addresses counts"),
        reason: "His sender addresses, one in the first column of each row; {user} is the name that the query gave.",
        example: "\"SELECT address FROM aliases WHERE owner = {user}\"",
    },
    Key {
        name: "groups_query",
        kind: Text,
        default: Absent("only the column groups counts"),
        reason: "His groups, one in the first column of each row.",
        example: "\"SELECT team FROM members WHERE person = {user}\"",
    },
    Key {
        name: "rehash_query",
        kind: Text,
        default: Absent("stored passwords stay as they are"),
        reason: "Stores a password that was right anew, as the argon2id {hash}, where it was stored otherwise.",
        example: "\"UPDATE people SET password = {hash} WHERE name = {user}\"",
    },
    ALLOW_PLAIN,
    Key {
        name: "scram",
        kind: Switch,
        default: Value("false"),
        reason: "That all passwords are stored as {SCRAM-SHA-256}, so that SCRAM works for everybody and can be announced.",
        example: "true",
    },
];

const SASLAUTHD: &[Key] = &[
    Key {
        name: "socket",
        kind: Path,
        default: Value("\"/run/saslauthd/mux\""),
        reason: "The socket on which it answers.",
        example: "\"/var/spool/postfix/var/run/saslauthd/mux\"",
    },
    Key {
        name: "service",
        kind: Text,
        default: Value("\"smtp\""),
        reason: "The service that it is told: PAM takes its rules from /etc/pam.d under this name.",
        example: "\"postern\"",
    },
    Key {
        name: "realm",
        kind: Text,
        default: Value("\"\""),
        reason: "The realm that it is told; most setups need none.",
        example: "\"example.org\"",
    },
];

const DOVECOT: &[Key] = &[
    Key {
        name: "socket",
        kind: Text,
        default: Value("\"/run/dovecot/auth-client\""),
        reason: "The socket on which it answers its clients: a path, or a loopback address.",
        example: "\"/run/dovecot/postern\"",
    },
    Key {
        name: "userdb_socket",
        kind: Text,
        default: Absent("names are taken as Dovecot tells them at a sign-in, and exist without one"),
        reason: "The socket on which it tells about users, for their addresses, and for who exists: the same forms.",
        example: "\"/run/dovecot/postern-userdb\"",
    },
    Key {
        name: "service",
        kind: Text,
        default: Value("\"smtp\""),
        reason: "The service that it is told, `%s` in its settings.",
        example: "\"postern\"",
    },
    Key {
        name: "address_fields",
        kind: List("names of fields"),
        default: Value("[\"email\"]"),
        reason: "The extra fields of its answers that hold sender addresses; several in one field stand apart by blanks or commas.",
        example: "[\"email\", \"aliases\"]",
    },
];

const TOKENS: &[Key] = &[
    Key {
        name: "issuer",
        kind: Text,
        default: Absent("introspection alone works without"),
        reason: "The provider, exactly as its tokens name it in `iss`; those of anybody else are refused.",
        example: "\"https://login.example.org/realms/staff\"",
    },
    Key {
        name: "audience",
        kind: List("texts"),
        default: Value("[]"),
        reason: "Whom tokens must be for (`aud`): one of these. Without, a token that somebody gave to any other service of the provider \
         would send mail here; signed tokens need it.",
        example: "[\"postern\"]",
    },
    Key {
        name: "scopes",
        kind: List("texts"),
        default: Value("[]"),
        reason: "What tokens must hold for (`scope` or `scp`): all of these.",
        example: "[\"smtp\"]",
    },
    Key {
        name: "discover",
        kind: Switch,
        default: Value("false"),
        reason: "Tokens are signed, and the keys are where the provider's metadata says: below the issuer, in \
         .well-known/openid-configuration.",
        example: "true",
    },
    Key {
        name: "jwks_url",
        kind: Text,
        default: Absent("the keys are elsewhere, or tokens are not signed"),
        reason: "Tokens are signed, and the keys are here. HTTPS, or HTTP on a loopback address.",
        example: "\"https://login.example.org/realms/staff/certs\"",
    },
    Key {
        name: "jwks_file",
        kind: Path,
        default: Absent("the keys are elsewhere, or tokens are not signed"),
        reason: "Tokens are signed, and the keys are in this file, as a JSON Web Key Set. It is read again each hour, and for a key that is not in it.",
        example: "\"/etc/postern/keys.json\"",
    },
    Key {
        name: "algorithms",
        kind: List("signature algorithms"),
        default: Value("[\"EdDSA\", \"ES256\", \"ES384\", \"PS256\", \"RS256\"]"),
        reason: "The only algorithms that a signature may have. Those with a shared key are none.",
        example: "[\"RS256\"]",
    },
    Key {
        name: "introspection_url",
        kind: Text,
        default: Absent("tokens are signed"),
        reason: "The provider is asked about each token here (RFC 7662), so that a token that was revoked is refused at once. HTTPS, or HTTP on a loopback address.",
        example: "\"https://login.example.org/oauth2/introspect\"",
    },
    Key {
        name: "client_id",
        kind: Text,
        default: Absent("the provider asks for none"),
        reason: "The name under which the provider knows Postern, for introspection.",
        example: "\"postern\"",
    },
    Key {
        name: "client_secret_file",
        kind: Path,
        default: Absent("the provider asks for none"),
        reason: "A file whose first line is the secret that goes with client_id, readable by Postern only.",
        example: "\"/etc/postern/introspection.secret\"",
    },
    Key {
        name: "user_claim",
        kind: Text,
        default: Value("\"email\""),
        reason: "The claim that is the user's name here. It must be one that people cannot change by themselves.",
        example: "\"preferred_username\"",
    },
    Key {
        name: "address_claims",
        kind: List("names of claims"),
        default: Value("[\"email\"]"),
        reason: "The claims that are the user's sender addresses; one may be a list.",
        example: "[\"email\", \"aliases\"]",
    },
    Key {
        name: "group_claim",
        kind: Text,
        default: Absent("groups are not looked at"),
        reason: "The claim that lists the user's groups.",
        example: "\"groups\"",
    },
    Key {
        name: "leeway",
        kind: DurationOrNever,
        default: Value("\"60s\""),
        reason: "So far the provider's clock and ours may differ; at most 10 minutes.",
        example: "\"10s\"",
    },
    Key {
        name: "trust",
        kind: Path,
        default: Absent("the roots of this system"),
        reason: "The authorities that may vouch for the provider's hosts, as PEM.",
        example: "\"/etc/postern/our-ca.pem\"",
    },
];

const INBOUND_POLICY: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "What the log calls this policy.",
        example: "\"bank\"",
    },
    Key {
        name: "senders",
        kind: List("\"*\", domains or \"*.domain\""),
        default: Value("[]"),
        reason: "The domains of the reverse-paths that it holds for; reports, which have none, are held by networks only.",
        example: "[\"bank.example\", \"*.bank.example\"]",
    },
    Key {
        name: "networks",
        kind: List("addresses or networks"),
        default: Value("[]"),
        reason: "The clients that it holds for.",
        example: "[\"192.0.2.0/28\", \"2001:db8:1::/64\"]",
    },
    Key {
        name: "tls",
        kind: Choice(&["required", "verified"]),
        default: Value("\"required\""),
        reason: "What must be true before mail is taken: TLS, or TLS with a client certificate that verifies.",
        example: "\"verified\"",
    },
    Key {
        name: "tls_minimum",
        kind: Choice(&["1.2", "1.3"]),
        default: Depends("minimum of [tls]"),
        reason: "The oldest version of TLS that will do.",
        example: "\"1.3\"",
    },
];

const NETWORKS: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "What the log calls these clients.",
        example: "\"printers\"",
    },
    Key {
        name: "networks",
        kind: List("addresses or networks"),
        default: Required,
        reason: "The clients' addresses, without the default gateway's. Of private space at most a /8 of IPv4 or a /16 of IPv6 each, of public space a /16 or a /32; IPv6 networks that stand for IPv4 ones (NAT64, 6to4, Teredo) are judged as those.",
        example: "[\"192.0.2.0/28\", \"2001:db8:1::/64\"]",
    },
    Key {
        name: "because",
        kind: Text,
        default: Absent("none"),
        reason: "Why so wide a list is right, for whoever reads it next. Required with a public network of a /20 of IPv4 or a /48 of IPv6, or wider.",
        example: "\"our provider gave us the whole /20, and nobody else is in it\"",
    },
];

const CERTIFICATES: &[Key] = &[
    Key {
        name: "name",
        kind: Text,
        default: Required,
        reason: "What the log calls these clients.",
        example: "\"branch-offices\"",
    },
    Key {
        name: "names",
        kind: List("DNS names or mail addresses"),
        default: Value("[]"),
        reason: "The names that a certificate may bear (subjectAltName), each written in full.",
        example: "[\"mail.branch.example\"]",
    },
    Key {
        name: "pins",
        kind: List(PINS),
        default: Value("[]"),
        reason: "The certificates or keys themselves, for clients whose names say nothing.",
        example: "[\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]",
    },
];

const QUEUE: &[Key] = &[
    Key {
        name: "store",
        kind: Choice(&["sqlite", "memory"]),
        default: Value("\"sqlite\""),
        reason: "Where messages wait: on disk, or, for trials only, in memory, where a restart loses them.",
        example: "\"memory\"",
    },
    Key {
        name: "retry",
        kind: List("time spans"),
        default: Value("[\"5m\", \"10m\", \"20m\", \"40m\", \"1h\", \"2h\", \"3h\"]"),
        reason: "The waits after the first, second … attempt, the last one repeats; they grow because what is not mended in minutes is mended in hours, and greylisting ends soon.",
        example: "[\"5m\", \"30m\", \"2h\"]",
    },
    Key {
        name: "jitter",
        kind: Share,
        default: Value("0.1"),
        reason: "How much each wait varies at random, as a share of it: 0.1 makes 10 minutes 9 to 11, so that deferred mail does not come back all at once.",
        example: "0.1",
    },
    Key {
        name: "expire",
        kind: Duration,
        default: Value("\"5d\""),
        reason: "When to give up and tell the sender; RFC 5321 §4.5.4.1 asks for four to five days.",
        example: "\"5d\"",
    },
    Key {
        name: "delay_warning",
        kind: DurationOrNever,
        default: Value("\"4h\""),
        reason: "When to tell the sender that a message is still waiting: soon enough to phone instead.",
        example: "\"never\"",
    },
    Key {
        name: "lease",
        kind: Duration,
        default: Value("\"15m\""),
        reason: "For how long an attempt owns its recipients unless it renews, which one that goes on does by itself. A restart waits for none: leases end with the process.",
        example: "\"15m\"",
    },
    Key {
        name: "deliveries",
        kind: count("attempts"),
        default: Value("200"),
        reason: "Attempts at the same time over all destinations.",
        example: "200",
    },
];

const REPORT: &[Key] = &[Key {
    name: "from",
    kind: Mailbox,
    default: Depends("postmaster@ the host name"),
    reason: "The address in the From: field of reports, to which puzzled people reply.",
    example: "\"postmaster@example.org\"",
}];

const TLS_REPORTS: &[Key] = &[
    Key {
        name: "send",
        kind: Switch,
        default: Value("false"),
        reason: "Whether domains that ask for it (RFC 8460 §3) are told once a day how well TLS with their servers went; it helps them and names no person.",
        example: "true",
    },
    Key {
        name: "organization",
        kind: Text,
        default: Depends("hostname"),
        reason: "Who reports, in words for people.",
        example: "\"Example Office\"",
    },
    Key {
        name: "contact",
        kind: Mailbox,
        default: Depends("from of [report]"),
        reason: "Whom readers of a report may ask about it.",
        example: "\"postmaster@example.org\"",
    },
    Key {
        name: "from",
        kind: Mailbox,
        default: Depends("from of [report]"),
        reason: "The address in the From: field of these reports.",
        example: "\"tls-reports@example.org\"",
    },
    Key {
        name: "receive",
        kind: Mailbox,
        default: Absent("nothing is read: mail to such an address is mail like any other"),
        reason: "The address in an own domain that the DNS names for reports about us (_smtp._tls TXT); what comes there is read and summarised by Postern.",
        example: "\"tls-reports@example.org\"",
    },
];

const PRINCIPAL_RATES: &[Key] = &[
    Key {
        name: "messages",
        kind: RateOrNone,
        default: Value("\"1000/1h\""),
        reason: "Messages in a time: somebody who answers mail all day sends less than a tenth of that, a shop's program may need more.",
        example: "\"200/1h\"",
    },
    Key {
        name: "recipients",
        kind: RateOrNone,
        default: Value("\"5000/1d\""),
        reason: "Recipients in a time: the large providers stop people at a fifth to twice of that.",
        example: "\"2000/1d\"",
    },
    Key {
        name: "new_recipients",
        kind: RateOrNone,
        default: Value("\"1000/1d\""),
        reason: "Recipients that the sender never wrote to before in a time: people write to those they know; who sends to thousands of strangers sends advertisements, or is not who he says.",
        example: "\"300/1d\"",
    },
    Key {
        name: "octets",
        kind: VolumeOrNone,
        default: Value("\"10 GiB/1d\""),
        reason: "Octets of content in a time: a day of large attachments is a tenth of that.",
        example: "\"2 GiB/1d\"",
    },
    Key {
        name: "sessions",
        kind: RateOrNone,
        default: Value("\"1200/1h\""),
        reason: "Sign-ins in a time: a program that signs in for each message does so less than once in three seconds.",
        example: "\"100/1m\"",
    },
    Key {
        name: "failed_sign_ins",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Sign-ins that failed, the same wrong password again included in a time; there is none by default: [guessing] counts what matters, and this counts a stale telephone each time.",
        example: "\"100/1h\"",
    },
];

const ADDRESS_RATES: &[Key] = &[
    Key {
        name: "messages",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Messages in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"200/1h\"",
    },
    Key {
        name: "recipients",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Recipients in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"2000/1d\"",
    },
    Key {
        name: "new_recipients",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Recipients that the sender never wrote to before in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"300/1d\"",
    },
    Key {
        name: "octets",
        kind: VolumeOrNone,
        default: Absent("no bound"),
        reason: "Octets of content in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"2 GiB/1d\"",
    },
    Key {
        name: "sessions",
        kind: RateOrNone,
        default: Value("\"600/1m\""),
        reason: "Sessions in a time: five hundred people behind one address, all of whose programs come back at once after a power cut.",
        example: "\"100/1m\"",
    },
    Key {
        name: "failed_sign_ins",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Sign-ins that failed, the same wrong password again included in a time; there is none by default: [guessing] counts what matters, and this counts a stale telephone each time.",
        example: "\"100/1h\"",
    },
];

const NETWORK_RATES: &[Key] = &[
    Key {
        name: "messages",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Messages in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"200/1h\"",
    },
    Key {
        name: "recipients",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Recipients in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"2000/1d\"",
    },
    Key {
        name: "new_recipients",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Recipients that the sender never wrote to before in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"300/1d\"",
    },
    Key {
        name: "octets",
        kind: VolumeOrNone,
        default: Absent("no bound"),
        reason: "Octets of content in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"2 GiB/1d\"",
    },
    Key {
        name: "sessions",
        kind: RateOrNone,
        default: Value("\"1800/1m\""),
        reason: "Sessions in a time: three such addresses.",
        example: "\"100/1m\"",
    },
    Key {
        name: "failed_sign_ins",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Sign-ins that failed, the same wrong password again included in a time; there is none by default: [guessing] counts what matters, and this counts a stale telephone each time.",
        example: "\"100/1h\"",
    },
];

const LISTENER_RATES: &[Key] = &[
    Key {
        name: "messages",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Messages in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"200/1h\"",
    },
    Key {
        name: "recipients",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Recipients in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"2000/1d\"",
    },
    Key {
        name: "new_recipients",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Recipients that the sender never wrote to before in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"300/1d\"",
    },
    Key {
        name: "octets",
        kind: VolumeOrNone,
        default: Absent("no bound"),
        reason: "Octets of content in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"2 GiB/1d\"",
    },
    Key {
        name: "sessions",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Sessions in a time; there is none by default: other servers may have a long queue for us, and an office one address.",
        example: "\"100/1m\"",
    },
    Key {
        name: "failed_sign_ins",
        kind: RateOrNone,
        default: Absent("no bound"),
        reason: "Sign-ins that failed, the same wrong password again included in a time; there is none by default: [guessing] counts what matters, and this counts a stale telephone each time.",
        example: "\"100/1h\"",
    },
];

const GUESSING: &[Key] = &[
    Key {
        name: "account",
        kind: Rate,
        default: Value("\"20/1d\""),
        reason: "Different wrong passwords for one account: then it is closed for as long to networks where it has not signed in lately. Nobody forgets his password in twenty ways.",
        example: "\"50/1d\"",
    },
    Key {
        name: "network",
        kind: Rate,
        default: Value("\"30/1h\""),
        reason: "Different wrong passwords from one address, over all accounts: then it is banned, unless somebody signed in from there lately. From a network of 24 bits it may be four times as many.",
        example: "\"100/1h\"",
    },
    Key {
        name: "longest_wait",
        kind: Duration,
        default: Value("\"10s\""),
        reason: "The longest that a guesser waits before his next password is looked at. It begins with a second behind the fifth wrong one and doubles; mail programs wait for minutes.",
        example: "\"30s\"",
    },
    Key {
        name: "known_for",
        kind: Duration,
        default: Value("\"14d\""),
        reason: "So long after a sign-in its network is known: it is not banned by itself, and that account is never closed there. Longer than most holidays at home, shorter than most leases of an address.",
        example: "\"30d\"",
    },
];

const BANS: &[Key] = &[
    Key {
        name: "first",
        kind: Duration,
        default: Value("\"1h\""),
        reason: "How long the first ban of an address or a network lasts; each further one within a month lasts twice as long. Addresses change hands, and guessers move on.",
        example: "\"15m\"",
    },
    Key {
        name: "longest",
        kind: Duration,
        default: Value("\"7d\""),
        reason: "No ban lasts longer, unless an administrator makes it.",
        example: "\"30d\"",
    },
    Key {
        name: "never",
        kind: List("addresses or networks"),
        default: Value("[]"),
        reason: "Networks that are never banned by themselves, only slowed, and whose addresses have no rates: offices, monitoring. Loopback and trusted front ends need not be named.",
        example: "[\"192.0.2.0/28\", \"2001:db8::/48\"]",
    },
];

const BURSTS: &[Key] = &[
    Key {
        name: "action",
        kind: Choice(&["hold", "off"]),
        default: Value("\"hold\""),
        reason: "What is done with the mail of a burst. Sign-in stays possible, so that its owner is not locked out.",
        example: "\"off\"",
    },
    Key {
        name: "floor",
        kind: count("recipients"),
        default: Value("500"),
        reason: "So many recipients within an hour are never a burst: an invitation to the whole house passes, also from a new account.",
        example: "100",
    },
    Key {
        name: "factor",
        kind: Count { unit: "times", least: 2, most: 1000 },
        default: Value("5"),
        reason: "So many times an account's busiest hour of the last four weeks are no burst: what grows, grows more slowly.",
        example: "10",
    },
];

const CERTIFICATE_WARNINGS: &[Key] = &[
    Key {
        name: "warn",
        kind: List("time spans"),
        default: Value("[\"30d\", \"14d\", \"7d\", \"1d\"]"),
        reason: "So long before a certificate's end there is a warning, each once: in the log, as a metric, by mail, and in `postern cert check`. Once it is over, there is one each day.",
        example: "[\"21d\", \"7d\", \"2d\"]",
    },
    Key {
        name: "mail",
        kind: Switch,
        default: Value("true"),
        reason: "Whether the postmaster gets these warnings by mail: a log that nobody reads has let many certificates expire.",
        example: "false",
    },
    Key {
        name: "deploy_directory",
        kind: Path,
        default: Absent("nothing is copied"),
        reason: "A folder for the programs beside Postern, such as an IMAP server: each identity in the certificate store is copied there whenever it is renewed, as NAME.pem and NAME.key.",
        example: "\"/etc/dovecot/postern\"",
    },
    Key {
        name: "deploy_hook",
        kind: Path,
        default: Absent("no program is run"),
        reason: "A program that is run whenever an identity in the certificate store is renewed, as `PROGRAM deploy NAME CERTIFICATE KEY`, after it was copied: to reload an IMAP server, say. It runs as the user that runs Postern, without a shell, for two minutes at most.",
        example: "\"/usr/local/sbin/reload-dovecot\"",
    },
];

const METRICS: &[Key] = &[Key {
    name: "bind",
    kind: List("addresses with a port"),
    default: Value("[]"),
    reason: "Where metrics can be read; nowhere by default, for there is no password and they tell how much mail there is.",
    example: "[\"127.0.0.1:9325\"]",
}];

const HTTP: &[Key] = &[Key {
    name: "bind",
    kind: List("addresses with a port"),
    default: Value("[]"),
    reason: "Where it is offered; nowhere unless it is written. Port 0 lets the system choose.",
    example: "[\"[::]:8080\"]",
}];

const CA: &[Key] = &[
    Key {
        name: "names",
        kind: List("host names, mail addresses, networks, and patterns of them"),
        default: Value("[]"),
        reason: "The names that may be asked for: \"mail.example.org\"; \"*.example.org\" for all below, however deep; \"*@example.org\" for people; \"192.0.2.0/24\". A request waits until `postern ca approve`. Without any, nothing can be asked for.",
        example: "[\"*.example.org\", \"*@example.org\"]",
    },
    Key {
        name: "automatic",
        kind: List("host names, mail addresses, networks, and patterns of them"),
        default: Value("[]"),
        reason: "The names whose server certificates are issued at once, if all names of a request are among them and it comes from automatic_from; certificates for clients always wait for approval. They may be asked for without standing in names, too.",
        example: "[\"*.servers.example.org\"]",
    },
    Key {
        name: "automatic_from",
        kind: List("addresses or networks"),
        default: Value("[\"127.0.0.0/8\", \"::1\"]"),
        reason: "Who gets at once what is automatic: by default, programs on this machine only, for whoever can reach the port can ask. What a browser or a proxy sends waits for approval wherever it comes from; but behind a proxy that does not say it is one, all clients look like that proxy: do not list it. It has to be written where bind in [http] names this machine alone and automatic is not empty.",
        example: "[\"127.0.0.1\", \"192.0.2.0/28\"]",
    },
    Key {
        name: "lifetime",
        kind: Duration,
        default: Value("\"90d\""),
        reason: "How long a server's certificate is good for; short ones make renewal a habit, and a stolen key a small loss.",
        example: "\"30d\"",
    },
    Key {
        name: "client_lifetime",
        kind: Duration,
        default: Value("\"365d\""),
        reason: "How long a person's or a device's certificate is good for; people import them by hand.",
        example: "\"180d\"",
    },
    Key {
        name: "keys",
        kind: List("kinds of key"),
        default: Value("[\"ecdsa-p256\", \"ecdsa-p384\", \"rsa-2048\", \"rsa-3072\", \"rsa-4096\"]"),
        reason: "The kinds of key that certificates are issued for.",
        example: "[\"ecdsa-p256\", \"ecdsa-p384\"]",
    },
    Key {
        name: "url",
        kind: Text,
        default: Absent("certificates do not say where to ask whether they were revoked"),
        reason: "Where clients reach what [http] offers. It goes into each certificate, and stays there: where its revocation list, its answers (OCSP) and its issuer are. Plain http:// is right, for what is fetched there is signed (RFC 5280 §8).",
        example: "\"http://ca.example.org:8080\"",
    },
    Key {
        name: "crl_lifetime",
        kind: Duration,
        default: Value("\"7d\""),
        reason: "How long a revocation list is good for. Half-way through, and after each revocation, the next one is signed.",
        example: "\"2d\"",
    },
    Key {
        name: "passphrase_file",
        kind: Path,
        default: Absent("a locked key is opened only when somebody types its passphrase"),
        reason: "The file whose first line opens the CA's key; readable by Postern only. It is needed for automatic certificates if the key is locked; an open intermediate under a locked root is safer.",
        example: "\"/etc/postern/ca.passphrase\"",
    },
];
