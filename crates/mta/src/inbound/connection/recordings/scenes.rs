//! The scenes: for each cause at least one, and what healthy programs do.

use std::sync::Arc;
use std::time::Duration;

use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::server::Settings;
use rustls::{CertificateError, OtherError};

use super::{Decision, Do, Scene, Shows};
use crate::directory::SignInFault;

/// The answer to AUTH PLAIN of tim with the password `tanstaaf`.
const PLAIN: Do = Do::Say("AUTH PLAIN AHRpbQB0YW5zdGFhZg==");
const EHLO: Do = Do::Say("EHLO client.example");
const STARTTLS: Do = Do::Say("STARTTLS");
const MAIL: Do = Do::Say("MAIL FROM:<tim@example.org>");
const RCPT: Do = Do::Say("RCPT TO:<anna@example.net>");
const DATA: Do = Do::Say("DATA");
const CONTENT: Do = Do::Say("From: Tim <tim@example.org>\r\nSubject: hello\r\n\r\nHello.\r\n.");
const QUIT: Do = Do::Say("QUIT");
/// Messages that Python sends are these.
const NAME: &str = "mail.example.org";

/// A listener with its usual settings, a certificate, and a policy that says yes.
fn scene(name: &'static str, listener: &'static str, client: Vec<Do>) -> Scene {
    Scene { name, listener, settings: |_| {}, tls: Shows::Certificate, decisions: Vec::new(), client }
}

impl Scene {
    fn with(mut self, settings: fn(&mut Settings)) -> Self {
        self.settings = settings;
        self
    }

    fn decided(mut self, decision: Decision) -> Self {
        self.decisions.push(decision);
        self
    }

    fn no_at(self, at: &'static str, reply: Reply) -> Self {
        self.decided(Decision::At(at, reply, None))
    }

    fn shows(mut self, tls: Shows) -> Self {
        self.tls = tls;
        self
    }
}

/// After the handshake, signed in.
fn signed_in(more: &[Do]) -> Vec<Do> {
    in_tls(&[&[PLAIN], more].concat())
}

/// After the handshake of a port that begins with TLS.
fn in_tls(more: &[Do]) -> Vec<Do> {
    [&[Do::Tls(NAME), Do::Read, EHLO], more].concat()
}

/// In clear, after the banner.
fn in_clear(more: &[Do]) -> Vec<Do> {
    [&[Do::Read], more].concat()
}

/// A whole message and the farewell.
fn message() -> Vec<Do> {
    vec![MAIL, RCPT, DATA, CONTENT, QUIT]
}

pub(super) fn all() -> Vec<Scene> {
    [
        healthy(),
        beginnings(),
        handshakes(),
        certificates(),
        sign_ins(),
        addresses(),
        bounds(),
        contents(),
        devices(),
        protocols(),
        ends(),
        faults_of_ours(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn healthy() -> Vec<Scene> {
    let starttls = [Do::Read, EHLO, STARTTLS, Do::Tls(NAME), EHLO, PLAIN];
    let second_mechanism = [Do::Say("AUTH CRAM-MD5"), PLAIN];
    let second_recipient = [MAIL, Do::Say("RCPT TO:<a@example.net>"), RCPT, RCPT, DATA, CONTENT, QUIT];
    vec![
        scene("healthy--starttls", "submission", [&starttls[..], &message()].concat()),
        scene("healthy--tls-at-once", "submissions", signed_in(&message())),
        scene("healthy--no-quit", "submissions", signed_in(&message()[..4])),
        scene("healthy--other-server", "relay", in_clear(&[&[EHLO], &message()[..]].concat())),
        scene(
            "healthy--second-mechanism",
            "submissions",
            in_tls(&[&second_mechanism[..], &message()].concat()),
        ),
        scene("healthy--only-signs-in", "submissions", signed_in(&[QUIT])),
        scene(
            "healthy--rest-of-the-recipients",
            "submissions",
            signed_in(&[&second_recipient[..5], &[CONTENT], &message()[..]].concat()),
        )
        .with(|settings| settings.limits.recipients = 2),
        scene(
            "healthy--idles-after-its-mail",
            "submissions",
            signed_in(&[&message()[..4], &[Do::Wait]].concat()),
        )
        .with(|settings| settings.timeouts.command = Duration::from_millis(100)),
        scene(
            "healthy--swaks-starttls",
            "submission",
            program(&[
                "swaks",
                "--server",
                "127.0.0.1",
                "--port",
                "{port}",
                "--tls",
                "--auth",
                "PLAIN",
                "--auth-user",
                "tim",
                "--auth-password",
                "tanstaaf",
                "--from",
                "tim@example.org",
                "--to",
                "anna@example.net",
            ]),
        ),
        scene(
            "healthy--smtplib-tls-at-once",
            "submissions",
            python(
                "s = smtplib.SMTP_SSL('127.0.0.1', port, context=ssl._create_unverified_context())\ns.login('tim', 'tanstaaf')\ns.sendmail('tim@example.org', ['anna@example.net'], 'Subject: a\\r\\n\\r\\nb\\r\\n')\ns.quit()",
            ),
        ),
    ]
}

fn beginnings() -> Vec<Scene> {
    vec![
        scene(
            "tls-on-starttls-port--curl-smtps",
            "submission",
            program(&[
                "curl",
                "-s",
                "-k",
                "-m",
                "3",
                "smtps://127.0.0.1:{port}",
                "--mail-from",
                "tim@example.org",
                "--mail-rcpt",
                "a@example.net",
                "-T",
                "/etc/hostname",
            ]),
        ),
        scene(
            "tls-on-starttls-port--openssl",
            "submission",
            program(&["openssl", "s_client", "-connect", "127.0.0.1:{port}"]),
        ),
        scene(
            "starttls-on-tls-port--smtplib-waits",
            "submissions",
            python("smtplib.SMTP('127.0.0.1', port, timeout=5)"),
        ),
        scene(
            "starttls-on-tls-port--words-in-clear",
            "submissions",
            vec![Do::Raw(b"EHLO client.example\r\n"), Do::Wait],
        ),
        scene(
            "starttls-not-used--smtplib-without-starttls",
            "submission",
            python(
                "s = smtplib.SMTP('127.0.0.1', port)\ns.sendmail('tim@example.org', ['anna@example.net'], 'Subject: a\\r\\n\\r\\nb\\r\\n')",
            ),
        ),
        scene("starttls-not-used--helo", "submission", in_clear(&[Do::Say("HELO printer"), MAIL, QUIT])),
        scene("starttls-hidden--ehlo-and-quit", "submission", in_clear(&[EHLO, QUIT])),
        scene(
            "commands-garbled--ehlo",
            "relay",
            in_clear(&[Do::Say("XXXX client.example"), Do::Say("HELO client.example"), QUIT]),
        ),
        scene("commands-garbled--starttls", "submission", in_clear(&[EHLO, Do::Say("XXXXXXXX"), QUIT])),
        scene(
            "antivirus-proxy--other-tls-than-its-greeting",
            "submission",
            program(&[
                "openssl",
                "s_client",
                "-starttls",
                "smtp",
                "-name",
                "[127.0.0.1]",
                "-noservername",
                "-connect",
                "127.0.0.1:{port}",
            ]),
        ),
        scene(
            "clear-after-starttls--same-packet",
            "submission",
            in_clear(&[EHLO, Do::Raw(b"STARTTLS\r\nMAIL FROM:<a@example.net>\r\n"), Do::Wait]),
        ),
        scene(
            "clear-after-starttls--no-handshake",
            "submission",
            in_clear(&[EHLO, STARTTLS, Do::Raw(b"EHLO client.example\r\n"), Do::Wait]),
        ),
    ]
}

fn handshakes() -> Vec<Scene> {
    vec![
        scene(
            "old-tls-only--openssl-tls1.1",
            "submissions",
            openssl(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
        ),
        scene(
            "old-tls-only--openssl-tls1.0-starttls",
            "submission",
            openssl(&["-starttls", "smtp", "-tls1", "-cipher", "ALL:@SECLEVEL=0"]),
        ),
        scene(
            "no-common-cipher--openssl-without-aead",
            "submissions",
            openssl(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"]),
        ),
        scene("no-common-group--openssl-p521", "submissions", openssl(&["-groups", "P-521"])),
        scene(
            "no-common-signature--openssl-rsa-only",
            "submissions",
            openssl(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]),
        ),
        scene(
            "handshake-failed--broken-record",
            "submissions",
            vec![Do::Raw(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), Do::Wait],
        ),
        scene("closed-in-handshake--after-starttls", "submission", in_clear(&[EHLO, STARTTLS])),
    ]
}

fn certificates() -> Vec<Scene> {
    vec![
        scene("unknown-authority--openssl", "submissions", openssl(&["-verify_return_error"])),
        scene(
            "unknown-authority--curl-starttls",
            "submission",
            program(&[
                "curl",
                "-s",
                "-m",
                "10",
                "--ssl-reqd",
                "smtp://127.0.0.1:{port}",
                "--mail-from",
                "tim@example.org",
                "--mail-rcpt",
                "a@example.net",
                "-T",
                "/etc/hostname",
            ]),
        ),
        scene("bad-certificate--rejected", "submissions", rejects(CertificateError::BadEncoding)),
        scene(
            "certificate-expired--openssl-clock-ahead",
            "submissions",
            openssl(&["-verify_return_error", "-CAfile", "{root}", "-attime", "4102444800"]),
        ),
        scene(
            "certificate-unknown--rejected",
            "submissions",
            rejects(CertificateError::Other(OtherError(Arc::new(std::io::Error::other("not liked"))))),
        ),
        scene(
            "unsupported-certificate--openssl-other-purpose",
            "submissions",
            openssl(&["-verify_return_error", "-CAfile", "{root}", "-purpose", "smimesign"]),
        ),
        scene("certificate-revoked--rejected", "submissions", rejects(CertificateError::Revoked)),
        scene(
            "wrong-server-name--smtplib-by-alias",
            "submissions",
            python(
                "c = ssl.create_default_context(cafile=root)\nclass A(smtplib.SMTP_SSL):\n  def _get_socket(self, host, port, timeout):\n    import socket\n    return c.wrap_socket(socket.create_connection(('127.0.0.1', port), timeout), server_hostname='smtp.example.org')\nA('smtp.example.org', port, timeout=5)",
            ),
        ),
        scene("wrong-server-name--leaves-in-tls", "submissions", vec![Do::Tls("smtp.example.org"), Do::Read]),
        scene("left-after-handshake--openssl", "submissions", openssl(&[])),
        scene("client-certificate-needed--openssl-without", "submissions", openssl(&["-tls1_2"]))
            .shows(Shows::AndDemands),
        scene("client-certificate-needed--policy", "relay", in_clear(&[EHLO, MAIL, QUIT]))
            .no_at("MAIL", catalogue::certificate_needed()),
        scene("client-certificate-unproved--policy", "relay", in_clear(&[EHLO, MAIL, QUIT]))
            .decided(Decision::At("MAIL", catalogue::certificate_unproved(), Some("it has expired"))),
    ]
}

fn sign_ins() -> Vec<Scene> {
    let refused = |name: &'static str, fault: SignInFault| {
        scene(name, "submissions", signed_in(&[QUIT]))
            .decided(Decision::SignIn(fault, catalogue::bad_credentials()))
    };
    vec![
        scene("auth-in-clear--starttls-needed", "submission", in_clear(&[EHLO, PLAIN, QUIT])),
        scene("auth-in-clear--relay-port", "relay-auth", in_clear(&[EHLO, PLAIN, QUIT])),
        scene("unsupported-mechanism--cram-md5", "submissions", in_tls(&[Do::Say("AUTH CRAM-MD5"), QUIT])),
        scene("unsupported-mechanism--ntlm-then-mail", "submissions", in_tls(&[Do::Say("AUTH NTLM"), MAIL, QUIT])),
        scene("no-sign-in-here--port-25", "relay", in_clear(&[EHLO, STARTTLS, Do::Tls(NAME), EHLO, PLAIN, QUIT])),
        scene("sign-in-not-used--smtplib-without-login", "submissions", python("s = smtplib.SMTP_SSL('127.0.0.1', port, context=ssl._create_unverified_context())\ns.sendmail('tim@example.org', ['anna@example.net'], 'Subject: a\\r\\n\\r\\nb\\r\\n')")),
        scene("sign-in-not-used--printer", "submissions", vec![Do::Tls(NAME), Do::Read, Do::Say("EHLO BRW0080927AFBCE"), MAIL, QUIT]),
        refused("unknown-account--plain", SignInFault::UnknownUser),
        refused("name-without-domain--plain", SignInFault::NameWithoutDomain),
        refused("name-with-wrong-domain--plain", SignInFault::NameWithWrongDomain),
        refused("unusable-name--plain", SignInFault::UnusableName),
        scene("wrong-password--smtplib", "submissions", python("s = smtplib.SMTP_SSL('127.0.0.1', port, context=ssl._create_unverified_context())\ns.login('tim', 'wrong')"))
            .decided(Decision::SignIn(SignInFault::WrongPassword, catalogue::bad_credentials())),
        scene("wrong-password--then-mail-all-the-same", "submissions", signed_in(&[PLAIN, MAIL, QUIT]))
            .decided(Decision::SignIn(SignInFault::WrongPassword, catalogue::bad_credentials())),
        refused("account-disabled--plain", SignInFault::Disabled),
        refused("app-password-needed--plain", SignInFault::AppPasswordNeeded),
        refused("account-banned--plain", SignInFault::Banned),
        scene("client-banned--turned-away", "submission", vec![]).decided(Decision::TurnedAway(catalogue::client_banned(NAME))),
        scene("too-many-guesses--plain", "submissions", signed_in(&[QUIT])).decided(Decision::SignIn(SignInFault::TooManyGuesses, catalogue::sign_in_closed())),
        scene("sign-ins-too-fast--plain", "submissions", signed_in(&[QUIT])).decided(Decision::SignIn(SignInFault::TooFast, catalogue::sign_ins_too_fast("2 minutes"))),
        refused("token-rejected--plain", SignInFault::BadToken),
        refused("acting-as-refused--plain", SignInFault::ActingAs),
        refused("other-channel--plain", SignInFault::OtherChannel),
        refused("certificate-of-nobody--plain", SignInFault::CertificateOfNobody),
        refused("proof-not-judged--plain", SignInFault::NotJudgedHere),
        scene("sign-in-malformed--no-base64", "submissions", in_tls(&[Do::Say("AUTH PLAIN"), Do::Say("tim tanstaaf"), QUIT])),
        scene("sign-in-cancelled--asterisk", "submissions", in_tls(&[Do::Say("AUTH LOGIN"), Do::Say("*"), QUIT])),
        scene("sign-in-cancelled--leaves", "submissions", in_tls(&[Do::Say("AUTH LOGIN"), Do::Say("dGlt")])),
        scene("directory-down--plain", "submissions", signed_in(&[QUIT])).decided(Decision::SignIn(SignInFault::DirectoryDown, catalogue::directory_down())),
    ]
}

fn addresses() -> Vec<Scene> {
    let sender = || "<tim@example.org>".parse().unwrap();
    let recipient = || "<anna@example.net>".parse().unwrap();
    let tim = || "tim@example.org".parse().unwrap();
    let whole = || signed_in(&message());
    vec![
        scene("sender-not-owned--mail", "submissions", whole())
            .no_at("MAIL", catalogue::sender_not_owned(&sender(), "tim")),
        scene("from-not-owned--header", "submissions", whole())
            .no_at("end of content", catalogue::from_not_owned(&tim(), "tim")),
        scene("sender-header-not-owned--header", "submissions", whole())
            .no_at("end of content", catalogue::sender_header_not_owned(&tim(), "tim")),
        scene("from-needs-sender--header", "submissions", whole())
            .no_at("end of content", catalogue::from_needs_sender(&tim(), "tim")),
        scene("outside-app-password--mail", "submissions", whole())
            .no_at("MAIL", catalogue::outside_app_password(&tim(), "printer", "tim")),
        scene("relay-denied--stranger", "relay", in_clear(&[&[EHLO], &message()[..]].concat()))
            .no_at("RCPT", catalogue::relay_denied(&recipient())),
        scene(
            "relay-denied--swaks",
            "relay",
            program(&[
                "swaks",
                "--server",
                "127.0.0.1",
                "--port",
                "{port}",
                "--from",
                "tim@example.org",
                "--to",
                "anna@example.net",
            ]),
        )
        .no_at("RCPT", catalogue::relay_denied(&recipient())),
        scene("recipient-unknown--only-one", "relay", in_clear(&[EHLO, MAIL, RCPT, QUIT]))
            .no_at("RCPT", catalogue::unknown_user(&recipient())),
        scene(
            "recipient-unknown--one-of-two",
            "submissions",
            signed_in(&[MAIL, Do::Say("RCPT TO:<ben@example.org>"), RCPT, DATA, CONTENT, QUIT]),
        )
        .no_at("<anna@example.net>", catalogue::unknown_user(&recipient())),
        scene(
            "bad-address--blank-in-it",
            "submissions",
            signed_in(&[MAIL, Do::Say("RCPT TO:<anna example.net>"), QUIT]),
        ),
        scene(
            "needs-smtputf8--mail",
            "submissions",
            signed_in(&[Do::Say("MAIL FROM:<müller@example.org>"), QUIT]),
        ),
        scene("better-tls-demanded--policy", "relay", in_clear(&[EHLO, MAIL, QUIT]))
            .no_at("MAIL", catalogue::tls_demanded()),
        scene(
            "better-tls-demanded--too-old",
            "relay",
            in_clear(&[EHLO, STARTTLS, Do::Tls(NAME), EHLO, MAIL, QUIT]),
        )
        .no_at("MAIL", catalogue::tls_too_old("TLSv1.2")),
    ]
}

fn bounds() -> Vec<Scene> {
    vec![
        scene(
            "too-large--announced",
            "submissions",
            signed_in(&[Do::Say("MAIL FROM:<tim@example.org> SIZE=999999999"), QUIT]),
        ),
        scene("too-large--content", "submissions", signed_in(&message()))
            .with(|settings| settings.limits.message_size = 20),
        scene(
            "too-many-recipients--gives-up",
            "submissions",
            signed_in(&[MAIL, RCPT, Do::Say("RCPT TO:<ben@example.net>"), QUIT]),
        )
        .with(|settings| settings.limits.recipients = 1),
        scene(
            "too-many-messages--before-any-was-taken",
            "submissions",
            signed_in(&[MAIL, Do::Say("RSET"), MAIL]),
        )
        .with(|settings| settings.limits.transactions = 1),
        scene("too-many-sessions--turned-away", "submission", vec![])
            .decided(Decision::TurnedAway(catalogue::too_many_sessions(NAME))),
        scene("sessions-too-fast--turned-away", "submission", vec![])
            .decided(Decision::TurnedAway(catalogue::sessions_too_fast(NAME, "10 minutes"))),
        scene("too-fast--rcpt", "submissions", signed_in(&[MAIL, RCPT, QUIT])).decided(Decision::At(
            "RCPT",
            catalogue::too_fast("recipients", "1 hour"),
            Some("5000 recipients in 1 day by tim"),
        )),
        scene(
            "too-many-errors--vrfy",
            "relay",
            in_clear(&[
                EHLO,
                Do::Say("VRFY a"),
                Do::Say("VRFY b"),
                Do::Say("VRFY c"),
                Do::Say("VRFY d"),
                Do::Wait,
            ]),
        )
        .with(|settings| settings.limits.idle_commands = 3),
        scene("session-too-long--transaction", "submissions", signed_in(&[MAIL, RCPT, Do::Wait]))
            .with(|settings| settings.timeouts.session = Duration::from_millis(300)),
    ]
}

fn contents() -> Vec<Scene> {
    let bare_lf = Do::Raw(b"Subject: a\r\n\r\nb\nc\r\n.\r\n");
    vec![
        scene(
            "bad-line-ending--bare-lf-in-content",
            "relay",
            in_clear(&[EHLO, MAIL, RCPT, DATA, bare_lf, Do::Wait]),
        ),
        scene(
            "bad-line-ending--bare-lf-in-command",
            "relay",
            in_clear(&[Do::Raw(b"EHLO client.example\n"), Do::Wait]),
        ),
        scene(
            "line-too-long--endless-command",
            "relay",
            in_clear(&[EHLO, Do::Raw(&LONG), Do::Say(""), QUIT]),
        ),
        scene(
            "bad-characters--latin-1",
            "relay",
            in_clear(&[EHLO, Do::Raw(b"MAIL FROM:<m\xfcller@example.net>\r\n"), Do::Read, QUIT]),
        ),
        scene(
            "binary-without-bdat--data",
            "relay",
            in_clear(&[EHLO, Do::Say("MAIL FROM:<a@example.net> BODY=BINARYMIME"), RCPT, DATA, QUIT]),
        ),
        scene("header-unreadable--no-from", "submissions", signed_in(&message()))
            .no_at("end of content", catalogue::from_unreadable()),
        scene("mail-loop--hops", "relay", in_clear(&[&[EHLO], &message()[..]].concat()))
            .no_at("end of content", catalogue::mail_loop()),
        scene("no-tls-report--other-mail", "relay", in_clear(&[&[EHLO], &message()[..]].concat()))
            .no_at("end of content", catalogue::no_tls_report("it holds no report")),
    ]
}

fn devices() -> Vec<Scene> {
    let (path, tim) = ("<tim@example.org>", "scanner@example.org");
    let (sender, own) = (path.parse().unwrap(), tim.parse().unwrap());
    let recipient = "<anna@example.net>".parse().unwrap();
    let hello = Do::Say("EHLO NPI1A2B3C");
    let steps = || in_clear(&[std::slice::from_ref(&hello), &message()[..]].concat());
    vec![
        scene("device-unknown--other-address", "relay", in_clear(&[hello.clone(), QUIT]))
            .no_at("connect", catalogue::device_unknown(&"192.0.2.7".parse().unwrap())),
        scene("device-sender--mail", "relay", steps())
            .no_at("MAIL", catalogue::device_sender(&sender, "scanner", &own)),
        scene("device-recipient--rcpt", "relay", steps())
            .no_at("RCPT", catalogue::device_recipient(&recipient, "scanner", "example.org")),
        scene("device-too-fast--mail", "relay", steps())
            .no_at("MAIL", catalogue::device_too_fast("scanner", 30)),
    ]
}

fn protocols() -> Vec<Scene> {
    vec![
        scene(
            "http-spoken--curl",
            "relay",
            program(&["curl", "-s", "-m", "5", "--http0.9", "http://127.0.0.1:{port}/"]),
        ),
        scene(
            "http-spoken--curl-https",
            "submissions",
            program(&["curl", "-s", "-k", "-m", "5", "https://127.0.0.1:{port}/"]),
        ),
        scene(
            "other-protocol--imap",
            "submission",
            in_clear(&[Do::Say("a1 CAPABILITY now"), Do::Say("a2 LOGOUT now")]),
        ),
        scene(
            "other-protocol--rdp",
            "relay",
            in_clear(&[Do::Raw(b"\x03\x00\x00\x0b\x06\xe0\x00\x00\x00\x00\x00"), Do::Raw(b"\r\n"), Do::Read]),
        ),
        scene("other-protocol--pop3", "relay", in_clear(&[Do::Say("USER tim"), QUIT])),
        scene("hello-missing--mail-at-once", "relay", in_clear(&[MAIL, QUIT])),
        scene("bad-sequence--rcpt-without-mail", "relay", in_clear(&[EHLO, RCPT, QUIT])),
        scene(
            "unknown-command--made-up",
            "relay",
            in_clear(&[EHLO, Do::Say("SEND FROM:<a@example.net>"), QUIT]),
        ),
        scene(
            "unknown-command--parameter",
            "relay",
            in_clear(&[EHLO, Do::Say("MAIL FROM:<a@example.net> FROBNICATE"), QUIT]),
        ),
        scene(
            "xclient-refused--stranger",
            "relay",
            in_clear(&[EHLO, Do::Say("XCLIENT ADDR=192.0.2.1"), QUIT]),
        ),
    ]
}

fn ends() -> Vec<Scene> {
    let hasty = |settings: &mut Settings| {
        settings.timeouts.command = Duration::from_millis(200);
        settings.timeouts.content = Duration::from_millis(200);
    };
    vec![
        scene("port-scan--connects-and-leaves", "relay", in_clear(&[])),
        scene("port-scan--on-the-tls-port", "submissions", vec![]),
        scene("silent-client--until-its-time-is-over", "submission", in_clear(&[Do::Wait])).with(hasty),
        scene("stopped-midway--after-ehlo", "relay", in_clear(&[EHLO, MAIL, Do::Wait])).with(hasty),
        scene(
            "stopped-midway--in-content",
            "relay",
            in_clear(&[EHLO, MAIL, RCPT, DATA, Do::Raw(b"Subject: a\r\n"), Do::Wait]),
        )
        .with(hasty),
        scene("stopped-midway--leaves-with-a-transaction", "submissions", signed_in(&[MAIL, RCPT])),
        scene(
            "lost-in-content--closed",
            "submissions",
            signed_in(&[MAIL, RCPT, DATA, Do::Raw(b"Subject: a\r\n\r\nhalf of it")]),
        ),
        scene(
            "lost-in-content--reset",
            "relay",
            in_clear(&[EHLO, MAIL, RCPT, DATA, Do::Raw(b"Subject: a\r\n"), Do::Reset]),
        ),
        scene("connection-lost--reset-after-ehlo", "relay", in_clear(&[EHLO, Do::Reset])),
        scene(
            "handshake-stalled--smtplib-after-starttls",
            "submission",
            python(
                "s = smtplib.SMTP('127.0.0.1', port, timeout=40)
s.docmd('EHLO client.example')
s.docmd('STARTTLS')
s.sock.recv(1)",
            ),
        ),
    ]
}

fn faults_of_ours() -> Vec<Scene> {
    let whole = || in_clear(&[&[EHLO], &message()[..]].concat());
    vec![
        scene("no-usable-certificate--starttls", "submission", in_clear(&[EHLO, STARTTLS, QUIT]))
            .shows(Shows::Nothing),
        scene("no-usable-certificate--tls-at-once", "submissions", vec![Do::Wait]).shows(Shows::Nothing),
        scene("local-error--content", "relay", whole()).no_at("end of content", catalogue::local_error()),
        scene("storage-full--content", "relay", whole()).no_at("end of content", catalogue::storage_full()),
        scene("server-busy--turned-away", "submission", vec![])
            .decided(Decision::TurnedAway(catalogue::too_busy(NAME))),
        scene("shutting-down--turned-away", "submission", vec![])
            .decided(Decision::TurnedAway(catalogue::shutting_down(NAME))),
    ]
}

/// More than a line may have.
const LONG: [u8; 5000] = [b'x'; 5000];

fn program(words: &[&'static str]) -> Vec<Do> {
    vec![Do::Program(words.iter().map(|word| (*word).to_owned()).collect())]
}

fn openssl(more: &[&'static str]) -> Vec<Do> {
    program(&[&["openssl", "s_client", "-connect", "127.0.0.1:{port}"], more].concat())
}

/// Debian's Python with `port` and `root`.
fn python(script: &str) -> Vec<Do> {
    let script = format!("import smtplib, ssl\nport, root = {{port}}, '{{root}}'\n{script}");
    vec![Do::Program(vec!["/usr/bin/python3".to_owned(), "-c".to_owned(), script])]
}

fn rejects(error: CertificateError) -> Vec<Do> {
    vec![Do::Rejects(error)]
}
