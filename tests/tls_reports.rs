//! TLS reports from house to house: what one Postern saw when it sent, it reports to another, which tells the same figures.

use postern_testkit::dns::Zone;
use serde_json::Value;

use crate::support::client::stuffed;
use crate::support::https_host::{Answer, HttpsHost};
use crate::support::names::{Names, address, ip};
use crate::support::postern::{ANNA, QUIET};
use crate::support::programs::{program, python, succeed};
use crate::support::{Client, Do, Peer, Postern, Setup, content, wait_for};

/// A sender, the host of `elsewhere.test` without STARTTLS, and the house that wants to hear of it.
struct Houses {
    sender: Postern,
    receiver: Postern,
    peer: Peer,
    _names: Names,
}

impl Houses {
    /// `rua` is where `elsewhere.test` wants its reports.
    fn new(rua: &str) -> Houses {
        Houses::with(Setup::new(), rua, Zone::new())
    }

    /// With a sender's setup and more names.
    fn with(sender: Setup, rua: &str, zone: Zone) -> Houses {
        let receiver = Setup::new()
            .only_domain("name = \"away.test\"\ndeliver = \"mailboxes\"\nmailboxes = [\"ben\"]")
            .domain("name = \"elsewhere.test\"\ndeliver = \"mailboxes\"")
            .tables("[tls_reports]\nreceive = \"tls@away.test\"")
            .without_user()
            .start();
        let peer = Peer::scripted(|_| Do::Usual).start_at((address(), 0).into());
        let zone = zone
            .mx("elsewhere.test", 10, "mx.elsewhere.test")
            .address("mx.elsewhere.test", ip(&peer))
            .txt("_smtp._tls.elsewhere.test", &format!("v=TLSRPTv1; rua={rua}"));
        let names = Names::serve(zone);
        let sender = start(sender, &peer, &receiver, &names);
        Houses { sender, receiver, peer, _names: names }
    }

    /// Mail goes out in clear, because there is nothing better to be had.
    fn send_in_clear(&self) {
        let letter = content::plain(ANNA, "ben@elsewhere.test", "In clear");
        self.sender.submit(&["ben@elsewhere.test"], &letter);
        self.sender.wait_for_empty_queue();
        assert!(!self.peer.taken().is_empty());
    }
}

fn start(sender: Setup, peer: &Peer, receiver: &Postern, names: &Names) -> Postern {
    let by_mx = format!("name = \"out\"\nto = \"mx\"\naddress_space = [\"*\"]\nport = {}", peer.port());
    let partner = format!(
        "name = \"partner\"\nto = \"smtp:{}\"\naddress_space = [\"away.test\"]\ntls = \"none\"",
        receiver.at("mx")
    );
    let reports = "[tls_reports]\nsend = true\norganization = \"House of Anna\"";
    sender.connector(&by_mx).connector(&partner).tables(&names.table()).tables(reports).start()
}

fn overview(postern: &Postern, domain: &str) -> Value {
    serde_json::from_str(&postern.cli(&["tls", "report", "show", domain, "--json"])).unwrap()
}

/// Well, failed, and the first failure, of the first line of one of the two lists.
fn figures(line: &Value) -> (u64, u64, String) {
    let policy = &line["policies"][0];
    assert_eq!(policy["policy"], "no-policy-found", "{line}");
    let failure = line["failures"][0]["result"].as_str().unwrap_or("none");
    (policy["succeeded"].as_u64().unwrap(), policy["failed"].as_u64().unwrap(), failure.to_owned())
}

#[test]
fn what_one_house_saw_the_other_house_is_told() {
    let mut houses = Houses::new("mailto:tls@away.test");
    houses.send_in_clear();
    let seen = overview(&houses.sender, "elsewhere.test");
    assert_eq!(figures(&seen["seen"][0]), (0, 1, "starttls-not-supported".to_owned()));
    let day = seen["last"].as_str().unwrap();

    let preview = houses.sender.cli(&["tls", "report", "send", "--day", day, "--dry-run"]);
    let report: Value = serde_json::from_str(&preview).unwrap();
    assert_eq!(report["organization-name"], "House of Anna");
    assert_eq!(report["policies"][0]["summary"]["total-failure-session-count"], 1);

    let sent = houses.sender.cli(&["tls", "report", "send", "--day", day]);
    assert!(sent.starts_with("elsewhere.test: sent to mailto:tls@away.test: queued as "), "{sent}");
    let reported = wait_for("the report to arrive", || {
        let overview = overview(&houses.receiver, "elsewhere.test");
        overview["reported"].get(0).cloned()
    });
    assert_eq!(figures(&reported), figures(&seen["seen"][0]));
    assert_eq!(reported["organization"], "House of Anna");
    houses.sender.wait_for_empty_queue();
    houses.receiver.wait_for_empty_queue();

    // Both houses remember it after a power cut, and tell it while they do not run.
    houses.sender.kill();
    houses.receiver.kill();
    assert_eq!(overview(&houses.sender, "elsewhere.test")["seen"], seen["seen"]);
    assert_eq!(overview(&houses.receiver, "elsewhere.test")["reported"][0], reported);
    let table = houses.receiver.cli(&["tls", "report", "show"]);
    assert!(table.contains("House of Anna") && table.contains("1 x starttls-not-supported"), "{table}");
}

#[test]
fn a_report_over_https_unpacks_to_what_was_counted() {
    let sender = Setup::new().trusting_its_authority();
    let identity = sender.authority().issue(&["reports.elsewhere.test"]);
    let host = HttpsHost::start(&identity, |_| Answer::json("201 Created", "{}"));
    let zone = Zone::new().address("reports.elsewhere.test", host.ip());
    let mut houses = Houses::with(sender, "https://reports.elsewhere.test/v1/tls", zone);
    houses.send_in_clear();
    // A connection that stays open would take the second letter too, and count once.
    houses.sender.terminate();
    houses.sender.start();
    houses.send_in_clear();
    assert_eq!(houses.peer.sessions(), 2);
    let seen = overview(&houses.sender, "elsewhere.test");
    let (succeeded, failed, result) = figures(&seen["seen"][0]);
    assert_eq!((succeeded, failed, result.as_str()), (0, 2, "starttls-not-supported"));

    let sent = houses.sender.cli(&["tls", "report", "send", "--day", seen["last"].as_str().unwrap()]);
    let expected = "elsewhere.test: sent to https://reports.elsewhere.test/v1/tls: taken with status 201";
    assert!(sent.starts_with(expected), "{sent}");
    let requests = host.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let request = &requests[0];
    assert_eq!(request.host, "reports.elsewhere.test");
    assert_eq!(request.what, "POST /v1/tls");
    assert_eq!(request.media_type, "application/tlsrpt+gzip");
    let report = unpacked(&houses.sender, &request.body);
    assert_eq!(report["organization-name"], "House of Anna");
    let policy = &report["policies"][0];
    assert_eq!(policy["policy"]["policy-domain"], "elsewhere.test");
    assert_eq!(policy["summary"]["total-successful-session-count"], succeeded);
    assert_eq!(policy["summary"]["total-failure-session-count"], failed);
    assert_eq!(policy["failure-details"][0]["result-type"], result);
    assert_eq!(policy["failure-details"][0]["failed-session-count"], failed);
}

/// What gzip makes of a body.
fn unpacked(postern: &Postern, body: &[u8]) -> Value {
    let file = postern.folder().join("report.json.gz");
    std::fs::write(&file, body).unwrap();
    serde_json::from_str(&succeed(program("gzip").arg("-dc").arg(&file))).unwrap()
}

/// As if all that was counted had been counted two days ago.
const AGE: &str = "
import datetime, sqlite3, sys
day = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)
ledger = sqlite3.connect(sys.argv[1])
assert ledger.execute('UPDATE tls_policy SET day = ?', (day.strftime('%Y-%m-%d'),)).rowcount == 1
ledger.commit()
";

#[test]
fn a_day_that_is_over_is_reported_once_whatever_was_restarted_in_between() {
    let mut houses = Houses::new("mailto:tls@away.test");
    houses.send_in_clear();
    houses.sender.terminate();
    succeed(python(AGE).arg(houses.sender.folder().join("data/policy.db")));
    houses.sender.start();
    let reported = || overview(&houses.receiver, "elsewhere.test")["reported"].get(0).cloned();
    let first = wait_for("the report to arrive", reported);
    assert_eq!(figures(&first), (0, 1, "starttls-not-supported".to_owned()));
    houses.sender.wait_for_empty_queue();
    houses.sender.terminate();
    houses.sender.start();
    std::thread::sleep(QUIET);
    houses.sender.wait_for_empty_queue();
    assert_eq!(houses.sender.log().matches("TLS report on elsewhere.test").count(), 1);
}

#[test]
fn nothing_is_sent_to_a_domain_that_names_no_usable_address() {
    let houses = Houses::new("tel:12345");
    houses.send_in_clear();
    let seen = overview(&houses.sender, "elsewhere.test");
    let day = seen["last"].as_str().unwrap();
    let mut command = houses.sender.command(&["tls", "report", "send", "--day", day]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success());
    assert!(said.starts_with("elsewhere.test: not sent: ") && said.contains("names no address"), "{said}");
    assert!(houses.sender.queue().is_empty());
}

#[test]
fn a_report_to_a_domain_without_tls_goes_there_and_does_not_add_to_what_it_reports() {
    let houses = Houses::new("mailto:tls@elsewhere.test");
    houses.send_in_clear();
    let before = overview(&houses.sender, "elsewhere.test");
    let day = before["last"].as_str().unwrap();
    houses.sender.cli(&["tls", "report", "send", "--day", day, "elsewhere.test"]);
    houses.peer.wait_for(2);
    houses.sender.wait_for_empty_queue();
    assert_eq!(overview(&houses.sender, "elsewhere.test")["seen"], before["seen"]);
}

#[test]
fn a_letter_to_the_address_for_reports_is_refused_with_the_reason() {
    let houses = Houses::new("mailto:tls@away.test");
    let mut client = Client::connect(houses.receiver.at("mx"));
    let letter = content::plain(ANNA, "tls@away.test", "Is anybody there?");
    client.say("EHLO client.test").expect(250);
    let refusal = client.deliver("", &["TLS@away.test"], &letter).expect(550);
    assert!(refusal.text().contains("The address takes only TLS reports: the message holds no TLS report"));
    assert!(houses.receiver.mail_of("tls").is_empty());
}

#[test]
fn a_letter_too_large_to_be_looked_at_is_dropped_and_its_alleged_sender_hears_nothing() {
    let houses = Houses::new("mailto:tls@away.test");
    let mut client = Client::connect(houses.receiver.at("mx"));
    let letter = content::with_body("ben@away.test", "tls@away.test", "Large", &content::large_body(1));
    client.say("EHLO client.test").expect(250);
    client.say("MAIL FROM:<ben@away.test>").expect(250);
    client.say("RCPT TO:<tls@away.test> NOTIFY=SUCCESS,FAILURE").expect(250);
    client.say("DATA").expect(354);
    client.send(&stuffed(&letter));
    client.reply().expect(250);
    houses.receiver.wait_for_log("the address takes only TLS reports: the message holds no TLS report");
    houses.receiver.wait_for_empty_queue();
    assert!(houses.receiver.mail_of("ben").is_empty());
}
