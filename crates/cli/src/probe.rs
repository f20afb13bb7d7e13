//! `postern probe`: tries a destination for real, up to and not including MAIL, and says what mail would come to.
//!
//! What is found [`postern_mta::probe`] says; here it is asked for and laid out for people, in 100 columns. The exit code
//! tells scripts how well protected mail would go.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use postern_mta::config::{Config, File, Surroundings, units};
use postern_mta::ports::USUAL;
use postern_mta::probe::{
    self, CheckView, DaneView, DomainView, HandshakeView, HostView, Options, Outlook, PortState, PortView,
    Report, SessionView, Target, Verdict,
};
use postern_smtp::address::Domain;
use postern_smtp::tls::CertificateSeen;

use crate::{Done, become_owner_of, block_on, in_json, say};

/// The width of the text.
const COLUMNS: usize = 100;
/// Where the facts begin.
const MARGIN: usize = 18;

/// Arguments of `postern probe`.
#[derive(Args)]
#[command(after_help = "\
A name alone is a domain: the hosts are those that mail for it would go to, by
the connector that it would take. A name with a port, or an address, is a host.
Postern says EHLO, STARTTLS and QUIT there; it never signs in and never says
MAIL. It needs neither a running Postern nor a configuration.

Exit codes:
   0  mail would go, encrypted, to a server that proves who it is (or stays on this machine)
  10  it would go encrypted, to a server that does not prove who it is
  11  it would go in clear
  20  it would wait
  21  it would be returned to its sender
   1  it could not be found out, for a reason on this machine
   2  the command line is wrong")]
pub(crate) struct Arguments {
    /// A domain (or a mail address in it), or a host with or without a port
    #[arg(value_name = "DOMAIN|HOST[:PORT]")]
    target: Target,
    /// Say what the ports 25, 587 and 465 of each host do: open, closed, filtered, or tampered with on the way
    #[arg(long)]
    all_ports: bool,
    /// Look at these ports as well
    #[arg(long, value_name = "PORT,…", value_delimiter = ',')]
    ports: Vec<u16>,
    /// The longest time for one step: connecting, one reply, one handshake
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    step_timeout: Duration,
    /// The longest time for all of it
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "1m")]
    timeout: Duration,
    /// As JSON, in a form that does not change
    #[arg(long)]
    json: bool,
}

/// Probes. `given` says whether somebody named the configuration file; the usual one need not be there.
pub(crate) fn run(arguments: &Arguments, path: &Path, given: bool) -> Done {
    let (config, without) = configuration(path, given)?;
    become_owner_of(&config.data_dir)?;
    let mut report = block_on(probe::probe(config, &arguments.target, &arguments.options()))??;
    if without {
        let note = format!("there is no {}: Postern's defaults were used", path.display());
        report.notes.insert(0, note);
    }
    let text = if arguments.json { in_json(&report)? } else { in_words(&report) };
    say(&text)?;
    Ok(ExitCode::from(report.verdict.outlook.exit_code()))
}

impl Arguments {
    fn options(&self) -> Options {
        let usual: &[u16] = if self.all_ports { &USUAL } else { &[] };
        let mut ports = usual.to_vec();
        ports.extend(self.ports.iter().filter(|port| !usual.contains(port)));
        Options { ports, step: self.step_timeout, whole: self.timeout }
    }
}

/// The configuration, and whether there was none.
fn configuration(path: &Path, given: bool) -> Result<(Config, bool), Box<dyn std::error::Error>> {
    let missing = matches!(std::fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    if given || !missing {
        return Ok((crate::load(path)?, false));
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name =
        name.trim().parse::<Domain>().map_or_else(|_| "localhost".into(), |name| name.as_str().to_owned());
    let text = format!(
        "hostname = \"{name}\"\n[[listener]]\nname = \"none\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\n"
    );
    let file = File::parse(&text, "the defaults").map_err(|problem| problem.to_string())?;
    let config = file.resolve(&Surroundings::default());
    let config = config.map_err(postern_mta::config::Problems)?;
    Ok((config, true))
}

fn in_words(report: &Report) -> String {
    let mut page = Page::default();
    page.heading(&format!("{}: {}", report.asked, report.verdict.words));
    if let Some(via) = report.verdict.via.as_ref().filter(|_| report.hosts.len() > 1 || several(report)) {
        page.fact("over", via);
    }
    page.remedy(&report.verdict);
    if let Some(connector) = &report.connector {
        let service = if connector.enabled { "" } else { " (switched off)" };
        page.fact("connector", &format!("{}: {}{service}", connector.name, connector.to));
        if connector.signs_in {
            page.fact("sign-in", "with the connector's credential; a probe does not sign in");
        }
    }
    page.fact("DNSSEC", &report.dnssec);
    report.domain.iter().for_each(|domain| page.domain(domain));
    for unresolved in &report.unresolved {
        page.fact("not found", &format!("{}: {}", unresolved.host, unresolved.why));
    }
    report.notes.iter().for_each(|note| page.fact("note", note));
    let named = report.domain.is_some();
    report.hosts.iter().for_each(|host| page.host(host, named));
    page.0
}

fn several(report: &Report) -> bool {
    report.hosts.iter().any(|host| host.sessions.len() > 1)
}

/// A text that grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn heading(&mut self, text: &str) {
        for line in wrapped(text, COLUMNS) {
            self.0 += &format!("{line}\n");
        }
    }

    /// A label and what is to be said about it, wrapped.
    fn fact(&mut self, label: &str, text: &str) {
        let mut label = label;
        for line in wrapped(text, COLUMNS - MARGIN) {
            self.0 += &format!("  {label:<width$}{line}\n", width = MARGIN - 2);
            label = "";
        }
    }

    fn remedy(&mut self, verdict: &Verdict) {
        let Some(diagnosis) = &verdict.diagnosis else { return };
        self.fact("cause", &diagnosis.cause);
        self.fact("what to do", &diagnosis.remedy);
    }

    fn domain(&mut self, domain: &DomainView) {
        if let Some(trouble) = &domain.mx_trouble {
            self.fact("MX", &format!("{trouble} ({})", domain.mx_status));
        }
        for mx in &domain.mx {
            self.fact("MX", &format!("{} {} ({})", mx.preference, mx.host, domain.mx_status));
        }
        let Some(sts) = &domain.mta_sts else { return };
        match &sts.mode {
            Some(mode) => {
                let source = sts.source.map(|source| format!(" ({source})")).unwrap_or_default();
                let expires = sts.expires.as_deref().unwrap_or("unknown");
                self.fact("MTA-STS", &format!("{mode} until {expires}{source}"));
                let hosts = sts.policy.iter().filter(|line| line.starts_with("mx:"));
                hosts.for_each(|line| self.fact("", line));
            }
            None => self.fact("MTA-STS", "no policy"),
        }
        sts.trouble.iter().for_each(|trouble| self.fact("", trouble));
    }

    /// `named` says whether DNS names the host, and not we.
    fn host(&mut self, host: &HostView, named: bool) {
        self.0 += "\n";
        self.heading(&format!("{}: {}", host.name, in_short(host.verdict.outlook)));
        let alias = host.alias_of.as_ref().map(|owner| format!("an alias of {owner}; ")).unwrap_or_default();
        let name = if named { format!("name {}, ", host.name_status) } else { String::new() };
        self.fact("DNS", &format!("{alias}{name}addresses {}", host.address_status));
        self.dane(&host.dane);
        if let Some(listed) = host.in_policy {
            self.fact(
                "MTA-STS",
                if listed { "ok: the policy lists it" } else { "no: the policy does not list it" },
            );
        }
        let demands: Vec<String> = host.demands.iter().map(ToString::to_string).collect();
        self.fact("demanded", &format!("{} ({})", host.requirement, demands.join(", ")));
        host.sessions.iter().for_each(|session| self.session(session));
        self.ports(&host.ports);
    }

    fn dane(&mut self, dane: &DaneView) {
        let words = match (dane.status, &dane.why) {
            ("none", _) => "no TLSA records that count".to_owned(),
            (_, Some(why)) => why.clone(),
            (_, None) => format!("records at {}", dane.base.as_deref().unwrap_or_default()),
        };
        self.fact("DANE", &words);
        dane.records.iter().for_each(|record| self.fact("", record));
    }

    fn session(&mut self, session: &SessionView) {
        let place =
            if session.port == 0 { session.address.clone() } else { socket(&session.address, session.port) };
        self.0 += &format!("  {place}\n");
        match session.connect_ms {
            Some(took) => self.fact("  connected", &format!("in {took} ms")),
            None => self.fact("  connected", &format!("no: {}", session.reach)),
        }
        if let Some(banner) = &session.banner {
            self.fact("  banner", banner);
        }
        if session.helo_only {
            self.fact("  EHLO", "not understood; HELO was");
        }
        self.keywords("  in clear", &session.keywords_before);
        if let Some(reply) = &session.starttls {
            self.fact("  STARTTLS", reply);
        }
        if let Some(sign) = &session.middlebox {
            self.fact("  middlebox", &format!("something on the way rewrites SMTP: {sign}"));
        }
        session.handshakes.iter().for_each(|handshake| self.handshake(handshake));
        self.keywords("  under TLS", &session.keywords_after);
        session.trouble.iter().for_each(|trouble| self.fact("  trouble", trouble));
        self.fact("  verdict", &session.verdict.words);
    }

    fn keywords(&mut self, label: &str, keywords: &[String]) {
        if !keywords.is_empty() {
            self.fact(label, &keywords.join(", "));
        }
    }

    fn handshake(&mut self, handshake: &HandshakeView) {
        let HandshakeView { version, cipher, group, .. } = handshake;
        let about = format!("with a {} hello, {} ms", handshake.hello, handshake.took_ms);
        let words = [version, cipher, group].map(|word| word.as_deref().unwrap_or_default()).join(" ");
        let verdict = match &handshake.why {
            Some(why) => format!("no, {about}: {why}"),
            None => format!("ok, {about}: {}", words.trim_end()),
        };
        self.fact("  handshake", &verdict);
        handshake.chain.iter().for_each(|certificate| self.certificate(certificate));
        self.checks(&handshake.checks);
    }

    fn certificate(&mut self, certificate: &CertificateSeen) {
        let CertificateSeen { subject, issuer, names, not_before, not_after, key, signature, .. } =
            certificate;
        let issuer = if certificate.self_signed { "itself" } else { issuer };
        self.fact("  certificate", &format!("{subject}, signed by {issuer}"));
        if !names.is_empty() {
            self.fact("", &format!("for {}", names.join(", ")));
        }
        self.fact("", &format!("from {not_before} to {not_after}, {key}, {signature}"));
        self.fact("", &format!("sha256:{}", certificate.sha256));
        self.fact("", &format!("spki-sha256:{}", certificate.spki_sha256));
    }

    /// All of them in one line, then what is wrong.
    fn checks(&mut self, checks: &[CheckView]) {
        if checks.is_empty() {
            return;
        }
        let verdict = |check: &CheckView| format!("{} {}", check.check, if check.ok { "ok" } else { "NO" });
        self.fact("  checks", &checks.iter().map(verdict).collect::<Vec<_>>().join(", "));
        for check in checks {
            check.why.iter().for_each(|why| self.fact("", &format!("{}: {why}", check.check)));
        }
    }

    fn ports(&mut self, ports: &[PortView]) {
        let mut address = "";
        for port in ports {
            if port.address != address {
                self.0 += &format!("  ports of {}\n", port.address);
                address = &port.address;
            }
            self.fact(&format!("  {}", port.port), &format!("{}: {}", state(port.state), port.detail));
        }
    }
}

fn state(state: PortState) -> &'static str {
    match state {
        PortState::Open => "open",
        PortState::OpenInClear => "open, no TLS",
        PortState::BrokenTls => "open, TLS broken",
        PortState::Stripped => "stripped",
        PortState::Refuses => "refuses us",
        PortState::Silent => "silent",
        PortState::SomethingElse => "speaks something else",
        PortState::Closed => "closed",
        PortState::Filtered => "filtered",
        PortState::Unreachable => "unreachable",
        PortState::NotTried => "not tried",
    }
}

fn in_short(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Local => "on this machine",
        Outlook::Authenticated => "would go, encrypted, to a server that proves who it is",
        Outlook::Unauthenticated => "would go, encrypted, to whoever answers",
        Outlook::Clear => "would go in clear",
        Outlook::Waits => "would wait",
        Outlook::Fails => "would fail",
    }
}

fn socket(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Lines of at most so many characters, broken between words; a longer word is broken too.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let gap = usize::from(used > 0);
        if used + gap + word.len() > width && used > 0 {
            lines.push(String::new());
            used = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.last_mut().into_iter().for_each(|line| line.extend(&word));
            lines.push(String::new());
            word = rest;
        }
        if let Some(line) = lines.last_mut() {
            line.extend((used > 0).then_some(' '));
            line.extend(&word);
            used = line.chars().count();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words_and_loses_none() {
        let text = "one two three four five";
        assert_eq!(wrapped(text, 9), ["one two", "three", "four five"]);
        assert_eq!(wrapped("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn without_a_configuration_there_are_defaults_and_a_named_one_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.toml");
        assert!(configuration(&path, false).unwrap().1);
        assert!(configuration(&path, true).is_err());
    }
}
