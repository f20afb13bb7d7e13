//! Why mail waits: the deliveries of the queue, grouped by cause, those that hold up the most messages first.
//!
//! The types to know: [`Waiting`], the whole answer; [`Group`], all that waits for one cause: the same trouble of the same
//! kind, at the same host and step, with the same reply and the same certificate. The words are those of
//! [`diagnose`], which stand in reports to senders too. What was not tried yet and what is held are groups of their own.
//!
//! What it deliberately does not do: try anything, or hold more than so many groups at a time, whatever the queue.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use jiff::Timestamp;
use postern_queue::{Delivery, Error, Filter, QueueId, RecipientState, Store};
use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::reply::Enhanced;
use postern_smtp::tls::TlsFault;
use serde::{Deserialize, Serialize};

use super::pages::{FewOf, Names, Pages};
use crate::diagnosis::{Diagnosis, diagnose};

/// What comes after so many groups is only counted.
const GROUPS_MOST: usize = 1000;

/// Why mail waits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// The causes, the one with the most messages first.
    pub groups: Vec<Group>,
    /// Recipients that wait for causes besides those.
    pub others: u64,
}

/// What waits for one cause.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// What keeps it.
    pub state: State,
    /// Why, with the evidence, and what to do.
    pub diagnosis: Diagnosis,
    /// Messages.
    pub messages: u64,
    /// Recipients of these messages that wait for this.
    pub recipients: u64,
    /// The recipients' domains.
    pub destinations: FewOf,
    /// When the oldest of the messages was accepted.
    pub since: Timestamp,
    /// When the first of them is tried next; `None` when none will be, or all are being tried just now.
    pub next: Option<Timestamp>,
    /// Deliveries that are being tried just now.
    pub under_way: u64,
    /// One of the messages, the oldest one.
    pub example: QueueId,
}

/// What keeps a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was tried, in vain.
    Tried,
    /// It has not been tried yet.
    Untried,
    /// An administrator holds it.
    Held,
}

/// Groups what a filter means.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn why(store: &dyn Store, filter: Filter) -> Result<Waiting, Error> {
    let mut groups = Groups::default();
    let mut pages = Pages::new(store, filter);
    while let Some(page) = pages.next().await? {
        for delivery in &page {
            groups.add(delivery);
        }
    }
    Ok(groups.finish())
}

/// What makes two recipients wait for the same cause.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Cause {
    Held,
    Untried,
    Trouble {
        host: Option<String>,
        step: Step,
        kind: Kind,
        reply: Option<(u16, Option<Enhanced>)>,
        /// The certificate's SHA-256.
        certificate: Option<String>,
    },
}

/// A kind of trouble, without its words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Tls(TlsFault),
    Other(Discriminant<Reason>),
}

impl Cause {
    fn of(delivery: &Delivery, recipient: &RecipientState) -> Self {
        match &recipient.trouble {
            _ if delivery.held => Self::Held,
            None => Self::Untried,
            Some(trouble) => Self::of_trouble(trouble),
        }
    }

    fn of_trouble(trouble: &Trouble) -> Self {
        let evidence = trouble.evidence.as_deref();
        Self::Trouble {
            host: evidence.and_then(|evidence| evidence.host.clone()),
            step: trouble.step,
            kind: trouble.fault().map_or_else(|| Kind::Other(discriminant(&trouble.reason)), Kind::Tls),
            reply: trouble.reply.as_ref().map(|reply| (reply.code, reply.enhanced)),
            certificate: evidence
                .and_then(|evidence| evidence.certificate.as_ref())
                .map(|certificate| certificate.sha256.clone()),
        }
    }

    fn state(&self) -> State {
        match self {
            Self::Held => State::Held,
            Self::Untried => State::Untried,
            Self::Trouble { .. } => State::Tried,
        }
    }
}

/// Groups being made.
#[derive(Default)]
struct Groups {
    groups: HashMap<Cause, Open>,
    others: u64,
}

/// A group being made.
struct Open {
    group: Group,
    destinations: Names,
    /// The message and the delivery that were counted last.
    counted: Option<(QueueId, String)>,
}

impl Groups {
    /// Deliveries come in the order of their messages.
    fn add(&mut self, delivery: &Delivery) {
        for recipient in &delivery.recipients {
            let cause = Cause::of(delivery, recipient);
            if self.groups.len() >= GROUPS_MOST && !self.groups.contains_key(&cause) {
                self.others += 1;
                continue;
            }
            let state = cause.state();
            let open = self.groups.entry(cause).or_insert_with(|| Open::new(state, delivery, recipient));
            open.count(delivery);
        }
    }

    fn finish(self) -> Waiting {
        let mut groups: Vec<Group> = self.groups.into_values().map(Open::close).collect();
        groups.sort_by(|one, other| {
            let order = |group: &Group| (std::cmp::Reverse(group.messages), group.since, group.example);
            order(one).cmp(&order(other))
        });
        Waiting { groups, others: self.others }
    }
}

impl Open {
    fn new(state: State, delivery: &Delivery, recipient: &RecipientState) -> Self {
        let diagnosis = match (&recipient.trouble, state) {
            (Some(trouble), State::Tried) => diagnose(trouble, &delivery.destination),
            (_, State::Held) => held(),
            _ => untried(),
        };
        let group = Group {
            state,
            diagnosis,
            messages: 0,
            recipients: 0,
            destinations: FewOf::default(),
            since: delivery.message.accepted,
            next: None,
            under_way: 0,
            example: delivery.message.id,
        };
        Self { group, destinations: Names::default(), counted: None }
    }

    fn count(&mut self, delivery: &Delivery) {
        let group = &mut self.group;
        group.recipients += 1;
        let (message, destination) = (delivery.message.id, &delivery.destination.0);
        if self.counted.as_ref().is_some_and(|(id, name)| *id == message && name == destination) {
            return;
        }
        group.messages += u64::from(self.counted.as_ref().is_none_or(|(id, _)| *id != message));
        group.since = group.since.min(delivery.message.accepted);
        group.under_way += u64::from(delivery.leased);
        if let Some(due) = delivery.due.filter(|_| !delivery.leased) {
            group.next = Some(group.next.map_or(due, |next| next.min(due)));
        }
        self.destinations.add(destination);
        self.counted = Some((message, destination.clone()));
    }

    fn close(self) -> Group {
        Group { destinations: self.destinations.few(), ..self.group }
    }
}

fn held() -> Diagnosis {
    Diagnosis {
        cause: "held by an administrator".into(),
        explanation: "it is not tried until it is released".into(),
        evidence: Vec::new(),
        remedy: "postern queue release, or postern queue bounce".into(),
    }
}

fn untried() -> Diagnosis {
    Diagnosis {
        cause: "not tried yet".into(),
        explanation: "its first attempt is under way, or to come".into(),
        evidence: Vec::new(),
        remedy: "nothing: wait; if it stays so, the connector's rate or concurrency is too low for what comes in, or Postern \
                 does not run"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use postern_queue::{Destination, MemoryStore, Message, Origin, Recipient, Selection, SenderTls};
    use postern_smtp::address::{Mailbox, ReversePath};
    use postern_smtp::reply::Reply;
    use postern_smtp::tls::{CertificateSeen, TlsFailure};

    use super::super::pages::tests::enqueue;
    use super::*;
    use crate::routing::destination_of;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A delivery of its own message, accepted at this second, with a trouble for each recipient.
    fn delivery(second: i64, troubles: &[(&str, Option<Trouble>)]) -> Delivery {
        let store = MemoryStore::new();
        let state = |(address, trouble): &(&str, Option<Trouble>)| {
            let address: Mailbox = address.parse().unwrap();
            let destination = destination_of(&address);
            let recipient = Recipient { address, destination, notify: None, orcpt: None };
            RecipientState { recipient, trouble: trouble.clone() }
        };
        let recipients: Vec<RecipientState> = troubles.iter().map(state).collect();
        let message = Message {
            id: store.begin(at(second)).id(),
            accepted: at(second),
            size: 1,
            from: ReversePath::Null,
            ret: None,
            envid: None,
            body: None,
            smtputf8: false,
            eight_bit: false,
            utf8_headers: false,
            tls: SenderTls::AsPolicy,
            origin: Origin::default(),
            hold: None,
        };
        let destination: Destination = recipients[0].recipient.destination.clone();
        let due = Some(at(second + 1000));
        Delivery { message, destination, attempts: 1, due, leased: false, held: false, recipients }
    }

    fn untrusted(host: &str, sha256: &str) -> Trouble {
        let certificate = CertificateSeen { sha256: sha256.into(), ..CertificateSeen::default() };
        let mut failure = TlsFailure::new(TlsFault::UnknownIssuer, "unknown authority");
        failure.certificate = Some(Box::new(certificate));
        let mut trouble = Trouble::of_tls(Reason::SecurityUnmet(format!("because of {host}")), &failure);
        trouble.evidence_mut().host = Some(host.into());
        trouble
    }

    fn refused(code: u16) -> Trouble {
        Trouble::new(Step::Rcpt, Reason::Refused).with_reply(Some(Reply::plain(code, "No")))
    }

    fn grouped(deliveries: &[Delivery]) -> Vec<Group> {
        let mut groups = Groups::default();
        for delivery in deliveries {
            groups.add(delivery);
        }
        groups.finish().groups
    }

    #[test]
    fn the_same_trouble_is_one_group_over_messages_recipients_and_destinations() {
        let trouble = || Some(untrusted("mx.a", "1"));
        let groups = grouped(&[
            delivery(5, &[("a@a.example", trouble()), ("b@a.example", trouble())]),
            delivery(9, &[("c@b.example", trouble())]),
        ]);
        let [group] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!((group.messages, group.recipients), (2, 3));
        assert_eq!(group.destinations.names, ["a.example", "b.example"]);
        assert_eq!((group.since, group.next), (at(5), Some(at(1005))));
        assert_eq!(group.diagnosis.cause, "certificate of an unknown authority");
    }

    #[test]
    fn another_host_step_kind_reply_or_certificate_is_another_group() {
        let troubles = [
            untrusted("mx.a", "1"),
            untrusted("mx.b", "1"),
            untrusted("mx.a", "2"),
            refused(450),
            refused(451),
            Trouble::new(Step::Route, Reason::NoRoute),
            Trouble::new(Step::Route, Reason::SwitchedOff),
        ];
        let deliveries: Vec<Delivery> =
            troubles.iter().map(|trouble| delivery(0, &[("a@a.example", Some(trouble.clone()))])).collect();
        assert_eq!(grouped(&deliveries).len(), troubles.len());
    }

    #[test]
    fn the_cause_of_the_most_messages_comes_first_and_then_the_oldest() {
        let groups = grouped(&[
            delivery(1, &[("a@a.example", Some(refused(450)))]),
            delivery(2, &[("a@a.example", Some(refused(451)))]),
            delivery(3, &[("a@a.example", Some(refused(452)))]),
            delivery(4, &[("a@a.example", Some(refused(452)))]),
        ]);
        let since: Vec<Timestamp> = groups.iter().map(|group| group.since).collect();
        assert_eq!(since, [at(3), at(1), at(2)]);
    }

    #[test]
    fn held_and_untried_ones_are_groups_of_their_own() {
        let held = Delivery {
            held: true,
            due: None,
            ..delivery(0, &[("a@a.example", Some(refused(450))), ("b@a.example", None)])
        };
        let untried = Delivery { leased: true, ..delivery(0, &[("a@a.example", None)]) };
        let groups = grouped(&[held, untried]);
        let states: Vec<State> = groups.iter().map(|group| group.state).collect();
        assert!(states.contains(&State::Held) && states.contains(&State::Untried), "{states:?}");
        for group in &groups {
            assert_eq!((group.messages, group.next), (1, None), "{group:?}");
            assert_eq!(group.under_way, u64::from(group.state == State::Untried));
        }
    }

    #[test]
    fn one_message_for_two_destinations_is_one_message() {
        let first = delivery(0, &[("a@a.example", Some(refused(450)))]);
        let mut second = delivery(0, &[("b@b.example", Some(refused(450)))]);
        second.message.id = first.message.id;
        let groups = grouped(&[first, second]);
        assert_eq!((groups[0].messages, groups[0].recipients, groups[0].destinations.count), (1, 2, 2));
    }

    #[test]
    fn the_groups_are_bounded_and_the_rest_is_counted() {
        let mut groups = Groups::default();
        for host in 0..GROUPS_MOST + 3 {
            groups.add(&delivery(0, &[("a@a.example", Some(untrusted(&format!("mx{host}"), "1")))]));
        }
        let waiting = groups.finish();
        assert_eq!((waiting.groups.len(), waiting.others), (GROUPS_MOST, 3));
    }

    #[tokio::test]
    async fn a_filter_narrows_it_down() {
        let store = MemoryStore::new();
        enqueue(&store, at(0), &["a@a.example", "b@b.example"]).await;
        assert_eq!(store.find(Filter::default(), Selection { limit: 9, offset: 0 }).await.unwrap().len(), 2);
        let filter = Filter { destination: Some("a.example".into()), ..Filter::default() };
        let waiting = why(&store, filter).await.unwrap();
        assert_eq!(waiting.groups[0].destinations.names, ["a.example"]);
    }
}
