//! Mail that a reload may have cured does not wait for its next retry.
//!
//! Where the configuration has another way to a destination now (another connector, the same one in service again, with other
//! hosts, credentials, pins or demands), mail that waits for a trouble of the way, and not because its receiver has judged
//! it, is due at once. Where `[dns]` has changed, so is mail that waits for an answer of DNS. Its attempts go on being counted: `postern queue reroute` is what counts them anew.
//!
//! What it deliberately does not do: look into files that a configuration names; whoever changed only those says
//! `postern queue retry`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use postern_queue::{Change, Delivery, Destination, Error, Filter, QueueId};
use postern_smtp::outcome::{Step, Trouble};

use super::{Shared, Site};
use crate::admin::pages::Pages;
use crate::config::{Config, Connector};
use crate::event::Event;
use crate::outbound::plan::policy_for;

/// So many deliveries of one destination are made due in one go, and so many are gathered.
const AT_ONCE: usize = 500;
const GATHERED_MOST: usize = 10_000;
/// For so many destinations it is remembered whether their way has changed.
const WAYS_MOST: usize = 10_000;

/// Makes due what waits for a way, or for a DNS, that has changed since the site before.
pub(super) async fn wake(shared: Arc<Shared>, before: Arc<Site>) {
    let now = shared.site.load_full();
    if says_the_same(&before.config, &now.config) {
        return;
    }
    let mut cure = Cure::new(&shared, &before, &now);
    if let Err(error) = cure.run().await {
        shared.observer.daemon(Event::Alarm {
            what: format!("mail whose way has changed could not be made due: {error}"),
            remedy: "nothing is lost: it is tried at its time; or postern queue retry".into(),
        });
    }
    if cure.woken > 0 {
        shared.observer.daemon(Event::WaysChanged { deliveries: cure.woken });
        shared.wake.notify_one();
    }
}

/// Whether no setting has another value. Which line it stands in does not matter.
fn says_the_same(before: &Config, now: &Config) -> bool {
    let values = |config: &Config| -> Vec<_> {
        let settings = config.settings.iter();
        settings.map(|set| (set.header.clone(), set.section, set.key.clone(), set.value.clone())).collect()
    };
    values(before) == values(now)
}

struct Cure<'a> {
    shared: &'a Shared,
    before: &'a Site,
    now: &'a Site,
    /// Whether the way to a destination has changed.
    ways: HashMap<Destination, bool>,
    woken: u64,
}

impl<'a> Cure<'a> {
    fn new(shared: &'a Shared, before: &'a Site, now: &'a Site) -> Self {
        Self { shared, before, now, ways: HashMap::new(), woken: 0 }
    }

    async fn run(&mut self) -> Result<(), Error> {
        let waiting = Filter { held: Some(false), ..Filter::default() };
        let mut pages = Pages::new(&*self.shared.store, waiting);
        let mut gathered: HashMap<Destination, Vec<QueueId>> = HashMap::new();
        let mut count = 0;
        while let Some(page) = pages.next().await? {
            for delivery in page.into_iter().filter(waits_for_its_way) {
                if is_asked_anew(&self.before.config, &self.now.config, &delivery)
                    || self.has_changed(&delivery.destination)
                {
                    gathered.entry(delivery.destination).or_default().push(delivery.message.id);
                    count += 1;
                }
            }
            if count >= GATHERED_MOST {
                self.make_due(std::mem::take(&mut gathered)).await?;
                count = 0;
            }
        }
        self.make_due(gathered).await
    }

    fn has_changed(&mut self, destination: &Destination) -> bool {
        if let Some(changed) = self.ways.get(destination) {
            return *changed;
        }
        if self.ways.len() >= WAYS_MOST {
            self.ways.clear();
        }
        let changed = !is_same_way(self.before, self.now, destination);
        self.ways.insert(destination.clone(), changed);
        changed
    }

    async fn make_due(&mut self, gathered: HashMap<Destination, Vec<QueueId>>) -> Result<(), Error> {
        for (destination, all) in gathered {
            for ids in all.chunks(AT_ONCE) {
                let filter = Filter {
                    ids: ids.to_vec(),
                    destination: Some(destination.0.clone()),
                    held: Some(false),
                    ..Filter::default()
                };
                self.woken += self.shared.store.amend(Timestamp::now(), filter, Change::Retry).await?;
            }
        }
        Ok(())
    }
}

/// Whether it was tried and did not come so far that its receiver judged it.
fn waits_for_its_way(delivery: &Delivery) -> bool {
    !delivery.leased && troubles(delivery).any(|at| at.step < Step::Mail || at.step == Step::Mailbox)
}

/// What was last in the way of each recipient.
fn troubles(delivery: &Delivery) -> impl Iterator<Item = &Trouble> {
    delivery.recipients.iter().filter_map(|recipient| recipient.trouble.as_ref())
}

/// Whether DNS had no answer for it that would do, and it is asked in another way now.
fn is_asked_anew(before: &Config, now: &Config, delivery: &Delivery) -> bool {
    before.dns != now.dns && troubles(delivery).any(|at| at.step == Step::Lookup)
}

/// Whether mail for a destination would meet the same hosts on the same terms.
fn is_same_way(before: &Site, now: &Site, destination: &Destination) -> bool {
    let demands = |site: &Site| {
        let outbound = &site.config.outbound;
        (
            outbound.requirement,
            policy_for(&outbound.policies, destination).map(|(policy, _)| policy.peer.clone()),
        )
    };
    let connectors = (before.routing.connector(destination), now.routing.connector(destination));
    let same = match connectors {
        (Some(before), Some(now)) => leads_the_same_way(before, now),
        (None, None) => true,
        _ => false,
    };
    same && demands(before) == demands(now)
}

/// Whether two connectors differ in nothing that decides whether mail gets through. How fast it goes is not of that.
fn leads_the_same_way(one: &Connector, other: &Connector) -> bool {
    one.enabled == other.enabled
        && one.to == other.to
        && one.peer == other.peer
        && (one.dane, one.mta_sts, one.post_quantum) == (other.dane, other.mta_sts, other.post_quantum)
        && (&one.source, one.ip, &one.hello) == (&other.source, other.ip, &other.hello)
        && (&one.credential, one.mechanism, &one.identity)
            == (&other.credential, other.mechanism, &other.identity)
}

#[cfg(test)]
mod tests {
    use postern_queue::{Destination, MemoryStore, Selection, Store};
    use postern_smtp::outcome::Reason;
    use postern_smtp::reply::Reply;

    use super::*;
    use crate::admin::pages::tests::enqueue;
    use crate::config::{File, Surroundings};

    fn config(keys: &str) -> Config {
        let text = format!(
            "hostname = 'mail.example.org'\n[[listener]]\nname = 'mx'\nrole = 'relay'\nbind = ['127.0.0.1:0']\n\
             [[connector]]\nname = 'out'\naddress_space = ['*']\nto = 'smtp:relay.example.org'\n{keys}"
        );
        File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap()
    }

    fn connector(keys: &str) -> Connector {
        let config = config(keys);
        let found = config.connectors.iter().find(|connector| connector.name.0 == "out");
        found.unwrap().clone()
    }

    #[test]
    fn what_decides_whether_mail_gets_through_changes_the_way_and_its_speed_does_not() {
        let plain = connector("");
        for keys in [
            "enabled = false",
            "tls = 'verified'",
            "ip = 'ipv4-only'",
            "hello = 'other.example.org'",
            "dane = false",
        ] {
            assert!(!leads_the_same_way(&plain, &connector(keys)), "{keys}");
        }
        for keys in ["", "cost = 5", "concurrency = 3", "rate = '5/1m'", "retry = ['3m']"] {
            assert!(leads_the_same_way(&plain, &connector(keys)), "{keys}");
        }
    }

    #[test]
    fn a_comment_changes_nothing_and_a_value_does() {
        let plain = config("cost = 5");
        assert!(says_the_same(&plain, &config("# cheap\n\ncost = 5")));
        assert!(!says_the_same(&plain, &config("cost = 6")));
    }

    /// A delivery that was not tried yet.
    async fn untried() -> Delivery {
        let store = MemoryStore::new();
        enqueue(&store, Timestamp::now(), &["a@a.example"]).await;
        let page = Selection { limit: 1, offset: 0 };
        let untried = store.find(Filter::default(), page).await.unwrap().remove(0);
        assert_eq!(untried.destination, Destination("a.example".into()));
        untried
    }

    #[tokio::test]
    async fn only_mail_that_waits_for_dns_is_asked_anew_and_only_of_another_dns() {
        let untried = untried().await;
        let plain = config("");
        let with = |trouble: Option<Trouble>, dns: &str| {
            let mut delivery = untried.clone();
            delivery.recipients[0].trouble = trouble;
            is_asked_anew(&plain, &config(dns), &delivery)
        };
        let unanswered =
            || Some(Trouble::new(Step::Lookup, Reason::LookupFailed("a.example: timed out".into())));
        let down = Some(Trouble::new(Step::Connect, Reason::ConnectFailed("refused".into())));
        let others = "[dns]\nservers = ['127.0.0.9']";
        for dns in [others, "[dns]\ndnssec = 'off'", "[dns]\ntimeout = '9s'"] {
            assert!(with(unanswered(), dns), "{dns}");
        }
        assert!(!with(unanswered(), "") && !with(unanswered(), "cost = 5"));
        assert!(!with(down, others) && !with(None, others));
    }

    #[tokio::test]
    async fn mail_that_its_receiver_has_judged_waits_for_no_way() {
        let untried = untried().await;
        let with = |trouble: Trouble| {
            let mut delivery = untried.clone();
            delivery.recipients[0].trouble = Some(trouble);
            waits_for_its_way(&delivery)
        };
        let greylisted =
            Trouble::new(Step::Rcpt, Reason::Refused).with_reply(Some(Reply::plain(451, "Later")));
        assert!(!waits_for_its_way(&untried) && !with(greylisted));
        assert!(with(Trouble::new(Step::Route, Reason::SwitchedOff)));
        assert!(with(Trouble::new(Step::Tls, Reason::SecurityUnmet("unknown authority".into()))));
        assert!(with(Trouble::new(Step::Mailbox, Reason::Local("no such folder".into()))));
    }
}
