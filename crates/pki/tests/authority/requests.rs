//! Requests from their arrival to a decision.

use postern_pki::ca::{Answer, AuthorityError, Order, PolicyError, Reason, State, Submission, Submitted};

use super::*;

impl Office {
    fn send(
        &self,
        request: &SigningRequest,
        answer: Answer<'_>,
        at: Timestamp,
    ) -> Result<Submitted, AuthorityError> {
        let submission = Submission { request, purpose: Purpose::Server, from: "192.0.2.1" };
        self.authority.submit(&submission, &self.policy, answer, at)
    }

    fn waits(&self, request: &SigningRequest) -> String {
        let submitted = self.send(request, Answer::Later, now()).unwrap();
        assert_eq!(submitted.state, State::Waiting);
        submitted.id
    }
}

#[test]
fn a_request_waits_until_it_is_approved_and_then_has_its_certificate() {
    let office = office(Shape::RootAlone);
    let asked = request(&["mail.example.org"]);
    let id = office.waits(&asked);
    assert!(id.len() >= 22, "{id}");
    let listed = office.authority.requests(10, now()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].id, &listed[0].from, &listed[0].state),
        (&id, &"192.0.2.1".to_owned(), &State::Waiting)
    );
    assert_eq!(listed[0].names, ["mail.example.org"]);
    assert_eq!(office.authority.issued_for(&id).unwrap(), None);
    let issued = office.authority.approve(&id, &office.approval(), now()).unwrap();
    assert_eq!((issued.request.as_deref(), issued.approved_by.as_str()), (Some(id.as_str()), "root"));
    assert_eq!(office.authority.issued_for(&id).unwrap().as_ref(), Some(&issued));
    assert_eq!(office.authority.request(&id, now()).unwrap().state, State::Issued(issued.serial));
    let again = office.authority.approve(&id, &office.approval(), now()).unwrap_err();
    assert!(matches!(again, AuthorityError::NotWaiting { .. }), "{again}");
}

#[test]
fn a_client_gets_nothing_without_somebody_who_knows_him() {
    let office = office(Shape::RootAlone);
    let request = request(&["a.lab.example.org"]);
    let submission = Submission { request: &request, purpose: Purpose::Client, from: "127.0.0.1" };
    let at_once = Answer::AtOnce(&office.signer);
    let submitted = office.authority.submit(&submission, &office.policy, at_once, now()).unwrap();
    assert_eq!(submitted.state, State::Waiting);
}

#[test]
fn what_is_automatic_is_issued_at_once_only_with_the_key_at_hand() {
    let office = office(Shape::WithIntermediate);
    let (automatic, other) = (request(&["a.lab.example.org"]), request(&["mail.example.org"]));
    let at_once = Answer::AtOnce(&office.signer);
    assert_eq!(office.send(&automatic, Answer::Later, now()).unwrap().state, State::Waiting);
    let submitted = office.send(&automatic, at_once, now()).unwrap();
    assert!(matches!(submitted.state, State::Issued(_)), "{submitted:?}");
    let issued = office.authority.issued_for(&submitted.id).unwrap().unwrap();
    assert_eq!(issued.approved_by, "the policy");
    assert_eq!(office.send(&other, at_once, now()).unwrap().state, State::Waiting);
}

#[test]
fn the_same_request_again_is_the_same_until_it_was_denied() {
    let office = office(Shape::RootAlone);
    let asked = request(&["mail.example.org"]);
    let id = office.waits(&asked);
    assert_eq!(office.waits(&asked), id);
    assert_ne!(office.waits(&request(&["mail.example.org"])), id);
    office.authority.deny(&id, "root", "use the other\nname", now()).unwrap();
    let State::Denied { by, reason } = office.authority.request(&id, now()).unwrap().state else { panic!() };
    assert!(by == "root" && reason.starts_with("use the other") && !reason.contains('\n'), "{by}: {reason}");
    assert_ne!(office.waits(&asked), id);
}

#[test]
fn the_same_request_renews_a_certificate_that_is_old() {
    let office = office(Shape::RootAlone);
    let asked = request(&["a.lab.example.org"]);
    let at_once = Answer::AtOnce(&office.signer);
    let first = office.send(&asked, at_once, now()).unwrap();
    let again = office.send(&asked, at_once, now() + days(30)).unwrap();
    assert_eq!((again.id, again.state), (first.id.clone(), first.state.clone()));
    let second = office.send(&asked, at_once, now() + days(61)).unwrap();
    assert!(second.id != first.id && matches!(second.state, State::Issued(_)), "{second:?}");
}

#[test]
fn what_was_revoked_is_not_had_again_at_once_and_with_a_stolen_key_never() {
    let office = office(Shape::RootAlone);
    let asked = request(&["a.lab.example.org"]);
    let at_once = Answer::AtOnce(&office.signer);
    let revoke_and_ask = |reason| {
        let which = postern_pki::ca::Which::of("a.lab.example.org");
        office.authority.revoke(&which, reason, now()).unwrap();
        office.send(&asked, at_once, now())
    };
    office.send(&asked, at_once, now()).unwrap();
    let waiting = revoke_and_ask(Reason::PrivilegeWithdrawn).unwrap();
    assert_eq!(waiting.state, State::Waiting);
    office.authority.approve(&waiting.id, &office.approval(), now()).unwrap();
    let refused = revoke_and_ask(Reason::KeyCompromise).unwrap_err();
    assert!(matches!(refused, AuthorityError::CompromisedKey), "{refused}");
    let order = Order::of_request(&asked, Purpose::Server).unwrap();
    let refused = office.authority.issue(&order, &office.approval(), now()).unwrap_err();
    assert!(matches!(refused, AuthorityError::CompromisedKey), "{refused}");
    let fresh = office.send(&request(&["a.lab.example.org"]), at_once, now()).unwrap();
    assert!(matches!(fresh.state, State::Issued(_)), "a new key is as good as any");
}

#[test]
fn a_forbidden_request_is_never_kept() {
    let office = office(Shape::RootAlone);
    let error = office.send(&request(&["mail.evil.example"]), Answer::Later, now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Forbidden(PolicyError::Name { .. })), "{error}");
    assert!(office.authority.requests(10, now()).unwrap().is_empty());
}

#[test]
fn what_the_policy_forbids_meanwhile_is_not_approved_and_goes_on_waiting() {
    let office = office(Shape::RootAlone);
    let id = office.waits(&request(&["mail.example.org"]));
    let stricter = Policy { names: Vec::new(), ..policy() };
    let approval = Approval { policy: &stricter, ..office.approval() };
    assert!(office.authority.approve(&id, &approval, now()).is_err());
    assert_eq!(office.authority.request(&id, now()).unwrap().state, State::Waiting);
    assert_eq!(office.authority.tally().unwrap().issued, 0);
}

#[test]
fn a_request_expires_after_thirty_days_and_is_forgotten_later() {
    let office = office(Shape::RootAlone);
    let asked = request(&["mail.example.org"]);
    let id = office.waits(&asked);
    let (before, after) = (now() + days(29), now() + days(31));
    assert_eq!(office.authority.request(&id, before).unwrap().state, State::Waiting);
    assert_eq!(office.authority.request(&id, after).unwrap().state, State::Expired);
    let error = office.authority.approve(&id, &office.approval(), after).unwrap_err();
    assert!(matches!(error, AuthorityError::NotWaiting { state: State::Expired, .. }), "{error}");
    assert_ne!(office.send(&asked, Answer::Later, after).unwrap().id, id);
    office.authority.requests(10, after).unwrap();
    office.authority.requests(10, after + days(100)).unwrap();
    let error = office.authority.request(&id, after).unwrap_err();
    assert!(matches!(error, AuthorityError::NoSuchRequest { .. }), "{error}");
}

#[test]
fn no_more_than_a_thousand_requests_wait() {
    let office = office(Shape::RootAlone);
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let asking = |number: usize| {
        let names = names(&[&format!("host-{number}.example.org")]);
        SigningRequest::make(&RequestDetails { subject: Subject::default(), names }, &key).unwrap()
    };
    let first = asking(0);
    let id = office.waits(&first);
    for number in 1..1000 {
        office.send(&asking(number), Answer::Later, now()).unwrap();
    }
    let error = office.send(&asking(1000), Answer::Later, now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Full { waiting: 1000 }), "{error}");
    let automatic = request(&["a.lab.example.org"]);
    let submitted = office.send(&automatic, Answer::AtOnce(&office.signer), now()).unwrap();
    assert!(matches!(submitted.state, State::Issued(_)), "a crowd that waits holds up nothing automatic");
    assert_eq!(office.waits(&first), id, "what waits already takes no more room");
    office.send(&asking(1000), Answer::Later, now() + days(31)).unwrap();
}

#[test]
fn an_unknown_request_is_said_to_be_one() {
    let office = office(Shape::RootAlone);
    for id in ["nothing", "' OR 1=1 --", ""] {
        assert!(matches!(office.authority.request(id, now()), Err(AuthorityError::NoSuchRequest { .. })));
        assert!(matches!(
            office.authority.deny(id, "x", "x", now()),
            Err(AuthorityError::NoSuchRequest { .. })
        ));
    }
}
