//! `postern accept` says what a session gets, reply for reply, whoever comes from wherever; and nothing changes by asking.
//!
//! Clients come from other addresses by the PROXY protocol, which each listener takes from loopback.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::support::postern::{ANNA, HOST, PASSWORD};
use crate::support::programs::{both, program, run, succeed};
use crate::support::{Client, Postern, Setup, files_below, wait_for};

const STRANGER: &str = "203.0.113.5";
const OFFICE: &str = "198.51.100.7";
const SCANNER: &str = "192.0.2.9";
const PRINTER: &str = "192.0.2.10";
const APP: &str = "192.0.2.11";
const BANNED: &str = "203.0.113.66";
const ELSEWHERE: &str = "ben@elsewhere.test";
const PARTNER: &str = "eva@partner.test";

const LISTENERS: &str = "
[[listener]]
name = \"mx\"
role = \"relay\"
bind = [\"127.0.0.1:0\"]
auth = true
proxy_protocol = [\"127.0.0.1\"]
[[listener]]
name = \"strict\"
role = \"relay\"
bind = [\"127.0.0.1:0\"]
tls = \"required\"
proxy_protocol = [\"127.0.0.1\"]
limits = { message_size = \"1 MiB\", recipients = 100 }
[[listener]]
name = \"submission\"
role = \"submission\"
bind = [\"127.0.0.1:0\"]
proxy_protocol = [\"127.0.0.1\"]
[[listener]]
name = \"careless\"
role = \"submission\"
bind = [\"127.0.0.1:0\"]
tls = \"implicit\"
check_from_header = false
proxy_protocol = [\"127.0.0.1\"]
[[listener]]
name = \"devices\"
role = \"device\"
bind = [\"127.0.0.1:0\"]
proxy_protocol = [\"127.0.0.1\"]
";

const RULES: &str = "
[[relay.networks]]
name = \"office\"
networks = [\"198.51.100.0/24\"]
[[inbound.policy]]
name = \"partner mail\"
senders = [\"partner.test\"]
tls = \"required\"
[[send_as]]
name = \"sales\"
users = [\"anna\"]
addresses = [\"sales@home.test\"]
[[send_as]]
name = \"boss\"
users = [\"anna\"]
addresses = [\"boss@home.test\"]
on_behalf = true
[rates.principal]
messages = \"25/1h\"
[[device]]
name = \"scanner\"
addresses = [\"192.0.2.9\"]
sender = \"scanner@home.test\"
recipient_domains = [\"home.test\", \"partner.test\"]
tls = \"offered\"
sign_in = \"none\"
[[device]]
name = \"printer\"
addresses = [\"192.0.2.10\"]
sender = \"printer@home.test\"
rewrite_sender = true
recipient_domains = [\"home.test\"]
tls = \"offered\"
sign_in = \"none\"
[[device]]
name = \"app\"
addresses = [\"192.0.2.11\"]
sender = \"anna@home.test\"
recipient_domains = [\"home.test\"]
";

/// A message, and how it comes.
#[derive(Debug, Clone, Copy)]
struct Case {
    listener: &'static str,
    client: &'static str,
    tls: &'static str,
    user: Option<&'static str>,
    from: &'static str,
    to: &'static [&'static str],
    header: Option<&'static str>,
    size: Option<u64>,
    /// The code that ends it: without it nothing would be claimed.
    code: u16,
}

const PLAIN: Case = Case {
    listener: "mx",
    client: STRANGER,
    tls: "none",
    user: None,
    from: "a@stranger.test",
    to: &[ANNA],
    header: None,
    size: None,
    code: 250,
};
const PERSON: Case =
    Case { listener: "submission", tls: "starttls", user: Some("anna"), from: ANNA, ..PLAIN };
const SCAN: Case = Case { listener: "devices", client: SCANNER, from: "scanner@home.test", ..PLAIN };

fn cases() -> Vec<Case> {
    let relay = [
        PLAIN,
        Case { tls: "starttls", ..PLAIN },
        Case { from: "", ..PLAIN },
        Case { from: "", to: &[ELSEWHERE], code: 550, ..PLAIN },
        Case { from: ANNA, to: &[ELSEWHERE], code: 550, ..PLAIN },
        Case { to: &["nobody@home.test"], code: 550, ..PLAIN },
        Case { to: &[ANNA, ELSEWHERE], ..PLAIN },
        Case { to: &["team@home.test"], ..PLAIN },
        Case { to: &["postmaster"], ..PLAIN },
        Case { to: &["ben%elsewhere.test@home.test"], code: 550, ..PLAIN },
        Case { to: &["ben@elsewhere.test@home.test"], code: 501, ..PLAIN },
        Case { client: OFFICE, to: &[ELSEWHERE], ..PLAIN },
        Case { client: OFFICE, to: &["x@[192.0.2.1]"], ..PLAIN },
        Case { from: PARTNER, code: 530, ..PLAIN },
        Case { from: PARTNER, tls: "starttls", ..PLAIN },
        Case { tls: "starttls", user: Some("anna"), from: ANNA, to: &[ELSEWHERE], ..PLAIN },
        Case { user: Some("anna"), from: ANNA, code: 530, ..PLAIN },
        Case { client: BANNED, code: 554, ..PLAIN },
        Case { listener: "strict", code: 530, ..PLAIN },
        Case { listener: "strict", tls: "starttls", ..PLAIN },
        Case { listener: "strict", tls: "starttls", size: Some(2_000_000), code: 552, ..PLAIN },
        Case { listener: "strict", tls: "starttls", client: OFFICE, to: &[ELSEWHERE], ..PLAIN },
    ];
    let people = [
        PERSON,
        Case { user: Some("anna@home.test"), to: &[ELSEWHERE], ..PERSON },
        Case { user: None, code: 530, ..PERSON },
        Case { tls: "none", code: 530, ..PERSON },
        Case { user: Some("nobody-here"), code: 535, ..PERSON },
        Case { from: "ben@home.test", code: 553, ..PERSON },
        Case { from: "sales@home.test", to: &[ELSEWHERE], ..PERSON },
        Case { from: "anna+list@home.test", ..PERSON },
        Case { from: "", ..PERSON },
        Case { header: Some("ben@home.test"), code: 550, ..PERSON },
        Case { header: Some("boss@home.test"), code: 550, ..PERSON },
        Case { listener: "careless", tls: "implicit", header: Some("ben@home.test"), ..PERSON },
        Case { client: OFFICE, user: None, to: &[ELSEWHERE], code: 530, ..PERSON },
        Case { client: BANNED, code: 554, ..PERSON },
    ];
    let devices = [
        SCAN,
        Case { to: &[PARTNER], ..SCAN },
        Case { to: &[ELSEWHERE], code: 550, ..SCAN },
        Case { from: ANNA, code: 553, ..SCAN },
        Case { header: Some(ANNA), code: 550, ..SCAN },
        Case { client: PRINTER, from: "root@printer.local", ..SCAN },
        Case { client: APP, from: ANNA, code: 530, ..SCAN },
        Case { client: APP, tls: "starttls", from: ANNA, code: 530, ..SCAN },
        Case { client: APP, tls: "starttls", user: Some("anna"), from: ANNA, ..SCAN },
        Case {
            client: APP,
            tls: "starttls",
            user: Some("anna"),
            from: ANNA,
            to: &[ELSEWHERE],
            code: 550,
            ..SCAN
        },
        Case { client: STRANGER, code: 554, ..SCAN },
        Case { client: OFFICE, to: &[ELSEWHERE], code: 554, ..SCAN },
    ];
    relay.into_iter().chain(people).chain(devices).collect()
}

fn house() -> Postern {
    let domain = "name = \"home.test\"\ndeliver = \"mailboxes\"\naliases = { team = [\"anna\", \"carl@partner.test\"] }";
    let setup = Setup::new().listeners(LISTENERS).only_domain(domain).tables(RULES);
    let mut postern = setup.tables("[metrics]\nbind = [\"127.0.0.1:0\"]").prepare();
    postern.add_user("ben", PASSWORD, "ben@home.test");
    postern.start();
    postern.cli(&["ban", "add", BANNED, "--forever"]);
    postern
}

/// What `postern accept` says, and its exit code.
fn asked(postern: &Postern, case: Case) -> (Value, Option<i32>) {
    let mut arguments = vec!["accept", "--json", "--from", case.from, "--client", case.client];
    arguments.extend(["--listener", case.listener, "--tls", case.tls]);
    arguments.extend(case.to.iter().flat_map(|to| ["--to", to]));
    arguments.extend(case.user.into_iter().flat_map(|user| ["--user", user]));
    arguments.extend(case.header.into_iter().flat_map(|from| ["--header-from", from]));
    let size = case.size.map(|size| size.to_string());
    arguments.extend(size.iter().flat_map(|size| ["--size", size]));
    let output = run(&mut postern.command(&arguments));
    let answer =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{case:?}: {}", both(&output)));
    (answer, output.status.code())
}

/// The last line of each reply that it foretells, but for challenges.
fn foretold(answer: &Value) -> Vec<String> {
    let exchanges = answer["exchanges"].as_array().unwrap().iter();
    let last = exchanges.filter_map(|exchange| exchange["server"].as_array()?.last()?.as_str());
    last.filter(|line| !line.starts_with("334")).map(str::to_owned).collect()
}

/// What a session gets: the last line of each reply, up to the first that leaves nothing to go on with.
fn got(postern: &Postern, case: Case) -> Vec<String> {
    let mut session =
        Session { client: Client::dial_for(case.client, postern.at(case.listener)), got: Vec::new() };
    session.go(postern, case);
    session.got
}

struct Session {
    client: Client,
    got: Vec<String>,
}

impl Session {
    fn go(&mut self, postern: &Postern, case: Case) -> Option<()> {
        if case.tls == "implicit" {
            self.client.secure(&postern.root(), HOST);
        }
        self.hear(|code| code == 220)?;
        self.say("EHLO client.invalid", |code| code == 250)?;
        if case.tls == "starttls" {
            self.say("STARTTLS", |code| code == 220)?;
            self.client.secure(&postern.root(), HOST);
            self.say("EHLO client.invalid", |code| code == 250)?;
        }
        if let Some(user) = case.user {
            let reply = self.client.sign_in(user, PASSWORD);
            self.got.push(reply.text());
            (reply.code == 235).then_some(())?;
        }
        let size = case.size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        self.say(&format!("MAIL FROM:<{}>{size}", case.from), |code| code == 250)?;
        let taken =
            case.to.iter().filter(|to| self.say(&format!("RCPT TO:<{to}>"), |code| code == 250).is_some());
        (taken.count() > 0).then_some(())?;
        self.say("DATA", |code| code == 354)?;
        let author = case.header.unwrap_or(case.from);
        let field = if author.is_empty() { String::new() } else { format!("From: <{author}>\r\n") };
        self.client.send(format!("{field}\r\n.\r\n").as_bytes());
        self.hear(|code| code == 250)?;
        self.say("QUIT", |code| code == 221)
    }

    fn say(&mut self, line: &str, goes_on: impl Fn(u16) -> bool) -> Option<()> {
        self.client.send(format!("{line}\r\n").as_bytes());
        self.hear(goes_on)
    }

    fn hear(&mut self, goes_on: impl Fn(u16) -> bool) -> Option<()> {
        let reply = self.client.try_reply()?;
        self.got.push(without_id(&reply.text()));
        goes_on(reply.code).then_some(())
    }
}

fn without_id(text: &str) -> String {
    let id = text.strip_prefix("250 2.0.0 Queued as ");
    id.map_or(text.to_owned(), |_| "250 2.0.0 Queued as QUEUE-ID".to_owned())
}

#[test]
fn the_simulator_says_what_a_session_gets_in_every_role_and_mode() {
    let postern = house();
    for case in cases() {
        let (answer, code) = asked(&postern, case);
        let (foretold, got) = (foretold(&answer), got(&postern, case));
        assert_eq!(foretold, got, "{case:?}\n{answer:#}");
        let decisive = got.iter().rfind(|line| !line.starts_with("221")).unwrap();
        assert!(decisive.starts_with(&case.code.to_string()), "{case:?} ended with {decisive}");
        let refused = got.iter().any(|line| line.starts_with(['4', '5']));
        assert_eq!(answer["accepted"], !refused, "{case:?}");
        assert_eq!(code, Some(i32::from(refused)), "{case:?}");
    }
}

#[test]
fn limits_are_foretold_as_they_stand_at_each_moment() {
    let rates = RULES.replace("25/1h", "2/1h");
    let domain = "name = \"home.test\"\ndeliver = \"mailboxes\"";
    let postern = Setup::new().listeners(LISTENERS).only_domain(domain).tables(&rates).start();
    let mut codes = Vec::new();
    for _ in 0..4 {
        let (answer, _) = asked(&postern, PERSON);
        let (foretold, got) = (foretold(&answer), got(&postern, PERSON));
        // A minute may pass between the two.
        let cut = |lines: &[String]| {
            lines.iter().map(|line| line.split(", try again").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(cut(&foretold), cut(&got), "{answer:#}");
        codes.push(got.iter().rfind(|line| !line.starts_with("221")).unwrap()[..3].to_owned());
    }
    assert_eq!(codes, ["250", "250", "450", "450"]);
}

#[test]
fn asking_changes_no_file_and_no_figure() {
    let postern = house();
    let state = || {
        // What stands in shared memory of readers is no content.
        let files = files_below(postern.data_dir())
            .into_iter()
            .filter(|path| !path.to_string_lossy().ends_with("-shm"));
        let hashed = |path: PathBuf| {
            let mut hasher = DefaultHasher::new();
            fs::read(&path).unwrap_or_default().hash(&mut hasher);
            (path, hasher.finish())
        };
        files.map(hashed).collect::<BTreeMap<_, _>>()
    };
    let figures = || {
        let address = format!("http://{}/metrics", postern.at("metrics"));
        let all = succeed(program("curl").args(["--silent", "--show-error", "--max-time", "30", &address]));
        let counted = |line: &&str| line.starts_with("postern_") && !line.contains("certificate");
        all.lines().filter(counted).collect::<Vec<_>>().join("\n")
    };
    // The daemon itself writes what happened while it started, a second later at most.
    let mut before = state();
    wait_for("the daemon to write no more", || {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let earlier = std::mem::replace(&mut before, state());
        let written = before.keys().any(|path| path.ends_with("events.db"));
        (written && earlier == before).then_some(())
    });
    let (counted, log) = (figures(), postern.log());
    for case in cases() {
        asked(&postern, case);
    }
    assert_eq!(postern.log(), log, "something was logged");
    assert_eq!(figures(), counted);
    assert_eq!(state(), before, "a file has changed");
    assert_eq!(postern.mail_of("anna").len(), 0);
}

#[test]
fn without_a_daemon_the_configuration_answers_and_no_file_is_made() {
    let postern = Setup::new().listeners(LISTENERS).tables(RULES).without_user().prepare();
    let before = files_below(postern.folder());
    let (answer, code) = asked(&postern, Case { client: OFFICE, to: &[ELSEWHERE], ..PLAIN });
    assert_eq!((code, &answer["daemon"]), (Some(0), &Value::Bool(false)), "{answer:#}");
    let (answer, code) = asked(&postern, Case { to: &[ELSEWHERE], ..PLAIN });
    assert_eq!(code, Some(1), "{answer:#}");
    assert_eq!(files_below(postern.folder()), before);
}

#[test]
fn the_verdict_the_rule_and_the_way_are_told_in_words() {
    let postern = house();
    let said = |arguments: &[&str], code: i32| {
        let Output { status, stdout, stderr } = run(&mut postern.command(&[&["accept"], arguments].concat()));
        let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{said}");
        said
    };
    let text = said(
        &["--from", "sales@home.test", "--to", "team@home.test", "--client", STRANGER, "--user", "anna"],
        0,
    );
    for words in [
        "accepted\n",
        "submission (role submission): people sign in on submission listeners",
        "anna@home.test: connector \"mailboxes\" (maildir:",
        "carl@partner.test: connector \"mx\" (mx, address space *)",
        "sales@home.test: allowed by [[send_as]] \"sales\"",
        "an address of ours: it stands for anna@home.test, carl@partner.test",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let text = said(&["--from", ANNA, "--to", ELSEWHERE, "--client", OFFICE], 0);
    assert!(text.contains("[[relay.networks]] \"office\" holds the client"), "{text}");
    let text = said(&["--from", ANNA, "--to", ELSEWHERE, "--client", STRANGER], 1);
    assert!(text.starts_with("refused: 550 5.7.1 <ben@elsewhere.test>... Relaying denied."), "{text}");
    let text = said(&["--from", ANNA, "--to", ANNA, "--client", BANNED], 1);
    assert!(text.contains("203.0.113.66 is banned until it is removed by"), "{text}");
    let text = said(&["--from", ANNA, "--to", ANNA, "--client", STRANGER, "--tls", "1.1"], 1);
    assert!(text.contains("TLS 1.0 and 1.1 are not spoken"), "{text}");
    let text = said(&["--from", ANNA, "--to", ANNA, "--client", STRANGER, "--listener", "nowhere"], 3);
    assert!(text.contains("there is no listener nowhere; there are: mx, strict"), "{text}");
}
