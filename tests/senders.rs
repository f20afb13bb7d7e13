//! Who may send as what: swaks says it over SMTP, `postern user may-send` says it beforehand, and both say the same.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{both, program, run, text};
use crate::support::{Peer, Postern, Setup};

/// Shared addresses, a deputy, a service account, and aliases. Nothing here needs to be of an own domain.
const RULES: &str = "
[[send_as]]
name = \"front desk\"
addresses = [\"info@home.test\", \"crm-*@partner.test\"]
users = [\"anna\"]
[[send_as]]
name = \"deputy\"
addresses = [\"boss@home.test\"]
users = [\"anna\"]
on_behalf = true
[[send_as]]
name = \"service\"
addresses = [\"*@service.test\"]
users = [\"robot\"]
";

const HOME: &str = "name = \"home.test\"\ndeliver = \"mailboxes\"\nmailboxes = [\"boss\"]\n\
                    aliases = { sales = [\"anna\"], all = [\"anna\", \"robot\"] }";

/// Somebody sends with these, and hears a reply with this help token, or none.
struct Case {
    user: &'static str,
    path: &'static str,
    from: Option<&'static str>,
    sender: Option<&'static str>,
    refused: Option<&'static str>,
}

const fn case(
    user: &'static str,
    path: &'static str,
    from: Option<&'static str>,
    sender: Option<&'static str>,
    refused: Option<&'static str>,
) -> Case {
    Case { user, path, from, sender, refused }
}

const CASES: &[Case] = &[
    case("anna", ANNA, Some("Anna <anna@home.test>"), None, None),
    case("anna", "Anna+Lists@home.test", Some("anna@home.test"), None, None),
    case("anna", "anna@home.test", Some("sales@home.test"), None, None),
    case("anna", "sales+x@home.test", Some("sales@home.test"), Some("anna@home.test"), None),
    case("anna", "info@home.test", Some("info@home.test"), None, None),
    case("anna", "crm-17@partner.test", Some("CRM-17@partner.test"), None, None),
    case("anna", "other@partner.test", None, None, Some("sender-not-owned")),
    case("anna", "all@home.test", None, None, Some("sender-not-owned")),
    case("anna", "ben@elsewhere.test", None, None, Some("sender-not-owned")),
    case("anna", ANNA, Some("Ben <ben@elsewhere.test>"), None, Some("from-not-owned")),
    case("anna", ANNA, Some("anna@home.test, ben@elsewhere.test"), None, Some("from-not-owned")),
    case("anna", ANNA, Some("boss@home.test"), None, Some("from-needs-sender")),
    case("anna", ANNA, Some("boss@home.test"), Some("Anna <anna@home.test>"), None),
    case("anna", "boss@home.test", Some("boss@home.test"), Some("info@home.test"), None),
    case("anna", ANNA, Some("boss@home.test"), Some("boss@home.test"), Some("sender-header-not-owned")),
    case("anna", ANNA, Some("anna@home.test"), Some("ben@elsewhere.test"), Some("sender-header-not-owned")),
    case(
        "anna",
        ANNA,
        Some("boss@home.test"),
        Some("a@home.test, b@home.test"),
        Some("sender-header-unreadable"),
    ),
    case("anna", ANNA, Some("no address"), None, Some("from-unreadable")),
    case("robot", "x1@service.test", Some("Robot <x1@service.test>"), None, None),
    case("robot", "x1@service.test", Some("x2@service.test"), None, None),
    case("robot", "x@sub.service.test", None, None, Some("sender-not-owned")),
    case("robot", "info@home.test", None, None, Some("sender-not-owned")),
    case("robot", "boss@home.test", None, None, Some("sender-not-owned")),
];

#[test]
fn smtp_and_may_send_give_the_same_answer_to_every_combination() {
    let peer = Peer::start();
    let postern = Setup::new().only_domain(HOME).tables(RULES).next_hop(peer.address()).start();
    postern.add_user("robot", PASSWORD, "robot@home.test");
    for case in CASES {
        let said = swaks(&postern, case);
        let beforehand = may_send(&postern, case);
        let name = format!("{} as {} {:?} {:?}", case.user, case.path, case.from, case.sender);
        match case.refused {
            None => {
                assert!(said.contains("250 2.0.0"), "{name}: {said}");
                assert_eq!(beforehand["allowed"], true, "{name}: {beforehand:#}");
            }
            Some(token) => {
                let reply = refusal(&beforehand).unwrap_or_else(|| panic!("{name}: {beforehand:#}"));
                assert!(reply.contains(&format!("({token})")), "{name}: {reply}");
                assert!(said.contains(&reply), "{name}: {reply} is not in {said}");
            }
        }
    }
    let taken = CASES.iter().filter(|case| case.refused.is_none()).count();
    assert_eq!(peer.wait_for(taken).len(), taken);
}

#[test]
fn may_send_explains_itself_with_and_without_the_daemon() {
    let mut postern = Setup::new().only_domain(HOME).tables(RULES).start();
    for alive in [true, false] {
        if !alive {
            postern.terminate();
        }
        let yes = run(&mut postern.command(&["user", "may-send", "anna@home.test", "info@home.test"]));
        assert_eq!(yes.status.code(), Some(0), "{}", both(&yes));
        assert!(both(&yes).contains("[[send_as]] \"front desk\""), "{}", both(&yes));
        let on_behalf = run(&mut postern.command(&["user", "may-send", "anna", "boss@home.test"]));
        assert_eq!(on_behalf.status.code(), Some(0), "{}", both(&on_behalf));
        assert!(both(&on_behalf).contains("Sender: <anna@home.test>"), "{}", both(&on_behalf));
        let no = run(&mut postern.command(&["user", "may-send", "anna", "ben@home.test"]));
        assert_eq!(no.status.code(), Some(1), "{}", both(&no));
        for words in [
            "553 5.7.1 <ben@home.test>: not owned by anna (sender-not-owned)",
            "postern user address add 'anna' 'ben@home.test'",
        ] {
            assert!(both(&no).contains(words), "{}", both(&no));
        }
        let bound = ["user", "may-send", "anna", "info@home.test", "--only", ANNA];
        let bound = run(&mut postern.command(&bound));
        assert_eq!(bound.status.code(), Some(1), "{}", both(&bound));
        assert!(both(&bound).contains("(outside-app-password)"), "{}", both(&bound));
        let nobody = run(&mut postern.command(&["user", "may-send", "nobody", ANNA]));
        assert_eq!(nobody.status.code(), Some(1), "{}", both(&nobody));
        assert!(both(&nobody).contains("no directory knows a user nobody"), "{}", both(&nobody));
    }
}

#[test]
fn a_message_without_an_author_gets_one_that_its_sender_may_use() {
    let peer = Peer::start();
    let postern = Setup::new().only_domain(HOME).tables(RULES).next_hop(peer.address()).start();
    for path in ["info@home.test", "boss@home.test"] {
        let said = swaks(&postern, &case("anna", path, Some(""), None, None));
        assert!(said.contains("250 2.0.0"), "{said}");
    }
    let mut authors: Vec<String> = peer
        .wait_for(2)
        .iter()
        .filter_map(|taken| {
            let content = String::from_utf8_lossy(&taken.content).into_owned();
            content.lines().find(|line| line.starts_with("From:")).map(str::to_owned)
        })
        .collect();
    authors.sort();
    assert_eq!(authors, [format!("From: <{ANNA}>"), "From: <info@home.test>".to_owned()]);
}

/// What swaks saw.
fn swaks(postern: &Postern, case: &Case) -> String {
    let from = case.from.map_or_else(|| format!("<{}>", case.path), str::to_owned);
    let mut header = if from.is_empty() { String::new() } else { format!("From: {from}\n") };
    header.extend(case.sender.map(|sender| format!("Sender: {sender}\n")));
    let file = postern.folder().join("message");
    fs::write(&file, format!("{header}To: ben@elsewhere.test\nSubject: who\n\nWho?\n")).unwrap();
    let mut command: Command = program("swaks");
    command.args(["--server", "localhost", "--port", &postern.at("submission").port().to_string(), "--tls"]);
    command.args(["--auth", "PLAIN", "--auth-user", case.user, "--auth-password", PASSWORD]);
    command.args(["--from", case.path, "--to", "ben@elsewhere.test", "--data", &format!("@{}", text(&file))]);
    both(&run(&mut command))
}

/// What `may-send` says beforehand.
fn may_send(postern: &Postern, case: &Case) -> Value {
    let mut arguments = vec!["user", "may-send", case.user, case.path, "--json"];
    arguments.extend(["--from", case.from.unwrap_or(case.path)]);
    arguments.extend(case.sender.map(|sender| ["--sender", sender]).into_iter().flatten());
    serde_json::from_slice(&run(&mut postern.command(&arguments)).stdout).unwrap()
}

/// The first reply that refuses it, as one line.
fn refusal(answer: &Value) -> Option<String> {
    let checks = answer["checks"].as_array().unwrap();
    checks.iter().find_map(|check| check["reply"].as_str()).map(str::to_owned)
}
