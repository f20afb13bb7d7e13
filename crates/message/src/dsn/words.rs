//! A report's words for people: what happened, why, and what can be done about it.
//!
//! The reasons are rows of two tables, one by our own [`Reason`], one by enhanced code (RFC 3463 §3 and the IANA
//! registry) where the other server refused. Nothing is guessed from a reply's text; that is quoted as it is.

use std::ops::RangeInclusive;

use postern_smtp::outcome::{Reason, Trouble};
use postern_smtp::reply::Enhanced;
use postern_smtp::tls::{FaultKind, TlsFault};

use super::{Kind, MAX_EXPLANATION, MAX_REPLY, Original, Recipient, Report, TlsDemand};
use crate::text::{self, Charset};

/// The width of a diagnosis, in columns with its indentation.
const DIAGNOSIS_WIDTH: usize = 72;

/// The subject: what happened, and to which address when there is just one.
pub(super) fn subject(report: &Report<'_>) -> String {
    let what = match report.kind {
        Kind::Failed => "Not delivered",
        Kind::Delayed => "Delayed",
        Kind::Delivered => "Delivered",
        Kind::Relayed => "Passed on",
    };
    match report.recipients.as_slice() {
        [only] if is_short_ascii(&only.address.to_string()) => {
            format!("{what}: your message to {}", only.address)
        }
        [_] => format!("{what}: your message"),
        several => format!("{what}: your message to {} recipients", several.len()),
    }
}

/// The first part of a report.
pub(super) fn for_people(report: &Report<'_>, charset: Charset) -> String {
    let mut text = text::paragraph(
        "",
        &format!("This is the mail server {}.", text::clean(report.reporting_mta, Charset::Ascii, 255)),
    );
    text.push_str("\r\n");
    text.push_str(&text::paragraph("", &opening(report)));
    for recipient in &report.recipients {
        text.push_str("\r\n");
        text.push_str(&about(recipient, charset));
    }
    text.push_str("\r\n");
    text.push_str(&text::paragraph("", closing(report)));
    text.push_str("\r\n");
    let id = text::clean(report.queue_id, Charset::Ascii, 100);
    text.push_str(&text::paragraph("", &format!("For your postmaster: queue id {id}.")));
    text
}

fn is_short_ascii(address: &str) -> bool {
    address.is_ascii() && address.len() <= 100
}

fn opening(report: &Report<'_>) -> String {
    let arrival = text::plain_date(report.arrival);
    let whom = if report.recipients.len() == 1 { "this address" } else { "these addresses" };
    match report.kind {
        Kind::Failed => format!(
            "Your message of {arrival} could not be delivered to {whom}. No further attempt will be made."
        ),
        Kind::Delayed => format!(
            "Your message of {arrival} has not yet been delivered to {whom}. It is still being tried: you need do nothing now."
        ),
        Kind::Delivered => {
            format!("Your message of {arrival} was delivered to {whom}, and you had asked to be told.")
        }
        Kind::Relayed => format!(
            "Your message of {arrival} was passed on for {whom} to a server that does not confirm delivery. Unless something goes wrong there, you will hear no more of it."
        ),
    }
}

fn closing(report: &Report<'_>) -> &'static str {
    match (report.kind, report.returned()) {
        (Kind::Failed, Original::Full(_)) => "Your message is attached.",
        (Kind::Failed, Original::Headers(_)) if report.tls == TlsDemand::Always => {
            "You demanded that the message travel encrypted on all of its way (REQUIRETLS). So that this report tells nobody what it says, no more than its header is attached."
        }
        (Kind::Failed, Original::Headers(_)) => {
            "The header of your message is attached, so that you can tell which one it was."
        }
        (Kind::Delayed, _) => {
            "If it cannot be delivered in the end, you will get another report. Please do not send it again."
        }
        (Kind::Delivered | Kind::Relayed, _) => "You need do nothing.",
    }
}

/// What became of one recipient: the address, why, what to do, and the other server's words.
fn about(recipient: &Recipient, charset: Charset) -> String {
    let mut text =
        text::paragraph("  ", &format!("<{}>", text::clean(&recipient.address.to_string(), charset, 500)));
    if let Some(trouble) = &recipient.trouble {
        let explanation = explain(trouble, recipient.last_trouble.as_ref());
        text.push_str(&text::paragraph("    ", &explanation.why));
        text.push_str(&diagnosis(recipient, charset));
        if recipient.action == Kind::Failed {
            text.push_str(&text::paragraph("    ", explanation.remedy));
        }
    }
    if let (Kind::Delayed, Some(until)) = (recipient.action, recipient.will_retry_until) {
        let when = text::plain_date(until);
        text.push_str(&text::paragraph("    ", &format!("We keep trying until {when}.")));
    }
    text.push_str(&quotation(recipient, charset));
    text
}

/// What the administrator would be told of the trouble.
fn diagnosis(recipient: &Recipient, charset: Charset) -> String {
    let told: String =
        recipient.explanation.iter().flat_map(|told| told.chars()).take(MAX_EXPLANATION).collect();
    let lines = told.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            text::paragraph_within("    ", &text::clean(line, charset, MAX_EXPLANATION), DIAGNOSIS_WIDTH)
        })
        .collect()
}

/// The other server's last reply, or what went wrong on the way to it, for those who can read such things.
fn quotation(recipient: &Recipient, charset: Charset) -> String {
    let (lead, quoted) = match (recipient.last_reply(), &recipient.remote_mta) {
        _ if recipient.trouble.is_none() => return String::new(),
        (Some(reply), Some(host)) => {
            let host = text::clean(host, Charset::Ascii, 255);
            (format!("The last reply of the server {host} was:"), reply.one_line())
        }
        (Some(reply), None) => ("The last reply of the other server was:".to_owned(), reply.one_line()),
        (None, _) => match detail(recipient) {
            Some(detail) => ("In detail:".to_owned(), detail),
            None => return String::new(),
        },
    };
    text::paragraph("    ", &lead) + &text::paragraph("      ", &text::clean(&quoted, charset, MAX_REPLY))
}

/// What the operator would see, where that says more than the explanation and nothing about the inside of this machine.
pub(super) fn detail(recipient: &Recipient) -> Option<String> {
    let troubles = [&recipient.trouble, &recipient.last_trouble];
    let says_more = |trouble: &&Trouble| {
        matches!(
            trouble.reason,
            Reason::LookupFailed(_)
                | Reason::OwnHost(_)
                | Reason::ConnectFailed(_)
                | Reason::Protocol(_)
                | Reason::TlsFailed(_)
                | Reason::SecurityUnmet(_)
        )
    };
    troubles.into_iter().flatten().find(says_more).map(|trouble| trouble.reason.to_string())
}

/// One sentence on what went wrong, and one on what the sender can do.
struct Explanation {
    why: String,
    remedy: &'static str,
}

impl Explanation {
    fn new(why: impl Into<String>, remedy: &'static str) -> Self {
        Self { why: why.into(), remedy }
    }
}

const CHECK_ADDRESS: &str =
    "Check the address, above all what stands behind the @, for typing mistakes, and send again.";
const TRY_LATER: &str = "Send again later; if it fails again, tell the recipient in another way.";
const THEIR_POSTMASTER: &str =
    "Tell the recipient in another way; their postmaster can find out more with this report.";
const OUR_POSTMASTER: &str = "Please show this report to your own postmaster.";
const PROVE_IT: &str = "Tell the recipient in another way, and ask that their postmaster look at it. Your own postmaster is shown what \
     was seen there.";
const NO_REQUIRETLS: &str = "You demanded that the message travel encrypted on all of its way (REQUIRETLS), and a server on it does not promise \
     that.";
const WITHOUT_REQUIRETLS: &str =
    "Send it again without that demand, if it is not that secret, or reach the recipient in another way.";
const MAKE_SMALLER: &str = "Make it smaller, or put large attachments where the recipient can fetch them.";

fn explain(trouble: &Trouble, before: Option<&Trouble>) -> Explanation {
    match &trouble.reason {
        Reason::Refused => refused(trouble.reply.as_ref().and_then(|reply| reply.enhanced)),
        Reason::Expired => expired(before),
        Reason::TlsFailed(_) | Reason::SecurityUnmet(_) => of_tls(trouble.fault()),
        Reason::NeedsRequireTls => of_tls(Some(TlsFault::NoRequireTls)),
        other => of_ours(other),
    }
}

fn expired(before: Option<&Trouble>) -> Explanation {
    let gave_up = "It was tried again and again until its time was over.";
    match before {
        Some(trouble) if trouble.reason != Reason::Expired => {
            let last = explain(trouble, None);
            Explanation::new(format!("{gave_up} At the last attempt: {}", last.why), TRY_LATER)
        }
        _ => Explanation::new(gave_up, TRY_LATER),
    }
}

/// Why a message that has to travel under TLS did not. The diagnosis holds the particulars; this says what they mean.
fn of_tls(fault: Option<TlsFault>) -> Explanation {
    let (why, remedy) = match fault {
        Some(TlsFault::Expired) => {
            ("The recipient's mail server could not prove who it is: its certificate has expired.", PROVE_IT)
        }
        Some(TlsFault::HostMismatch) => (
            "The recipient's mail server could not prove who it is: its certificate is for other names.",
            PROVE_IT,
        ),
        // RFC 8689 §4.2.1, 5.7.30
        Some(TlsFault::NoRequireTls) => (NO_REQUIRETLS, WITHOUT_REQUIRETLS),
        Some(fault) => of_kind(fault.kind()),
        None => of_kind(FaultKind::Session),
    };
    Explanation::new(why, remedy)
}

fn of_kind(kind: FaultKind) -> (&'static str, &'static str) {
    match kind {
        FaultKind::Certificate => (
            "The recipient's mail server could not prove who it is: there is no certificate of it that can be trusted.",
            PROVE_IT,
        ),
        FaultKind::Dns | FaultKind::Policy => (
            "It could not be made certain which mail server is really the recipient's. The message was not given to one \
             that may not be.",
            PROVE_IT,
        ),
        FaultKind::Ours => (
            "This server is not set up for the encrypted connection that the message needs. It was not sent in clear.",
            OUR_POSTMASTER,
        ),
        // RFC 8689 §4.2.1, 5.7.10
        FaultKind::Session => (
            "The message has to travel encrypted to the right server, and no such connection to the recipient's mail \
             server could be made. It was not sent in clear.",
            PROVE_IT,
        ),
    }
}

/// Every other reason that is not the other server's refusal.
fn of_ours(reason: &Reason) -> Explanation {
    match reason {
        Reason::NullMx => Explanation::new("The domain takes no mail at all, and says so.", CHECK_ADDRESS),
        Reason::NoSuchDomain => {
            Explanation::new("There is no such domain, or it has no mail server.", CHECK_ADDRESS)
        }
        Reason::LookupFailed(_) => {
            Explanation::new("It could not be found out which server takes the domain's mail.", TRY_LATER)
        }
        Reason::NoRoute => Explanation::new("This server is not set up to send mail there.", OUR_POSTMASTER),
        Reason::OwnHost(_) => Explanation::new(
            "The domain's mail is directed to this very server, which is not set up to take it.",
            OUR_POSTMASTER,
        ),
        Reason::ConnectFailed(_) | Reason::TimedOut | Reason::ConnectionLost => {
            Explanation::new("The recipient's mail server could not be reached or did not answer.", TRY_LATER)
        }
        Reason::Protocol(_) => Explanation::new(
            "The recipient's mail server answered in a way that makes no sense.",
            THEIR_POSTMASTER,
        ),
        Reason::CredentialsWithheld(_) | Reason::SignInRefused(_) => Explanation::new(
            "This server could not sign in at the server that it sends mail through.",
            OUR_POSTMASTER,
        ),
        Reason::NeedsEightBit | Reason::NeedsBinary => Explanation::new(
            "The recipient's mail server cannot take the form in which the message is encoded.",
            "Send it again as plain text, or with its attachments in a ZIP file.",
        ),
        Reason::NeedsUtf8 => Explanation::new(
            "An address or header of the message has letters beyond ASCII, and the recipient's server cannot take such mail.",
            "Use an address of yours and of the recipient that has only plain Latin letters.",
        ),
        Reason::TooLarge(limit) => Explanation::new(
            format!("The message is too large: the recipient's server takes up to {}.", size(*limit)),
            MAKE_SMALLER,
        ),
        Reason::Local(_) => Explanation::new("The recipient's mailbox could not be written.", OUR_POSTMASTER),
        Reason::NoTlsReport(why) => Explanation::new(
            format!(
                "Nobody reads that address: it takes only reports on TLS, from one mail server to another ({why})."
            ),
            "Write to the postmaster of that domain, or to another address there.",
        ),
        Reason::SwitchedOff => Explanation::new(
            "An administrator of this server has switched off the way there.",
            OUR_POSTMASTER,
        ),
        Reason::Withdrawn => {
            Explanation::new("An administrator of this server ended the delivery.", OUR_POSTMASTER)
        }
        // Explained by the callers; said here in case a later reason has no row of its own yet.
        other => Explanation::new(format!("{other}."), THEIR_POSTMASTER),
    }
}

fn size(octets: u64) -> String {
    match octets {
        0..1_024 => format!("{octets} bytes"),
        1_024..1_048_576 => format!("{} KiB", octets / 1_024),
        _ => format!("{} MiB", octets / 1_048_576),
    }
}

/// What the other server's enhanced code means (RFC 3463 §3, RFC 7372, RFC 7505, RFC 6531, RFC 8689 §7): subject, details, why and
/// remedy. The first row that fits counts.
const REFUSALS: &[(u16, RangeInclusive<u16>, &str, &str)] = &[
    (1, 1..=1, "There is no mailbox with this address.", CHECK_ADDRESS),
    (1, 2..=2, "The domain behind the @ does not exist, or takes no mail.", CHECK_ADDRESS),
    (1, 3..=3, "The address is not written correctly.", CHECK_ADDRESS),
    (1, 4..=4, "The address means more than one mailbox.", CHECK_ADDRESS),
    (1, 6..=6, "The recipient has moved and left no new address.", "Ask the recipient for the new address."),
    (1, 7..=8, "The recipient's server does not accept your own address as a sender.", OUR_POSTMASTER),
    (1, 10..=10, "The domain takes no mail at all, and says so.", CHECK_ADDRESS),
    (1, 0..=999, "The recipient's server does not accept the address.", CHECK_ADDRESS),
    (2, 1..=1, "The mailbox is closed and takes no mail.", "Reach the recipient in another way."),
    (2, 2..=2, "The recipient's mailbox is full.", TRY_LATER),
    (2, 3..=3, "The message is larger than the mailbox takes.", MAKE_SMALLER),
    (2, 4..=4, "The mailing list could not be expanded.", THEIR_POSTMASTER),
    (2, 0..=999, "The recipient's mailbox cannot take it.", TRY_LATER),
    (3, 4..=4, "The message is too large for the recipient's server.", MAKE_SMALLER),
    (3, 1..=1, "The recipient's server has no room left.", TRY_LATER),
    (3, 0..=999, "The recipient's server cannot take mail at the moment.", TRY_LATER),
    (4, 6..=6, "The message was going in circles between servers.", THEIR_POSTMASTER),
    (4, 7..=7, "The message was too old when it came to the recipient's server.", TRY_LATER),
    (4, 0..=999, "Something on the way to the recipient's server does not work.", TRY_LATER),
    (
        5,
        3..=3,
        "It had too many recipients for the other server.",
        "Send it again to fewer people at a time.",
    ),
    (5, 0..=999, "The two mail servers did not understand each other.", OUR_POSTMASTER),
    (
        6,
        7..=10,
        "An address or header has letters beyond ASCII, and the recipient's server cannot take such mail.",
        "Use an address of yours and of the recipient that has only plain Latin letters.",
    ),
    (
        6,
        0..=999,
        "The recipient's server cannot take what the message contains.",
        "Send it again as plain text.",
    ),
    (7, 8..=9, "The other server demands that this server signs in.", OUR_POSTMASTER),
    (
        7,
        10..=10,
        "The other server takes the message, or can pass it on, only over an encrypted connection, and there was none.",
        OUR_POSTMASTER,
    ),
    (
        7,
        11..=11,
        "The other server takes mail only over an encrypted connection of its kind.",
        OUR_POSTMASTER,
    ),
    (
        7,
        20..=27,
        "The recipient's server could not assure itself that the message really comes from your domain.",
        OUR_POSTMASTER,
    ),
    (7, 30..=30, NO_REQUIRETLS, WITHOUT_REQUIRETLS),
    (
        7,
        1..=2,
        "The recipient's server refuses it by its own rules: it may take the message for spam, or not take mail from you.",
        "Reach the recipient in another way; with the reply below, your postmaster can find out what to change.",
    ),
    (
        7,
        0..=999,
        "The recipient's server refuses it for reasons of security or of its own rules; it may take the message for spam.",
        "Reach the recipient in another way; with the reply below, your postmaster can find out what to change.",
    ),
];

fn refused(code: Option<Enhanced>) -> Explanation {
    let fits = |code: Enhanced| {
        REFUSALS
            .iter()
            .find(|(subject, details, ..)| *subject == code.subject && details.contains(&code.detail))
    };
    match code.and_then(fits) {
        Some(&(_, _, why, remedy)) => Explanation::new(why, remedy),
        None => Explanation::new(
            "The recipient's mail server did not take it; its own words are below.",
            THEIR_POSTMASTER,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_hidden_by_an_earlier_one() {
        for (index, (subject, details, why, _)) in REFUSALS.iter().enumerate() {
            let code = Enhanced::new(5, *subject, *details.end());
            let earlier = &REFUSALS[..index];
            let hidden =
                earlier.iter().any(|(other, range, ..)| other == subject && range.contains(&code.detail));
            assert!(!hidden, "{code}: {why}");
            assert_eq!(refused(Some(code)).why, *why);
        }
    }

    #[test]
    fn a_refusal_without_a_known_code_points_to_the_servers_own_words() {
        for code in [None, Some(Enhanced::new(5, 0, 0)), Some(Enhanced::new(5, 99, 1))] {
            assert!(refused(code).why.contains("its own words are below"));
        }
    }

    #[test]
    fn each_tls_fault_is_told_as_what_it_is_and_goes_to_whoever_can_mend_it() {
        for &fault in TlsFault::ALL {
            let told = of_tls(Some(fault));
            let (words, remedy) = match fault.kind() {
                FaultKind::Session if fault == TlsFault::NoRequireTls => ("REQUIRETLS", WITHOUT_REQUIRETLS),
                FaultKind::Session => ("no such connection", PROVE_IT),
                FaultKind::Certificate => ("could not prove who it is", PROVE_IT),
                FaultKind::Dns | FaultKind::Policy => ("which mail server is really", PROVE_IT),
                FaultKind::Ours => ("This server is not set up", OUR_POSTMASTER),
            };
            assert!(told.why.contains(words), "{fault:?}: {}", told.why);
            assert_eq!(told.remedy, remedy, "{fault:?}");
        }
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!([size(1_000), size(10 * 1_024), size(25 << 20)], ["1000 bytes", "10 KiB", "25 MiB"]);
    }
}
