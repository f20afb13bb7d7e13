//! What is done from time to time, and what is asked for when it cannot be.

use postern_pki::ca::{Chore, Need, Reason, Which};

use super::*;

impl Office {
    fn chores(&self, at: Timestamp) -> Vec<Chore> {
        self.authority.upkeep(Some(&self.signer), &self.policy, at).unwrap()
    }

    fn needs(&self, at: Timestamp) -> Vec<Need> {
        let chores = self.authority.upkeep(None, &self.policy, at).unwrap();
        chores
            .iter()
            .filter_map(|chore| match chore {
                Chore::Needed { need, .. } => Some(*need),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn nothing_is_due_at_first() {
    let office = office(Shape::WithIntermediate);
    assert_eq!(office.chores(now()), []);
    assert_eq!(office.needs(now()), []);
    assert!(exists(&office.authority.crl_pem_path()));
}

#[test]
fn the_list_is_signed_anew_when_half_its_life_is_over() {
    let office = office(Shape::RootAlone);
    let first = office.authority.crl().unwrap().unwrap();
    assert_eq!(office.chores(now() + days(3)), []);
    let chores = office.chores(now() + days(4));
    let [Chore::ListSigned { number, next_update }] = chores[..] else { panic!("{chores:?}") };
    assert_eq!(number, first.number + 1);
    assert!(next_update > first.next_update);
    assert_eq!(office.chores(now() + days(4)), []);
}

#[test]
fn what_was_revoked_without_the_key_is_listed_at_the_next_upkeep_with_it() {
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let later = now() + days(1);
    office.authority.revoke(&Which::Serial(issued.serial), Reason::Unspecified, later).unwrap();
    assert_eq!(office.needs(later), [Need::SignList]);
    assert!(matches!(office.chores(later + days(1))[..], [Chore::ListSigned { .. }]));
    assert_eq!(office.chores(later + days(1)), []);
}

#[test]
fn a_lost_file_of_the_list_is_written_again() {
    let office = office(Shape::RootAlone);
    let list = office.authority.crl().unwrap().unwrap();
    for path in [office.authority.crl_pem_path(), office.crl_der()] {
        std::fs::remove_file(path).unwrap();
        assert_eq!(office.needs(now()), []);
        assert_eq!(std::fs::read(office.crl_der()).unwrap(), list.der);
        assert_eq!(std::fs::read_to_string(office.authority.crl_pem_path()).unwrap(), list.pem());
    }
}

#[test]
fn the_responder_is_renewed_half_way_with_the_same_key() {
    let office = office(Shape::RootAlone);
    let key = std::fs::read(office.ca().join("private/responder.key")).unwrap();
    let renewed = |at| office.chores(at).iter().any(|chore| matches!(chore, Chore::ResponderRenewed { .. }));
    assert!(!renewed(now() + days(14)));
    assert!(renewed(now() + days(16)));
    assert!(!renewed(now() + days(16)));
    assert_eq!(std::fs::read(office.ca().join("private/responder.key")).unwrap(), key);
}

#[test]
fn without_the_key_it_is_said_what_is_needed_until_when() {
    let office = office(Shape::RootAlone);
    let list = office.authority.crl().unwrap().unwrap();
    assert_eq!(office.needs(now() + days(4)), [Need::SignList]);
    let chores = office.authority.upkeep(None, &office.policy, now() + days(20)).unwrap();
    let until = list.next_update;
    assert!(chores.contains(&Chore::Needed { need: Need::SignList, until }), "{chores:?}");
    assert_eq!(office.needs(now() + days(20)), [Need::SignList, Need::RenewResponder]);
    let words = chores[0].to_string();
    assert!(words.contains("postern ca crl --sign"), "{words}");
}

#[test]
fn the_ends_of_the_authorities_are_seen_coming() {
    let office = office(Shape::WithIntermediate);
    let authorities = |at| {
        let mut needs = office.needs(at);
        needs.retain(|need| matches!(need, Need::RenewIntermediate | Need::ReplaceRoot));
        needs
    };
    assert_eq!(authorities(now() + days(900)), []);
    assert_eq!(authorities(now() + days(950)), [Need::RenewIntermediate]);
    assert_eq!(authorities(now() + days(3500)), [Need::RenewIntermediate, Need::ReplaceRoot]);
}
