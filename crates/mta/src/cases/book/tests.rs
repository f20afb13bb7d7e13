//! Cases by value: what is one case, what settles it, what goes first when there are too many.

use std::net::IpAddr;

use super::*;
use crate::cases::WhichCases;
use crate::diagnosis::session::{Confidence, Diagnosis};
use crate::directory::SignInFault;
use crate::event::Proof;
use crate::limits::{Home, client_net};
use crate::session::SignIn;
use crate::session::tests::facts;

fn now(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn of_gravity(gravity: Gravity) -> Cause {
    *Cause::ALL.iter().find(|cause| cause.section().gravity == gravity).unwrap()
}

fn trouble(cause: Cause, whom: Whom) -> Occurrence {
    let user = match &whom {
        Whom::User(name) => Some(name.clone()),
        _ => None,
    };
    let explanation = format!("{} happened", cause.token());
    Occurrence {
        diagnosis: Diagnosis { cause, confidence: Confidence::Likely, explanation, user, program: None },
        whom,
        client: "192.0.2.7".parse().unwrap(),
        listener: "submission".into(),
        way: Role::Submission,
        program: Some("laptop".into()),
        session: Some("s1".into()),
    }
}

fn anna() -> Whom {
    Whom::User("anna".into())
}

fn stranger(number: u32) -> Whom {
    Whom::Address(client_net(IpAddr::from((0x0a00_0000 + number).to_be_bytes())))
}

#[test]
fn the_same_trouble_of_the_same_user_is_one_case_with_its_examples() {
    let mut cases = Cases::of(Vec::new());
    for number in 0..100_i64 {
        let mut again = trouble(Cause::WrongPassword, anna());
        again.session = Some(format!("s{number}"));
        again.program = Some(format!("program {number}"));
        again.client = IpAddr::from([192, 0, 2, u8::try_from(number).unwrap()]);
        cases.note(again, now(number));
    }
    cases.note(trouble(Cause::RelayDenied, anna()), now(100));
    let all = cases.worst_first();
    assert_eq!(all.len(), 2);
    let case = all.iter().find(|case| case.cause == Cause::WrongPassword).unwrap();
    assert_eq!((case.count, case.first, case.last), (100, now(0), now(99)));
    assert_eq!(case.sessions, ["s0", "s1", "s97", "s98", "s99"]);
    assert_eq!((case.programs.len(), case.addresses.len()), (NAMED_MOST, NAMED_MOST));
}

#[test]
fn the_log_hears_of_a_case_once_a_minute_with_its_count() {
    let mut cases = Cases::of(Vec::new());
    let told: Vec<(u64, bool)> = (0..130)
        .map(|second| cases.note(trouble(Cause::WrongPassword, anna()), now(second)))
        .map(|noted| (noted.count, noted.tell))
        .filter(|(_, tell)| *tell)
        .collect();
    assert_eq!(told, [(1, true), (61, true), (121, true)]);
}

#[test]
fn a_case_is_solved_by_a_message_the_same_way_and_open_again_when_it_happens_again() {
    let mut cases = Cases::of(Vec::new());
    let id = cases.note(trouble(Cause::WrongPassword, anna()), now(0)).id;
    cases.sent(&anna(), Role::Relay, None, now(1));
    cases.sent(&Whom::User("berta".into()), Role::Submission, None, now(1));
    assert_eq!(cases.find(id).unwrap().state, State::Open);
    cases.sent(&anna(), Role::Submission, None, now(2));
    assert_eq!(cases.find(id).unwrap().state, State::Solved { at: now(2) });
    assert_eq!(cases.note(trouble(Cause::WrongPassword, anna()), now(3)).count, 2);
    assert_eq!(cases.find(id).unwrap().state, State::Open);
    assert_eq!(cases.close(id, now(4)).unwrap().state, State::Closed { at: now(4) });
    cases.sent(&anna(), Role::Submission, None, now(5));
    assert_eq!(cases.find(id).unwrap().state, State::Closed { at: now(4) });
    assert!(cases.close(99, now(5)).is_none());
}

#[test]
fn behind_one_address_only_the_program_that_failed_solves_a_case_by_sending() {
    let mut cases = Cases::of(Vec::new());
    let id = cases.note(trouble(Cause::SignInNotUsed, stranger(1)), now(0)).id;
    cases.sent(&stranger(1), Role::Submission, Some("printer"), now(1));
    assert_eq!(cases.find(id).unwrap().state, State::Open);
    cases.sent(&stranger(1), Role::Relay, Some("laptop"), now(2));
    assert_eq!(cases.find(id).unwrap().state, State::Open);
    cases.sent(&stranger(1), Role::Submission, Some("laptop"), now(3));
    assert_eq!(cases.find(id).unwrap().state, State::Solved { at: now(3) });
}

#[test]
fn cases_are_found_by_user_address_and_age() {
    let mut cases = Cases::of(Vec::new());
    let id = cases.note(trouble(Cause::WrongPassword, anna()), now(5)).id;
    let case = cases.find(id).unwrap().clone();
    let holds = |which: WhichCases| which.holds(&case);
    let user = |name: &str| WhichCases { user: Some(name.into()), ..WhichCases::default() };
    assert!(holds(user("Anna")) && !holds(user("berta")));
    let from = |network: &str| WhichCases { address: network.parse().ok(), ..WhichCases::default() };
    assert!(holds(from("192.0.2.0/24")) && !holds(from("192.0.2.8/32")));
    let since = |second| WhichCases { since: Some(now(second)), ..WhichCases::default() };
    assert!(holds(since(5)) && !holds(since(6)));
    let closed = cases.close(id, now(6)).unwrap();
    assert!(!user("anna").holds(&closed) && WhichCases { all: true, ..user("anna") }.holds(&closed));
}

#[test]
fn the_worst_comes_first() {
    let mut cases = Cases::of(Vec::new());
    let [noise, program, person] = [Gravity::Noise, Gravity::Program, Gravity::Person].map(of_gravity);
    for _ in 0..9 {
        cases.note(trouble(noise, stranger(1)), now(50));
        cases.note(trouble(program, stranger(1)), now(50));
    }
    cases.note(trouble(person, stranger(1)), now(9));
    cases.note(trouble(person, anna()), now(0));
    let closed = cases.note(trouble(person, Whom::User("berta".into())), now(0)).id;
    cases.close(closed, now(1));
    let order: Vec<(Cause, Whom)> =
        cases.worst_first().into_iter().map(|case| (case.cause, case.whom)).collect();
    let berta = Whom::User("berta".into());
    let wanted = [
        (person, anna()),
        (person, stranger(1)),
        (program, stranger(1)),
        (noise, stranger(1)),
        (person, berta),
    ];
    assert_eq!(order, wanted);
}

#[test]
fn ten_thousand_different_troubles_leave_the_book_bounded_and_useful() {
    let mut cases = Cases::of(Vec::new());
    for number in 0..20 {
        cases.note(trouble(Cause::WrongPassword, Whom::User(format!("user{number}"))), now(0));
    }
    for number in 0..10_000_u32 {
        for cause in Cause::ALL.iter().step_by(7) {
            cases.note(trouble(*cause, stranger(number)), now(1 + i64::from(number)));
        }
    }
    let all = cases.worst_first();
    assert!(all.len() <= MOST, "{}", all.len());
    assert!(all[..20].iter().all(|case| case.whom.is_known()), "{:?}", all[0]);
    let noise = of_gravity(Gravity::Noise);
    for number in 0..10_000 {
        cases.note(trouble(noise, stranger(number)), now(20_000));
    }
    let all = cases.worst_first();
    let of_noise: Vec<&Case> = all.iter().filter(|case| case.cause == noise).collect();
    assert!(of_noise.len() <= STRANGERS_NOISE + 1, "{}", of_noise.len());
    let many = of_noise.iter().find(|case| case.whom == Whom::Many).unwrap();
    assert!(many.count >= 10_000 - STRANGERS_NOISE as u64);
}

/// A session by SCRAM with a wrong proof; of nobody but anna it is known that she exists.
fn wrong_proof(user: &str, client: &str) -> Occurrence {
    let mut facts = facts("s", client);
    let fault = Some(SignInFault::WrongOrUnknown);
    facts.sign_ins = vec![SignIn { user: user.to_owned(), by: Proof::Scram, fault, why: None }];
    facts.tell_claimant(|_| Home::Nowhere, |name| name == "anna", |_| true);
    Occurrence { whom: Whom::of(&facts), client: facts.client.ip(), ..trouble(Cause::WrongPassword, anna()) }
}

#[test]
fn invented_names_wash_nobody_away() {
    let mut cases = Cases::of(Vec::new());
    let hers = cases.note(wrong_proof("anna", "192.0.2.7:1"), now(0)).id;
    let printer = cases.note(trouble(of_gravity(Gravity::Program), stranger(1)), now(0)).id;
    for number in 0..5_100_u16 {
        let client = format!("127.0.{}.{}:1", number / 200, number % 200 + 1);
        cases.note(wrong_proof(&format!("madeup{number}"), &client), now(1 + i64::from(number)));
    }
    let all = cases.worst_first();
    assert_eq!((all[0].id, &all[0].whom), (hers, &anna()));
    assert!(cases.find(printer).is_some());
    assert!(all.iter().all(|case| case.whom == anna() || !case.whom.is_known()));
    assert!(all.len() <= STRANGERS + 3, "{}", all.len());
    let many = all.iter().find(|case| case.whom == Whom::Many).unwrap();
    assert!(many.count >= 5_100 - STRANGERS as u64, "{}", many.count);
}

#[test]
fn one_network_opens_only_so_many_cases() {
    let mut cases = Cases::of(Vec::new());
    for number in 0..100 {
        let client = IpAddr::from([198, 51, 100, number]);
        let whom = Whom::Address(client_net(client));
        cases.note(Occurrence { client, ..trouble(Cause::WrongPassword, whom) }, now(0));
        let guessed = Whom::Elsewhere(format!("user{number}"));
        cases.note(Occurrence { client, ..trouble(Cause::WrongPassword, guessed) }, now(0));
    }
    let elsewhere = Whom::Address(client_net([203, 0, 113, 1].into()));
    let another =
        Occurrence { client: [203, 0, 113, 1].into(), ..trouble(Cause::WrongPassword, elsewhere.clone()) };
    cases.note(another, now(0));
    let all = cases.worst_first();
    assert_eq!(all.len(), OF_NETWORK + 2);
    assert!(all.iter().any(|case| case.whom == elsewhere));
}

#[test]
fn a_flood_of_one_kind_pushes_out_only_its_own_kind() {
    let mut cases = Cases::empty(60);
    let [noise, program, person] = [Gravity::Noise, Gravity::Program, Gravity::Person].map(of_gravity);
    let mut ours: Vec<u64> = [noise, program, person]
        .into_iter()
        .flat_map(|cause| (0..5).map(move |number| (cause, Whom::User(format!("user{number}")))))
        .map(|(cause, whom)| cases.note(trouble(cause, whom), now(0)).id)
        .collect();
    ours.extend((0..5).map(|number| cases.note(trouble(noise, stranger(300 * number)), now(0)).id));
    for number in 0..u32::try_from(STRANGERS).unwrap() {
        let mut flood = trouble(person, stranger(70_000 + 300 * number));
        flood.client = IpAddr::from((0x0b00_0000 + 300 * number).to_be_bytes());
        cases.note(flood, now(1 + i64::from(number)));
    }
    assert_eq!(cases.known.len(), 60);
    assert!(ours.iter().all(|id| cases.find(*id).is_some()));
}

#[test]
fn who_guesses_elsewhere_has_a_case_of_its_own_that_her_mail_leaves_open() {
    let mut cases = Cases::of(Vec::new());
    let guesser: IpAddr = [203, 0, 113, 9].into();
    let from_there = |client: IpAddr| Occurrence {
        client,
        program: Some("guesser".into()),
        ..trouble(Cause::WrongPassword, Whom::Elsewhere("anna".into()))
    };
    let guessed = cases.note(from_there(guesser), now(0)).id;
    let hers = cases.note(trouble(Cause::WrongPassword, anna()), now(0)).id;
    assert!(cases.find(hers).unwrap().programs.iter().all(|program| program != "guesser"));
    let office: IpAddr = [192, 0, 2, 7].into();
    cases.sent(&anna(), Role::Submission, None, now(1));
    cases.sent_elsewhere("anna", Role::Submission, office, now(1));
    assert_eq!(cases.find(hers).unwrap().state, State::Solved { at: now(1) });
    assert_eq!(cases.find(guessed).unwrap().state, State::Open);
    cases.note(from_there(office), now(2));
    cases.sent_elsewhere("anna", Role::Submission, guesser, now(3));
    assert_eq!(cases.find(guessed).unwrap().state, State::Open, "one of them is somebody else");
    cases.close(guessed, now(4));
    assert_eq!(cases.worst_first().len(), 2);
}

#[test]
fn her_own_first_tries_in_a_new_place_are_solved_by_her_mail_from_there() {
    let mut cases = Cases::of(Vec::new());
    let id = cases.note(trouble(Cause::WrongPassword, Whom::Elsewhere("anna".into())), now(0)).id;
    cases.sent_elsewhere("anna", Role::Relay, [192, 0, 2, 7].into(), now(1));
    assert_eq!(cases.find(id).unwrap().state, State::Open);
    cases.sent_elsewhere("anna", Role::Submission, [192, 0, 2, 7].into(), now(1));
    assert_eq!(cases.find(id).unwrap().state, State::Solved { at: now(1) });
}

#[test]
fn what_is_settled_goes_first_and_then_what_is_least_grave_and_oldest() {
    let mut cases = Cases::empty(3);
    let [noise, program, person] = [Gravity::Noise, Gravity::Program, Gravity::Person].map(of_gravity);
    let settled = cases.note(trouble(person, anna()), now(9)).id;
    cases.close(settled, now(9));
    let old = cases.note(trouble(noise, stranger(1)), now(0)).id;
    let kept = cases.note(trouble(program, stranger(1)), now(0)).id;
    let young = cases.note(trouble(noise, stranger(2)), now(5)).id;
    assert!(cases.find(settled).is_none());
    cases.note(trouble(person, stranger(3)), now(6));
    assert!(cases.find(old).is_none() && cases.find(young).is_some() && cases.find(kept).is_some());
    let changes = cases.changes();
    assert_eq!(changes.written.len(), 3);
    let mut gone = changes.gone;
    gone.sort_unstable();
    assert_eq!(gone, [settled, old]);
}

#[test]
fn every_list_agrees_after_whatever_happened() {
    let mut cases = Cases::empty(40);
    let mut seed = 7_u32;
    let mut random = |most: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % most
    };
    for step in 0..5_000 {
        let cause = Cause::ALL[random(30) as usize];
        let whom = match random(4) {
            0 => Whom::User(format!("u{}", random(9))),
            1 => Whom::Elsewhere(format!("u{}", random(9))),
            _ => stranger(random(60)),
        };
        match random(6) {
            0 => cases.sent(&whom, Role::Submission, None, now(step)),
            1 => drop(cases.close(u64::from(random(300)), now(step))),
            2 => cases.prune(now(step - 400)),
            _ => drop(cases.note(trouble(cause, whom), now(step))),
        }
        assert!(cases.known.len() <= 40);
        let ranked: usize = cases.ranks.values().map(BTreeSet::len).sum();
        assert_eq!(cases.known.len(), cases.settled.len() + ranked);
        assert_eq!(cases.known.len(), cases.by_key.len());
        let open = cases.known.values().filter(|known| known.case.state == State::Open);
        assert_eq!(open.clone().count(), cases.open.values().map(Vec::len).sum::<usize>());
        let strangers = open.filter(|known| known.case.whom.is_strangers()).count();
        assert_eq!(strangers, cases.strangers.values().sum::<usize>());
        assert_eq!(strangers, cases.networks.values().sum::<usize>());
    }
}

#[test]
fn what_is_written_and_read_again_is_the_same_and_numbers_go_on() {
    let mut cases = Cases::of(Vec::new());
    let first = cases.note(trouble(Cause::WrongPassword, anna()), now(0)).id;
    cases.note(trouble(Cause::PortScan, stranger(1)), now(1));
    let written = cases.changes().written;
    let json = serde_json::to_string(&written).unwrap();
    let read: Vec<Case> = serde_json::from_str(&json).unwrap();
    let mut again = Cases::of(read);
    assert_eq!(again.worst_first(), cases.worst_first());
    assert_eq!(
        again.note(trouble(Cause::WrongPassword, anna()), now(2)),
        Noted { id: first, count: 2, tell: true }
    );
    assert!(again.note(trouble(Cause::RelayDenied, anna()), now(2)).id > 2);
}
