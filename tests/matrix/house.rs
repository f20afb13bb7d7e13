//! A daemon with the ports of the matrix, and how a cell is run and judged.
//!
//! Each cell comes from an address of its own, by way of a proxy: so its sessions are told from others, and what Postern
//! remembers of an address begins anew with each.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;

use postern_testkit::proxy::Proxy;
use serde_json::Value;

use super::{Becomes, Begins, But, Port, Program, Row, TABLE};
use crate::support::certificates::Kind;
use crate::support::clients::Job;
use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{both, run};
use crate::support::thunderbird::Thunderbird;
use crate::support::{Peer, Postern, Setup, wait_for};

/// Somebody elsewhere.
const BEN: &str = "ben@elsewhere.test";
/// Somebody at home with whose name her domain goes.
const BEA: &str = "bea@home.test";

/// What is taken, and how long Postern waits for the next piece of a message.
const LIMITS: &str =
    "[limits]\nmessage_size = \"64 KiB\"\ncontent_timeout = \"2s\"\n[sessions]\ntranscripts = \"all\"\n";

pub(super) struct House {
    postern: Postern,
    peer: Peer,
}

/// Runs all rows with a program and says which came out otherwise.
#[track_caller]
pub(super) fn check(program: Program) {
    let house = House::start();
    let failures = match program {
        Program::Command(_) => house.run_beside_each_other(program),
        Program::Thunderbird => {
            let mut thunderbird = Thunderbird::start();
            house.run_in_order(program, &mut |job| thunderbird.send(job))
        }
    };
    assert!(
        failures.is_empty(),
        "{program:?}, {} of {}:\n\n{}",
        failures.len(),
        TABLE.len(),
        failures.join("\n")
    );
}

/// What a program did with a job: an error is what it said.
type Send<'a> = dyn FnMut(&Job<'_>) -> Result<(), String> + 'a;

impl House {
    pub(super) fn start() -> House {
        let peer = Peer::start();
        let setup = Setup::new().next_hop(peer.address());
        let identities = [
            ("other", setup.authority().issue(&["mail.home.test"])),
            // Nobody is told of the authority that signed this one.
            ("strange", setup.authority().issue_as(Kind::IncompleteChain, &["localhost", "127.0.0.1"])),
        ];
        let setup = identities.into_iter().fold(setup, |setup, (name, identity)| {
            setup.tables(&format!(
                "[[tls.identity]]\nname = \"{name}\"\ncertificate = {:?}\nkey = {:?}",
                identity.certificate, identity.key
            ))
        });
        let postern = setup.listeners(&listeners()).tables(LIMITS).start();
        postern.add_user(BEA, PASSWORD, BEA);
        House { postern, peer }
    }

    pub(super) fn postern(&self) -> &Postern {
        &self.postern
    }

    /// The rows that wait, each on a thread of its own, and meanwhile the others in order.
    fn run_beside_each_other(&self, program: Program) -> Vec<String> {
        thread::scope(|scope| {
            let (waiting, quick): (Vec<_>, Vec<_>) = rows().partition(|(_, row)| row.setting.waits());
            let waiting: Vec<_> = waiting
                .into_iter()
                .map(|(number, row)| {
                    scope.spawn(move || self.cell(number, row, program, &mut sender(program)))
                })
                .collect();
            let mut ended: Vec<_> = quick
                .into_iter()
                .map(|(number, row)| self.cell(number, row, program, &mut sender(program)))
                .collect();
            ended.extend(
                waiting.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a panic".to_owned()))),
            );
            ended.into_iter().filter_map(Result::err).collect()
        })
    }

    fn run_in_order(&self, program: Program, send: &mut Send<'_>) -> Vec<String> {
        rows().filter_map(|(number, row)| self.cell(number, row, program, send).err()).collect()
    }

    /// Runs one cell; an error says what it came to instead.
    fn cell(&self, number: u8, row: &Row, program: Program, send: &mut Send<'_>) -> Result<(), String> {
        let setting = &row.setting;
        let folder = self.postern.folder().join(format!("cell-{number}"));
        fs::create_dir_all(&folder).unwrap();
        let from = Ipv4Addr::new(127, 7, 7, number + 1);
        let proxy = Proxy::start_from(from, self.postern.at(setting.port.listener()), setting.between);
        let (trust, subject, body) =
            (self.trust(&proxy, setting.but, &folder), format!("cell {number}"), body(setting.but));
        let job = Job {
            port: proxy.address().port(),
            begins: setting.begins,
            trust: &trust,
            sign_in: sign_in(setting.but),
            from: if setting.but == But::OthersAddress { BEA } else { ANNA },
            to: recipient(setting.but),
            subject: &subject,
            body: &body,
            folder: &folder,
        };
        let tries: Vec<Result<(), String>> = tries(setting.tries, || send(&job));
        let sessions = self.sessions_of(from, &proxy);
        let became = Became::of(&sessions);
        let expected = row.becomes(program);
        let told = tries.last().is_some_and(Result::is_ok);
        if !became.is(expected) || told != expected.arrives {
            return Err(format!(
                "{}:\n  expected {expected:?}\n  became {became}\n  tries {tries:?}\n",
                row.name
            ));
        }
        if expected.arrives { self.check_arrival(&sessions, setting.begins, &subject) } else { Ok(()) }
    }

    /// The whole message is there, and it came as the program was told to send it.
    fn check_arrival(&self, sessions: &[Value], begins: Begins, subject: &str) -> Result<(), String> {
        let field = format!("Subject: {subject}");
        let is_it = |content: &Vec<u8>| String::from_utf8_lossy(content).lines().any(|line| line == field);
        wait_for(&format!("{subject} to arrive"), || {
            let elsewhere = self.peer.taken().into_iter().map(|taken| taken.content);
            elsewhere.chain(self.postern.mail_of("anna")).find(is_it)
        });
        let session = sessions.iter().find(|session| session["accepted"] == 1).expect("one that brought it");
        let shown = self.shown(session["id"].as_str().expect("an id"));
        let begun = match begins {
            Begins::AtOnce => Value::from("at-once"),
            Begins::StartTls => Value::from("start-tls"),
            Begins::Clear => Value::Null,
        };
        if shown["facts"]["tls"]["begun"] != begun {
            return Err(format!("{subject}: TLS was begun otherwise: {}", shown["facts"]["tls"]));
        }
        Ok(())
    }

    /// All sessions that came by way of a proxy, once all have ended.
    pub(super) fn sessions_of(&self, from: Ipv4Addr, proxy: &Proxy) -> Vec<Value> {
        wait_for(&format!("the end of all sessions from {from}"), || {
            let list = self.postern.cli(&["session", "list", "--address", &from.to_string(), "--json"]);
            let list: Vec<Value> = serde_json::from_str(&list).unwrap();
            (!list.is_empty() && list.len() == proxy.connections()).then_some(list)
        })
    }

    fn shown(&self, id: &str) -> Value {
        serde_json::from_str(&self.postern.cli(&["session", "show", id, "--json"])).unwrap()
    }

    fn trust(&self, proxy: &Proxy, but: But, folder: &std::path::Path) -> PathBuf {
        if but != But::TrustsWhatIsBetween {
            return self.postern.root();
        }
        let path = folder.join("scanner.pem");
        fs::write(&path, proxy.root()).unwrap();
        path
    }
}

/// What a cell came to.
pub(super) struct Became {
    arrived: bool,
    pub(super) causes: Vec<String>,
    explanations: Vec<String>,
}

impl Became {
    pub(super) fn of(sessions: &[Value]) -> Became {
        let text = |session: &Value, key: &str| session[key].as_str().map(str::to_owned);
        let mut causes: Vec<String> = sessions.iter().filter_map(|session| text(session, "cause")).collect();
        causes.sort();
        causes.dedup();
        let explanations = sessions.iter().filter_map(|session| text(session, "explanation")).collect();
        Became { arrived: sessions.iter().any(|session| session["accepted"] != 0), causes, explanations }
    }
}

impl Became {
    fn is(&self, expected: Becomes) -> bool {
        let causes: Vec<&str> = self.causes.iter().map(String::as_str).collect();
        let sure: Vec<&str> =
            causes.iter().copied().filter(|cause| !expected.perhaps.contains(cause)).collect();
        self.arrived == expected.arrives && (causes == expected.causes || sure == expected.causes)
    }
}

impl fmt::Display for Became {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Became { arrived, causes, explanations } = self;
        write!(formatter, "arrived: {arrived}, causes: {causes:?}")?;
        explanations.iter().try_for_each(|explanation| write!(formatter, "\n    {explanation}"))
    }
}

impl Row {
    fn becomes(&self, program: Program) -> Becomes {
        let exception = self.but.iter().find(|(programs, _)| programs.contains(&program));
        exception.map_or(self.usually, |(_, becomes)| *becomes)
    }
}

impl Port {
    pub(super) fn listener(self) -> &'static str {
        match self {
            Port::Submission => "submission",
            Port::Submissions => "submissions",
            Port::Relay => "mx",
            Port::Misnamed => "misnamed",
            Port::Untrusted => "untrusted",
        }
    }
}

/// Numbered from 0: so many addresses of a network of 24 bits.
fn rows() -> impl Iterator<Item = (u8, &'static Row)> {
    (0..).zip(TABLE)
}

/// Runs a program that is a command.
fn sender(program: Program) -> impl FnMut(&Job<'_>) -> Result<(), String> {
    move |job| {
        let Program::Command(program) = program else { unreachable!("it is no command") };
        let output = run(&mut program.command(job));
        if output.status.success() { Ok(()) } else { Err(both(&output)) }
    }
}

/// Tries until it goes well, so often at most.
fn tries(most: usize, mut send: impl FnMut() -> Result<(), String>) -> Vec<Result<(), String>> {
    let mut tries = Vec::new();
    while tries.len() < most && !tries.last().is_some_and(Result::is_ok) {
        tries.push(send());
    }
    tries
}

fn listeners() -> String {
    let listener = |name: &str, keys: &str| {
        format!("[[listener]]\nname = \"{name}\"\nbind = [\"127.0.0.1:0\"]\n{keys}\n")
    };
    listener("mx", "role = \"relay\"\nauth = true\nidentities = [\"main\"]")
        + &listener("submission", "role = \"submission\"\nidentities = [\"main\"]")
        + &listener("submissions", "role = \"submission\"\ntls_expects = \"tls\"\nidentities = [\"main\"]")
        + &listener("misnamed", "role = \"submission\"\nidentities = [\"other\"]")
        + &listener("untrusted", "role = \"submission\"\nidentities = [\"strange\"]")
}

fn sign_in(but: But) -> Option<(&'static str, &'static str)> {
    match but {
        But::NoSignIn | But::NoSignInToUs | But::NoSignInToNobody => None,
        But::WrongPassword => Some(("anna", "wrong")),
        But::UnknownUser => Some(("nobody", PASSWORD)),
        But::BareName => Some(("bea", PASSWORD)),
        But::ForeignName => Some(("anna@elsewhere.test", PASSWORD)),
        _ => Some(("anna", PASSWORD)),
    }
}

fn recipient(but: But) -> &'static str {
    match but {
        But::NoSignInToUs => ANNA,
        But::ToNobody | But::NoSignInToNobody => "nobody@home.test",
        _ => BEN,
    }
}

fn body(but: But) -> Vec<u8> {
    let lines = match but {
        But::TooLarge => 2000,
        But::Long => 800,
        _ => 1,
    };
    b"Good morning, and many words more than anybody needs.\r\n".repeat(lines)
}
