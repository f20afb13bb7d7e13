//! `postern check-server`: what a mail program meets on its way to a server, and what it must be set to.
//!
//! It is run where the mail program runs, and needs neither configuration nor rights. What is found [`postern_mta::check_server`] says; here
//! it is asked for and laid out: settings first, then what is in the way, then what was seen.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use dialoguer::Password;
use postern_mta::check_server::{
    self, Finding, Mode, Options, Person, PortReport, PortState, Report, Setting, SignedIn, Trust,
};
use postern_smtp::secret::Secret;

use crate::ask::at_terminal;
use crate::table::{facts, set_in};
use crate::{Done, block_on, in_json, say};

/// Arguments of `postern check-server`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  postern check-server mail.example.org
  postern check-server mail.example.org --user anna@example.org     asks for the password

Run it on the computer where the mail program does not work; it works with any server. No message is sent. A password is
asked for without showing it, and goes only over TLS to a server that proves who it is.

Exit codes:
  0  mail programs can be set up here
  1  they can, and something is in the way
  2  they cannot, or the password is wrong; wrong usage, too
  3  it could not be found out")]
pub(crate) struct Arguments {
    /// The server's name, as it stands in the mail program
    host: String,
    /// Try whether this user's password works, too
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The file whose first line is the password, where nobody can type it
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The ports to try
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', default_value = "465,587,25",
          value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// PEM: the authorities to trust in place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// As JSON, in a form that does not change
    #[arg(long)]
    json: bool,
}

/// Tries the server.
pub(crate) fn run(arguments: Arguments) -> Done {
    let Arguments { host, user, password_file, mut ports, ca, json } = arguments;
    ports.dedup();
    let person = match (user.clone(), password_file) {
        (Some(user), Some(file)) => Some(block_on(Person::of_file(user, &file))??),
        (Some(user), None) => Some(asked(user)?),
        (None, _) => None,
    };
    let options = Options { ports, trust: ca, ..Options::new(host) };
    let report = block_on(check_server::check(&options, person))??;
    let text = if json { in_json(&report)? } else { in_words(&report, user.as_deref()) };
    say(&text)?;
    Ok(ExitCode::from(report.exit_code()))
}

fn asked(user: String) -> Result<Person, Box<dyn std::error::Error>> {
    if !at_terminal() {
        return Err("there is no terminal to ask for the password at: give --password-file FILE".into());
    }
    let password = Password::new().with_prompt(format!("Password of {user}")).interact()?;
    Ok(Person { user, password: Secret::new(password.into_bytes()) })
}

fn in_words(report: &Report, user: Option<&str>) -> String {
    let addresses: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let known = if addresses.is_empty() { String::new() } else { format!(" ({})", addresses.join(", ")) };
    let mut text = format!("{}{known}: {}\n", report.host, headline(report));
    if let Some((best, others)) = report.settings.split_first() {
        text += "\nSet the mail program to:\n";
        text += &setting(report, best, user);
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(short).collect();
            text += &set_in("  Also there: ", &others.join("; "));
        }
    }
    if !report.findings.is_empty() {
        text += "\nWhat is in the way, or worth knowing:\n";
        text.extend(report.findings.iter().map(told));
    }
    text += "\nWhat was seen:\n";
    text.extend(report.ports.iter().map(seen));
    text
}

fn headline(report: &Report) -> &'static str {
    match report.exit_code() {
        0 => "mail programs can be set up from here",
        1 => "mail programs may work from here, but something is in the way",
        2 if matches!(report.sign_in, Some(SignedIn::Refused { .. })) => "the name or the password is wrong",
        2 => "mail programs cannot work from here",
        _ => "not everything could be found out",
    }
}

fn setting(report: &Report, setting: &Setting, user: Option<&str>) -> String {
    let name = match (&report.sign_in, user) {
        (Some(SignedIn::Yes), Some(user)) => format!("{user} (the password works)"),
        (_, Some(user)) => user.to_owned(),
        (_, None) => "usually the whole mail address".to_owned(),
    };
    let mut lines = vec![
        ("server", report.host.clone()),
        ("port", setting.port.to_string()),
        ("encryption", setting.encryption.words().to_owned()),
        ("sign-in", setting.authentication().to_owned()),
        ("user name", name),
    ];
    lines.extend(setting.encryption.in_programs().map(|(program, words)| (program, words.to_owned())));
    if setting.distrust.is_some() {
        lines.push(("but", "programs here do not trust the server; see below".to_owned()));
    }
    facts(lines)
}

fn short(setting: &Setting) -> String {
    let doubt = if setting.distrust.is_some() { " (not trusted)" } else { "" };
    format!("port {} with {}{doubt}", setting.port, setting.encryption.words())
}

fn told(finding: &Finding) -> String {
    let lead = format!("  {:<8} ", finding.verdict.word());
    let mut text = set_in(&lead, &finding.what);
    if !finding.remedy.is_empty() {
        text += &set_in(&format!("{}-> ", " ".repeat(lead.len())), &finding.remedy);
    }
    text
}

fn seen(port: &PortReport) -> String {
    let address = port.address.map(|address| address.to_string()).unwrap_or_default();
    let state = match port.state {
        PortState::Mail => port.banner.clone().unwrap_or_else(|| "a mail server".into()),
        PortState::Refused => "refused".into(),
        PortState::TimedOut => "nobody answers".into(),
        PortState::Unreachable => "there is no way there".into(),
        PortState::SomethingElse => format!("no mail server: {}", port.why),
        PortState::Silent => "it takes the connection and says nothing".into(),
        PortState::NotTried => "there was no time left".into(),
    };
    let mut text = set_in(&format!("  {:<5} ", port.port), &format!("{address}: {state}"));
    if port.state == PortState::Mail {
        text += &set_in("        TLS at once  ", &mode(&port.tls));
        text += &set_in("        STARTTLS     ", &mode(&port.starttls));
    }
    text
}

fn mode(mode: &Mode) -> String {
    if !mode.works {
        return format!("no: {}", mode.why);
    }
    let trust = match &mode.trust {
        Some(Trust::Trusted) => "trusted".to_owned(),
        Some(Trust::Untrusted(why)) => format!("not trusted: {why}"),
        None => "without a certificate".to_owned(),
    };
    let issuer = mode.certificate.as_ref().map(|seen| format!(" (from {})", seen.issuer)).unwrap_or_default();
    let sign_in =
        if mode.mechanisms.is_empty() { "no sign-in".to_owned() } else { mode.mechanisms.join(" ") };
    format!("{}; {trust}{issuer}; {sign_in}", mode.protocol.as_deref().unwrap_or_default())
}
