//! What every directory must do: one suite, run against each with the real program behind it.
//!
//! A [`Subject`] names the directory and two of its people. [`Subject::conforms`] signs in as a mail program does, and as those
//! do who should not get in; [`Subject::is_down`] is for when the program behind the directory has been stopped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Client, Postern, Reply, Setup};

/// The reply to everything that is not right, whatever was wrong.
pub const REFUSED: &str = "535 5.7.8 Authentication failed (bad-credentials)";

/// Guessing does not slow this suite down: it guesses more in a minute than an office in a year, from one address.
pub const UNHURRIED: &str =
    "[guessing]\nlongest_wait = \"1ms\"\naccount = \"1000/1d\"\nnetwork = \"1000/1h\"\n";

/// A directory, and who is in it.
pub struct Subject {
    /// `[[directory]]` with its section below. Its own timeout should be short, so that a test of silence ends soon.
    pub tables: String,
    /// Somebody.
    pub anna: Person,
    /// Somebody else.
    pub ben: Person,
    /// Somebody whose account is closed, where the directory knows such.
    pub closed: Option<Person>,
}

/// Somebody whom the directory knows.
pub struct Person {
    /// What is typed into a mail program.
    pub login: &'static str,
    pub password: &'static str,
    /// What Postern calls him.
    pub name: &'static str,
    /// An address that he may send as.
    pub address: &'static str,
}

/// Names that are nobody's, and that mean something to one or the other directory.
const HOSTILE_NAMES: &[&str] = &[
    "nobody",
    "nobody@home.test",
    "*",
    "a*",
    "*)(uid=*))(|(uid=*",
    "anna)(|(userPassword=*)",
    "anna,dc=example,dc=org",
    "\\2a",
    "' OR '1'='1",
    "anna'; DROP TABLE users; --",
    "anna\" OR \"\"=\"",
    "anna UNION SELECT",
    "{login}",
    "{user}",
    "%u",
    "$1",
    "$(id)",
    "../../etc/passwd",
    "anna:x:0:0",
    "anna service=imap",
    "=",
];

/// The same as passwords.
const HOSTILE_PASSWORDS: &[&str] =
    &["wrong", "*", "' OR '1'='1", "{SHA512-CRYPT}x", "$6$", "!", "x:y", "%s%n", "=", "{password}"];

impl Subject {
    /// A daemon with this directory; Postern's own users are asked last, and there are none.
    pub fn setup(&self) -> Setup {
        Setup::new().without_user().tables(UNHURRIED).tables(&self.tables)
    }

    /// All that is true of every directory while it works.
    #[track_caller]
    pub fn conforms(&self, postern: &Postern) {
        for person in [&self.anna, &self.ben] {
            the_right_password_signs_in(postern, person);
        }
        self.a_sender_is_held_to_his_addresses(postern);
        self.nothing_else_signs_in(postern);
        self.nobody_acts_for_another(postern);
        self.many_at_once_are_all_answered(postern);
        let log = postern.log();
        for secret in [self.anna.password, self.ben.password] {
            assert!(!log.contains(secret), "a password is in the log");
        }
    }

    /// While the directory does not answer, nobody is told that his password is wrong.
    #[track_caller]
    pub fn is_down(&self, postern: &Postern) {
        for (login, password) in
            [(self.anna.login, self.anna.password), (self.anna.login, "wrong"), ("nobody", "wrong")]
        {
            let reply = attempt(postern, login, password);
            assert!(reply.text().starts_with("454 4.7.0 "), "{login}: {reply:?}");
            assert!(reply.text().ends_with("(directory-down)"), "{login}: {reply:?}");
        }
    }

    /// It works again.
    #[track_caller]
    pub fn is_up(&self, postern: &Postern) {
        super::wait_for("the directory to be used again", || {
            (attempt(postern, self.anna.login, self.anna.password).code == 235).then_some(())
        });
    }

    #[track_caller]
    fn a_sender_is_held_to_his_addresses(&self, postern: &Postern) {
        let mut client = dial(postern);
        client.sign_in(self.anna.login, self.anna.password).expect(235);
        client.say(&format!("MAIL FROM:<{}>", self.anna.address)).expect(250);
        client.say("RSET").expect(250);
        let refusal = client.say(&format!("MAIL FROM:<{}>", self.ben.address));
        assert_eq!(
            refusal.text(),
            format!("553 5.7.1 <{}>: not owned by {} (sender-not-owned)", self.ben.address, self.anna.name)
        );
    }

    #[track_caller]
    fn nothing_else_signs_in(&self, postern: &Postern) {
        let anna = &self.anna;
        for name in HOSTILE_NAMES {
            let reply = attempt(postern, name, anna.password);
            assert_eq!(reply.text(), REFUSED, "{name:?}\n{}", postern.log());
        }
        for password in HOSTILE_PASSWORDS.iter().chain([&self.ben.password]) {
            let reply = attempt(postern, anna.login, password);
            assert_eq!(reply.text(), REFUSED, "{password:?}\n{}", postern.log());
        }
        if let Some(closed) = &self.closed {
            assert_eq!(attempt(postern, closed.login, closed.password).text(), REFUSED, "a closed account");
        }
        for (user, password) in [
            (anna.login.as_bytes(), &b""[..]),
            (b"", anna.password.as_bytes()),
            (anna.login.as_bytes(), b"\xff\xfe"),
            (b"\xc3\x28", anna.password.as_bytes()),
            (b"anna\n", anna.password.as_bytes()),
            (anna.login.as_bytes(), b"x\ty\r\n"),
            (anna.login.as_bytes(), &[b'x'; 4000]),
            (&[b'x'; 4000], anna.password.as_bytes()),
        ] {
            let reply = say_plain(&mut dial(postern), b"", user, password);
            assert!([535, 501].contains(&reply.code), "{user:?} {password:?}: {reply:?}");
        }
    }

    #[track_caller]
    fn nobody_acts_for_another(&self, postern: &Postern) {
        let say = |acting_as: &str| {
            let (login, password) = (self.anna.login.as_bytes(), self.anna.password.as_bytes());
            say_plain(&mut dial(postern), acting_as.as_bytes(), login, password)
        };
        say(self.anna.name).expect(235);
        assert_eq!(say(self.ben.name).text(), REFUSED);
        assert_eq!(say("root").text(), REFUSED);
    }

    #[track_caller]
    fn many_at_once_are_all_answered(&self, postern: &Postern) {
        std::thread::scope(|scope| {
            let attempts: Vec<_> = (0..24)
                .map(|number| {
                    let password = if number % 4 == 3 { "wrong" } else { self.anna.password };
                    scope.spawn(move || (password, attempt(postern, self.anna.login, password)))
                })
                .collect();
            for (password, reply) in attempts.into_iter().map(|attempt| attempt.join().unwrap()) {
                let right = if password == "wrong" { 535 } else { 235 };
                assert_eq!(reply.code, right, "{reply:?}\n{}", postern.log());
            }
        });
    }
}

#[track_caller]
fn the_right_password_signs_in(postern: &Postern, person: &Person) {
    let reply = attempt(postern, person.login, person.password);
    assert_eq!(reply.code, 235, "{}: {reply:?}\n{}", person.login, postern.log());
    let mut client = dial(postern);
    client.say("AUTH LOGIN").expect(334);
    client.say(&STANDARD.encode(person.login)).expect(334);
    client.say(&STANDARD.encode(person.password)).expect(235);
    postern.wait_for_log(&format!("signed in: {}", person.name));
}

/// Signs in by PLAIN in a session of its own.
#[track_caller]
pub fn attempt(postern: &Postern, login: &str, password: &str) -> Reply {
    say_plain(&mut dial(postern), b"", login.as_bytes(), password.as_bytes())
}

/// A session under TLS.
#[track_caller]
pub fn dial(postern: &Postern) -> Client {
    Client::connect_implicit(postern.at("submissions"), &postern.root(), "localhost")
}

#[track_caller]
fn say_plain(client: &mut Client, acting_as: &[u8], login: &[u8], password: &[u8]) -> Reply {
    let message = [acting_as, login, password].join(&0);
    // RFC 4954 §4: what is too long for a command goes on a line of its own.
    client.say("AUTH PLAIN").expect(334);
    client.say(&STANDARD.encode(message))
}
