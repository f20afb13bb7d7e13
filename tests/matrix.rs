//! The matrix: real mail programs, each with every port, every way to begin TLS, right and wrong settings, and what may stand
//! between. Each cell tells whether the message arrived, over which TLS, and what Postern says was wrong.
//!
//! [`TABLE`] has one row for each setting: what becomes of it as a rule, and with which programs something else does. There is one
//! test for each program, with a daemon of its own; it runs all rows and names those that came out otherwise. What no mail
//! program does has its own table in [`strangers`].
//!
//! To add a program, see [`clients`](crate::support::clients); then give it a name here and a line in `programs!`. To add a setting,
//! add a row. A new program that behaves unlike the others goes into the rows' exceptions.

mod house;
mod strangers;

use postern_testkit::proxy::{Onward, Trick};

use crate::support::clients::Begins::{AtOnce, Clear, StartTls};
use crate::support::clients::{Begins, MailProgram};

use house::check;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Command(MailProgram),
    Thunderbird,
}

const SWAKS: Program = Program::Command(MailProgram::Swaks);
const CURL: Program = Program::Command(MailProgram::Curl);
const MSMTP: Program = Program::Command(MailProgram::Msmtp);
const MUTT: Program = Program::Command(MailProgram::Mutt);
const NEOMUTT: Program = Program::Command(MailProgram::Neomutt);
const S_NAIL: Program = Program::Command(MailProgram::SNail);
const SMTPLIB: Program = Program::Command(MailProgram::Smtplib);
const NET_SMTP: Program = Program::Command(MailProgram::NetSmtp);
const NODEMAILER: Program = Program::Command(MailProgram::Nodemailer);
const THUNDERBIRD: Program = Program::Thunderbird;

/// Where the program connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    /// As 587 is: `tls = "auto"`, which expects STARTTLS.
    Submission,
    /// As 465 is: `tls = "auto"`, which expects TLS at once.
    Submissions,
    /// As 25 is: our own recipients, and people after STARTTLS.
    Relay,
    /// As 587, with a certificate for another name.
    Misnamed,
    /// As 587, with a certificate of an authority that the program does not trust.
    Untrusted,
}

/// What is set, and stands between.
#[derive(Debug, Clone, Copy)]
struct Setting {
    port: Port,
    begins: Begins,
    but: But,
    between: Trick,
    /// How often a person clicks "Send" before she gives up.
    tries: usize,
}

/// What differs from Anna, who signs in with her password and sends a short message to somebody elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum But {
    Nothing,
    /// The password is wrong.
    WrongPassword,
    /// Nobody has the name.
    UnknownUser,
    /// The name lacks its domain.
    BareName,
    /// The name has a domain that it should not have.
    ForeignName,
    /// Does not sign in.
    NoSignIn,
    /// Does not sign in, and writes to somebody at home.
    NoSignInToUs,
    /// Does not sign in, and writes to nobody at home.
    NoSignInToNobody,
    /// Writes to nobody at home.
    ToNobody,
    /// Sends as somebody else.
    OthersAddress,
    /// The message is larger than taken.
    TooLarge,
    /// The message is so large that a connection can break in the middle of it.
    Long,
    /// What stands between has its authority among those that the program trusts.
    TrustsWhatIsBetween,
}

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Becomes {
    arrives: bool,
    /// All causes that Postern found in the cell's sessions, in the order of their names.
    causes: &'static [&'static str],
    /// Causes that may be among them or not: it depends on who was faster.
    perhaps: &'static [&'static str],
}

/// One setting.
struct Row {
    name: &'static str,
    setting: Setting,
    usually: Becomes,
    but: &'static [(&'static [Program], Becomes)],
}

/// It arrives, and Postern finds nothing to say.
const SERVED: Becomes = Becomes { arrives: true, causes: &[], perhaps: &[] };

/// It does not arrive, for these causes.
const fn refused(causes: &'static [&'static str]) -> Becomes {
    Becomes { arrives: false, causes, perhaps: &[] }
}

/// It arrives, although something is to be said of it.
const fn served_but(causes: &'static [&'static str]) -> Becomes {
    Becomes { arrives: true, causes, perhaps: &[] }
}

/// It arrives, at the first try or at the second.
const fn served_perhaps_after(perhaps: &'static [&'static str]) -> Becomes {
    Becomes { arrives: true, causes: &[], perhaps }
}

const fn to(port: Port, begins: Begins) -> Setting {
    Setting { port, begins, but: But::Nothing, between: Trick::Nothing, tries: 1 }
}

impl Setting {
    const fn but(self, but: But) -> Setting {
        Setting { but, ..self }
    }

    const fn through(self, between: Trick) -> Setting {
        Setting { between, ..self }
    }

    const fn tries(self, tries: usize) -> Setting {
        Setting { tries, ..self }
    }

    /// Whether it takes long because somebody waits.
    fn waits(&self) -> bool {
        let for_banner = self.port == Port::Submissions && self.begins != AtOnce;
        for_banner || matches!(self.between, Trick::LosesAfter(_) | Trick::OpensTls(Onward::Clear))
    }
}

/// They end when signing in is not offered.
const LEAVES_WITHOUT_AUTH: &[Program] = &[SWAKS, MSMTP, NEOMUTT, NET_SMTP];
/// They say AUTH whether it is offered or not.
const SAYS_AUTH_ANYWAY: &[Program] = &[S_NAIL, SMTPLIB];
/// They say STARTTLS whether it is offered or not.
const SAYS_STARTTLS_ANYWAY: &[Program] = &[MUTT, NEOMUTT, S_NAIL, NET_SMTP, NODEMAILER];
/// They try the same password again by another mechanism. That is not looked at any more: the session ends with a password that
/// is wrong, whatever was wrong at first.
const TRIES_THE_SAME_AGAIN: &[Program] = &[THUNDERBIRD];
/// They look at the certificate when TLS stands, and then leave without an alert.
const GNUTLS: &[Program] = &[MSMTP, MUTT, NEOMUTT];

/// One row for each setting.
const TABLE: &[Row] = &[
    Row { name: "587, STARTTLS", setting: to(Port::Submission, StartTls), usually: SERVED, but: &[] },
    Row {
        name: "587, TLS at once, which is 465's",
        setting: to(Port::Submission, AtOnce).tries(2),
        usually: served_perhaps_after(&["tls-on-starttls-port"]),
        but: &[],
    },
    Row {
        name: "587, in clear",
        setting: to(Port::Submission, Clear),
        usually: refused(&["starttls-not-used"]),
        but: &[
            (LEAVES_WITHOUT_AUTH, refused(&["starttls-hidden"])),
            (SAYS_AUTH_ANYWAY, refused(&["auth-in-clear"])),
        ],
    },
    Row { name: "465, TLS at once", setting: to(Port::Submissions, AtOnce), usually: SERVED, but: &[] },
    Row {
        name: "465, STARTTLS, which is 587's",
        setting: to(Port::Submissions, StartTls).tries(2),
        usually: SERVED,
        but: &[],
    },
    Row {
        name: "465, in clear",
        setting: to(Port::Submissions, Clear),
        usually: refused(&["starttls-not-used"]),
        but: &[
            (LEAVES_WITHOUT_AUTH, refused(&["starttls-hidden"])),
            (SAYS_AUTH_ANYWAY, refused(&["auth-in-clear"])),
        ],
    },
    Row { name: "25, STARTTLS, signing in", setting: to(Port::Relay, StartTls), usually: SERVED, but: &[] },
    Row {
        name: "25, STARTTLS, not signing in, to us",
        setting: to(Port::Relay, StartTls).but(But::NoSignInToUs),
        usually: SERVED,
        but: &[],
    },
    Row {
        name: "25, in clear, not signing in, to us",
        setting: to(Port::Relay, Clear).but(But::NoSignInToUs),
        usually: SERVED,
        but: &[],
    },
    Row {
        name: "25, in clear, signing in",
        setting: to(Port::Relay, Clear),
        usually: refused(&["relay-denied"]),
        but: &[(LEAVES_WITHOUT_AUTH, refused(&[])), (SAYS_AUTH_ANYWAY, refused(&["auth-in-clear"]))],
    },
    Row {
        name: "25, TLS at once",
        setting: to(Port::Relay, AtOnce),
        usually: refused(&["tls-on-starttls-port"]),
        but: &[],
    },
    Row {
        name: "25, not signing in, to others",
        setting: to(Port::Relay, StartTls).but(But::NoSignIn),
        usually: refused(&["relay-denied"]),
        but: &[],
    },
    Row {
        name: "25, not signing in, to nobody",
        setting: to(Port::Relay, StartTls).but(But::NoSignInToNobody),
        usually: refused(&["recipient-unknown"]),
        but: &[],
    },
    Row {
        name: "587, wrong password",
        setting: to(Port::Submission, StartTls).but(But::WrongPassword),
        usually: refused(&["wrong-password"]),
        but: &[],
    },
    Row {
        name: "465, wrong password",
        setting: to(Port::Submissions, AtOnce).but(But::WrongPassword),
        usually: refused(&["wrong-password"]),
        but: &[],
    },
    Row {
        name: "587, a name that nobody has",
        setting: to(Port::Submission, StartTls).but(But::UnknownUser),
        usually: refused(&["unknown-account"]),
        but: &[(TRIES_THE_SAME_AGAIN, refused(&["wrong-password"]))],
    },
    Row {
        name: "587, a name without its domain",
        setting: to(Port::Submission, StartTls).but(But::BareName),
        usually: refused(&["name-without-domain"]),
        but: &[(TRIES_THE_SAME_AGAIN, refused(&["wrong-password"]))],
    },
    Row {
        name: "587, a name with a foreign domain",
        setting: to(Port::Submission, StartTls).but(But::ForeignName),
        usually: refused(&["name-with-wrong-domain"]),
        but: &[(TRIES_THE_SAME_AGAIN, refused(&["wrong-password"]))],
    },
    Row {
        name: "587, not signing in",
        setting: to(Port::Submission, StartTls).but(But::NoSignIn),
        usually: refused(&["sign-in-not-used"]),
        but: &[],
    },
    Row {
        name: "587, as somebody else",
        setting: to(Port::Submission, StartTls).but(But::OthersAddress),
        usually: refused(&["sender-not-owned"]),
        but: &[],
    },
    Row {
        name: "587, to nobody",
        setting: to(Port::Submission, StartTls).but(But::ToNobody),
        usually: refused(&["recipient-unknown"]),
        but: &[],
    },
    Row {
        name: "587, too large",
        setting: to(Port::Submission, StartTls).but(But::TooLarge),
        usually: refused(&["too-large"]),
        but: &[],
    },
    Row {
        name: "587, an authority that is not trusted",
        setting: to(Port::Untrusted, StartTls),
        usually: refused(&["unknown-authority"]),
        but: &[
            (GNUTLS, refused(&["left-after-handshake"])),
            (&[NODEMAILER], refused(&["closed-in-handshake"])),
        ],
    },
    Row {
        name: "587, another server name",
        setting: to(Port::Misnamed, StartTls),
        usually: refused(&["wrong-server-name"]),
        but: &[
            (&[SWAKS], SERVED),
            (&[NODEMAILER], refused(&["closed-in-handshake"])),
            (&[NET_SMTP], refused(&["handshake-failed"])),
        ],
    },
    Row {
        name: "587, STARTTLS is hidden",
        setting: to(Port::Submission, StartTls).through(Trick::HidesStartTls),
        usually: refused(&["starttls-hidden"]),
        but: &[(SAYS_STARTTLS_ANYWAY, SERVED)],
    },
    Row {
        name: "587, STARTTLS is overwritten",
        setting: to(Port::Submission, StartTls).through(Trick::OverwritesStartTls),
        usually: refused(&["starttls-hidden"]),
        but: &[(SAYS_STARTTLS_ANYWAY, refused(&["commands-garbled"]))],
    },
    Row {
        name: "587, STARTTLS is answered by somebody else",
        setting: to(Port::Submission, StartTls)
            .through(Trick::AnswersStartTls("454 4.7.0 TLS not available")),
        usually: refused(&["starttls-hidden"]),
        but: &[],
    },
    Row {
        name: "587, EHLO is garbled",
        setting: to(Port::Submission, StartTls).through(Trick::GarblesEhlo),
        usually: refused(&["commands-garbled"]),
        but: &[(&[NET_SMTP], served_but(&["commands-garbled"]))],
    },
    Row {
        name: "587, the banner is masked",
        setting: to(Port::Submission, StartTls).through(Trick::MasksBanner),
        usually: SERVED,
        but: &[],
    },
    Row {
        name: "587, a scanner that is not trusted",
        setting: to(Port::Submission, StartTls).through(Trick::OpensTls(Onward::Tls)),
        usually: refused(&["left-after-handshake"]),
        but: &[],
    },
    Row {
        name: "587, a scanner that is trusted",
        setting: to(Port::Submission, StartTls)
            .through(Trick::OpensTls(Onward::Tls))
            .but(But::TrustsWhatIsBetween),
        usually: SERVED,
        but: &[],
    },
    Row {
        name: "465, a scanner that is trusted",
        setting: to(Port::Submissions, AtOnce)
            .through(Trick::OpensTls(Onward::Tls))
            .but(But::TrustsWhatIsBetween),
        usually: SERVED,
        but: &[],
    },
    Row {
        name: "587, a trusted scanner that goes on in clear",
        setting: to(Port::Submission, StartTls)
            .through(Trick::OpensTls(Onward::Clear))
            .but(But::TrustsWhatIsBetween),
        usually: refused(&["starttls-not-used"]),
        but: &[
            (LEAVES_WITHOUT_AUTH, refused(&["starttls-hidden"])),
            (SAYS_AUTH_ANYWAY, refused(&["auth-in-clear"])),
        ],
    },
    Row {
        name: "587, cut in the middle of the message",
        setting: to(Port::Submission, StartTls).through(Trick::CutsAfter(20_000)).but(But::Long),
        usually: refused(&["lost-in-content"]),
        but: &[],
    },
    Row {
        name: "587, lost in the middle of the message",
        setting: to(Port::Submission, StartTls).through(Trick::LosesAfter(20_000)).but(But::Long),
        usually: refused(&["stopped-midway"]),
        but: &[],
    },
];

macro_rules! programs {
    ($($name:ident: $program:expr,)*) => {
        $(#[test]
        fn $name() {
            check($program);
        })*
    };
}

programs! {
    swaks: SWAKS,
    curl: CURL,
    msmtp: MSMTP,
    mutt: MUTT,
    neomutt: NEOMUTT,
    s_nail: S_NAIL,
    python_smtplib: SMTPLIB,
    perl_net_smtp: NET_SMTP,
    nodemailer: NODEMAILER,
    thunderbird: THUNDERBIRD,
}
