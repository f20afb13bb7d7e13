//! The configuration as a whole: what is refused, with which words, at which line; and what the defaults are.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use postern_dns::DnssecMode;
use postern_pki::ca::{NamePattern, Policy};
use postern_pki::{KeyKind, MinimumVersion, Pin, PrivateCa, Tickets};
use postern_smtp::sasl::Mechanism;
use postern_smtp::server::{AuthOffer, LineEndings, TlsMode};
use postern_smtp::tls::TlsRequirement;

use super::reference::{self, Preset};
use super::{
    AcmeProof, AddressSpace, Checked, ClientCertificates, Config, Connector, CredentialSource, Expects, File,
    FromCheck, IdentitySource, InboundTls, IpPreference, Issuer, ListenerTls, LmtpAddress, OAuth, Outbound,
    PeerDemand, Problem, Problems, Rate, SessionLimits, SmtpHost, Surroundings, Way,
};
use crate::config::Greets;

const SOUND: &str = r#"hostname = "mail.example.org"
[[listener]]
name = "mx"
role = "relay"
bind = ["[::]:25"]
"#;

const EXAMPLES: [&str; 5] = ["one-office", "smarthost", "lmtp-dovecot", "partners", "certificates"];

fn judge(text: &str) -> Result<Config, Vec<Problem>> {
    let gateways = vec!["172.17.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    let surroundings = Surroundings { gateways, ..Surroundings::default() };
    File::parse(text, "postern.toml").map_err(|problem| vec![problem])?.resolve(&surroundings)
}

fn sound(text: &str) -> Config {
    judge(text).unwrap_or_else(|problems| panic!("{}\n{text}", Problems(problems)))
}

/// `SOUND` with more at its end; the first line of `more` is line 6.
fn with(more: &str) -> String {
    format!("{SOUND}{more}")
}

/// One bad file: what stands behind `SOUND`, and the key, line, and pieces of the words that the only problem has.
struct Bad {
    more: &'static str,
    key: &'static str,
    line: usize,
    says: &'static [&'static str],
}

const BAD: &[Bad] = &[
    Bad {
        more: "[[send_as]]\nname = \"r\"\naddresses = [\"info@example.org\"]",
        key: "send_as.r",
        line: 6,
        says: &["neither users nor groups", "users = [\"*\"]"],
    },
    Bad {
        more: "[[send_as]]\nname = \"r\"\naddresses = []\nusers = [\"anna\"]",
        key: "send_as.r.addresses",
        line: 8,
        says: &["the list is empty"],
    },
    Bad {
        more: "[[send_as]]\nname = \"r\"\naddresses = [\"*-*@example.org\"]\nusers = [\"anna\"]",
        key: "send_as.r.addresses",
        line: 8,
        says: &["is no pattern of addresses", "crm-*@example.org"],
    },
    Bad {
        more: "[[send_as]]\nname = \"r\"\naddresses = [\"*\"]\nusers = [\"anna\"]\ndirectory = \"corp\"",
        key: "send_as.r.directory",
        line: 10,
        says: &["no directory named \"corp\"", "\"users\""],
    },
    Bad {
        more: "[[listener]]\nname = \"d\"\nrole = \"device\"\nbind = [\"[::1]:26\"]",
        key: "listener",
        line: 2,
        says: &["listener d is for devices, and there is none", "write a [[device]]"],
    },
    Bad {
        more: "[[listener]]\nname = \"d\"\nrole = \"device\"\nauth = true\nbind = [\"[::1]:26\"]\n\
               [[device]]\nname = \"p\"\naddresses = [\"192.0.2.7\"]\nsender = \"p@example.org\"\nrecipient_domains = [\"example.org\"]",
        key: "listener.d.auth",
        line: 9,
        says: &["each device says for itself", "sign_in"],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"10.0.0.0/8\"]\nsender = \"p@example.org\"\nrecipient_domains = [\"example.org\"]",
        key: "device.p.addresses",
        line: 8,
        says: &["10.0.0.0/8 holds a whole private or very large network", "because = "],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"198.51.0.0/16\"]\nsender = \"p@example.org\"\nrecipient_domains = [\"example.org\"]",
        key: "device.p.addresses",
        line: 8,
        says: &["very large network", "because = "],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"::ffff:172.17.0.0/120\"]\nsender = \"p@example.org\"\nrecipient_domains = [\"example.org\"]",
        key: "device.p.addresses",
        line: 8,
        says: &["holds the default gateway 172.17.0.1", "because = "],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"fd00::/120\"]\nsender = \"p@example.org\"\nsign_in = \"none\"\nbecause = \"a bridge\"\nrecipient_domains = [\"*\"]",
        key: "device.p.addresses",
        line: 8,
        says: &["the default gateway fd00::1", "this is an open relay", "sign_in = \"required\""],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"::/0\"]\nbecause = \"all are welcome\"\nsender = \"p@example.org\"\nrecipient_domains = [\"example.org\"]",
        key: "device.p.addresses",
        line: 8,
        says: &["is everybody: this is an open relay"],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"192.0.2.7\"]\nsender = \"p@example.org\"\nrecipient_domains = [\"example.org\"]\n\
               [[device]]\nname = \"q\"\naddresses = [\"::ffff:192.0.2.7\"]\nsender = \"q@example.org\"\nrecipient_domains = [\"example.org\"]",
        key: "device.q.addresses",
        line: 13,
        says: &["192.0.2.7/32 is an address of device p already"],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"192.0.2.7\"]\nsender = \"p@bücher.example\"\nrecipient_domains = [\"example.org\"]",
        key: "device.p.sender",
        line: 9,
        says: &["beyond ASCII", "xn--"],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"192.0.2.7\"]\nsender = \"p@example.org\"\nrecipient_domains = []",
        key: "device.p.recipient_domains",
        line: 10,
        says: &["could send to nobody"],
    },
    Bad {
        more: "[queue]\nretrry = [\"5m\"]",
        key: "queue.retrry",
        line: 7,
        says: &["no key \"retrry\" in [queue]", "did you mean retry?"],
    },
    Bad { more: "[queue]\nbind = []", key: "queue.bind", line: 7, says: &["belongs in [[listener]]"] },
    Bad {
        more: "[lgo]\nlevel = \"info\"",
        key: "lgo",
        line: 6,
        says: &["at the top of the file", "did you mean log?"],
    },
    Bad {
        more: "[dns]\ntimeout = 5",
        key: "dns.timeout",
        line: 7,
        says: &["not a whole number", "timeout = \"5s\""],
    },
    Bad {
        more: "[dns]\ntimeout = \"5 sec\"",
        key: "dns.timeout",
        line: 7,
        says: &["not a time span", "\"30s\""],
    },
    Bad {
        more: "[ca]\nnames = [\"*@*\"]",
        key: "ca.names",
        line: 7,
        says: &["is no pattern of names", "*.example.org"],
    },
    Bad {
        more: "[ca]\nautomatic_from = [\"0.0.0.0/0\"]",
        key: "ca.automatic_from",
        line: 7,
        says: &["the whole world", "your own servers"],
    },
    Bad {
        more: "[ca]\nautomatic = [\"*.example.org\"]\n[http]\nbind = [\"127.0.0.1:8080\", \"[::1]:8080\"]",
        key: "ca.automatic",
        line: 7,
        says: &["through a proxy", "write automatic_from"],
    },
    Bad { more: "[ca]\nlifetime = \"3650d\"", key: "ca.lifetime", line: 7, says: &["825 days", "\"825d\""] },
    Bad { more: "[ca]\ncrl_lifetime = \"5m\"", key: "ca.crl_lifetime", line: 7, says: &["\"1h\" or more"] },
    Bad { more: "[ca]\nkeys = [\"rsa-1024\"]", key: "ca.keys", line: 7, says: &["shorter than 2048 bits"] },
    Bad { more: "[ca]\nkeys = []", key: "ca.keys", line: 7, says: &["no certificate could be issued"] },
    Bad {
        more: "[ca]\nurl = \"https://ca.example.org\"",
        key: "ca.url",
        line: 7,
        says: &["goes in circles", "http://ca.example.org:8080"],
    },
    Bad { more: "[ca]\nurl = \"http://me@ca.example.org\"", key: "ca.url", line: 7, says: &["user name"] },
    Bad {
        more: "[http]\nbind = [\"[::]:25\"]",
        key: "http.bind",
        line: 7,
        says: &["[::]:25 is listened on already"],
    },
    Bad { more: "[http]\nbind = [\"8080\"]", key: "http.bind", line: 7, says: &["with a port"] },
    Bad { more: "[dns]\ntimeout = \"0s\"", key: "dns.timeout", line: 7, says: &["too short"] },
    Bad { more: "[dns]\nservers = [\"ns.example\"]", key: "dns.servers", line: 7, says: &["not an address"] },
    Bad {
        more: "[log]\nlevel = \"inof\"",
        key: "log.level",
        line: 7,
        says: &["not one of", "did you mean \"info\"?"],
    },
    Bad {
        more: "[limits]\nrecipients = 99",
        key: "limits.recipients",
        line: 7,
        says: &["99 is not within 100", "RFC 5321"],
    },
    Bad { more: "[limits]\nsessions = 0", key: "limits.sessions", line: 7, says: &["not within 1"] },
    Bad {
        more: "[limits]\nmessage_size = \"1 KiB\"",
        key: "limits.message_size",
        line: 7,
        says: &["1024 octets are too few"],
    },
    Bad {
        more: "[limits]\nmessage_size = \"35 MB\"",
        key: "limits.message_size",
        line: 7,
        says: &["not a size", "MiB"],
    },
    Bad {
        more: "[listener.limits]\nerrors = true",
        key: "listener.mx.limits.errors",
        line: 7,
        says: &["whole number is expected"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nkey = \"/k\"",
        key: "tls.identity.a.certificate",
        line: 6,
        says: &["missing beside key", "fullchain"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\ncertificate = \"/c\"",
        key: "tls.identity.a.key",
        line: 6,
        says: &["missing beside certificate", "remove certificate too"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nkey = \"/k\"\ncertificate = \"/c\"\nissuer = \"private-ca\"",
        key: "tls.identity.a.issuer",
        line: 10,
        says: &["the issuer cannot", "remove issuer"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nissuer = \"privat-ca\"",
        key: "tls.identity.a.issuer",
        line: 8,
        says: &["no issuer named", "did you mean \"private-ca\"?"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"",
        key: "acme.le.terms_agreed",
        line: 6,
        says: &["missing", "agree"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = false",
        key: "acme.le.terms_agreed",
        line: 9,
        says: &["does not agree to its terms", "then write true"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"http://ca.example/d\"\nterms_agreed = true",
        key: "acme.le.directory",
        line: 8,
        says: &["does not begin with https://"],
    },
    Bad {
        more: "[[acme]]\nname = \"private-ca\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true",
        key: "acme.private-ca.name",
        line: 7,
        says: &["Postern's own authority", "another name"],
    },
    Bad {
        more: "[[acme]]\nname = \"a/b\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true",
        key: "acme.\"a/b\".name",
        line: 7,
        says: &["a/b", "letters, digits"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\neab_key_id = \"k\"",
        key: "acme.le.eab_key_id",
        line: 10,
        says: &["eab_key_file is missing", "the authority gives both"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\nhook = \"/h\"",
        key: "acme.le.hook",
        line: 10,
        says: &["challenge is \"http-01\"", "dns-01"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\nchallenge = \"dns-01\"",
        key: "acme.le.challenge",
        line: 10,
        says: &["nobody is named", "dns_server", "hook"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\nchallenge = \"dns-01\"\n\
               hook = \"/h\"\ndns_zone = \"example.org\"",
        key: "acme.le.dns_zone",
        line: 12,
        says: &["only one of them", "remove hook"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\nchallenge = \"dns-01\"\n\
               dns_server = \"::1\"\ndns_key_name = \"k\"",
        key: "acme.le.dns_key_file",
        line: 6,
        says: &["it is missing"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\n\
               challenge = \"tls-alpn-01\"",
        key: "acme.le.challenge",
        line: 10,
        says: &["no listener begins with TLS", "tls = \"implicit\"", "[::]:443"],
    },
    Bad {
        more: "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\nbind = [\"[::]:25\"]",
        key: "listener.mx.bind",
        line: 5,
        says: &["[::]:25"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nissuer = \"le\"\nnames = [\"*.example.org\"]\n[[acme]]\nname = \"le\"\n\
               directory = \"https://ca.example/d\"\nterms_agreed = true",
        key: "tls.identity.a.names",
        line: 9,
        says: &["wildcard", "challenge = \"dns-01\""],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nissuer = \"le\"\nnames = [\"192.0.2.1\"]\n[[acme]]\nname = \"le\"\n\
               directory = \"https://ca.example/d\"\nterms_agreed = true\nchallenge = \"dns-01\"\nhook = \"/h\"",
        key: "tls.identity.a.names",
        line: 9,
        says: &["not in a zone"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nissuer = \"letters\"",
        key: "tls.identity.a.issuer",
        line: 8,
        says: &["no issuer named", "[[acme]]"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nkey_type = \"rsa-1024\"",
        key: "tls.identity.a.key_type",
        line: 8,
        says: &["shorter than 2048 bits"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nnames = [\"joe@example.org\"]",
        key: "tls.identity.a.names",
        line: 8,
        says: &["is a mail address"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nnames = []",
        key: "tls.identity.a.names",
        line: 8,
        says: &["1 to 100"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"../a\"",
        key: "tls.identity.\"../a\".name",
        line: 7,
        says: &["folder in the certificate store"],
    },
    Bad { more: "[certificates]\nwarn = []", key: "certificates.warn", line: 7, says: &["1 to 16", "30d"] },
    Bad {
        more: "[certificates]\nwarn = [\"soon\"]",
        key: "certificates.warn",
        line: 7,
        says: &["not a time span"],
    },
    Bad {
        more: "[metrics]\nbind = [\"localhost\"]",
        key: "metrics.bind",
        line: 7,
        says: &["not an address with a port"],
    },
    Bad {
        more: "[metrics]\nbind = [\"[::]:25\"]",
        key: "metrics.bind",
        line: 7,
        says: &["listened on already"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"a\"\nkey = \"/k\"\ncertificate = \"/c\"\n[[tls.identity]]\nname = \"a\"\nkey = \"/k\"\ncertificate = \"/c\"",
        key: "tls.identity.a.name",
        line: 11,
        says: &["named \"a\" above already"],
    },
    Bad {
        more: "identities = [\"other\"]",
        key: "listener.mx.identities",
        line: 6,
        says: &["no identity named \"other\"", "add a [[tls.identity]]", "`postern cert`"],
    },
    Bad {
        more: "proxy_protocol = [\"0.0.0.0/0\"]",
        key: "listener.mx.proxy_protocol",
        line: 6,
        says: &["every client", "front ends only"],
    },
    Bad {
        more: "xclient = [\"::/0\"]",
        key: "listener.mx.xclient",
        line: 6,
        says: &["every client", "front ends only"],
    },
    Bad {
        more: "xclient_login = true",
        key: "listener.mx.xclient_login",
        line: 6,
        says: &["nobody may say XCLIENT", "xclient"],
    },
    Bad {
        more: "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"[::]:26\"]",
        key: "listener.mx.name",
        line: 7,
        says: &["named \"mx\" above"],
    },
    Bad {
        more: "[[listener]]\nname = \"b\"\nrole = \"relay\"\nbind = [\"[::]:25\"]",
        key: "listener.b.bind",
        line: 9,
        says: &["[::]:25 is listened on already"],
    },
    Bad {
        more: "[[listener]]\nname = \"b\"\nrole = \"relay\"\nbind = []",
        key: "listener.b.bind",
        line: 9,
        says: &["empty"],
    },
    Bad {
        more: "[[listener]]\nname = \"b\"\nrole = \"relay\"\nbind = [\n\"[::]:26\",\n\"mail:25\"]",
        key: "listener.b.bind",
        line: 11,
        says: &["\"mail:25\" is not an address with a port"],
    },
    Bad {
        more: "[[listener]]\nname = \"b\"\nrole = \"submission\"\nbind = [\"[::]:587\"]\ntls = \"offered\"",
        key: "listener.b.tls",
        line: 10,
        says: &["in clear", "remove the key"],
    },
    Bad {
        more: "[[listener]]\nname = \"b\"\nrole = \"submission\"\nbind = [\"[::]:587\"]\nauth = false",
        key: "listener.b.auth",
        line: 10,
        says: &["signed-in people only", "relay.networks"],
    },
    Bad {
        more: "[[listener]]\nrole = \"relay\"\nbind = [\"[::]:26\"]",
        key: "listener[2].name",
        line: 6,
        says: &["missing"],
    },
    Bad {
        more: "[[domain]]\nname = \"example.org\"\ndeliver = \"store\"",
        key: "domain.\"example.org\".deliver",
        line: 8,
        says: &["no connector named \"store\"", "add a [[connector]]"],
    },
    Bad {
        more: "[[domain]]\nname = \"-.org\"\ndeliver = \"mx\"\nbackup = true",
        key: "domain.\"-.org\".name",
        line: 7,
        says: &["will not do"],
    },
    Bad {
        more: "[[domain]]\nname = \"example.org\"\ndeliver = \"mx\"\nbackup = true\n[[domain]]\nname = \"Example.ORG\"\ndeliver = \"mx\"\nbackup = true",
        key: "domain.\"Example.ORG\".name",
        line: 11,
        says: &["named \"example.org\" above"],
    },
    Bad {
        more: "[[domain]]\nname = \"example.org\"\ndeliver = \"mx\"\naliases = { a = [\"b\"], b = [\"a\"], c = [\"x\"] }\nbackup = true",
        key: "domain.\"example.org\".aliases",
        line: 9,
        says: &["circles: a@example.org → b@example.org → a@example.org"],
    },
    Bad {
        more: "[[domain]]\nname = \"example.org\"\ndeliver = \"mx\"\naliases = { a = [] }\nbackup = true",
        key: "domain.\"example.org\".aliases",
        line: 9,
        says: &["\"a\" leads nowhere"],
    },
    Bad {
        more: "[[domain]]\nname = \"example.org\"\ndeliver = \"mx\"\naliases = { a = [\"b@c@d\"] }\nbackup = true",
        key: "domain.\"example.org\".aliases",
        line: 9,
        says: &["neither a local part nor a mail address"],
    },
    Bad {
        more: "[[domain]]\nname = \"example.org\"\ndeliver = \"mx\"\nmailboxes = [\"a@example.org\"]\nbackup = true",
        key: "domain.\"example.org\".mailboxes",
        line: 9,
        says: &["not a local part"],
    },
    Bad {
        more: "[[domain]]\nname = \"example.org\"\ndeliver = \"mx\"\nplus = \"++\"\nbackup = true",
        key: "domain.\"example.org\".plus",
        line: 9,
        says: &["not one character"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"uucp:host\"",
        key: "connector.a.to",
        line: 8,
        says: &["leads nowhere", "lmtp:unix:"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"lmtp:host\"",
        key: "connector.a.to",
        line: 8,
        says: &["has no port"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:host:0\"",
        key: "connector.a.to",
        line: 8,
        says: &["\"0\" is not a port"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"maildir:/m/{user}\"",
        key: "connector.a.to",
        line: 8,
        says: &["no field {user}"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"maildir:/m/{local}\"\ntls = \"verified\"",
        key: "connector.a.tls",
        line: 9,
        says: &["no TLS", "remove"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.dovecot]\nsocket = \"192.0.2.1:12345\"",
        key: "directory.d.dovecot.socket",
        line: 9,
        says: &["in clear", "loopback"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.dovecot]\nsocket = \"auth\"",
        key: "directory.d.dovecot.socket",
        line: 9,
        says: &["neither a path"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\nissuer = \"https://i.example\"\naudience = [\"x\"]",
        key: "directory.d.oauth",
        line: 8,
        says: &["how tokens are judged", "introspection_url"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\nissuer = \"https://i.example\"\naudience = [\"x\"]\njwks_url = \"https://i.example/k\"\nintrospection_url = \"https://i.example/i\"",
        key: "directory.d.oauth.introspection_url",
        line: 12,
        says: &["one way only"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\nissuer = \"https://i.example\"\ndiscover = true",
        key: "directory.d.oauth.audience",
        line: 8,
        says: &["any other service"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\nissuer = \"https://i.example\"\naudience = [\"x\"]\ndiscover = true\nalgorithms = [\"RS256\", \"HS256\"]",
        key: "directory.d.oauth.algorithms",
        line: 12,
        says: &["HS256", "whoever checks"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\nissuer = \"https://i.example\"\naudience = [\"x\"]\ndiscover = true\nalgorithms = [\"none\"]",
        key: "directory.d.oauth.algorithms",
        line: 12,
        says: &["without a signature"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\nissuer = \"https://i.example\"\naudience = [\"x\"]\njwks_url = \"http://i.example/keys\"",
        key: "directory.d.oauth.jwks_url",
        line: 11,
        says: &["loopback"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\naudience = [\"x\"]\njwks_url = \"https://i.example/k\"",
        key: "directory.d.oauth.issuer",
        line: 8,
        says: &["who may sign"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\naudience = [\"x\"]\nintrospection_url = \"https://i.example/i\"\nclient_id = \"c\"",
        key: "directory.d.oauth.client_id",
        line: 11,
        says: &["client_secret_file is missing"],
    },
    Bad {
        more: "[[directory]]\nname = \"d\"\n[directory.oauth]\nissuer = \"https://i.example\"\naudience = [\"x\"]\ndiscover = true\nleeway = \"1h\"",
        key: "directory.d.oauth.leeway",
        line: 12,
        says: &["long after"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"",
        key: "connector.a.user",
        line: 9,
        says: &["password_file is missing"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\npassword_file = \"/p\"\ntls = \"required\"",
        key: "connector.a.tls",
        line: 11,
        says: &["anybody who poses", "tls = \"verified\""],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"mx\"\nuser = \"u\"\npassword_file = \"/p\"",
        key: "connector.a.user",
        line: 9,
        says: &["only an \"smtp:\" host"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example:465\"\ntls = \"none\"",
        key: "connector.a.tls",
        line: 9,
        says: &["never to use TLS"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nport = 26",
        key: "connector.a.port",
        line: 9,
        says: &["\"mx\" only"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"mx\"\nimplicit_tls = true",
        key: "connector.a.implicit_tls",
        line: 9,
        says: &["\"smtp:\" hosts only"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"mx\"\naddress_space = [\"*example\"]",
        key: "connector.a.address_space",
        line: 9,
        says: &["\"*example\" is not"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"mx\"\naddress_space = [\"*\"]\n[[connector]]\nname = \"b\"\nto = \"smtp:h.example\"\naddress_space = [\"*\"]",
        key: "connector.b.address_space",
        line: 13,
        says: &["connector \"a\" serves \"*\" at the same cost"],
    },
    Bad {
        more: "[[connector]]\nname = \"mx\"\nto = \"smtp:h.example\"\naddress_space = [\"a.example\"]",
        key: "connector",
        line: 6,
        says: &["is taken"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"mx\"\n[[connector]]\nname = \"a\"\nto = \"mx\"",
        key: "connector.a.name",
        line: 10,
        says: &["named \"a\" above"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"0.0.0.0/0\"]",
        key: "relay.networks.all.networks",
        line: 8,
        says: &["everybody", "open relay"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"::/0\"]",
        key: "relay.networks.all.networks",
        line: 8,
        says: &["everybody"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"8.0.0.0/7\"]",
        key: "relay.networks.all.networks",
        line: 8,
        says: &["wider than a /8"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"2000::/15\"]",
        key: "relay.networks.all.networks",
        line: 8,
        says: &["wider than a /16"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"3.0.0.0/8\"]\nbecause = \"a cloud\"",
        key: "relay.networks.all.networks",
        line: 8,
        says: &["3.0.0.0/8 is wider than a /16 of public addresses: this is an open relay"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"64:ff9b::/96\"]\nbecause = \"NAT64\"",
        key: "relay.networks.all.networks",
        line: 8,
        says: &["64:ff9b::/96 stands for the IPv4 addresses 0.0.0.0/0", "this is an open relay"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"198.51.96.0/20\"]",
        key: "relay.networks.all.networks",
        line: 8,
        says: &["198.51.96.0/20 holds more public addresses than one site is given", "because = "],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"all\"\nnetworks = [\"192.0.2.1\"]\nbecause = \" \"",
        key: "relay.networks.all.because",
        line: 9,
        says: &["it is empty"],
    },
    Bad {
        more: "proxy_protocol = [\"2002::/16\"]",
        key: "listener.mx.proxy_protocol",
        line: 6,
        says: &["lets every client say that it is another one"],
    },
    Bad {
        more: "[[device]]\nname = \"p\"\naddresses = [\"2001::/32\"]\nbecause = \"x\"\nsender = \"p@example.org\"\nrecipient_domains = [\"example.org\"]",
        key: "device.p.addresses",
        line: 8,
        says: &["stands for the IPv4 addresses 0.0.0.0/0"],
    },
    Bad {
        more: "[[domain]]\nname = \"com\"\ndeliver = \"l\"\n[[connector]]\nname = \"l\"\nto = \"lmtp:unix:/run/l\"",
        key: "domain.com.name",
        line: 7,
        says: &["\"com\" is a top-level domain", "write the whole domain"],
    },
    Bad {
        more: "[[domain]]\nname = \"gmail.com\"\ndeliver = \"mx\"",
        key: "domain.\"gmail.com\".deliver",
        line: 8,
        says: &["looks the domain up in the DNS", "open relay for that domain", "backup = true"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"box\"\nnetworks = [\"172.16.0.0/12\"]",
        key: "relay.networks.box.networks",
        line: 8,
        says: &["default gateway 172.17.0.1", "smaller networks"],
    },
    Bad {
        more: "[[relay.networks]]\nname = \"box\"\nnetworks = [\"fd00::/64\"]",
        key: "relay.networks.box.networks",
        line: 8,
        says: &["default gateway fd00::1"],
    },
    Bad {
        more: "[relay]\nnetworks = [{ name = \"box\", networks = [\"::ffff:172.17.0.1\"] }]",
        key: "relay.networks.box.networks",
        line: 7,
        says: &["default gateway 172.17.0.1"],
    },
    Bad {
        more: "[relay]\nnetworks = [\"192.0.2.1\"]",
        key: "relay.networks[1]",
        line: 7,
        says: &["a section is expected"],
    },
    Bad {
        more: "[relay.networks]\nname = \"a\"",
        key: "relay.networks",
        line: 6,
        says: &["double brackets"],
    },
    Bad { more: "[queue]\nretry = []", key: "queue.retry", line: 7, says: &["empty", "default schedule"] },
    Bad { more: "[queue]\nretry = [\"5m\", \"0s\"]", key: "queue.retry", line: 7, says: &["no time at all"] },
    Bad {
        more: "[queue]\nexpire = \"1m\"\ndelay_warning = \"never\"",
        key: "queue.expire",
        line: 7,
        says: &["before they are tried a second time"],
    },
    Bad { more: "[queue]\njitter = 0.6", key: "queue.jitter", line: 7, says: &["not within 0 and 0.5"] },
    Bad { more: "[queue]\nlease = \"0s\"", key: "queue.lease", line: 7, says: &["too short"] },
    Bad {
        more: "[report]\nfrom = \"postmaster\"",
        key: "report.from",
        line: 7,
        says: &["will not do", "postmaster@example.org"],
    },
    Bad { more: "[dns]\ndnssec = \"yes\"", key: "dns.dnssec", line: 7, says: &["\"yes\" is not one of"] },
    Bad {
        more: "[outbound]\ntls = \"pinned\"",
        key: "outbound.tls",
        line: 7,
        says: &["\"pinned\" is not one of"],
    },
    Bad {
        more: "[dns]\ndnssec = \"off\"\n[outbound]\ntls = \"dane\"",
        key: "outbound.tls",
        line: 9,
        says: &["[dns] dnssec is \"off\"", "wait for ever"],
    },
    Bad {
        more: "[outbound]\ntls = \"dane\"\ndane = false",
        key: "outbound.tls",
        line: 7,
        says: &["dane = false forbids", "dane = true"],
    },
    Bad {
        more: "[[outbound.policy]]\ntls = \"required\"",
        key: "outbound.policy[1].address_space",
        line: 6,
        says: &["missing"],
    },
    Bad {
        more: "[[outbound.policy]]\naddress_space = []\ntls = \"required\"",
        key: "outbound.policy[1].address_space",
        line: 7,
        says: &["empty"],
    },
    Bad {
        more: "[[outbound.policy]]\naddress_space = [\"b.example\"]",
        key: "outbound.policy[1].tls",
        line: 6,
        says: &["demands nothing"],
    },
    Bad {
        more: "[[outbound.policy]]\naddress_space = [\"b.example\"]\ntls = \"pinned\"",
        key: "outbound.policy[1].tls",
        line: 8,
        says: &["no key is pinned", "postern probe"],
    },
    Bad {
        more: "[[outbound.policy]]\naddress_space = [\"b.example\"]\npins = [\"sha256:00\"]",
        key: "outbound.policy[1].pins",
        line: 8,
        says: &["\"sha256:00\" is not a pin", "64 hexadecimal digits"],
    },
    Bad {
        more: "[[outbound.policy]]\naddress_space = [\"b.example\"]\npins = [\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]\ndistrust = [\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]",
        key: "outbound.policy[1].distrust",
        line: 9,
        says: &["pinned and distrusted"],
    },
    Bad {
        more: "[[outbound.policy]]\naddress_space = [\"b.example\"]\ntls = \"verified\"\n[[outbound.policy]]\naddress_space = [\"B.example\"]\ntls = \"required\"",
        key: "outbound.policy[2].address_space",
        line: 10,
        says: &["policy number 1 speaks for"],
    },
    Bad {
        more: "[dns]\ndnssec = \"off\"\n[[outbound.policy]]\naddress_space = [\"b.example\"]\ntls = \"dane\"",
        key: "outbound.policy[1].tls",
        line: 10,
        says: &["rests on DNSSEC"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\ntls = \"pinned\"",
        key: "connector.a.tls",
        line: 9,
        says: &["no key is pinned"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\npins = []\n",
        key: "connector.a.pins",
        line: 9,
        says: &["no key is pinned"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\ntls = \"pinned\"\npins = [\"md5:00\"]",
        key: "connector.a.pins",
        line: 10,
        says: &["begins with \"sha256:\""],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\ntls = \"dane\"\ndane = false",
        key: "connector.a.tls",
        line: 9,
        says: &["wait for ever"],
    },
    Bad {
        more: "[dns]\nservers = [\"9.9.9.9\"]\n[[connector]]\nname = \"a\"\nto = \"mx\"\ntls = \"dane\"",
        key: "connector.a.tls",
        line: 11,
        says: &["on this machine", "\"own\""],
    },
    Bad {
        more: "[outbound]\ntls = \"dane\"\n[[connector]]\nname = \"a\"\nto = \"mx\"\ndane = false",
        key: "connector.a.dane",
        line: 11,
        says: &["dane = false forbids"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"lmtp:h.example:24\"\ntls = \"dane\"",
        key: "connector.a.tls",
        line: 9,
        says: &["only mail that goes by \"mx\""],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"lmtp:h.example:24\"\ndane = true",
        key: "connector.a.dane",
        line: 9,
        says: &["only mail that goes by \"mx\""],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nmta_sts = true",
        key: "connector.a.mta_sts",
        line: 9,
        says: &["\"mx\" only", "RFC 8461"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"lmtp:unix:/run/l\"\nsource = [\"192.0.2.1\"]",
        key: "connector.a.source",
        line: 9,
        says: &["has no addresses"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"maildir:/m/{local}\"\npost_quantum = true",
        key: "connector.a.post_quantum",
        line: 9,
        says: &["has no TLS"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = []",
        key: "connector.a.to",
        line: 8,
        says: &["the list is empty"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = [\"smtp:h.example\", \"mx\"]",
        key: "connector.a.to",
        line: 8,
        says: &["only \"smtp:\" hosts"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = [\"smtp:h.example\", \"smtp:h.example:25\"]",
        key: "connector.a.to",
        line: 8,
        says: &["h.example:25 is written twice"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = [\"smtp:h0.example\", \"smtp:h1.example\", \"smtp:h2.example\", \"smtp:h3.example\", \"smtp:h4.example\", \"smtp:h5.example\", \"smtp:h6.example\", \"smtp:h7.example\", \"smtp:h8.example\"]",
        key: "connector.a.to",
        line: 8,
        says: &["more than the 8"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = [\n\"smtp:h.example\",\n\"smtp:h_:99999\"]",
        key: "connector.a.to",
        line: 10,
        says: &["\"99999\" is not a port"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = [\"smtp:h.example\", \"smtp:i.example:465\"]\ntls = \"none\"",
        key: "connector.a.tls",
        line: 9,
        says: &["never to use TLS"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"mail.example\"]",
        key: "connector.a.source",
        line: 9,
        says: &["not an address"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"0.0.0.0\"]",
        key: "connector.a.source",
        line: 9,
        says: &["the system chooses"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"::ffff:224.0.0.1\"]",
        key: "connector.a.source",
        line: 9,
        says: &["multicast"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"255.255.255.255\"]",
        key: "connector.a.source",
        line: 9,
        says: &["broadcast"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"fe80::1\"]",
        key: "connector.a.source",
        line: 9,
        says: &["one link only"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"192.0.2.1\", \"192.0.2.2\", \"2001:db8::1\"]",
        key: "connector.a.source",
        line: 9,
        says: &["192.0.2.1 and 192.0.2.2 are both IPv4", "one address of each family"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"2001:db8::1\"]\nip = \"ipv4-only\"",
        key: "connector.a.source",
        line: 9,
        says: &["never used with ip = \"ipv4-only\""],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nsource = [\"192.0.2.1\"]\nip = \"ipv6-only\"",
        key: "connector.a.source",
        line: 9,
        says: &["never used with ip = \"ipv6-only\""],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nip = \"ipv6-olny\"",
        key: "connector.a.ip",
        line: 9,
        says: &["did you mean \"ipv6-only\"?"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nidentity = \"main\"",
        key: "connector.a.identity",
        line: 9,
        says: &["no identity named \"main\"", "[[tls.identity]]"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nrate = \"0/s\"",
        key: "connector.a.rate",
        line: 9,
        says: &["nothing through"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nrate = \"fast\"",
        key: "connector.a.rate",
        line: 9,
        says: &["not a rate", "100/1m"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nretry = []",
        key: "connector.a.retry",
        line: 9,
        says: &["the list is empty"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nexpire = \"1m\"",
        key: "connector.a.expire",
        line: 9,
        says: &["before they are tried a second time"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nretry = [\"6d\"]",
        key: "connector.a.retry",
        line: 9,
        says: &["before they are tried a second time", "make expire longer"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\njitter = 1",
        key: "connector.a.jitter",
        line: 9,
        says: &["not within 0 and 0.5"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\npassword_file = \"/p\"\ntoken_file = \"/t\"",
        key: "connector.a.token_file",
        line: 11,
        says: &["password_file is written as well"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\ntoken_file = \"/t\"",
        key: "connector.a.token_file",
        line: 9,
        says: &["user is missing"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\npassword_file = \"/p\"\nmechanism = \"xoauth2\"",
        key: "connector.a.mechanism",
        line: 11,
        says: &["sends a token, and password_file is a password"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\ntoken_file = \"/t\"\nmechanism = \"plain\"",
        key: "connector.a.mechanism",
        line: 11,
        says: &["sends a password, and token_file is a token"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nmechanism = \"login\"",
        key: "connector.a.mechanism",
        line: 9,
        says: &["and there is none"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nmechanism = \"cram-md5\"",
        key: "connector.a.mechanism",
        line: 9,
        says: &["not one of"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nmechanism = \"external\"",
        key: "connector.a.mechanism",
        line: 9,
        says: &["client certificate, and none is named"],
    },
    Bad {
        more: "[[tls.identity]]\nname = \"i\"\ncertificate = \"/c\"\nkey = \"/k\"\n[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nidentity = \"i\"\nmechanism = \"external\"\nuser = \"u\"",
        key: "connector.a.user",
        line: 15,
        says: &["it is not sent"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"mx\"\nmechanism = \"plain\"\nuser = \"u\"\npassword_file = \"/p\"\n",
        key: "connector.a.user",
        line: 10,
        says: &["only an \"smtp:\" host"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\npassword_file = \"/p\"\ntls = \"opportunistic\"",
        key: "connector.a.tls",
        line: 11,
        says: &["anybody who poses", "pins"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\n[connector.oauth]\nclient_id = \"c\"\nrefresh_token_file = \"/r\"",
        key: "connector.a.oauth.token_url",
        line: 10,
        says: &["missing"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\n[connector.oauth]\ntoken_url = \"http://l.example/t\"\nclient_id = \"c\"\nrefresh_token_file = \"/r\"",
        key: "connector.a.oauth.token_url",
        line: 11,
        says: &["does not begin with https://"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\n[connector.oauth]\ntoken_url = \"https://l.example/t\"\nclient_id = \"\"\nrefresh_token_file = \"/r\"",
        key: "connector.a.oauth.client_id",
        line: 12,
        says: &["empty"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\n[connector.oauth]\ntoken_url = \"https://l.example/t\"\nclient_id = \"c\"",
        key: "connector.a.oauth",
        line: 10,
        says: &["nothing to get a token for"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\n[connector.oauth]\ntoken_url = \"https://l.example/t\"\nclient_id = \"c\"\nrefresh_token = \"r\"\nclient_secret_file = \"/s\"",
        key: "connector.a.oauth.refresh_token",
        line: 13,
        says: &["did you mean refresh_token_file?"],
    },
    Bad {
        more: "[[connector]]\nname = \"a\"\nto = \"smtp:h.example\"\nuser = \"u\"\noauth = \"https://l.example/t\"",
        key: "connector.a.oauth",
        line: 10,
        says: &["a section is expected"],
    },
    Bad {
        more: "client_certificates = \"asked\"",
        key: "listener.mx.client_certificates",
        line: 6,
        says: &["client_ca is missing"],
    },
    Bad {
        more: "client_certificates = \"yes\"",
        key: "listener.mx.client_certificates",
        line: 6,
        says: &["not one of"],
    },
    Bad {
        more: "tls_minimum = \"1.1\"",
        key: "listener.mx.tls_minimum",
        line: 6,
        says: &["not one of \"1.2\", \"1.3\""],
    },
    Bad {
        more: "[[inbound.policy]]\nname = \"p\"",
        key: "inbound.policy.p",
        line: 6,
        says: &["neither senders nor networks"],
    },
    Bad {
        more: "[[inbound.policy]]\nname = \"p\"\nsenders = [\"b.example\"]\ntls = \"offered\"",
        key: "inbound.policy.p.tls",
        line: 9,
        says: &["not one of"],
    },
    Bad {
        more: "[[inbound.policy]]\nname = \"p\"\nsenders = [\"b.example\"]\ntls = \"verified\"",
        key: "inbound.policy.p.tls",
        line: 9,
        says: &["no listener asks for client certificates"],
    },
    Bad {
        more: "[[inbound.policy]]\nname = \"p\"\nnetworks = [\"b.example\"]",
        key: "inbound.policy.p.networks",
        line: 8,
        says: &["not an address or a network"],
    },
    Bad {
        more: "[[inbound.policy]]\nname = \"p\"\nsenders = [\"b.example\"]\n[[inbound.policy]]\nname = \"p\"\nsenders = [\"c.example\"]",
        key: "inbound.policy.p.name",
        line: 10,
        says: &["named \"p\" above"],
    },
    Bad {
        more: "client_certificates = \"asked\"\nclient_ca = \"/ca\"\n[[relay.certificates]]\nname = \"c\"\nnames = [\"*\"]",
        key: "relay.certificates.c.names",
        line: 10,
        says: &["written in full"],
    },
    Bad {
        more: "client_certificates = \"asked\"\nclient_ca = \"/ca\"\n[[relay.certificates]]\nname = \"c\"\nnames = [\"*.branch.example\"]",
        key: "relay.certificates.c.names",
        line: 10,
        says: &["written in full"],
    },
    Bad {
        more: "client_certificates = \"asked\"\nclient_ca = \"/ca\"\n[[relay.certificates]]\nname = \"c\"\nnames = [\"anna@\"]",
        key: "relay.certificates.c.names",
        line: 10,
        says: &["not a mail address"],
    },
    Bad {
        more: "client_certificates = \"asked\"\nclient_ca = \"/ca\"\n[[relay.certificates]]\nname = \"c\"\nnames = [\"a b\"]",
        key: "relay.certificates.c.names",
        line: 10,
        says: &["not a name"],
    },
    Bad {
        more: "client_certificates = \"asked\"\nclient_ca = \"/ca\"\n[[relay.certificates]]\nname = \"c\"",
        key: "relay.certificates.c",
        line: 8,
        says: &["names no certificate"],
    },
    Bad {
        more: "client_certificates = \"asked\"\nclient_ca = \"/ca\"\n[[relay.certificates]]\nname = \"c\"\npins = [\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]\n[[relay.certificates]]\nname = \"c\"\npins = [\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]",
        key: "relay.certificates.c.name",
        line: 12,
        says: &["named \"c\" above"],
    },
    Bad { more: "[tls_reports]\nsend = \"yes\"", key: "tls_reports.send", line: 7, says: &["true or false"] },
    Bad {
        more: "[tls_reports]\ncontact = \"anna\"",
        key: "tls_reports.contact",
        line: 7,
        says: &["will not do"],
    },
    Bad {
        more: "[tls_reports]\norganization = \" \"",
        key: "tls_reports.organization",
        line: 7,
        says: &["empty"],
    },
    Bad {
        more: "[tls_reports]\nreceive = \"r@example.org\"",
        key: "tls_reports.receive",
        line: 7,
        says: &["none of the own domains", "[[domain]]"],
    },
];

#[test]
fn each_mistake_is_named_with_key_line_and_remedy() {
    for bad in BAD {
        let problems = judge(&with(bad.more)).map(|_| ()).expect_err(bad.more);
        let [problem] = problems.as_slice() else { panic!("{}\n{}", bad.more, Problems(problems)) };
        assert_eq!(
            (problem.key.as_str(), problem.line),
            (bad.key, Some(bad.line)),
            "{}\n{problem}",
            bad.more
        );
        let words = problem.to_string();
        for piece in bad.says {
            assert!(words.contains(piece), "{}\n{words}\nlacks {piece}", bad.more);
        }
        assert!(!problem.remedy.is_empty(), "{words}");
    }
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "data_dri = \"x\"\nhostname = \"a b\"\n[limits]\nrecipients = 5\nhops = \"many\"\n[queue]\njitter = 2\n\
                [[listener]]\nname = \"s\"\nrole = \"submission\"\nauth = false\n";
    let problems = judge(text).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    let expected = [
        "data_dri",
        "hostname",
        "limits.recipients",
        "limits.hops",
        "queue.jitter",
        "listener.s.bind",
        "listener.s.auth",
    ];
    assert_eq!(keys, expected, "{}", Problems(problems.clone()));
}

#[test]
fn a_malformed_network_does_not_hide_an_open_relay() {
    let text =
        with("[[relay.networks]]\nnetworks = [\"0.0.0.0/0\", \"::/0\", \"0.0.0.0/1\", \"10.0.0.0/99\"]");
    let problems = Problems(judge(&text).unwrap_err()).to_string();
    for piece in
        ["0.0.0.0/0 is everybody", "::/0 is everybody", "0.0.0.0/1 is wider", "\"10.0.0.0/99\" is not"]
    {
        assert!(problems.contains(piece), "{piece}: {problems}");
    }
    let proxies = with("proxy_protocol = [\"::/0\", \"balancer\"]");
    assert_eq!(judge(&proxies).unwrap_err().len(), 2);
}

#[test]
fn one_mistake_in_a_section_does_not_hide_the_next() {
    let text = "[[listener]]
name = \"second\"
role = \"really\"
bind = [\"[::]:25\", \"nowhere\"]
identities = [\"b\"]
[[tls.identity]]
name = \"a\"
key_type = 5
[[connector]]
name = \"one\"
to = \"pigeon\"
address_space = [\"*\", \"*\", \"-\"]
user = 5
password_file = \"p\"
tls = \"none\"
";
    let problems = judge(&with(text)).unwrap_err();
    let found: Vec<_> =
        problems.iter().map(|problem| (problem.line.unwrap(), problem.key.as_str())).collect();
    let expected = [
        (8, "listener.second.role"),
        (9, "listener.second.bind"),
        (9, "listener.second.bind"),
        (10, "listener.second.identities"),
        (13, "tls.identity.a.key_type"),
        (16, "connector.one.to"),
        (17, "connector.one.address_space"),
        (17, "connector.one.address_space"),
        (18, "connector.one.user"),
        (20, "connector.one.tls"),
    ];
    assert_eq!(found, expected, "{}", Problems(problems.clone()));
}

#[test]
fn one_mistake_in_encrypted_delivery_does_not_hide_the_next() {
    let text = "[outbound]
tls = \"sometimes\"
[[outbound.policy]]
address_space = [\"a.example\", \"-\", \"A.example\"]
pins = [\"sha256:00\"]
[[connector]]
name = \"one\"
to = \"smtp:h.example\"
tls = \"maybe\"
source = [\"::\", \"192.0.2.1\", \"192.0.2.2\"]
ip = \"ipv6-only\"
identity = \"nobody\"
rate = \"0/s\"
user = \"u\"
token_file = \"/t\"
mechanism = \"plain\"
[connector.oauth]
token_url = \"http://l.example\"
client_id = 5
";
    let problems = judge(&with(text)).unwrap_err();
    let found: Vec<_> =
        problems.iter().map(|problem| (problem.line.unwrap(), problem.key.as_str())).collect();
    let expected = [
        (7, "outbound.tls"),
        (9, "outbound.policy[1].address_space"),
        (9, "outbound.policy[1].address_space"),
        (10, "outbound.policy[1].pins"),
        (14, "connector.one.tls"),
        (15, "connector.one.source"),
        (15, "connector.one.source"),
        (15, "connector.one.source"),
        (15, "connector.one.source"),
        (17, "connector.one.identity"),
        (18, "connector.one.rate"),
        (21, "connector.one.mechanism"),
        (22, "connector.one.oauth"),
        (22, "connector.one.oauth"),
        (23, "connector.one.oauth.token_url"),
        (24, "connector.one.oauth.client_id"),
    ];
    assert_eq!(found, expected, "{}", Problems(problems.clone()));
}

#[test]
fn an_empty_file_lacks_a_host_name_and_a_listener() {
    let problems = judge("").unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["hostname", "listener"]);
}

#[test]
fn a_date_is_refused_in_its_place() {
    let problems = judge(&with("[queue]\nexpire = 1979-05-27")).unwrap_err();
    assert_eq!((problems.len(), problems[0].line), (1, Some(7)), "{}", Problems(problems.clone()));
}

#[test]
fn what_is_not_toml_is_placed_at_line_and_column() {
    let problem = File::parse("hostname = \"a\"\nbind = [1 2]\n", "etc/postern.toml").unwrap_err();
    assert!(problem.to_string().starts_with("etc/postern.toml:2:"), "{problem}");
    let twice = File::parse("a = 1\na = 2\n", "x").unwrap_err();
    assert_eq!(twice.line, Some(2), "{twice}");
}

#[test]
fn a_problem_reads_as_place_key_fault_and_remedy() {
    let problems = judge(&with("[log]\nformat = \"xml\"")).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "postern.toml:7:10: log.format: \"xml\" is not one of \"text\", \"json\" — write \"text\" or \"json\""
    );
}

#[test]
fn where_either_beginning_is_served_the_port_says_what_is_expected_unless_it_is_written() {
    let listener = |more: &str| {
        let section =
            "[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:587\", \"[::]:465\"]\n";
        sound(&with(&format!("{section}{more}"))).listeners.pop().unwrap()
    };
    let expected = |more: &str| [587, 465, 10465].map(|port| listener(more).tls.greets(port));
    let (clear, tls) = (Greets::InClear, Greets::AfterTls);
    assert_eq!(expected(""), [clear, tls, clear]);
    assert_eq!(expected("tls = \"auto\""), [clear, tls, clear]);
    assert_eq!(expected("tls_expects = \"tls\""), [tls, tls, tls]);
    assert_eq!(expected("tls_expects = \"starttls\""), [clear, clear, clear]);
    assert_eq!(expected("tls = \"required\""), [clear, clear, clear]);
    assert_eq!(expected("tls = \"implicit\""), [tls, tls, tls]);
    for more in ["tls = \"auto\"", "tls_expects = \"tls\""] {
        assert_eq!(listener(more).tls.mode(), TlsMode::Required, "nothing is relaxed");
    }
}

#[test]
fn nobody_is_warned_of_the_usual_ports_where_either_beginning_is_served() {
    let section = "[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:587\", \"[::]:465\"]\n";
    assert_eq!(sound(&with(section)).warnings, []);
}

#[test]
fn a_relay_listener_is_cautious_and_a_submission_listener_helpful() {
    let config = sound(&with("[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:587\"]\n"));
    let [relay, submission] = config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!((relay.tls, relay.auth), (ListenerTls::Offered, AuthOffer::Never));
    assert_eq!((relay.line_endings, relay.session_tickets), (LineEndings::Strict, Tickets::Off));
    assert_eq!((submission.tls, submission.auth), (ListenerTls::Auto(Expects::ByPort), AuthOffer::Mandatory));
    assert_eq!((submission.line_endings, submission.session_tickets), (LineEndings::Repair, Tickets::On));
    assert_eq!(submission.check_from_header, FromCheck::Enforced);
}

fn sessions(all: usize, per_address: usize) -> SessionLimits {
    SessionLimits { all, per_address }
}

#[test]
fn what_a_listener_says_of_sessions_leaves_the_bound_of_all_as_it_is() {
    let config = sound(&with("[listener.limits]\nsessions = 20\n[limits]\nsessions_per_address = 7"));
    assert_eq!(config.sessions, sessions(1000, 7));
    assert_eq!(config.listeners[0].limits.sessions, sessions(20, 7));
}

#[test]
fn a_listener_inherits_the_limits_it_does_not_set() {
    let text = "[listener.limits]\nrecipients = 200\n[limits]\nrecipients = 300\nerrors = 7\nhops = 20";
    let config = sound(&with(text));
    let listener = &config.listeners[0];
    assert_eq!((listener.limits.smtp.recipients, listener.limits.smtp.errors, listener.hops), (200, 7, 20));
    assert_eq!(listener.limits.smtp.message_size, 35 << 20);
    assert_eq!((config.sessions, listener.limits.sessions), (sessions(1000, 50), sessions(1000, 50)));
    assert_eq!(listener.limits.timeouts.session, Duration::from_hours(1));
}

#[test]
fn without_a_way_to_everybody_there_is_one_by_mx() {
    let config = sound(SOUND);
    let [mx] = config.connectors.as_slice() else { panic!("one connector") };
    assert_eq!((mx.name.0.as_str(), &mx.to, mx.cost), ("mx", &Way::Mx { port: 25 }, 100));
    assert_eq!(
        (mx.spaces.as_slice(), mx.peer.requirement),
        ([AddressSpace::Any].as_slice(), TlsRequirement::OPPORTUNISTIC)
    );
    assert_eq!(mx.hello, "mail.example.org");
}

#[test]
fn a_password_makes_verified_tls_the_default() {
    let text = "[[connector]]\nname = \"s\"\nto = \"smtp:[2001:db8::1]:465\"\naddress_space = [\"*\"]\nuser = \"u\"\npassword_file = \"p\"";
    let connector = &sound(&with(text)).connectors[0];
    let expected =
        Way::Smtp(vec![SmtpHost { host: "2001:db8::1".to_owned(), port: 465, implicit_tls: true }]);
    assert_eq!((&connector.to, connector.peer.requirement), (&expected, TlsRequirement::VERIFIED));
}

/// The connector that serves everybody, with these lines more.
fn connector(lines: &str) -> Connector {
    let text = format!("[[connector]]\nname = \"c\"\naddress_space = [\"*\"]\n{lines}");
    sound(&with(&text)).connectors.remove(0)
}

fn smtp_host(host: &str, port: u16, implicit_tls: bool) -> SmtpHost {
    SmtpHost { host: host.to_owned(), port, implicit_tls }
}

#[test]
fn what_a_connector_does_not_say_is_what_holds_for_all() {
    let mx = connector("to = \"mx\"");
    assert!(mx.dane && mx.mta_sts && mx.post_quantum && mx.enabled);
    assert_eq!((mx.ip, mx.source.len(), mx.rate), (IpPreference::Ipv6First, 0, None));
    let text = "[outbound]\ndane = false\nmta_sts = false\n[queue]\nretry = [\"7m\"]\nexpire = \"3d\"\n\
                [[connector]]\nname = \"c\"\nto = \"mx\"\naddress_space = [\"*\"]\nmta_sts = true\nexpire = \"1d\"";
    let own = sound(&with(text)).connectors.remove(0);
    assert_eq!((own.dane, own.mta_sts), (false, true));
    assert_eq!(own.retry.intervals, [Duration::from_mins(7)]);
    assert_eq!(
        (own.retry.expire, own.retry.delay_warning),
        (Duration::from_hours(24), Some(Duration::from_hours(4)))
    );
}

#[test]
fn dane_is_for_smtp_and_mta_sts_for_mx() {
    let smtp = connector("to = \"smtp:h.example\"");
    assert_eq!((smtp.dane, smtp.mta_sts), (true, false));
    let lmtp = connector("to = \"lmtp:h.example:24\"");
    assert_eq!((lmtp.dane, lmtp.mta_sts), (false, false));
}

#[test]
fn several_hosts_keep_their_order_and_each_its_port() {
    let to = "to = [\"smtp:b.example:465\", \"smtp:a.example\"]";
    let each = Way::Smtp(vec![smtp_host("b.example", 465, true), smtp_host("a.example", 25, false)]);
    assert_eq!(connector(to).to, each);
    let all = Way::Smtp(vec![smtp_host("b.example", 465, true), smtp_host("a.example", 25, true)]);
    assert_eq!(connector(&format!("{to}\nimplicit_tls = true")).to, all);
}

#[test]
fn whoever_writes_pins_means_them() {
    let pins =
        format!("pins = [\"sha256:{}\", \"SPKI-SHA256:{}\"]", "00:".repeat(31) + "00", "ff".repeat(32));
    let pinned = connector(&format!("to = \"smtp:h.example\"\n{pins}")).peer;
    assert_eq!(pinned.requirement, TlsRequirement::PINNED);
    assert_eq!(pinned.pins, [Pin::Certificate([0; 32]), Pin::Spki([0xff; 32])]);
    let signing_in = format!("to = \"smtp:h.example\"\nuser = \"u\"\npassword_file = \"/p\"\n{pins}");
    assert_eq!(connector(&signing_in).peer.requirement, TlsRequirement::PINNED);
}

#[test]
fn a_password_may_go_to_any_peer_that_proves_who_it_is() {
    for tls in ["verified", "dane"] {
        let text = format!("to = \"smtp:h.example\"\nuser = \"u\"\npassword_file = \"/p\"\ntls = \"{tls}\"");
        assert_eq!(connector(&text).peer.requirement.to_string(), tls);
    }
}

#[test]
fn a_demand_on_all_mail_gives_trust_anchors_their_effect() {
    let text = "[outbound]\ntls = \"verified\"\n[[connector]]\nname = \"c\"\nto = \"mx\"\naddress_space = [\"*\"]\ntrust = \"/t\"";
    assert_eq!(keys(&sound(&with(text)).warnings), ["outbound.tls"]);
}

#[test]
fn a_token_is_written_or_fetched() {
    let smtp = "to = \"smtp:h.example\"\nuser = \"u\"\n";
    let written = connector(&format!("{smtp}token_file = \"/t\"\nmechanism = \"xoauth2\""));
    let token = CredentialSource::Token { user: "u".to_owned(), token_file: "/t".into() };
    assert_eq!((written.credential, written.mechanism), (Some(token), Some(Mechanism::Xoauth2)));
    assert_eq!(written.peer.requirement, TlsRequirement::VERIFIED);
    let endpoint = OAuth {
        token_url: "https://l.example/t".to_owned(),
        client_id: "c".to_owned(),
        client_secret_file: Some("/s".into()),
        refresh_token_file: None,
        scope: None,
    };
    let keys = "token_url = \"https://l.example/t\"\nclient_id = \"c\"\nclient_secret_file = \"/s\"";
    let expected = Some(CredentialSource::OAuth { user: "u".to_owned(), endpoint });
    assert_eq!(connector(&format!("{smtp}[connector.oauth]\n{keys}")).credential, expected);
    let inline = keys.replace('\n', ", ");
    assert_eq!(connector(&format!("{smtp}oauth = {{ {inline} }}")).credential, expected);
}

#[test]
fn a_client_certificate_signs_in_alone() {
    let text = "[[connector]]\nname = \"c\"\naddress_space = [\"*\"]\nto = \"smtp:h.example\"\nidentity = \"i\"\n\
                mechanism = \"external\"\n[[tls.identity]]\nname = \"i\"\ncertificate = \"/c\"\nkey = \"/k\"";
    let connector = sound(&with(text)).connectors.remove(0);
    assert_eq!(connector.credential, Some(CredentialSource::External));
    assert_eq!((connector.identity.as_deref(), connector.mechanism), (Some("i"), Some(Mechanism::External)));
    assert_eq!(connector.peer.requirement, TlsRequirement::VERIFIED);
}

#[test]
fn connections_come_from_the_addresses_that_are_written() {
    let connector = connector(
        "to = \"mx\"\nsource = [\"192.0.2.7\", \"2001:db8::7\"]\nip = \"ipv4-first\"\nrate = \"30/1m\"\nenabled = false",
    );
    let expected: [IpAddr; 2] = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    assert_eq!((connector.source.as_slice(), connector.ip), (expected.as_slice(), IpPreference::Ipv4First));
    assert_eq!(connector.rate, Some(Rate { messages: 30, per: Duration::from_mins(1) }));
    assert!(!connector.enabled);
}

#[test]
fn a_connector_out_of_service_keeps_its_place() {
    let config = sound(&with(
        "[[connector]]\nname = \"c\"\nto = \"smtp:h.example\"\naddress_space = [\"*\"]\nenabled = false",
    ));
    assert_eq!(config.connectors.len(), 1, "no way around it is added");
}

#[test]
fn policies_add_to_what_connectors_demand() {
    let text = "[outbound]\ntls = \"required\"\n[[outbound.policy]]\naddress_space = [\"b.example\", \"*.b.example\"]\n\
                tls = \"verified\"\ntrust = \"/t\"\n[[outbound.policy]]\naddress_space = [\"c.example\"]\ndistrust = [\"sha256:"
        .to_owned()
        + &"00".repeat(32)
        + "\"]";
    let outbound = sound(&with(&text)).outbound;
    assert_eq!(outbound.requirement, TlsRequirement::REQUIRED);
    let [verified, distrusting] = outbound.policies.as_slice() else { panic!("two policies") };
    assert_eq!((verified.peer.requirement, verified.spaces.len()), (TlsRequirement::VERIFIED, 2));
    assert_eq!(verified.peer.trust.as_deref(), Some(Path::new("/t")));
    let expected = PeerDemand { distrust: vec![Pin::Certificate([0; 32])], ..PeerDemand::default() };
    assert_eq!(distrusting.peer, expected);
    let nothing = Outbound { requirement: TlsRequirement::NONE, policies: Vec::new() };
    assert_eq!(sound(SOUND).outbound, nothing);
}

#[test]
fn dnssec_is_a_resolvers_word_unless_something_else_is_written() {
    let of = |lines: &str| sound(&with(&format!("[dns]\n{lines}"))).dns.dnssec;
    assert_eq!(of(""), DnssecMode::Resolver);
    assert_eq!(of("dnssec = \"off\""), DnssecMode::Off);
    assert_eq!(of("dnssec = \"own\""), DnssecMode::Own { anchors: None });
    let anchors = Some(PathBuf::from("/a"));
    assert_eq!(of("dnssec = \"own\"\ntrust_anchors = \"/a\""), DnssecMode::Own { anchors });
}

#[test]
fn the_oldest_version_of_tls_is_that_of_all_unless_one_says_otherwise() {
    let text = "tls_minimum = \"1.2\"\n[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:587\"]\n[tls]\n\
                minimum = \"1.3\"\n[[inbound.policy]]\nname = \"p\"\nnetworks = [\"192.0.2.0/28\"]";
    let config = sound(&with(text));
    let minimums: Vec<_> = config.listeners.iter().map(|listener| listener.minimum).collect();
    assert_eq!(minimums, [MinimumVersion::Tls12, MinimumVersion::Tls13]);
    assert_eq!(config.inbound_policies[0].minimum, MinimumVersion::Tls13);
}

#[test]
fn client_certificates_are_asked_for_with_their_authorities() {
    let text = "client_certificates = \"asked\"\nclient_ca = \"/ca\"\n[[relay.certificates]]\nname = \"b\"\n\
                names = [\"Mail.bücher.example\", \"anna@example.org\"]\n[[inbound.policy]]\nname = \"p\"\n\
                senders = [\"*.b.example\"]\nnetworks = [\"::ffff:192.0.2.1\"]\ntls = \"verified\"";
    let config = sound(&with(text));
    assert_eq!(config.listeners[0].client_certificates, ClientCertificates::Asked("/ca".into()));
    assert_eq!(sound(SOUND).listeners[0].client_certificates, ClientCertificates::Ignored);
    assert_eq!(config.relay_certificates[0].names, ["mail.xn--bcher-kva.example", "anna@example.org"]);
    let policy = &config.inbound_policies[0];
    assert_eq!(policy.tls, InboundTls::Verified);
    assert_eq!(policy.networks, ["192.0.2.1/32".parse().unwrap()]);
}

#[test]
fn tls_reports_come_from_where_other_reports_do() {
    let reports = sound(&with("[report]\nfrom = \"anna@example.org\"")).tls_reports;
    assert_eq!((reports.send, reports.organization.as_str()), (false, "mail.example.org"));
    assert_eq!(
        (reports.contact.to_string(), &reports.contact),
        ("anna@example.org".to_owned(), &reports.from)
    );
    let text = "[[domain]]\nname = \"bücher.example\"\ndeliver = \"l\"\n[[connector]]\nname = \"l\"\nto = \"lmtp:unix:/run/l\"\n\
                [tls_reports]\nreceive = \"r@xn--bcher-kva.example\"";
    assert!(sound(&with(text)).tls_reports.receive.is_some());
}

#[test]
fn lmtp_goes_over_a_socket_or_tcp() {
    let to = |to: &str| {
        let text = format!("[[connector]]\nname = \"l\"\nto = \"{to}\"\naddress_space = [\"l.example\"]");
        let connector = sound(&with(&text)).connectors.remove(0);
        (connector.to, connector.peer.requirement)
    };
    let (unix, tcp) = (to("lmtp:unix:/run/l"), to("lmtp:store.example:24"));
    assert_eq!(unix, (Way::Lmtp(LmtpAddress::Unix("/run/l".into())), TlsRequirement::NONE));
    assert_eq!(
        tcp,
        (Way::Lmtp(LmtpAddress::Tcp("store.example".to_owned(), 24)), TlsRequirement::OPPORTUNISTIC)
    );
}

#[test]
fn an_alias_may_keep_a_copy_for_itself_and_lead_to_unknown_names() {
    let text = "[[domain]]\nname = \"example.org\"\ndeliver = \"mx\"\nbackup = true\n\
                aliases = { Anna = [\"anna\", \"bob@elsewhere.example\", \"perhaps-a-user\"] }";
    let config = sound(&with(text));
    let targets: Vec<_> = config.domains[0].aliases["anna"].iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["anna@example.org", "bob@elsewhere.example", "perhaps-a-user@example.org"]);
}

#[test]
fn a_loop_through_a_detail_or_another_domain_is_found() {
    let domain = |name: &str, aliases: &str| {
        format!("[[domain]]\nname = \"{name}\"\ndeliver = \"mx\"\nbackup = true\naliases = {{ {aliases} }}\n")
    };
    let text = domain("a.example", "x = [\"y+d@b.example\"]") + &domain("b.example", "y = [\"X@a.example\"]");
    let problems = judge(&with(&text)).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["domain.\"a.example\".aliases"], "once, at its first place");
    let switched_off = text.replace("name = \"b.example\"", "name = \"b.example\"\nplus = \"\"");
    assert!(judge(&with(&switched_off)).is_ok(), "without a delimiter y+d is another name");
}

#[test]
fn forwarding_to_others_is_told_and_within_the_house_is_not() {
    let store = "[[connector]]\nname = \"store\"\nto = \"lmtp:unix:/run/lmtp\"\n";
    let domain = |name: &str| format!("[[domain]]\nname = \"{name}\"\ndeliver = \"store\"\n");
    let told = |more: &str| {
        let text = format!("{}{}{more}\n{store}", domain("b.example"), domain("a.example"));
        let warnings = sound(&with(&text)).warnings;
        warnings.into_iter().map(|warning| (warning.key, warning.what)).collect::<Vec<_>>()
    };
    let within = "aliases = { x = [\"anna@b.example\", \"bob\"] }\ncatch_all = \"anna@b.example\"";
    assert_eq!(told(within), []);
    let away = told(
        "aliases = { x = [\"anna\", \"bob@c.example\"], y = [\"anna\"] }\ncatch_all = \"eve@c.example\"",
    );
    let keys: Vec<&str> = away.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["domain.\"a.example\".aliases", "domain.\"a.example\".catch_all"]);
    assert!(
        away[0].1.starts_with("aliases (1) lead") && away[0].1.ends_with("x to bob@c.example"),
        "{away:?}"
    );
    assert!(away[1].1.ends_with("eve@c.example"), "{away:?}");
}

#[test]
fn never_and_zero_switch_the_delay_warning_off() {
    for (text, expected) in [("never", None), ("0s", None), ("1h", Some(Duration::from_hours(1)))] {
        let config = sound(&with(&format!("[queue]\ndelay_warning = \"{text}\"")));
        assert_eq!(config.queue.retry.delay_warning, expected, "{text}");
    }
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    let cases = [
        ("tls = \"required\"", "listener.mx.tls", "RFC 3207"),
        ("tls_expects = \"tls\"", "listener.mx.tls_expects", "no effect"),
        (
            "[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:465\"]\ntls_expects = \"starttls\"",
            "listener.s.tls",
            "RFC 8314",
        ),
        (
            "[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:587\"]\ntls_expects = \"tls\"",
            "listener.s.tls",
            "RFC 6409",
        ),
        ("[queue]\nstore = \"memory\"", "queue.store", "restart"),
        ("[queue]\ndelay_warning = \"9d\"", "queue.delay_warning", "expired"),
        ("[limits]\ncommand_timeout = \"30s\"", "limits.command_timeout", "five minutes"),
        ("[listener.limits]\nsessions = 1001", "listener.mx.limits.sessions", "never reached: 1000"),
        ("[[connector]]\nname = \"c\"\nto = \"smtp:h.example\"", "connector", "never used"),
        (
            "[[connector]]\nname = \"c\"\nto = \"mx\"\naddress_space = [\"*\"]\ntrust = \"/t\"",
            "connector.c.trust",
            "no effect",
        ),
        (
            "[[domain]]\nname = \"example.org\"\ndeliver = \"l\"\nbackup = true\n[[connector]]\nname = \"l\"\nto = \"lmtp:unix:/run/l\"",
            "domain.\"example.org\".backup",
            "does not look at MX records",
        ),
        (
            "[[domain]]\nname = \"example.org\"\ndeliver = \"m\"\nmailboxes = [\"a\", \"b\"]\n[[connector]]\nname = \"m\"\nto = \"maildir:/m/{domain}\"",
            "domain.\"example.org\".deliver",
            "into one Maildir",
        ),
        ("client_ca = \"/ca\"", "listener.mx.client_ca", "no effect"),
        (
            "client_certificates = \"required\"\nclient_ca = \"/ca\"",
            "listener.mx.client_certificates",
            "in clear or not at all",
        ),
        (
            "[[listener]]\nname = \"b\"\nrole = \"relay\"\nbind = [\"[::]:26\"]\nclient_certificates = \"required\"\nclient_ca = \"/ca\"",
            "listener.b.client_certificates",
            "never asked",
        ),
        ("[dns]\ntrust_anchors = \"/a\"", "dns.trust_anchors", "no effect"),
        ("[dns]\nservers = [\"9.9.9.9\"]\ndnssec = \"resolver\"", "dns.dnssec", "no effect"),
        ("[outbound]\ntls = \"verified\"", "outbound.tls", "will wait"),
        (
            "[[connector]]\nname = \"a\"\nto = \"mx\"\naddress_space = [\"*\"]\ntls = \"verified\"\npins = [\"spki-sha256:5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\"]",
            "connector.a.pins",
            "no effect",
        ),
        (
            "[[connector]]\nname = \"a\"\nto = \"mx\"\naddress_space = [\"*\"]\ndelay_warning = \"9d\"",
            "connector.a.delay_warning",
            "expired",
        ),
        ("[[inbound.policy]]\nname = \"p\"\nsenders = [\"*\"]", "inbound.policy.p.senders", "every sender"),
        (
            "[[send_as]]\nname = \"r\"\naddresses = [\"*@example.org\", \"x@b.example\"]\nusers = [\"*\"]",
            "send_as.r.users",
            "everybody in example.org",
        ),
        (
            "[[relay.certificates]]\nname = \"c\"\nnames = [\"mail.branch.example\"]",
            "relay.certificates",
            "no relay listener asks",
        ),
        (
            "[[relay.networks]]\nname = \"n\"\nnetworks = [\"192.0.2.1/28\"]",
            "relay.networks.n.networks",
            "192.0.2.0/28 is taken",
        ),
    ];
    for (more, key, says) in cases {
        let warnings = sound(&with(more)).warnings;
        let [warning] = warnings.as_slice() else { panic!("{more}\n{}", Problems(warnings)) };
        assert!(warning.key == key && warning.to_string().contains(says), "{more}\n{warning}");
    }
    assert!(sound(SOUND).warnings.is_empty());
}

#[test]
fn relay_networks_are_found_by_the_clients_address() {
    let config = sound(&with(
        "[[relay.networks]]\nname = \"printers\"\nnetworks = [\"192.0.2.0/28\", \"2001:db8::5\"]",
    ));
    let of = |client: &str| config.relay_network(client.parse().unwrap());
    assert_eq!(of("192.0.2.3"), Some("printers"));
    assert_eq!(of("::ffff:192.0.2.3"), Some("printers"));
    assert_eq!(of("2001:db8::5"), Some("printers"));
    assert_eq!((of("192.0.2.16"), of("2001:db8::6")), (None, None));
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.toml");
    std::fs::write(&path, format!("data_dir = \"data\"\n{SOUND}")).unwrap();
    let config = Config::load(&path, &Surroundings::default()).unwrap();
    assert_eq!(config.data_dir, folder.path().join("data"));
}

#[test]
fn a_file_that_is_not_there_says_what_to_do() {
    let problems =
        Config::load(Path::new("/nonexistent/postern.toml"), &Surroundings::default()).unwrap_err();
    assert!(problems.to_string().contains("postern init"), "{problems}");
}

#[test]
fn a_folder_in_place_of_the_file_is_called_one() {
    let folder = tempfile::tempdir().unwrap();
    let problems = Config::load(folder.path(), &Surroundings::default()).unwrap_err().to_string();
    assert!(problems.contains("is a folder") && !problems.contains("postern init"), "{problems}");
}

/// What a check of `SOUND` with more at its end finds.
fn check(more: &str, now: Timestamp) -> Checked {
    File::parse(&with(more), "postern.toml").unwrap().check(&Surroundings::default(), now)
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

/// A certificate and its key, good at `now`.
fn identity(folder: &Path, now: Timestamp) -> (PathBuf, PathBuf) {
    let ca = PrivateCa::open_or_create(&folder.join("ca"), "mail.example.org", now).unwrap();
    let issued =
        ca.ensure_server_identity(&folder.join("tls"), &["mail.example.org".to_owned()], now).unwrap();
    (issued.certificate, issued.key)
}

#[test]
fn missing_and_readable_secrets_are_found_beside_other_problems() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (password, absent) = (folder.path().join("password"), folder.path().join("absent"));
    std::fs::write(&password, "").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!(
        "[[tls.identity]]\ncertificate = {absent:?}\nkey = \"/\"\n[[connector]]\nname = \"out\"\nto = \"pigeon\"\n\
         trust = {absent:?}\nuser = \"u\"\npassword_file = {password:?}\n"
    );
    let problems = check(&text, Timestamp::UNIX_EPOCH).problems;
    let expected = [
        "tls.identity[1].name",
        "tls.identity[1].certificate",
        "tls.identity[1].key",
        "connector.out.to",
        "connector.out.trust",
        "connector.out.password_file",
    ];
    assert_eq!(keys(&problems), expected, "{problems:#?}");
    assert!(problems[1].to_string().starts_with("postern.toml:7:"), "{}", problems[1]);
    assert!(problems[1].what.contains(absent.to_str().unwrap()), "{}", problems[1]);
}

#[test]
fn a_program_that_cannot_be_started_or_that_anybody_may_change_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, mode| {
        let path = folder.path().join(name);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let said = |hook: &Path| {
        let text = format!(
            "[certificates]\ndeploy_hook = {hook:?}\n[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\n\
             terms_agreed = true\nchallenge = \"dns-01\"\nhook = {hook:?}\n[[tls.identity]]\nname = \"a\"\nissuer = \"le\""
        );
        let checked = check(&text, Timestamp::UNIX_EPOCH);
        assert!(checked.problems.is_empty(), "{:?}", checked.problems);
        checked.warnings
    };
    assert_eq!(said(&program("sound", 0o755)), []);
    assert_eq!(said(&program("private", 0o700)), []);
    for (path, why) in [
        (folder.path().join("absent"), "cannot be started"),
        (folder.path().to_owned(), "is not a program"),
        (program("plain", 0o644), "nobody may execute it"),
        (program("open", 0o777), "everybody on this machine can change"),
    ] {
        let warnings = said(&path);
        assert_eq!(keys(&warnings), ["certificates.deploy_hook", "acme.le.hook"], "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.what.contains(why)), "{warnings:?}");
    }
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(said(&program("sound", 0o755)).len(), 2, "another can be put in its place");
}

#[test]
fn an_identity_is_loaded_as_the_daemon_loads_it() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let (certificate, key) = identity(folder.path(), now);
    let (_, foreign) = identity(other.path(), now);
    let text = |key: &Path| {
        format!("[[tls.identity]]\nname = \"a\"\ncertificate = {certificate:?}\nkey = {key:?}\n")
    };
    let quiet = check(&text(&key), now);
    assert!(quiet.problems.is_empty() && quiet.warnings.is_empty(), "{quiet:?}");
    let mismatch = check(&text(&foreign), now).problems;
    assert_eq!((keys(&mismatch), mismatch[0].line), (vec!["tls.identity.a.key"], Some(9)));
    let later = check(&text(&key), "2126-01-01T00:00:00Z".parse().unwrap());
    assert!(later.problems.is_empty(), "{later:?}");
    assert_eq!(keys(&later.warnings), ["tls.identity.a.certificate"]);
    assert!(later.warnings[0].what.contains("expired"), "{}", later.warnings[0]);
}

#[test]
fn an_acme_authority_answers_on_port_80_unless_told_otherwise() {
    let section = "[[acme]]\nname = \"le\"\ndirectory = \"https://ca.example/d\"\nterms_agreed = true\n";
    let config = sound(&with(section));
    assert_eq!(config.acme[0].proof, AcmeProof::Http { bind: vec!["[::]:80".parse().unwrap()] });
    assert!(config.warnings[0].what.contains("no identity is issued by it"), "{:?}", config.warnings);
    let used = format!("{section}[[tls.identity]]\nname = \"a\"\nissuer = \"le\"");
    assert_eq!(sound(&with(&used)).warnings, []);
}

#[test]
fn an_identity_says_where_it_lies_and_who_renews_it() {
    let text = "[[tls.identity]]\nname = \"by-hand\"\n[[tls.identity]]\nname = \"own\"\nissuer = \"private-ca\"\n\
                names = [\"*.Example.org\", \"::1\", \"*.example.org\"]\nkey_type = \"rsa-2048\"";
    let config = sound(&with(text));
    let [by_hand, own] = config.tls.identities.as_slice() else { panic!("{:?}", config.tls) };
    let names = vec!["mail.example.org".parse().unwrap()];
    let key = KeyKind::EcdsaP256;
    assert_eq!(by_hand.source, IdentitySource::Store { issuer: None, names, key });
    let names = vec!["*.example.org".parse().unwrap(), "::1".parse().unwrap()];
    let (issuer, key) = (Some(Issuer::PrivateCa), KeyKind::Rsa2048);
    assert_eq!(own.source, IdentitySource::Store { issuer, names, key });
    let (certificate, _) = own.files(Path::new("/data"));
    assert_eq!(certificate, Path::new("/data/certificates/own/current/certificate.pem"));
}

#[test]
fn what_lies_in_the_store_may_be_named_without_being_listed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["shop", ".requests", "empty"] {
        std::fs::create_dir_all(folder.path().join("data/certificates").join(name).join("current")).unwrap();
    }
    for name in ["shop", ".requests"] {
        let current = folder.path().join("data/certificates").join(name).join("current");
        std::fs::write(current.join("certificate.pem"), "").unwrap();
    }
    let path = folder.path().join("postern.toml");
    let judge = |name: &str| {
        let text = format!("data_dir = \"data\"\n{}", with(&format!("identities = [{name:?}]")));
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &Surroundings::default())
    };
    assert_eq!(judge("shop").unwrap().listeners[0].identities, ["shop"]);
    for unknown in ["empty", ".requests"] {
        assert!(judge(unknown).is_err(), "{unknown}");
    }
    assert!(judge("shpo").unwrap_err().to_string().contains("did you mean \"shop\"?"));
}

#[test]
fn warnings_before_the_end_are_kept_in_order() {
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    assert_eq!(sound(SOUND).certificates.warn, [days(30), days(14), days(7), days(1)]);
    let odd = sound(&with("[certificates]\nwarn = [\"1d\", \"21d\", \"24h\"]\nmail = false"));
    assert_eq!((odd.certificates.warn, odd.certificates.mail), (vec![days(21), days(1)], false));
}

#[test]
fn trust_anchors_must_be_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let (certificate, key) = identity(folder.path(), now);
    let found = |path: &Path| {
        let text = format!(
            "[[connector]]\nname = \"out\"\nto = \"smtp:m.example\"\ntls = \"verified\"\ntrust = {path:?}\n"
        );
        keys(&check(&text, now).problems).join(" ")
    };
    assert_eq!(found(&certificate), "");
    assert_eq!(found(&key), "connector.out.trust");
}

#[test]
fn every_file_of_encrypted_delivery_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let nonsense = folder.path().join("nonsense");
    std::fs::write(&nonsense, "nonsense").unwrap();
    let absent = folder.path().join("absent");
    let text = format!(
        "client_certificates = \"asked\"\nclient_ca = {nonsense:?}\n[dns]\ndnssec = \"own\"\ntrust_anchors = {nonsense:?}\n\
         [[outbound.policy]]\naddress_space = [\"b.example\"]\ntls = \"verified\"\ntrust = {nonsense:?}\n\
         [[connector]]\nname = \"t\"\nto = \"smtp:m.example\"\nuser = \"u\"\ntoken_file = {absent:?}\n\
         [[connector]]\nname = \"o\"\nto = \"smtp:m.example\"\nuser = \"u\"\n[connector.oauth]\nclient_id = \"c\"\n\
         token_url = \"https://l.example/\"\nclient_secret_file = {absent:?}\nrefresh_token_file = \"/\"\n"
    );
    let problems = check(&text, Timestamp::UNIX_EPOCH).problems;
    let expected = [
        "listener.mx.client_ca",
        "dns.trust_anchors",
        "outbound.policy[1].trust",
        "connector.t.token_file",
        "connector.o.oauth.client_secret_file",
        "connector.o.oauth.refresh_token_file",
    ];
    assert_eq!(keys(&problems), expected, "{problems:#?}");
    for problem in &problems {
        assert!(problem.line.is_some() && !problem.remedy.is_empty(), "{problem}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_made_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let warned = |path: &Path| {
        let text = format!("data_dir = {path:?}\n{SOUND}");
        let file = File::parse(&text, "postern.toml").unwrap();
        let checked = file.check(&Surroundings::default(), Timestamp::UNIX_EPOCH);
        assert!(checked.problems.is_empty(), "{checked:?}");
        checked.warnings.iter().any(|warning| warning.key == "data_dir" && warning.line == Some(1))
    };
    assert!(warned(&file) && warned(&file.join("below")) && warned(Path::new("/proc/postern/data")));
    assert!(!warned(folder.path()) && !warned(&folder.path().join("new/folder")));
}

/// One of the files that together set every key of the reference: some keys exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Password,
    Token,
    OAuth,
    Mx,
}

impl Variant {
    const ALL: [Self; 4] = [Self::Password, Self::Token, Self::OAuth, Self::Mx];

    /// Where the only connector leads.
    fn to(self) -> &'static str {
        if self == Self::Mx { "\"mx\"" } else { "\"smtp:relay.example:587\"" }
    }

    /// How names are proved.
    fn challenge(self) -> &'static str {
        match self {
            Self::Password => "\"http-01\"",
            Self::Mx => "\"tls-alpn-01\"",
            Self::Token | Self::OAuth => "\"dns-01\"",
        }
    }

    /// Whether a key, or a section, goes with this one.
    fn has(self, section: &str, key: &str) -> bool {
        match (section, key) {
            ("acme", "bind") => matches!(self, Self::Password | Self::Mx),
            ("acme", key) if key.starts_with("dns_") => self == Self::Token,
            ("tls.identity", "issuer" | "names" | "key_type") => self != Self::Password,
            ("acme", "hook")
            | ("connector.oauth", _)
            | ("directory.oauth", "introspection_url" | "client_id" | "client_secret_file") => {
                self == Self::OAuth
            }
            ("connector", "port" | "mta_sts") | ("directory.oauth", "discover") => self == Self::Mx,
            ("connector", "implicit_tls" | "user") => self != Self::Mx,
            ("connector", "password_file" | "mechanism")
            | ("tls.identity", "certificate" | "key")
            | ("directory.oauth", "jwks_url") => self == Self::Password,
            ("connector", "token_file") | ("directory.oauth", "jwks_file") => self == Self::Token,
            _ => true,
        }
    }
}

/// A file that sets every key that goes with the variant to its default, or to its example where it has none.
fn everything(variant: Variant) -> String {
    let mut text = String::new();
    let keys = |section: &'static reference::Section| {
        section.keys().iter().filter(move |key| variant.has(section.path, key.name))
    };
    let directory = reference::SECTIONS.iter().find(|section| section.path == "directory").unwrap();
    // A directory is of one kind, so that there is one for each.
    let sections =
        reference::SECTIONS.iter().filter(|section| section.path != "directory").flat_map(|section| {
            let kind = section.path.strip_prefix("directory.");
            kind.map(|kind| (directory, kind)).into_iter().chain([(section, "")])
        });
    for (section, kind) in sections.filter(|(section, _)| variant.has(section.path, "")) {
        writeln!(text, "{}", section.header()).unwrap();
        for key in keys(section) {
            let kind = format!("\"{kind}\"");
            let literal = match (section.path, key.name, key.default) {
                ("directory", "name", _) => &kind,
                ("acme", "challenge", _) => variant.challenge(),
                ("listener", "identities", _) => "[\"main\"]",
                ("listener", "client_certificates", _) => "\"asked\"",
                ("relay.certificates", "names", _)
                | ("dns", "dnssec", _)
                | ("inbound.policy", "senders" | "networks", _)
                | ("send_as", "users", _)
                | ("directory.oauth", "discover" | "audience", _) => key.example,
                ("domain", "deliver", _) => "\"mailstore\"",
                ("domain", "backup", _) if variant.to() == "\"mx\"" => "true",
                ("connector", "to", _) => variant.to(),
                ("connector", "address_space", _) => "[\"*\"]",
                (_, _, Preset::Value(literal)) => literal,
                _ => key.example,
            };
            writeln!(text, "{} = {literal}", key.name).unwrap();
        }
    }
    text
}

#[test]
fn every_key_of_the_reference_is_read_and_no_other() {
    let configs = Variant::ALL.map(|variant| sound(&everything(variant)));
    let settings = || configs.iter().flat_map(|config| &config.settings);
    let settled = |entry: &reference::Entry| {
        let header = entry.section.header();
        settings().any(|setting| {
            setting.header == header && setting.key == entry.key.name && setting.value.is_some()
        })
    };
    let unread: Vec<_> =
        reference::entries().filter(|entry| !settled(entry)).map(|entry| entry.path()).collect();
    assert_eq!(unread, [""; 0]);
    for setting in settings() {
        let section = reference::SECTIONS.iter().find(|section| section.header() == setting.header).unwrap();
        assert!(section.key(&setting.key).is_some(), "{} is not in the reference", setting.key);
    }
}

#[test]
fn writing_the_defaults_changes_nothing() {
    let mut written = SOUND.to_owned();
    for section in reference::SECTIONS.iter().filter(|section| section.occurs == reference::Occurs::Once) {
        if section.path.is_empty() || section.path.contains('.') {
            continue;
        }
        writeln!(written, "{}", section.header()).unwrap();
        for key in section.keys() {
            if let Preset::Value(literal) = key.default {
                writeln!(written, "{} = {literal}", key.name).unwrap();
            }
        }
    }
    assert_eq!(essence(sound(&written)), essence(sound(SOUND)));
}

#[test]
fn what_is_shown_resolves_to_the_same() {
    let examples = EXAMPLES.map(example);
    let everything = Variant::ALL.map(everything);
    for text in [SOUND.to_owned()].into_iter().chain(everything).chain(examples) {
        let config = sound(&text);
        let shown = super::show::render(&config);
        assert_eq!(essence(sound(&shown)), essence(config), "{shown}");
    }
}

#[test]
fn what_is_shown_says_where_it_came_from() {
    let shown = super::show::render(&sound(&with("[limits]\nerrors = 7")));
    let line =
        |start: &str| shown.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>().join("\n");
    assert!(line("hostname").ends_with("# set in line 1"), "{shown}");
    assert!(line("data_dir").ends_with("# default"), "{shown}");
    assert!(
        line("errors").ends_with("# set in line 7") || line("errors").ends_with("# inherited from line 7"),
        "{shown}"
    );
    assert!(line("# servers").contains("/etc/resolv.conf"), "{shown}");
}

#[test]
fn the_examples_are_sound_and_raise_no_warning() {
    for name in EXAMPLES {
        let config = sound(&example(name));
        assert!(config.warnings.is_empty(), "{name}: {}", Problems(config.warnings));
    }
}

fn example(name: &str) -> String {
    let path = format!("{}/../../examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Everything but where it came from.
fn essence(config: Config) -> String {
    let mut config = Config { settings: Vec::new(), warnings: Vec::new(), ..config };
    let sets: Vec<_> = config
        .domains
        .iter_mut()
        .map(|domain| {
            let mut mailboxes: Vec<_> = domain.mailboxes.drain().collect();
            let mut aliases: Vec<_> = domain.aliases.drain().map(|alias| format!("{alias:?}")).collect();
            mailboxes.sort();
            aliases.sort();
            (mailboxes, aliases)
        })
        .collect();
    format!("{config:?} {sets:?}")
}

#[test]
fn automatic_names_may_be_asked_for_and_are_issued_to_this_machine_alone() {
    let text = "[http]\nbind = [\"[::]:8080\"]\n[ca]\nnames = [\"*@example.org\"]\nautomatic = [\"*.example.org\"]\n\
                url = \"http://ca.example.org:8080/\"\n";
    let ca = sound(&with(text)).ca;
    let shown = |patterns: &[NamePattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&ca.policy.names), ["*@example.org", "*.example.org"]);
    assert_eq!(shown(&ca.policy.automatic), ["*.example.org"]);
    assert_eq!(ca.policy.url.as_deref(), Some("http://ca.example.org:8080"));
    let networks: Vec<String> = ca.automatic_from.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["127.0.0.0/8", "::1/128"]);
}

#[test]
fn http_on_this_machine_alone_issues_at_once_to_whom_it_is_told() {
    let text = "[http]\nbind = [\"[::1]:8080\"]\n[ca]\nautomatic = [\"*.example.org\"]\nautomatic_from = [\"::1\"]\n";
    assert_eq!(sound(&with(text)).ca.automatic_from.len(), 1);
}

#[test]
fn without_a_word_the_policy_of_the_private_ca_is_its_default() {
    let config = sound(SOUND);
    assert_eq!(config.ca.policy, Policy::default());
    assert_eq!(config.ca.passphrase_file, None);
    assert!(config.http.bind.is_empty());
}

#[test]
fn an_address_of_the_ca_that_leads_nowhere_is_a_warning() {
    let config = sound(&with("[ca]\nurl = \"http://ca.example.org\"\n"));
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|warning| warning.contains("ca.url")), "{warnings:?}");
}
