//! Who sends, and to whom.

use super::steps::{ENCRYPTION, SIGN_IN};
use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const SENDER_NOT_OWNED: Section = Section {
    title: "The sender's address is not the user's",
    meaning: "Whoever has signed in may send as his own addresses only, and the reverse-path (MAIL FROM) is another.",
    user: "You are signed in with {account}, and may not send as the address that your mail program uses. Choose your own address as the sender, or the account that belongs to it.",
    remedy: "`postern user may-send {user} ADDRESS` says whether and why. Allow it with `postern user address add {user} ADDRESS`, or with [[send_as]] for shared addresses.",
    programs: &[
        (
            Program::Thunderbird,
            "Account Settings > the account: its outgoing server must be the one that belongs to the address; each identity can have its own.",
        ),
        (Program::OutlookClassic, "Choose the account at \"From\" in the window of the message."),
        (
            Program::Printer,
            "In the device's web page, set the sender's address (\"From\", \"Device e-mail address\") to an address of {account}.",
        ),
        (
            Program::Msmtp,
            "`from` must be an address of {account}; `set_from_header on` puts it into the message, too.",
        ),
        (Program::Mutt, "`set from=…` and `set envelope_from_address=…`."),
        (Program::WordPress, "WP Mail SMTP > Settings: From Email, and tick \"Force From Email\"."),
        (Program::PhpMailer, "`$mail->setFrom()` and `$mail->Sender`."),
    ],
    symptoms: &["The sender address was rejected"],
    gravity: Gravity::Person,
};

pub(crate) const FROM_NOT_OWNED: Section = Section {
    title: "The address in From: is not the user's",
    meaning: "The reverse-path is the user's, but the From: field of the message names an address that is not.",
    user: "You are signed in with {account}, and the message names another sender. Choose your own address as the sender in your mail program.",
    remedy: "`postern user may-send {user} ADDRESS --from AUTHOR` says whether and why. Allow it with `postern user address add`, or with [[send_as]]. `check_from_header = false` on the [[listener]] turns the check off for everybody.",
    programs: &[
        (
            Program::WordPress,
            "WP Mail SMTP > Settings: From Email, and tick \"Force From Email\"; forms put the visitor's address there otherwise.",
        ),
        (
            Program::PhpMailer,
            "`$mail->setFrom()` with an address of your own; the visitor's belongs in `addReplyTo()`.",
        ),
        (Program::Swaks, "`--header 'From: …'`, or `--from`."),
        (Program::Msmtp, "`set_from_header on`."),
    ],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const SENDER_HEADER_NOT_OWNED: Section = Section {
    title: "The address in Sender: is not the user's",
    meaning: "The Sender: field of the message says who has really sent it, and names an address that is not that of the person who has signed in.",
    user: "You are signed in with {account}, and the message says that somebody else has sent it. Choose the account that belongs to your address.",
    remedy: "`postern user may-send {user} ADDRESS` says whether and why; allow it with `postern user address add {user} ADDRESS`.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const FROM_NEEDS_SENDER: Section = Section {
    title: "Only \"on behalf of\"",
    meaning: "The user may write in the name of the address in From:, but only if the message says who has sent it, in a Sender: field with an address of his own.",
    user: "You may send on behalf of that address only. Have your mail program send \"on behalf of\" it, with your own address as the sender.",
    remedy: "Take `on_behalf = true` out of the [[send_as]] if the person may send as the address itself.",
    programs: &[(Program::OutlookClassic, "\"Send on behalf\" adds the field; \"Send as\" does not.")],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const OUTSIDE_APP_PASSWORD: Section = Section {
    title: "The app password is for other addresses",
    meaning: "The program signed in with an app password that is bound to certain sender addresses, and sends as another.",
    user: "The app password in your mail program is for another sender address. Choose that address, or ask your administrator for another app password.",
    remedy: "`postern user app-password list {user}` shows what each may send as; `postern user app-password add` makes another.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const RELAY_DENIED: Section = Section {
    title: "A stranger wants to send to a foreign domain",
    meaning: "The recipient is elsewhere, and the client has neither signed in nor is it one of those that may relay without. Nobody may use this server as an open relay. For a person it means: wrong port, or authentication is off.",
    user: "Your mail program sends without signing in. Use port {starttls_port} with STARTTLS, or port {tls_port} with SSL/TLS, and turn authentication on for the outgoing server {host}.",
    remedy: "A person has to use the submission port and sign in. For a printer there is [[device]], for a server of yours [[relay.networks]] or [[relay.certificates]]. From unknown addresses it is spammers that look for an open relay; they have not found one.",
    programs: SIGN_IN,
    symptoms: &["relay access denied", "we do not relay", "0x800CCC79"],
    gravity: Gravity::Program,
};

pub(crate) const RECIPIENT_UNKNOWN: Section = Section {
    title: "The recipient does not exist",
    meaning: "The domain is ours, and nobody in it has the address. It is misspelt, or the person has left.",
    user: "The address that you wrote to does not exist here. Check its spelling; your mail program may have completed an old one.",
    remedy: "Add the address if it should exist: `postern user address add`, `mailboxes` or `aliases` in [[domain]]. `postern route ADDRESS` says what it comes to.",
    programs: &[(
        Program::OutlookClassic,
        "Remove the old entry from the list that appears while you type the recipient.",
    )],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const BAD_ADDRESS: Section = Section {
    title: "An address is malformed",
    meaning: "What stands between the angle brackets of MAIL or RCPT is no mail address: a blank, a missing domain, a comma, two @.",
    user: "One of the addresses is written wrongly. Look for blanks, commas, semicolons and umlauts in the recipients and in your own address.",
    remedy: "The explanation has the address. A device that sends without a domain needs the whole sender address in its settings.",
    programs: &[(
        Program::Printer,
        "Enter the whole address, with the domain, as the sender, and in the address book.",
    )],
    symptoms: &["501 5.1.7 Bad sender address", "501 5.1.3 Bad recipient address"],
    gravity: Gravity::Program,
};

pub(crate) const NEEDS_SMTPUTF8: Section = Section {
    title: "An internationalised address without SMTPUTF8",
    meaning: "An address holds characters beyond ASCII, and the program did not say SMTPUTF8 with MAIL (RFC 6531), although it is offered.",
    user: "Your mail program cannot send to addresses with such characters. Update it, or use the address in plain letters if there is one.",
    remedy: "For a domain with umlauts the program may use its ASCII form (xn--…). A local part with them needs a program that knows SMTPUTF8.",
    programs: &[(
        Program::Smtplib,
        "`send_message()` asks for it by itself; with `sendmail()` say mail_options=[\"SMTPUTF8\"].",
    )],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const BETTER_TLS_DEMANDED: Section = Section {
    title: "Better encryption is demanded for this mail",
    meaning: "A policy for this sender or network takes mail over TLS only, or over a newer version; or the sender demands REQUIRETLS, which needs TLS from the beginning.",
    user: "This mail is taken over an encrypted connection only. In your mail program choose STARTTLS with port {starttls_port}, or SSL/TLS with port {tls_port}, for the outgoing server {host}.",
    remedy: "The log names the [[inbound.policy]]. Have the other side turn STARTTLS on for this server, or update it; or loosen the policy (`tls`, `tls_minimum`).",
    programs: ENCRYPTION,
    symptoms: &[],
    gravity: Gravity::Program,
};
