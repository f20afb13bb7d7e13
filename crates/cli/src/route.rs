//! `postern route`: where mail to an address or a domain would go now, and what would be demanded on the way.
//!
//! The answer comes from [`postern_mta::admin::route`] as a [`RouteView`]; here it becomes text, or JSON as it is. The
//! exit code says whether mail would go, so that scripts need not read either.
//!
//! What it deliberately does not do: connect to a host (`postern probe` does), say why mail that is queued waits
//! (`postern queue why` does), or judge anything itself. Words from DNS are cleaned before they reach a terminal.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::route::{
    ConnectorView, DaneView, HostView, Leg, Meaning, NamedBy, RouteView, StsView, Verdict, check_question,
};
use postern_mta::admin::{Request, Response};
use postern_mta::diagnosis::Diagnosis;
use postern_mta::event::clean;

use crate::{Done, admin, block_on, in_json, say, unexpected};

/// The exit code when there is no answer; clap's own for a wrong command line, too.
const NO_ANSWER: u8 = 2;

/// Arguments of `postern route`.
#[derive(Args)]
#[command(after_help = "Exit codes: 0: mail would go. 1: it would wait or come back now. \
                        2: wrong usage, or there is no answer.\n\
                        The running Postern answers, which also remembers how hosts were reached; when none runs, the \
                        configuration does.")]
pub(crate) struct Arguments {
    /// An address, a domain, or an address literal such as [192.0.2.1]
    #[arg(value_name = "ADDRESS|DOMAIN", value_parser = check_question)]
    to: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let answer = match find_out(&arguments.to, path) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("postern: {error}");
            return Ok(ExitCode::from(NO_ANSWER));
        }
    };
    let text = if arguments.json { in_json(&answer)? } else { render(&answer) };
    say(&text)?;
    Ok(if answer.goes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find_out(to: &str, path: &Path) -> Result<RouteView, Box<dyn std::error::Error>> {
    let admin = admin(path)?;
    match block_on(admin.call(Request::Route { to: to.to_owned() }))?? {
        Response::Route(view) => Ok(*view),
        other => Err(unexpected(&other).into()),
    }
}

fn render(view: &RouteView) -> String {
    let mut text = format!("{}: {}\n", view.asked, meaning(&view.meaning));
    for leg in &view.legs {
        text.push('\n');
        write_leg(&mut text, leg);
    }
    if view.beyond > 0 {
        line(&mut text, "", &format!("it leads to {} further destinations, not shown", view.beyond));
    }
    if view.legs.iter().any(looks_up) {
        let _ = write!(text, "\nDNSSEC: {}\n", clean(&view.dnssec));
    }
    if !view.daemon {
        text.push_str("\nPostern does not run: this is what the configuration says.\n");
    }
    text
}

fn looks_up(leg: &Leg) -> bool {
    leg.connector.as_ref().is_some_and(|connector| connector.dane)
}

fn meaning(meaning: &Meaning) -> String {
    match meaning {
        Meaning::OurDomain => "one of our domains".into(),
        Meaning::ForeignDomain => "somebody else's domain".into(),
        Meaning::Ours => "an address of ours".into(),
        Meaning::Nobody => "in one of our domains, but nobody has that address: mail to it is refused".into(),
        Meaning::Foreign => "somebody else's address".into(),
        Meaning::Undecided(why) => format!("who has it cannot be found out: {}", clean(why)),
    }
}

fn write_leg(text: &mut String, leg: &Leg) {
    let _ = writeln!(text, "{}", clean(&leg.destination));
    if !leg.recipients.is_empty() {
        line(text, "mailbox", &clean(&leg.recipients.join(", ")));
    }
    if let Some(connector) = &leg.connector {
        write_connector(text, connector);
    }
    for other in &leg.others {
        let off = if other.enabled { "" } else { ", switched off" };
        line(
            text,
            "not by",
            &format!("\"{}\": address space {}, cost {}{off}", other.name, other.space, other.cost),
        );
    }
    if let Some(sts) = &leg.mta_sts {
        write_sts(text, sts);
    }
    for (number, host) in (1..).zip(&leg.hosts) {
        write_host(text, number, host);
    }
    for unresolved in &leg.unresolved {
        line(text, "lost", &clean(&unresolved.diagnosis.explanation));
    }
    write_verdict(text, &leg.verdict);
}

fn write_connector(text: &mut String, connector: &ConnectorView) {
    let why = match &connector.space {
        Some(space) => format!("address space {space}, cost {}", connector.cost),
        None => "the domain names it".to_owned(),
    };
    line(text, "connector", &format!("\"{}\" ({}): {why}", connector.name, connector.to));
    if !connector.enabled {
        line(text, "", "switched off");
    }
    if connector.signs_in {
        line(text, "", "signs in");
    }
    if let Some(rate) = &connector.rate {
        line(text, "rate", rate);
    }
    if let Some(retry) = &connector.retry {
        line(text, "retries", retry);
    }
}

fn write_sts(text: &mut String, sts: &StsView) {
    let words = match (&sts.mode, sts.source, sts.expires) {
        (Some(mode), Some(source), Some(expires)) => {
            let hosts = sts.hosts.as_deref().unwrap_or_default().join(", ");
            format!("{mode} until {expires:.0} ({source}); hosts {hosts}")
        }
        _ => "no policy".to_owned(),
    };
    line(text, "MTA-STS", &clean(&words));
    if let Some(trouble) = &sts.trouble {
        line(text, "", &clean(trouble));
    }
}

fn write_host(text: &mut String, number: usize, host: &HostView) {
    let implicit = if host.implicit_tls { ", TLS from the first byte" } else { "" };
    let alias = host.alias_of.as_ref().map(|owner| format!(" (an alias of {owner})")).unwrap_or_default();
    let port = if host.port == 0 { String::new() } else { format!(":{}", host.port) };
    let _ = writeln!(text, "  {number}. {}{port}{implicit}{}", clean(&host.name), clean(&alias));
    for socket in &host.sockets {
        let memory = socket.memory.as_ref().map(|memory| {
            format!(", reached {} until {:.0}: {}", memory.reached, memory.until, clean(&memory.why))
        });
        detail(text, "address", &format!("{}{}", socket.address, memory.unwrap_or_default()));
    }
    match host.named_by {
        NamedBy::Configuration => detail(
            text,
            "DNSSEC",
            &format!("its name stands in our configuration, its addresses are {}", host.address_status),
        ),
        NamedBy::Dns => detail(
            text,
            "DNSSEC",
            &format!("its name is {}, its addresses are {}", host.name_status, host.address_status),
        ),
        NamedBy::Address => {}
    }
    write_dane(text, &host.dane);
    let demanded = if host.demands.is_empty() {
        "nothing".to_owned()
    } else {
        format!("{}: {}", host.requirement, host.demands)
    };
    detail(text, "demanded", &clean(&demanded));
    if let Some(diagnosis) = &host.barred {
        detail(text, "barred", &clean(&diagnosis.explanation));
    }
}

fn write_dane(text: &mut String, dane: &DaneView) {
    match dane {
        DaneView::NotAsked => {}
        DaneView::Nothing => detail(text, "DANE", "no TLSA records that count"),
        DaneView::Records { base, records } => {
            detail(text, "DANE", &clean(&format!("TLSA records of {base}")));
            for record in records {
                detail(text, "", record);
            }
        }
        DaneView::Unusable { why } | DaneView::Barred { why } => detail(text, "DANE", &clean(why)),
    }
}

fn write_verdict(text: &mut String, verdict: &Verdict) {
    match verdict {
        Verdict::Goes => line(text, "verdict", "mail would go"),
        Verdict::Waits(diagnosis) => write_trouble(text, "mail would wait", diagnosis),
        Verdict::Fails(diagnosis) => write_trouble(text, "mail would come back", diagnosis),
    }
}

fn write_trouble(text: &mut String, what: &str, diagnosis: &Diagnosis) {
    line(text, "verdict", &format!("{what}: {}", diagnosis.cause));
    line(text, "", &clean(&diagnosis.explanation));
    line(text, "to do", &clean(&diagnosis.remedy));
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<10} {value}");
}

fn detail(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "     {name:<10} {value}");
}
