//! What the private CA needs from time to time: its revocation list and its responder's certificate are signed anew before
//! they end, and it is said what cannot be done without its passphrase.
//!
//! What it deliberately does not do: make a CA where there is none, or speak of its certificates' ends: that is said with
//! those of all others.

use std::sync::Arc;

use jiff::Timestamp;
use postern_pki::ClientCa;
use postern_pki::ca::{Authority, Chore, Need};

use super::Shared;
use crate::authority::{Error, folder, revocation_list, signer, signs_alone};
use crate::config::{ClientCertificates, Config, Listener};
use crate::event::Event;

/// What is to be said of what has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remind {
    /// It has been said today.
    NotAgain,
    /// It is time to say it.
    Now,
}

/// Does what the private CA needs, if there is one.
pub(super) async fn keep(shared: &Shared, remind: Remind) {
    let config = Arc::clone(&shared.site.load().config);
    let kept = tokio::task::spawn_blocking(move || keep_now(&config, remind, Timestamp::now()));
    for event in kept.await.unwrap_or_default() {
        shared.observer.daemon(event);
    }
}

fn keep_now(config: &Config, remind: Remind, now: Timestamp) -> Vec<Event> {
    let folder = folder(config);
    if !Authority::is_in(&folder) {
        return Vec::new();
    }
    let mut events: Vec<Event> = match chores(config, now) {
        Ok(chores) => chores.into_iter().filter_map(|chore| event(chore, remind)).collect(),
        Err(_) if remind == Remind::NotAgain => Vec::new(),
        Err(error) => vec![Event::Alarm {
            what: format!("the private CA cannot be looked after: {error}"),
            remedy: format!("mend what is said of {}; it is tried again each hour", folder.display()),
        }],
    };
    if remind == Remind::Now {
        events.extend(config.listeners.iter().filter_map(|listener| overdue(config, listener, now)));
    }
    events
}

/// A list that is out of date goes on counting, but what was revoked since is not in it.
fn overdue(config: &Config, listener: &Listener, now: Timestamp) -> Option<Event> {
    let (ClientCertificates::Asked(path) | ClientCertificates::Required(path)) =
        &listener.client_certificates
    else {
        return None;
    };
    // That they cannot be loaded has been said.
    let ca = ClientCa::load_with_lists(path, &[revocation_list(config)]).ok()?;
    let list = ca.lists().iter().find(|list| list.is_overdue(now))?;
    let (path, issuer, end) = (list.path.display(), &list.issuer, list.next_update?);
    Some(Event::Alarm {
        what: format!(
            "listener {}: the revocation list {path} of {issuer} was good until {end:.0}: clients whose \
             certificates were revoked since then are let in",
            listener.name
        ),
        remedy: Need::SignList.remedy().to_owned(),
    })
}

fn chores(config: &Config, now: Timestamp) -> Result<Vec<Chore>, Error> {
    let authority = Authority::open(&folder(config), now)?;
    let alone = signs_alone(&authority, config);
    let signer = alone.then(|| signer(&authority, config, None)).transpose()?;
    Ok(authority.upkeep(signer.as_ref(), &config.ca.policy, now)?)
}

fn event(chore: Chore, remind: Remind) -> Option<Event> {
    match chore {
        Chore::Needed { need: need @ (Need::SignList | Need::RenewResponder), .. } => {
            let alarm = Event::Alarm { what: chore.to_string(), remedy: need.remedy().into() };
            (remind == Remind::Now).then_some(alarm)
        }
        Chore::Needed { .. } => None,
        Chore::ListAdopted { .. } => Some(Event::Alarm {
            what: chore.to_string(),
            remedy: "it was taken over, so that they stay revoked; if you have a newer backup of ca/records.db than the one in \
                     place, put it back: certificates that are not on record cannot be revoked"
                .into(),
        }),
        done => Some(Event::AuthorityKept { chore: done.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::SignedDuration;
    use postern_pki::ca::{Init, Locks};
    use postern_pki::{KeyKind, Passphrase, PrivateCa, Subject};

    use super::*;
    use crate::config::{File, Surroundings};

    fn config(folder: &Path, keys: &str) -> Config {
        let listener = "[[listener]]\nname = 'mx'\nrole = 'relay'\nbind = ['127.0.0.1:0']\n";
        let text = format!("hostname = 'mail.example.org'\ndata_dir = {folder:?}\n{listener}{keys}");
        File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap()
    }

    fn days(count: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * count)
    }

    /// A CA whose key is locked.
    fn lock(folder: &Path, config: &Config, now: Timestamp) {
        let init = Init {
            subject: Subject::named("Example CA"),
            key: KeyKind::EcdsaP256,
            life: days(3650),
            intermediate: None,
            passphrase: Some(&Passphrase::new("correct horse".into())),
            locks: Locks::Root,
        };
        Authority::init(&folder.join("ca"), &init, &config.ca.policy, now).unwrap();
    }

    #[test]
    fn where_there_is_no_ca_nothing_is_made_or_said() {
        let folder = tempfile::tempdir().unwrap();
        assert!(keep_now(&config(folder.path(), ""), Remind::Now, Timestamp::now()).is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_open_key_signs_the_list_and_renews_the_responder_by_itself() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        let config = config(folder.path(), "");
        let ca = PrivateCa::open_or_create(&folder.path().join("ca"), "x", now).unwrap();
        let kept = |at| keep_now(&config, Remind::NotAgain, at).len();
        assert_eq!((kept(now), kept(now)), (2, 0));
        assert!(ca.authority().crl_pem_path().exists());
        assert_eq!(kept(now + days(29)), 2);
    }

    #[test]
    fn a_locked_key_is_an_alarm_when_it_is_time_to_say_so_unless_its_passphrase_is_at_hand() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        let plain = config(folder.path(), "");
        lock(folder.path(), &plain, now);
        let later = now + days(29);
        assert!(keep_now(&plain, Remind::NotAgain, later).is_empty());
        let said = keep_now(&plain, Remind::Now, later);
        assert!(matches!(said[..], [Event::Alarm { .. }, Event::Alarm { .. }]), "{said:?}");
        let file = folder.path().join("passphrase");
        std::fs::write(&file, "correct horse\n").unwrap();
        let helped = config(folder.path(), &format!("[ca]\npassphrase_file = {file:?}\n"));
        let kept = keep_now(&helped, Remind::Now, later);
        assert!(matches!(kept[..], [Event::AuthorityKept { .. }, Event::AuthorityKept { .. }]), "{kept:?}");
    }

    #[test]
    fn a_list_that_is_over_is_an_alarm_of_each_listener_that_looks_clients_up_in_it() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        let root = folder.path().join("ca/root.pem");
        let plain = config(folder.path(), "");
        let asking = config(folder.path(), &format!("client_certificates = 'asked'\nclient_ca = {root:?}\n"));
        lock(folder.path(), &plain, now);
        let authority = Authority::open(&super::folder(&plain), now).unwrap();
        let passphrase = Passphrase::new("correct horse".into());
        let signer = authority.signer(Some(&passphrase)).unwrap();
        let list = authority.sign_crl(&signer, &plain.ca.policy, now).unwrap();
        let said = |config: &Config, at| -> Vec<String> {
            let events = keep_now(config, Remind::Now, at);
            events.iter().map(ToString::to_string).filter(|event| event.contains("listener")).collect()
        };
        assert!(said(&asking, now).is_empty());
        let over = list.next_update + days(1);
        assert!(said(&plain, over).is_empty(), "no listener looks into it");
        let [alarm] = said(&asking, over).try_into().unwrap();
        assert!(alarm.contains("listener mx") && alarm.contains("crl.pem"), "{alarm}");
        assert!(alarm.contains("postern ca crl --sign"), "{alarm}");
    }

    #[test]
    fn a_broken_ca_is_an_alarm_that_names_it() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        PrivateCa::open_or_create(&folder.path().join("ca"), "x", now).unwrap();
        std::fs::write(folder.path().join("ca/root.pem"), "rubbish").unwrap();
        let said = keep_now(&config(folder.path(), ""), Remind::Now, now);
        let [Event::Alarm { what, .. }] = &said[..] else { panic!("{said:?}") };
        assert!(what.contains("root.pem"), "{what}");
    }
}
