//! The whole of it on a virtual clock, restarts included.

use tempfile::TempDir;

use super::*;
use crate::config::{File as ConfigFile, Surroundings};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn rules(more: &str) -> Protection {
    let text = format!(
        "hostname = 'mail.example.org'\n[[listener]]\nname = 'mx'\nrole = 'relay'\nbind = ['[::1]:0']\n{more}"
    );
    ConfigFile::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap().protection
}

fn source<'a>(principal: Option<&'a str>, address: &str) -> Source<'a> {
    Source { principal, address: Some(address.parse().unwrap()), listener: "mx" }
}

async fn open(folder: &TempDir, second: i64) -> Limits {
    let opened = Limits::open(folder.path(), at(second)).await.unwrap();
    assert!(opened.trouble.is_none(), "{:?}", opened.trouble);
    opened.limits
}

/// A wrong password from an address; the ban that it led to.
fn guess(limits: &Limits, rules: &Protection, address: &str, number: i64) -> Option<Ban> {
    let attempt = Attempt::new("anna", address.parse().unwrap(), false);
    let password = postern_smtp::secret::Secret::new(number.to_string());
    limits.failed(&attempt, Evidence::Password(&password), rules, source(None, address), at(number))
}

#[tokio::test]
async fn counts_guesses_bans_and_histories_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules("[rates.principal]\nmessages = '2/1h'\n[bursts]\nfloor = 2\n");
    let limits = open(&folder, 0).await;
    let to: Mailbox = "b@b.example".parse().unwrap();
    let send = |limits: &Limits| {
        let source = source(Some("anna"), "192.0.2.1");
        let taken = limits.take(&rules.rates, source, [&to].into_iter(), 9, at(0))?;
        limits.keep(source, &taken, at(0));
        Ok(())
    };
    let sent: Result<(), TooFast> = send(&limits);
    sent.unwrap();
    assert!(!limits.is_new(source(Some("anna"), "192.0.2.1"), &"B@b.example".parse().unwrap()));
    assert_eq!(limits.fate("anna", 3, &rules, at(0)), Fate::Held);
    assert!(limits.burst_to_tell("anna", at(0)).is_some());
    for number in 0..29 {
        assert_eq!(guess(&limits, &rules, "198.51.100.1", number), None);
    }
    let banned = (0..100).find_map(|number| guess(&limits, &rules, "203.0.113.1", number)).unwrap();
    limits.write(&rules, at(30)).await.unwrap();
    drop(limits);
    let limits = open(&folder, 31).await;
    send(&limits).unwrap();
    assert_eq!(send(&limits).unwrap_err().what, What::Messages);
    assert!(!limits.is_new(source(Some("anna"), "192.0.2.1"), &to));
    assert_eq!(limits.fate("anna", 1, &rules, at(31)), Fate::Held);
    assert_eq!(limits.burst_to_tell("anna", at(31)), None, "told before the restart");
    assert_eq!(guess(&limits, &rules, "198.51.100.1", 3), None, "this one was tried before the restart");
    assert!(guess(&limits, &rules, "198.51.100.1", 99).is_some());
    let met =
        limits.arrive("203.0.113.1".parse().unwrap(), &rules.rates, source(None, "203.0.113.1"), at(31));
    assert_eq!(met, Err(Turned::Banned(Box::new(banned), Some(1))));
    assert_eq!(limits.figures(at(31)), (2, 1));
}

#[tokio::test]
async fn what_is_given_back_can_be_taken_again_and_nobody_was_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules("[rates.principal]\nmessages = '2/1h'\noctets = '1 KiB/1h'\nnew_recipients = '1/1h'\n");
    let limits = open(&folder, 0).await;
    let (to, source): (Mailbox, _) = ("b@b.example".parse().unwrap(), source(Some("anna"), "192.0.2.1"));
    for second in 0..50 {
        let taken = limits.take(&rules.rates, source, [&to].into_iter(), 600, at(second)).unwrap();
        limits.give_back(&rules.rates, source, &taken, at(second));
        assert!(limits.is_new(source, &to));
    }
    let taken = limits.take(&rules.rates, source, [&to].into_iter(), 600, at(50)).unwrap();
    limits.keep(source, &taken, at(50));
    assert!(!limits.is_new(source, &to));
    let refused = limits.take(&rules.rates, source, [&to].into_iter(), 600, at(51)).unwrap_err();
    assert_eq!(refused.what, What::Octets);
}

#[tokio::test]
async fn a_ban_that_is_over_or_lifted_is_gone_from_the_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules("[bans]\nfirst = '1h'\n");
    let limits = open(&folder, 0).await;
    for address in ["203.0.113.1", "203.0.113.2"] {
        assert!((0..30).find_map(|number| guess(&limits, &rules, address, number)).is_some());
    }
    limits.write(&rules, at(30)).await.unwrap();
    let subject: Subject = "203.0.113.2".parse().unwrap();
    assert!(limits.state().unban(&subject, at(31)).ban.is_some());
    limits.write(&rules, at(31)).await.unwrap();
    assert_eq!(open(&folder, 32).await.figures(at(32)).0, 1);
    limits.write(&rules, at(4000)).await.unwrap();
    assert_eq!(open(&folder, 33).await.figures(at(33)).0, 0, "it was over when the file was last written");
}

#[tokio::test]
async fn a_ban_that_is_made_again_before_it_was_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules("");
    let limits = open(&folder, 0).await;
    let subject: Subject = "203.0.113.2".parse().unwrap();
    let ban = Ban {
        subject: subject.clone(),
        because: "x".into(),
        since: at(0),
        until: None,
        by: BannedBy::Administrator,
    };
    limits.state().ban(ban.clone(), at(0));
    limits.state().unban(&subject, at(0));
    limits.state().ban(ban, at(0));
    limits.write(&rules, at(1)).await.unwrap();
    assert_eq!(open(&folder, 2).await.figures(at(2)).0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_guessers_waits_for_itself_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules("");
    let limits = std::sync::Arc::new(open(&folder, 0).await);
    let at_home = Attempt::new("anna", "192.0.2.1".parse().unwrap(), false);
    limits.succeeded(&at_home, &rules.rates, source(Some("anna"), "192.0.2.1"), at(0)).unwrap();
    for number in 0..29 {
        guess(&limits, &rules, "203.0.113.1", number);
    }
    let storm = (0..100).map(|number| {
        let (limits, rules) = (std::sync::Arc::clone(&limits), rules.clone());
        tokio::spawn(async move {
            let attempt = Attempt::new(&format!("user{number}"), "203.0.113.1".parse().unwrap(), false);
            limits.admit(&attempt, &rules, source(None, "203.0.113.1"), at(30)).await.is_ok()
        })
    });
    let storm: Vec<_> = storm.collect();
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    limits.admit(&at_home, &rules, source(None, "192.0.2.1"), at(30)).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "who is at home does not wait");
    let mut admitted = 0;
    for one in storm {
        admitted += usize::from(one.await.unwrap());
    }
    assert_eq!(admitted, 8, "the others were sent away at once");
}

#[test]
fn waits_and_spans_read_well() {
    let said =
        [1, 2, 119, 120, 3600, 7200, 86_400].map(|seconds| wait_in_words(Duration::from_secs(seconds)));
    assert_eq!(
        said,
        ["1 second", "2 seconds", "119 seconds", "2 minutes", "60 minutes", "2 hours", "24 hours"]
    );
    assert_eq!(wait_in_words(Duration::from_millis(1500)), "2 seconds");
    assert_eq!([words(Duration::from_hours(1)), words(Duration::from_secs(90))], ["1h", "90s"]);
}

#[tokio::test]
async fn a_ban_on_an_account_holds_under_all_its_names_and_is_not_told_before_a_password_was_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (limits, rules) = (open(&folder, 0).await, rules(""));
    let addresses = vec!["anna@a.example".parse().unwrap(), "boss@a.example".parse().unwrap()];
    let anna = Principal::named("anna", addresses);
    let berta = Principal::named("berta", Vec::new());
    for name in ["anna", "Boss@a.example", "corp\\anna"] {
        let subject: Subject = name.parse().unwrap();
        let because = "stolen".to_owned();
        let ban =
            Ban { subject: subject.clone(), because, since: at(0), until: None, by: BannedBy::Administrator };
        limits.state().ban(ban.clone(), at(0));
        assert_eq!(limits.ban_of("CORP\\anna", &anna, at(1)), Some(ban), "{name}");
        assert_eq!(limits.ban_of("berta", &berta, at(1)), None);
        let attempt = Attempt::new(name, "192.0.2.1".parse().unwrap(), false);
        assert!(limits.admit(&attempt, &rules, source(None, "192.0.2.1"), at(1)).await.is_ok(), "{name}");
        limits.state().unban(&subject, at(1));
    }
}
