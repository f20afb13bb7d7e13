//! Real mail programs hand mail in, each in every way it can: STARTTLS on the submission port, TLS from the first octet, and
//! signing in after STARTTLS on the relay port. Each checks Postern's certificate.

use std::fs;

use crate::support::clients::{Begins, Job, MailProgram};
use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{fail, program, succeed, text};
use crate::support::{Peer, Postern, Setup, content};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    StartTls,
    Implicit,
    Relay,
}

impl Way {
    const ALL: [Way; 3] = [Way::StartTls, Way::Implicit, Way::Relay];

    fn listener(self) -> &'static str {
        match self {
            Way::StartTls => "submission",
            Way::Implicit => "submissions",
            Way::Relay => "mx",
        }
    }

    fn begins(self) -> Begins {
        if self == Way::Implicit { Begins::AtOnce } else { Begins::StartTls }
    }
}

#[track_caller]
fn delivers_in_every_way(program: MailProgram) {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    for (index, way) in Way::ALL.into_iter().enumerate() {
        let subject = format!("{program:?} {way:?}");
        with_job(&postern, way, PASSWORD, &subject, |job| succeed(&mut program.command(job)));
        let taken = peer.wait_for(index + 1).pop().unwrap();
        let text = String::from_utf8_lossy(&taken.content).into_owned();
        assert!(taken.from.starts_with("<anna@home.test>"), "{taken:?}");
        assert_eq!(taken.to.len(), 1, "{taken:?}");
        assert!(taken.to[0].starts_with("<ben@elsewhere.test>"), "{taken:?}");
        assert!(text.contains(&format!("Subject: {subject}\r\n")), "{text}");
        assert!(text.contains("Good morning."), "{text}");
        assert!(
            text.contains("ESMTPSA"),
            "the trace does not say that it came signed in and encrypted: {text}"
        );
    }
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), Way::ALL.len());
}

#[track_caller]
fn wrong_password_is_refused(program: MailProgram) {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    with_job(&postern, Way::StartTls, "wrong", "a wrong one", |job| fail(&mut program.command(job)));
    assert!(postern.queue().is_empty());
    assert!(peer.taken().is_empty());
}

fn with_job(
    postern: &Postern,
    way: Way,
    password: &str,
    subject: &str,
    run: impl FnOnce(&Job<'_>) -> String,
) {
    run(&Job {
        port: postern.at(way.listener()).port(),
        begins: way.begins(),
        trust: &postern.root(),
        sign_in: Some(("anna", password)),
        from: ANNA,
        to: "ben@elsewhere.test",
        subject,
        body: b"Good morning.\r\n",
        folder: postern.folder(),
    });
}

macro_rules! scenarios {
    ($($name:ident: $program:ident,)*) => {
        $(mod $name {
            use crate::support::clients::MailProgram;

            #[test]
            fn delivers_over_587_465_and_25_after_signing_in() {
                super::delivers_in_every_way(MailProgram::$program);
            }

            #[test]
            fn with_a_wrong_password_hands_in_nothing() {
                super::wrong_password_is_refused(MailProgram::$program);
            }
        })*
    };
}

scenarios! {
    swaks: Swaks,
    curl: Curl,
    msmtp: Msmtp,
    mutt: Mutt,
    neomutt: Neomutt,
    s_nail: SNail,
    python_smtplib: Smtplib,
    net_smtp: NetSmtp,
    nodemailer: Nodemailer,
}

/// swaks, told to end after AUTH.
fn swaks_signing_in(postern: &Postern, mechanism: &str, password: &str) -> std::process::Command {
    let mut command = program("swaks");
    command.args(["--server", "localhost", "--port", &postern.at("submission").port().to_string(), "--tls"]);
    command.args(["--auth", mechanism, "--auth-user", "anna", "--auth-password", password]);
    command.args(["--quit-after", "AUTH"]);
    command
}

#[test]
fn swaks_shows_the_reply_to_a_wrong_password_with_plain_and_login() {
    let postern = Setup::new().start();
    for mechanism in ["PLAIN", "LOGIN"] {
        let said = fail(&mut swaks_signing_in(&postern, mechanism, "wrong"));
        assert!(said.contains("535 5.7.8 Authentication failed (bad-credentials)"), "{said}");
    }
}

#[test]
fn swaks_signs_in_with_login_too() {
    let postern = Setup::new().start();
    let said = succeed(&mut swaks_signing_in(&postern, "LOGIN", PASSWORD));
    assert!(said.contains("235 2.7.0"), "{said}");
}

#[test]
fn a_client_that_does_not_trust_the_certificate_sends_nothing() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let message = postern.folder().join("message");
    fs::write(&message, content::plain(ANNA, "ben@elsewhere.test", "untrusted")).unwrap();
    let mut command = program("curl");
    command.args(["--silent", "--show-error", "--ssl-reqd", "--max-time", "30"]);
    command.args(["--url", &format!("smtp://localhost:{}", postern.at("submission").port())]);
    command.args(["--user", &format!("anna:{PASSWORD}"), "--mail-from", ANNA]);
    command.args(["--mail-rcpt", "ben@elsewhere.test", "--upload-file", text(&message)]);
    fail(&mut command);
    assert!(postern.queue().is_empty() && peer.taken().is_empty());
}
