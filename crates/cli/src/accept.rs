//! `postern accept`: would this message be accepted, by which rule, and with which reply at which command?
//!
//! The answer comes from [`postern_mta::admin::accept`] as an [`Acceptance`]; here it becomes text, or JSON as it is. The exit
//! code says the same. Nothing is changed by asking.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::accept::{Acceptance, Exchange, Onward, Question, Tls};
use postern_mta::admin::{Request, Response};
use postern_mta::event::clean;

use crate::table::facts;
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// The exit code when there is no answer.
const NO_ANSWER: u8 = 3;

/// Arguments of `postern accept`.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0: it would be accepted for all recipients. 1: it would be refused, for one at least. \
                        2: wrong usage. 3: there is no answer.\n\
                        The running Postern answers, which also knows limits and bans as they stand; when none runs, the \
                        configuration does. Nothing is changed: no message is made, nothing is counted or logged."
)]
pub(crate) struct Arguments {
    /// The sender in MAIL FROM; "<>" for the null path of reports
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// A recipient; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    to: Vec<String>,
    /// The address that the client comes from
    #[arg(long, value_name = "IP")]
    client: IpAddr,
    /// As whom it signs in; the password is taken as right
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The listener [default: the one that such a client should use]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How TLS begins: none, starttls, implicit, or a version such as 1.2 [default: as the listener offers it, in TLS 1.3]
    #[arg(long, value_name = "MODE|VERSION")]
    tls: Option<Tls>,
    /// A client certificate that bears this address or host name, or has this pin; it is taken as verified
    #[arg(long, value_name = "ADDRESS|NAME|PIN")]
    certificate: Option<String>,
    /// Octets of content
    #[arg(long, value_name = "OCTETS")]
    size: Option<u64>,
    /// What stands in the From: field [default: the sender]
    #[arg(long, value_name = "HEADER")]
    header_from: Option<String>,
    /// What stands in the Sender: field [default: there is none]
    #[arg(long, value_name = "HEADER")]
    header_sender: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(arguments: Arguments, path: &Path) -> Done {
    let json = arguments.json;
    let answer = match find_out(arguments, path) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("postern: {error}");
            return Ok(ExitCode::from(NO_ANSWER));
        }
    };
    say(&if json { in_json(&answer)? } else { render(&answer) })?;
    Ok(if answer.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find_out(arguments: Arguments, path: &Path) -> Result<Acceptance, Box<dyn std::error::Error>> {
    let Arguments {
        from,
        to,
        client,
        user,
        listener,
        tls,
        certificate,
        size,
        header_from,
        header_sender,
        json: _,
    } = arguments;
    let tls = tls.unwrap_or_default();
    let question =
        Question { from, to, client, user, listener, tls, certificate, size, header_from, header_sender };
    let admin = admin(path)?;
    match block_on(admin.call(Request::Accept(Box::new(question))))?? {
        Response::Accept(answer) => Ok(*answer),
        other => Err(unexpected(&other).into()),
    }
}

fn render(answer: &Acceptance) -> String {
    let verdict = match &answer.refused {
        None => "accepted".to_owned(),
        Some(reply) => format!("refused: {}", clean(reply)),
    };
    let why = answer.chosen.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let listener = format!("{} (role {}){why}", answer.listener, answer.role);
    let onward: Vec<String> = answer.onward.iter().map(goes).collect();
    let all = [("listener", clean(&listener)), ("goes to", onward.join("\n"))];
    let mut text = format!("{verdict}\n{}\n", facts(all));
    for exchange in &answer.exchanges {
        write_exchange(&mut text, exchange);
    }
    if !answer.notes.is_empty() {
        text.push('\n');
    }
    for note in &answer.notes {
        let _ = writeln!(text, "Note: {}", clean(note));
    }
    text
}

fn goes(onward: &Onward) -> String {
    let by = match &onward.connector {
        None => "no connector serves it: it would wait".to_owned(),
        Some(connector) => {
            let off = if connector.enabled { "" } else { ", switched off" };
            let space =
                connector.space.as_ref().map(|space| format!(", address space {space}")).unwrap_or_default();
            format!("connector \"{}\" ({}{space}{off})", connector.name, connector.to)
        }
    };
    clean(&format!("{}: {by}", onward.recipients.join(", ")))
}

fn write_exchange(text: &mut String, exchange: &Exchange) {
    for line in &exchange.client {
        let _ = writeln!(text, "{}", format!("  C: {}", clean(line)).trim_end());
    }
    for line in shortened(&exchange.server) {
        let _ = writeln!(text, "  S: {}", clean(&line));
    }
    for why in &exchange.because {
        let _ = writeln!(text, "       = {}", clean(why));
    }
}

/// A long reply in two lines: what EHLO offers is rarely what somebody asks for. All of it is in the JSON.
fn shortened(lines: &[String]) -> Vec<String> {
    match lines {
        [first, .., last] if lines.len() > 3 => {
            let keywords = lines[1..].iter().filter_map(|line| line.get(4..)).collect::<Vec<_>>().join(", ");
            vec![first.clone(), format!("{} ({keywords})", last.get(..3).unwrap_or_default())]
        }
        lines => lines.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_comes_first_and_each_reply_has_its_rule_below_it() {
        let exchange = Exchange {
            client: vec!["RCPT TO:<b@elsewhere.example>".into()],
            server: vec!["550 5.7.1 no\u{1b}[2J".into()],
            because: vec!["nobody has signed in".into()],
            refused: true,
        };
        let answer = Acceptance {
            accepted: false,
            refused: Some("550 5.7.1 no".into()),
            listener: "mx".into(),
            role: "relay".into(),
            chosen: None,
            exchanges: vec![exchange],
            onward: Vec::new(),
            notes: vec!["only a note".into()],
            daemon: true,
        };
        let text = render(&answer);
        assert!(text.starts_with("refused: 550 5.7.1 no\n  listener  mx (role relay)\n"), "{text}");
        assert!(text.contains("  C: RCPT TO:<b@elsewhere.example>\n  S: 550 5.7.1 no"), "{text}");
        assert!(text.contains("       = nobody has signed in\n\nNote: only a note\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
