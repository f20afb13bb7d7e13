//! Every reply that Postern ever sends, in one place.
//!
//! Each reply is a function here and an [`Entry`] in [`ALL`], both made from the same line, so that the code, the
//! documentation (`docs/replies.md` is generated from it) and what goes over the wire cannot differ. Where there is
//! something to look up, the text ends with a short stable help token in brackets, such as `(starttls-first)`.
//!
//! Words of a client that a reply repeats are [cleaned](crate::text::clean) and bounded first.
//!
//! What this deliberately does not do: decide when a reply is sent, or hold the reply to EHLO, which is
//! [`ehlo_reply`](crate::extension::ehlo_reply).

use super::{Enhanced, Reply};
use crate::address::{AddressError, ForwardPath, Mailbox, ReversePath};
use crate::command::Verb;
use crate::content::Violation;
use crate::text::clean;

/// Octets of a client's words that a reply repeats: a whole path (RFC 5321 §4.5.3.1.3), and still no reply line over
/// 512 octets (RFC 5321 §4.5.3.1.5).
pub(crate) const MAX_ECHO: usize = 256;

/// One reply, as people can look it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The name of its function.
    pub name: &'static str,
    /// The code.
    pub code: u16,
    /// The enhanced code, where the reply has one.
    pub enhanced: Option<Enhanced>,
    /// The text without the token; `{word}` stands for what is filled in.
    pub text: &'static str,
    /// The help token, where the reply has one.
    pub token: Option<&'static str>,
    /// Where the reply comes from.
    pub section: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

/// Makes the functions and the table: `name(arguments) = code [enhanced] (token) "text", "section";`.
macro_rules! catalogue {
    ($(
        #[doc = $meaning:literal]
        $name:ident($($arg:ident: $kind:ty),*) = $code:literal $([$class:literal $subject:literal $detail:literal])?
            $(($token:literal))? $text:literal, $section:literal;
    )*) => {
        /// Every reply there is, in the order of the documentation.
        pub const ALL: &[Entry] = &[$(Entry {
            name: stringify!($name),
            code: $code,
            enhanced: optional!($(Enhanced::new($class, $subject, $detail))?),
            text: $text,
            token: optional!($($token)?),
            section: $section,
            meaning: $meaning.trim_ascii(),
        }),*];

        $(
            #[doc = $meaning]
            #[doc = ""]
            #[doc = $section]
            pub fn $name($($arg: $kind),*) -> Reply {
                let text = format!($text $(, $arg = clean($arg, MAX_ECHO))*);
                $(let text = text + concat!(" (", $token, ")");)?
                Reply {
                    code: $code,
                    enhanced: optional!($(Enhanced::new($class, $subject, $detail))?),
                    lines: text.split('\n').map(str::to_owned).collect(),
                }
            }
        )*
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

catalogue! {
    /// The server is ready; the first line of every session.
    greeting(hostname: &str) = 220 "{hostname} ESMTP Postern", "RFC 5321 §4.2";
    /// TLS begins now.
    starttls_ready() = 220 [2 0 0] "Ready to start TLS", "RFC 3207 §4";
    /// The answer to QUIT.
    closing(hostname: &str) = 221 [2 0 0] "{hostname} closing connection", "RFC 5321 §4.1.1.10";
    /// Signed in.
    signed_in() = 235 [2 7 0] "Authentication succeeded", "RFC 4954 §6";
    /// The answer to HELO.
    helo(hostname: &str) = 250 "{hostname}", "RFC 5321 §4.1.1.1";
    /// The answer to NOOP.
    ok() = 250 [2 0 0] "OK", "RFC 5321 §4.1.1.9";
    /// The answer to RSET: the transaction is forgotten.
    reset() = 250 [2 0 0] "Reset", "RFC 5321 §4.1.1.5";
    /// The reverse-path is accepted.
    sender_ok() = 250 [2 1 0] "Sender OK", "RFC 5321 §4.1.1.2";
    /// The recipient is accepted.
    recipient_ok() = 250 [2 1 5] "Recipient OK", "RFC 5321 §4.1.1.3";
    /// The chunk has arrived; more are expected.
    chunk_ok(octets: u64) = 250 [2 0 0] "{octets} octets received", "RFC 3030 §2";
    /// The message is on disk under this id; from here on Postern is responsible for it.
    queued(id: &str) = 250 [2 0 0] "Queued as {id}", "RFC 5321 §4.2.5";
    /// The answer to VRFY: nothing is said about who exists.
    cannot_verify() = 252 [2 5 0] "Cannot VRFY user, but will accept a message and attempt delivery", "RFC 5321 §3.5.3";
    /// The answer to HELP.
    help() = 214 [2 0 0]
        "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nA word in brackets at the end of a refusal is a help token: look it up in Postern's list of replies",
        "RFC 5321 §4.1.1.8";
    /// The next step of signing in; the challenge is base64.
    challenge(challenge: &str) = 334 "{challenge}", "RFC 4954 §4";
    /// The content may begin.
    start_content() = 354 "Start mail input; end with <CRLF>.<CRLF>", "RFC 5321 §4.1.1.4";

    /// The server shuts down or restarts. Nothing that was acknowledged is lost; connect again in a moment.
    shutting_down(hostname: &str) = 421 [4 3 2] ("shutting-down") "{hostname} is shutting down, try again later", "RFC 5321 §3.8";
    /// More sessions are open than the server is set up for. Try again later.
    too_busy(hostname: &str) = 421 [4 3 2] ("too-busy") "{hostname} is too busy, try again later", "RFC 5321 §4.2.3";
    /// Nothing came from the client in the time it has.
    timed_out(hostname: &str) = 421 [4 4 2] ("timed-out") "{hostname} waited too long for you, closing connection", "RFC 5321 §4.5.3.2.7";
    /// The session lasted longer than any session may.
    session_too_long(hostname: &str) = 421 [4 4 2] ("session-too-long") "{hostname} ends sessions that last this long, connect again", "RFC 5321 §4.5.3.2.7";
    /// The client made more mistakes than a session may.
    too_many_errors(hostname: &str) = 421 [4 7 0] ("too-many-errors") "{hostname} Error: too many errors, closing connection", "RFC 5321 §3.8";
    /// The client sent more commands that lead nowhere (NOOP, RSET, VRFY …) than a session may hold.
    too_many_commands(hostname: &str) = 421 [4 7 0] ("too-many-commands") "{hostname} Error: too many commands without mail, closing connection", "RFC 5321 §3.8";
    /// As many messages as one session may bring have come. Connect again for more.
    too_many_messages(hostname: &str) = 421 [4 7 0] ("too-many-messages") "{hostname} takes no more messages in this session, connect again", "RFC 9422 §4.1";
    /// Too many attempts to sign in failed in this session.
    too_many_sign_ins(hostname: &str) = 421 [4 7 0] ("too-many-sign-ins") "{hostname} Error: too many failed sign-ins, closing connection", "RFC 4954 §4";
    /// This client's address has as many sessions open as it may. Try again when one of them has ended.
    too_many_sessions(hostname: &str) = 421 [4 7 0] ("too-many-sessions") "{hostname} has too many sessions from your address, try again later", "RFC 5321 §3.8";
    /// More sessions came from this client, its network or at this listener than are taken in so much time. Try again after the time that is said.
    sessions_too_fast(hostname: &str, wait: &str) = 421 [4 7 0] ("sessions-too-fast") "{hostname} has had too many sessions from you lately, try again in {wait}", "RFC 5321 §3.8";
    /// So many messages, recipients, new recipients or octets were sent in a short time that no more are taken for now. Nothing is lost: a mail server tries again by itself, a mail program after the time that is said. The administrator can raise the rate.
    too_fast(what: &str, wait: &str) = 450 [4 7 1] ("too-fast") "You have sent too many {what} lately, try again in {wait}", "RFC 5321 §4.2.3";
    /// The device has sent as many messages as its `[[device]]` allows in so much time.
    device_too_fast(device: &str, seconds: u64) = 450 [4 7 1] ("device-too-fast") "Device {device} sends too fast: try again in {seconds} seconds", "RFC 5321 §4.2.2";
    /// Something went wrong in the server; its log says what. Try again later.
    local_error() = 451 [4 3 0] ("local-error") "Local error in processing, try again later", "RFC 5321 §4.2.3";
    /// A transaction already has as many recipients as it may; send to the rest in another one.
    too_many_recipients() = 452 [4 5 3] ("too-many-recipients") "Too many recipients, send the message to the rest separately", "RFC 5321 §4.5.3.1.10";
    /// The disk is full or cannot be written; the service resumes by itself when it can.
    storage_full() = 452 [4 3 1] ("storage-full") "Insufficient system storage, try again later", "RFC 5321 §4.2.3";
    /// STARTTLS was asked for, but no usable certificate is loaded. The administrator has to see to it.
    tls_unavailable() = 454 [4 7 0] ("tls-unavailable") "TLS not available due to temporary reason", "RFC 3207 §4";
    /// The client showed a certificate, but it does not verify: it has expired, or comes from an authority that is not trusted for this. Temporary, because both sides can mend that while the mail waits; the log says what is wrong with it.
    certificate_unproved() = 454 [4 7 0] ("certificate-unproved") "Your client certificate does not verify, and mail from this sender or network is taken only with one that does", "RFC 3207 §4.1";
    /// The directory of users does not answer, so nobody can sign in for now.
    directory_down() = 454 [4 7 0] ("directory-down") "Temporary authentication failure, try again later", "RFC 4954 §6";
    /// Too many sign-ins wait to be looked at, in all or from this client's network. Try again in a moment.
    sign_in_busy() = 454 [4 7 0] ("sign-in-busy") "Too many sign-ins wait already, try again later", "RFC 4954 §6";
    /// Too many different wrong passwords were tried lately, so that this sign-in was not looked at: try again later, or from a network where the account signed in before. The password may well be right. Said of names that do not exist, too.
    sign_in_closed() = 454 [4 7 0] ("too-many-guesses") "Too many wrong passwords were tried, try again later or from your usual network", "RFC 4954 §6";
    /// More sign-ins failed than are looked at in so much time. Try again after the time that is said.
    sign_ins_too_fast(wait: &str) = 454 [4 7 0] ("sign-ins-too-fast") "Too many sign-ins failed lately, try again in {wait}", "RFC 4954 §6";

    /// The line is no command.
    unknown_command() = 500 [5 5 1] "Command not recognised", "RFC 5321 §4.2.4";
    /// The line is longer than any command may be.
    line_too_long() = 500 [5 5 2] "Line too long", "RFC 5321 §4.5.3.1.4";
    /// A line of the sign-in exchange is longer than it may be.
    auth_line_too_long() = 500 [5 5 6] "Authentication exchange line is too long", "RFC 4954 §4";
    /// The command is known, but not its arguments.
    bad_arguments(verb: &Verb) = 501 [5 5 4] "Syntax error in the arguments of {verb}", "RFC 5321 §4.2.2";
    /// The line holds control characters, or octets that are not UTF-8.
    bad_characters(verb: &Verb) = 501 [5 5 2] "The arguments of {verb} hold characters that may not stand there", "RFC 5321 §4.1.2";
    /// The address in MAIL FROM is malformed.
    bad_sender(problem: &AddressError) = 501 [5 1 7] "Bad sender address: {problem}", "RFC 5321 §4.1.2";
    /// The address in RCPT TO is malformed.
    bad_recipient(problem: &AddressError) = 501 [5 1 3] "Bad recipient address: {problem}", "RFC 5321 §4.1.2";
    /// A parameter of MAIL or RCPT has a malformed value.
    bad_parameter(keyword: &str) = 501 [5 5 4] "Syntax error in the parameter {keyword}", "RFC 5321 §4.1.2";
    /// A parameter of MAIL or RCPT is given twice.
    duplicate_parameter(keyword: &str) = 501 [5 5 4] "The parameter {keyword} is given twice", "RFC 5321 §4.1.2";
    /// What should be base64 is not.
    not_base64() = 501 [5 5 2] "Cannot decode: not base64", "RFC 4954 §4";
    /// The client ended the sign-in exchange with `*`.
    sign_in_cancelled() = 501 [5 0 0] "Authentication cancelled", "RFC 4954 §4";
    /// What the sign-in exchange carried does not fit its mechanism.
    bad_credentials_form() = 501 [5 5 2] "Malformed authentication message", "RFC 4954 §4";
    /// The command exists, but is not offered here.
    not_implemented(verb: &Verb) = 502 [5 5 1] "{verb} is not available here", "RFC 5321 §4.2.4";
    /// The client must say EHLO first.
    hello_first() = 503 [5 5 1] ("hello-first") "Send EHLO first", "RFC 5321 §4.1.4";
    /// The command comes at the wrong moment.
    bad_sequence(verb: &Verb) = 503 [5 5 1] ("bad-sequence") "Bad sequence of commands: {verb} is not possible now", "RFC 5321 §4.1.4";
    /// MAIL must come before RCPT and DATA.
    mail_first() = 503 [5 5 1] ("mail-first") "Send MAIL first", "RFC 5321 §4.1.4";
    /// A message needs a recipient that was accepted before its content.
    rcpt_first() = 503 [5 5 1] ("rcpt-first") "Send RCPT first", "RFC 5321 §3.3";
    /// No recipient was accepted, so there is nobody to take content for.
    no_valid_recipients() = 554 [5 5 1] ("no-valid-recipients") "No valid recipients", "RFC 5321 §3.3";
    /// A transaction is already open.
    nested_mail() = 503 [5 5 1] ("nested-mail") "A transaction is open already; send RSET first", "RFC 5321 §4.1.4";
    /// DATA and BDAT cannot be mixed in one message.
    chunking_begun() = 503 [5 5 1] ("chunking-begun") "BDAT has begun: no DATA, MAIL or RCPT before LAST or RSET", "RFC 3030 §2";
    /// Binary content can only be sent with BDAT.
    binary_needs_bdat() = 503 [5 6 1] ("binary-needs-bdat") "BODY=BINARYMIME needs BDAT", "RFC 3030 §3";
    /// TLS runs already.
    tls_already() = 503 [5 5 1] "TLS is already active", "RFC 3207 §4.2";
    /// The session is signed in already.
    signed_in_already() = 503 [5 5 1] "Already authenticated", "RFC 4954 §4";
    /// AUTH is not possible within a transaction.
    auth_within_transaction() = 503 [5 5 1] "AUTH is not possible during a mail transaction", "RFC 4954 §4";
    /// AUTH with a mechanism that is not offered.
    unknown_mechanism(mechanism: &str) = 504 [5 5 4] ("unknown-mechanism") "Unrecognized authentication type {mechanism}", "RFC 4954 §4";
    /// The listener takes mail over TLS only: the mail program must use STARTTLS.
    starttls_first() = 530 [5 7 0] ("starttls-first") "Must issue a STARTTLS command first", "RFC 3207 §4";
    /// The sender demands REQUIRETLS on a connection that is not encrypted itself.
    requiretls_in_clear() = 530 [5 7 0] ("requiretls-in-clear") "REQUIRETLS is only for encrypted sessions, issue STARTTLS first", "RFC 8689 §2";
    /// Mail from this sender's domain, or from this client's network, is taken over TLS only. The sending server must be set to use STARTTLS with this one; the log names the policy.
    tls_demanded() = 530 [5 7 0] ("tls-demanded") "Mail from this sender or network is taken over TLS only, issue a STARTTLS command first", "RFC 3207 §4";
    /// The listener takes mail from signed-in people only: the mail program must be given user and password.
    sign_in_first() = 530 [5 7 0] ("sign-in-first") "Authentication required", "RFC 4954 §6";
    /// The user or the password is wrong; which of the two is never said.
    bad_credentials() = 535 [5 7 8] ("bad-credentials") "Authentication failed", "RFC 4954 §6";
    /// Signing in needs TLS first, so that no password crosses the network in clear.
    auth_needs_tls() = 538 [5 7 11] ("auth-needs-tls") "Encryption required for requested authentication mechanism", "RFC 4954 §6";

    /// The answer to EXPN: lists of members are not given out.
    expn_refused() = 550 [5 7 1] ("expn-refused") "EXPN is refused: lists are not shown to strangers", "RFC 5321 §3.5.3";
    /// The session's TLS version is older than the policy for this sender or network allows. Permanent, because the same two programs agree on the same version every time: a retry would only keep the news from the sender for days.
    tls_too_old(version: &str) = 550 [5 7 0] ("tls-too-old") "Mail from this sender or network is not taken over {version}, use a newer version of TLS", "RFC 3207 §4.1";
    /// Mail from this sender or network is taken only from a client that shows a certificate, and it showed none. Permanent, because a client that has none set up shows none at the next try either.
    certificate_needed() = 550 [5 7 0] ("certificate-needed") "Mail from this sender or network is taken only with a client certificate", "RFC 3207 §4.1";
    /// The client says XCLIENT, and is none of the front ends that this listener's configuration names.
    xclient_refused() = 550 [5 7 1] ("xclient-refused") "XCLIENT is refused: you are not known as a front end", "RFC 5321 §4.2.2";
    /// A front end says who its client has signed in as, and this listener takes no such word from it, or knows no such user.
    xclient_login_refused() = 550 [5 7 1] ("xclient-login-refused") "XCLIENT is refused: LOGIN does not count here, or is nobody's", "RFC 5321 §4.2.2";
    /// The domain is ours, but it has no such address.
    unknown_user(recipient: &ForwardPath) = 550 [5 1 1] ("unknown-user") "{recipient}: Recipient address rejected: User unknown", "RFC 5321 §3.3";
    /// The recipient is elsewhere and the client has not signed in. This server is no open relay.
    relay_denied(recipient: &ForwardPath) = 550 [5 7 1] ("relay-denied") "{recipient}... Relaying denied. Proper authentication required.", "RFC 5321 §3.6.2";
    /// The address in the `From:` header does not belong to the user who has signed in.
    from_not_owned(author: &Mailbox, user: &str) = 550 [5 7 1] ("from-not-owned") "From header <{author}>: not owned by {user}", "RFC 6409 §6.1";
    /// The user may write in the name of the address in the `From:` header only if the message says who sent it: a `Sender:` field with an address of the user's own.
    from_needs_sender(author: &Mailbox, user: &str) = 550 [5 7 1] ("from-needs-sender") "From header <{author}>: {user} may send on its behalf only, with a Sender header of his own", "RFC 5322 §3.6.2";
    /// The address in the `Sender:` header does not belong to the user who has signed in.
    sender_header_not_owned(sender: &Mailbox, user: &str) = 550 [5 7 1] ("sender-header-not-owned") "Sender header <{sender}>: not owned by {user}", "RFC 5322 §3.6.2";
    /// The message has more than one Sender header field, more than one address in it, or one that cannot be understood.
    sender_header_unreadable() = 550 [5 6 0] ("sender-header-unreadable") "The message may have one Sender header field with one address", "RFC 5322 §3.6.2";
    /// The app password that was used to sign in may send as other addresses only. The administrator can make another one.
    outside_app_password(address: &Mailbox, name: &str, user: &str) = 550 [5 7 1] ("outside-app-password") "<{address}>: not among the addresses of the app password {name} of {user}", "RFC 6409 §6.1";
    /// An address in the header is not the one that the `[[device]]` of this client sends as. The administrator can have it replaced: `rewrite_sender = true`.
    device_author(author: &Mailbox, device: &str, sender: &Mailbox) = 550 [5 7 1] ("device-author") "From header <{author}>: device {device} sends as {sender}", "RFC 6409 §6.1";
    /// The `[[device]]` of this client may send to some domains only, and the recipient is in another. The administrator can add it.
    device_recipient(recipient: &ForwardPath, device: &str, domains: &str) = 550 [5 7 1] ("device-recipient") "{recipient}: device {device} may send to {domains} only", "RFC 5321 §3.6.2";
    /// The recipient is the address that the DNS names for reports about TLS (RFC 8460), which only a program reads. People reach the postmaster.
    no_tls_report(why: &str) = 550 [5 6 1] ("no-tls-report") "The address takes only TLS reports: {why}", "RFC 8460 §3";
    /// The message has no From header field, or one that cannot be understood.
    from_unreadable() = 550 [5 6 0] ("from-unreadable") "The message needs one well-formed From header field", "RFC 6409 §6.1";
    /// The client sent a CR or LF that is not half of a CRLF, or a NUL. Some programs do so by mistake, attackers to smuggle a second message.
    bare_octet(octet: &Violation) = 550 [5 6 0] ("bad-line-ending") "Your input holds {octet}: lines must end with CRLF. Closing connection", "RFC 5321 §2.3.8";
    /// The message is larger than this server takes.
    too_large(limit: u64) = 552 [5 3 4] ("too-large") "Message size exceeds the limit of {limit} octets", "RFC 1870 §6.1";
    /// The address is internationalised, and the client did not say SMTPUTF8 with MAIL.
    needs_smtputf8() = 553 [5 6 7] ("needs-smtputf8") "The address holds non-ASCII characters: SMTPUTF8 is needed", "RFC 6531 §3.5";
    /// The user who has signed in may not send as this address. The administrator can add it to the user.
    sender_not_owned(sender: &ReversePath, user: &str) = 553 [5 7 1] ("sender-not-owned") "{sender}: not owned by {user}", "RFC 6409 §6.1";
    /// The reverse-path is not the address that the `[[device]]` of this client sends as. The administrator can have it replaced: `rewrite_sender = true`.
    device_sender(path: &ReversePath, device: &str, sender: &Mailbox) = 553 [5 7 1] ("device-sender") "{path}: device {device} sends as {sender}", "RFC 6409 §6.1";
    /// The listener is for devices, and the client's address is not one of a `[[device]]`.
    device_unknown(client: &std::net::IpAddr) = 554 [5 7 1] ("device-unknown") "{client} is no device that is known here", "RFC 5321 §3.1";
    /// The message has been through this server too often: two servers send it to each other.
    mail_loop() = 554 [5 4 6] ("mail-loop") "Too many hops: the message is going in circles", "RFC 5321 §6.3";
    /// The client's address or network is banned for a time: too many wrong passwords were tried from there, or the administrator wants it so. `postern ban list` says which and until when.
    client_banned(hostname: &str) = 554 [5 7 1] ("banned") "{hostname} takes no sessions from your address for the time being", "RFC 5321 §3.1";
    /// A parameter of MAIL or RCPT that this server does not know.
    unknown_parameter(keyword: &str) = 555 [5 5 4] "The parameter {keyword} is not recognised", "RFC 5321 §4.1.1.11";
}
