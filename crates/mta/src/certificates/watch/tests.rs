//! Files that come, change, break and go, one look after the other. Nothing waits: each look is a call.

use std::os::unix::fs::PermissionsExt as _;

use postern_pki::{About, KeyKind, Origin, PrivateKey};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::config::{File, Surroundings};

const HOST: &str = "mail.example.org";

struct Lab {
    folder: TempDir,
    watch: Watch,
    now: Timestamp,
    config: Config,
}

/// A certificate and its key in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, key: key.serialize_pem() }
    }
}

impl Lab {
    /// With these sections; `DIR` stands for the folder.
    fn new(sections: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), sections);
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        Self { folder, watch: Watch::default(), now, config }
    }

    /// With an identity in files, and one look at a good pair.
    fn with_files() -> Self {
        let mut lab = Self::new(FILES);
        lab.put(&Pair::new(HOST));
        let looked = lab.look();
        assert_eq!((looked.identities.len(), looked.change, alarms(&looked).len()), (1, Change::Some, 0));
        lab
    }

    fn look(&mut self) -> Looked {
        self.watch.look(&self.config, self.now, Look::Routine)
    }

    fn look_at_once(&mut self) -> Looked {
        self.watch.look(&self.config, self.now, Look::AtOnce)
    }

    fn put(&self, pair: &Pair) {
        self.write("mail.pem", &pair.certificate);
        self.write("mail.key", &pair.key);
    }

    /// As careful programs do: a new file takes the place of the old one.
    fn write(&self, name: &str, text: &str) {
        let (path, new) = (self.folder.path().join(name), self.folder.path().join(format!("{name}.new")));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Puts an identity into the certificate store.
    fn install(&self, identity: &str, name: &str) {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let pair = KeyPair::try_from(key.pkcs8()).unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&pair).unwrap().der().clone();
        let about = About { origin: Origin::ByHand, installed: self.now, asked: None };
        let store = IdentityStore::new(&self.config.data_dir);
        store.install(identity, &[certificate], &key, &about).unwrap();
    }

    fn days_pass(&mut self, days: i64) {
        self.now += SignedDuration::from_hours(24 * days);
    }
}

const FILES: &str = "[[tls.identity]]\nname = 'mail'\ncertificate = 'DIR/mail.pem'\nkey = 'DIR/mail.key'\n";

fn config(folder: &Path, sections: &str) -> Config {
    let text = format!(
        "hostname = '{HOST}'\ndata_dir = 'DIR/data'\n[[listener]]\nname = 'mx'\nrole = 'relay'\n\
         bind = ['127.0.0.1:0']\n{sections}"
    );
    let text = text.replace("DIR", folder.to_str().unwrap());
    File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap()
}

fn names(looked: &Looked) -> Vec<&str> {
    looked.identities.iter().map(|identity| identity.name.as_str()).collect()
}

fn alarms(looked: &Looked) -> Vec<String> {
    let alarms = looked.events.iter().filter(|event| matches!(event, Event::Alarm { .. }));
    alarms.map(ToString::to_string).collect()
}

#[test]
fn a_renewed_certificate_is_served_at_the_next_look() {
    let mut lab = Lab::with_files();
    let before = lab.look();
    assert_eq!(before.change, Change::None);
    lab.put(&Pair::new(HOST));
    let after = lab.look();
    assert_eq!(after.change, Change::Some);
    let [Event::IdentityRenewed { identity, fingerprint, .. }] = after.events.as_slice() else {
        panic!("{:?}", after.events)
    };
    assert_eq!((identity.as_str(), fingerprint), ("mail", &after.identities[0].fingerprint_sha256));
    assert_ne!(before.identities[0].fingerprint_sha256, *fingerprint);
    assert_eq!(lab.watch.served()[0].fingerprint.as_ref(), Some(fingerprint));
}

#[test]
fn only_what_changed_is_read_again() {
    let mut lab = Lab::with_files();
    lab.install("shop", "shop.example");
    let before = lab.look();
    assert_eq!(names(&before), ["mail", "shop"]);
    lab.install("shop", "shop.example");
    for looked in [lab.look(), lab.look_at_once()] {
        assert!(Arc::ptr_eq(&before.identities[0], &looked.identities[0]));
        assert!(!Arc::ptr_eq(&before.identities[1], &looked.identities[1]));
    }
}

#[test]
fn files_that_are_touched_and_say_the_same_change_nothing() {
    let mut lab = Lab::new(FILES);
    let pair = Pair::new(HOST);
    lab.put(&pair);
    let before = lab.look();
    lab.put(&pair);
    let after = lab.look();
    assert_eq!((after.change, after.events.len()), (Change::None, 0));
    assert!(Arc::ptr_eq(&before.identities[0], &after.identities[0]));
}

#[test]
fn a_bad_new_file_leaves_the_good_old_one_in_service_with_one_alarm() {
    let mut lab = Lab::with_files();
    let good = Pair::new(HOST);
    lab.put(&good);
    let before = lab.look();
    lab.write("mail.pem", "garbage");
    for _ in 0..PATIENCE {
        let looked = lab.look();
        assert!(Arc::ptr_eq(&before.identities[0], &looked.identities[0]));
        assert_eq!((looked.change, looked.events.len()), (Change::None, 0));
    }
    let told = lab.look();
    assert_eq!(told.change, Change::None);
    let [alarm] = alarms(&told).try_into().unwrap();
    assert!(alarm.contains("its new files cannot be used") && alarm.contains("mail.pem"), "{alarm}");
    assert!(alarm.contains("the certificate before them is served"), "{alarm}");
    assert!((0..5).all(|_| lab.look().events.is_empty()), "it is said once");
    let trouble = lab.watch.served().remove(0).trouble.unwrap();
    assert!(trouble.contains("not a PEM file"), "{trouble}");

    lab.write("mail.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let said: Vec<_> = (0..5).flat_map(|_| alarms(&lab.look())).collect();
    assert_eq!(said.len(), 1, "another trouble is another alarm: {said:?}");

    lab.write("mail.pem", &good.certificate);
    let mended = lab.look();
    assert!(matches!(mended.events.as_slice(), [Event::IdentityMended { .. }]), "{:?}", mended.events);
    assert!(Arc::ptr_eq(&before.identities[0], &mended.identities[0]));
    assert_eq!(lab.watch.served()[0].trouble, None);
}

#[test]
fn a_pair_that_is_replaced_file_by_file_is_no_alarm() {
    let mut lab = Lab::with_files();
    let new = Pair::new(HOST);
    lab.write("mail.pem", &new.certificate);
    let between = lab.look();
    assert_eq!((between.change, between.events.len()), (Change::None, 0));
    lab.write("mail.key", &new.key);
    let after = lab.look();
    assert!(matches!(after.events.as_slice(), [Event::IdentityRenewed { .. }]), "{:?}", after.events);
}

#[test]
fn who_asks_for_a_look_is_told_at_once_and_each_time() {
    let mut lab = Lab::with_files();
    fs::remove_file(lab.folder.path().join("mail.key")).unwrap();
    for _ in 0..2 {
        let looked = lab.look_at_once();
        assert_eq!((names(&looked), alarms(&looked).len()), (vec!["mail"], 1));
    }
    assert!(lab.look().events.is_empty());
}

#[test]
fn an_identity_that_never_was_good_is_an_alarm_at_the_first_look() {
    let mut lab = Lab::new(FILES);
    let looked = lab.look();
    let said = alarms(&looked);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("a TLS identity cannot be used") && said[0].contains("mail.pem"), "{said:?}");
    assert_eq!(names(&looked), [AUTOMATIC], "the private CA stands in");
    assert!(lab.look().events.is_empty());
}

#[test]
fn an_identity_that_waits_for_its_first_certificate_says_what_to_do() {
    let said = |keys: &str| {
        let mut lab = Lab::new(&format!("[[tls.identity]]\nname = 'mail'\n{keys}"));
        alarms(&lab.look())
    };
    let by_hand = said("");
    assert_eq!(by_hand.len(), 1, "{by_hand:?}");
    assert!(by_hand[0].contains("postern cert request --identity mail"), "{by_hand:?}");
}

#[test]
fn what_lies_in_the_store_is_served_by_name_behind_what_is_listed_until_it_is_removed() {
    let mut lab = Lab::with_files();
    for identity in ["zoo", "art"] {
        lab.install(identity, &format!("{identity}.example"));
    }
    let looked = lab.look();
    assert_eq!(names(&looked), ["mail", "art", "zoo"]);
    let said: Vec<String> = looked.events.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("art: its certificate for art.example is served from now on"), "{said:?}");
    IdentityStore::new(&lab.config.data_dir).remove("art").unwrap();
    let looked = lab.look();
    assert_eq!((names(&looked), looked.change), (vec!["mail", "zoo"], Change::Some));
    let [Event::IdentityRemoved { identity, .. }] = looked.events.as_slice() else {
        panic!("{:?}", looked.events)
    };
    assert_eq!(identity, "art");
}

#[test]
fn the_private_ca_stands_in_only_where_nobody_bears_the_host_name() {
    let mut lab = Lab::new("");
    lab.install("shop", "shop.example");
    let without = lab.look();
    assert_eq!(names(&without), ["shop", AUTOMATIC]);
    let standings: Vec<_> = without.identities.iter().map(|identity| identity.standing).collect();
    assert_eq!(standings, [Standing::Chosen, Standing::StandIn]);
    assert!(matches!(without.events.as_slice(), [Event::AuthorityMade { .. }]), "{:?}", without.events);
    assert_eq!(lab.look().change, Change::None);
    lab.install("wild", "*.example.org");
    let with = lab.look();
    assert_eq!((names(&with), with.change), (vec!["shop", "wild"], Change::Some));
    let said: Vec<String> = with.events.iter().map(ToString::to_string).collect();
    assert!(said[1].contains("private-ca: removed"), "{said:?}");

    let mut other = Lab::with_files();
    other.look();
    assert!(!other.config.data_dir.join("ca").exists(), "nothing is made that nobody needs");
}

#[test]
fn the_private_cas_own_certificate_is_renewed_in_time() {
    let mut lab = Lab::new("");
    let first = lab.look();
    lab.days_pass(59);
    assert_eq!(lab.look().change, Change::None);
    lab.days_pass(2);
    let second = lab.look();
    assert_eq!(second.change, Change::Some);
    assert!(first.identities[0].not_after < second.identities[0].not_after);
}

#[test]
fn the_private_ca_issues_into_the_store_and_renews_there_with_the_same_key() {
    let issued =
        |names: &str| format!("[[tls.identity]]\nname = 'own'\nissuer = 'private-ca'\nnames = [{names}]\n");
    let mut lab = Lab::new(&issued(&format!("'{HOST}', '*.shop.example'")));
    let first = lab.look();
    assert_eq!(names(&first), ["own"]);
    assert_eq!(first.identities[0].names, [HOST, "*.shop.example"]);
    assert_eq!(lab.look_at_once().change, Change::None, "it is issued once");
    let key = |lab: &Lab| IdentityStore::new(&lab.config.data_dir).read("own").unwrap().key.spki();
    let before = key(&lab);
    lab.days_pass(61);
    let renewed = lab.look();
    assert!(matches!(renewed.events.as_slice(), [Event::IdentityRenewed { .. }]), "{:?}", renewed.events);
    assert_eq!(key(&lab), before, "a pinned key stays");

    lab.config = config(lab.folder.path(), &issued(&format!("'{HOST}'")));
    let renamed = lab.look_at_once();
    assert_eq!(renamed.identities[0].names, [HOST]);
    let kinds = format!("{}key_type = 'ecdsa-p384'\n", issued(&format!("'{HOST}'")));
    lab.config = config(lab.folder.path(), &kinds);
    assert_eq!(lab.look_at_once().change, Change::Some);
    assert_ne!(key(&lab), before, "another kind is another key");
}

#[test]
fn what_the_private_ca_issued_once_is_renewed_there_though_the_configuration_does_not_say_so() {
    let mut lab = Lab::new("[[tls.identity]]\nname = 'own'\nissuer = 'private-ca'\n");
    let first = lab.look();
    lab.config = config(lab.folder.path(), "");
    assert_eq!(names(&lab.look_at_once()), ["own"]);
    lab.days_pass(61);
    let renewed = lab.look();
    assert!(first.identities[0].not_after < renewed.identities[0].not_after, "{:?}", renewed.events);
    // A certificate that somebody brought is left to him.
    lab.install("other", "other.example.org");
    let before = IdentityStore::new(&lab.config.data_dir).read("other").unwrap().chain;
    lab.days_pass(61);
    lab.look_at_once();
    assert_eq!(IdentityStore::new(&lab.config.data_dir).read("other").unwrap().chain, before);
}

#[test]
fn without_an_authority_nothing_is_made() {
    let mut lab = Lab::new("[[tls.identity]]\nname = 'own'\nissuer = 'private-ca'\n");
    let looked = lab.watch.look_without_authority(&lab.config, lab.now);
    assert!(looked.identities.is_empty());
    assert!(!lab.config.data_dir.exists());
}
