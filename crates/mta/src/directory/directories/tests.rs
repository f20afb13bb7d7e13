use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use async_trait::async_trait;
use postern_smtp::sasl::ScramKey;

use super::*;
use crate::directory::{Abilities, Error};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// A directory as a test wants it.
#[derive(Debug, Default)]
struct Scripted {
    /// Name, and password.
    people: Mutex<BTreeMap<&'static str, &'static str>>,
    asked: Mutex<Vec<&'static str>>,
    is_down: Mutex<bool>,
}

impl Scripted {
    fn ask(&self, how: &'static str) -> Result<(), Denied> {
        self.asked.lock().unwrap().push(how);
        if *self.is_down.lock().unwrap() { Err(Denied::Unavailable("no answer".to_owned())) } else { Ok(()) }
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Directory for Scripted {
    fn abilities(&self) -> Abilities {
        Abilities { passwords: true, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        self.ask("password")?;
        match self.people.lock().unwrap().get(login.local()) {
            None => Err(Denied::Refused(Why::UnknownUser)),
            Some(right) if password.expose() == right.as_bytes() => {
                Ok(Principal::named(login.local(), Vec::new()))
            }
            Some(_) => Err(Denied::Refused(Why::WrongPassword)),
        }
    }

    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        self.ask("look-up")?;
        let known = self.people.lock().unwrap().contains_key(login.local());
        Ok(known.then(|| Principal::named(login.local(), Vec::new())))
    }
}

/// A directory that takes anybody by the name that he says.
#[derive(Debug)]
struct Gullible;

#[async_trait]
impl Directory for Gullible {
    fn abilities(&self) -> Abilities {
        Abilities { passwords: true, names: Names::Taken, ..Abilities::default() }
    }

    async fn by_password(&self, _login: &Login, _password: &Secret) -> Result<Principal, Denied> {
        Err(Denied::Refused(Why::WrongPassword))
    }
}

struct House {
    users: Users,
    corp: Arc<Scripted>,
    directories: Directories,
    _folder: tempfile::TempDir,
}

/// Our own users, among them olga, and a directory `corp` that knows carl.
fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(folder.path()).unwrap();
    users.add("olga", &Secret::new("own"), &[]).unwrap();
    let corp = Arc::new(Scripted::default());
    corp.people.lock().unwrap().insert("carl", "corporate");
    let other: Arc<dyn Directory> = corp.clone();
    let directories = Directories::of_users_and(&users, [("corp", other)]).unwrap();
    House { users, corp, directories, _folder: folder }
}

impl House {
    async fn sign_in(&self, user: &str, password: &Secret) -> Result<Principal, Denied> {
        let password = password.clone();
        let credential = Credential::Password { user: user.to_owned(), password, acting_as: None };
        self.directories.by_credential(&credential, CLIENT).await
    }
}

#[tokio::test]
async fn an_app_password_of_somebody_elsewhere_counts_while_his_directory_knows_him() {
    let house = house();
    let app = house.users.add_app_password(["corp", "carl"], "phone", &[]).unwrap();
    let principal = house.sign_in("Carl@example.org", &app).await.unwrap();
    assert_eq!((principal.name.as_str(), principal.directory.as_str()), ("carl", "corp"));
    assert_eq!(principal.app_password.unwrap().name, "phone");
    assert_eq!(
        house.corp.asked(),
        ["look-up"],
        "his directory is asked who he is, and never for the password"
    );
    assert!(house.sign_in("olga", &app).await.is_err(), "it is carl's");
    assert!(house.sign_in("carla", &app).await.is_err());
    house.corp.people.lock().unwrap().clear();
    house.corp.asked();
    let denied = house.sign_in("carl", &app).await.unwrap_err();
    assert!(matches!(denied, Denied::Refused(_)), "who is removed there is out here too: {denied:?}");
}

#[tokio::test]
async fn an_app_password_that_was_removed_counts_for_nothing_whatever_is_remembered() {
    let house = house();
    let app = house.users.add_app_password(["corp", "carl"], "phone", &[]).unwrap();
    house.sign_in("carl", &app).await.unwrap();
    *house.corp.is_down.lock().unwrap() = true;
    house.sign_in("carl", &app).await.unwrap();
    house.users.remove_app_password(["corp", "carl"], "phone").unwrap();
    let denied = house.sign_in("carl", &app).await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(_)), "{denied:?}");
    *house.corp.is_down.lock().unwrap() = false;
    assert_eq!(house.sign_in("carl", &app).await, Err(Denied::Refused(Why::WrongPassword)));
}

#[tokio::test]
async fn a_directory_that_is_down_is_no_wrong_app_password() {
    let house = house();
    let app = house.users.add_app_password(["corp", "carl"], "phone", &[]).unwrap();
    *house.corp.is_down.lock().unwrap() = true;
    let denied = house.sign_in("carl", &app).await.unwrap_err();
    assert!(matches!(&denied, Denied::Unavailable(why) if why.contains("corp")), "{denied:?}");
}

#[tokio::test]
async fn what_is_remembered_of_an_app_password_is_no_main_password() {
    let house = house();
    let app = house.users.add_app_password(["corp", "carl"], "phone", &[]).unwrap();
    house.sign_in("carl", &Secret::new("corporate")).await.unwrap();
    house.sign_in("carl", &app).await.unwrap();
    house.users.remove_app_password(["corp", "carl"], "phone").unwrap();
    assert_eq!(house.sign_in("carl", &app).await, Err(Denied::Refused(Why::WrongPassword)));
}

#[tokio::test]
async fn scram_is_not_announced_beside_a_directory_that_wants_passwords_unless_it_is_listed() {
    let mut house = house();
    assert_eq!(house.directories.mechanisms(), [Mechanism::Plain, Mechanism::Login, Mechanism::External]);
    house.directories.offered = Some(vec![Mechanism::ScramSha256, Mechanism::Plain]);
    assert_eq!(house.directories.mechanisms(), [Mechanism::ScramSha256, Mechanism::Plain]);
    house.directories.sources.remove(0);
    assert_eq!(house.directories.mechanisms(), [Mechanism::Plain], "nobody could use what nobody can judge");
}

#[tokio::test]
async fn nobody_is_told_apart_by_his_salt_even_where_no_name_is_usable() {
    let house = house();
    let salt = async |name: &str| house.directories.scram_keys(name, ScramHash::Sha256).await.unwrap().salt;
    assert_eq!(salt("nobody").await, salt("nobody").await);
    assert_ne!(salt("nobody").await, salt("somebody").await);
    assert_eq!(salt(" \u{7}").await.len(), 16);
}

/// A [`house`] in which a directory that takes any name is asked before all others.
fn house_behind_a_gullible_one() -> House {
    let mut house = house();
    let pam = Source { name: "pam".to_owned(), directory: Arc::new(Gullible), ..Source::own(&house.users) };
    house.directories.sources.insert(0, pam);
    house
}

#[tokio::test]
async fn a_name_is_taken_as_it_stands_only_after_all_that_know_names_have_said_no() {
    let house = house_behind_a_gullible_one();
    let directory = async |name: &str| {
        let found = house.directories.look_up(&Login::new(name).unwrap()).await;
        found.map(|found| found.map(|principal| principal.directory))
    };
    assert_eq!(directory("olga").await, Ok(Some("users".to_owned())));
    assert_eq!(directory("carl").await, Ok(Some("corp".to_owned())));
    assert_eq!(directory("paul").await, Ok(Some("pam".to_owned())), "nobody else has him");
    *house.corp.is_down.lock().unwrap() = true;
    let denied = directory("carl").await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(_)), "nobody is given somebody else's name: {denied:?}");
}

#[tokio::test]
async fn an_app_password_is_judged_by_the_directory_that_it_was_made_for() {
    let house = house_behind_a_gullible_one();
    let [of_corp, of_pam] = [["corp", "carl"], ["pam", "carl"]]
        .map(|owner| house.users.add_app_password(owner, "phone", &[]).unwrap());
    assert_eq!(house.sign_in("carl", &of_corp).await.unwrap().directory, "corp");
    house.corp.asked();
    assert_eq!(house.sign_in("carl", &of_pam).await.unwrap().directory, "pam");
    assert!(house.corp.asked().is_empty(), "it has nothing to do with it");
}

#[tokio::test]
async fn a_directory_that_takes_any_name_owns_no_address_in_a_certificate() {
    let mut house = house_behind_a_gullible_one();
    let rule = || vec![AddressRule::parse("{local}@example.org").unwrap()];
    house.directories.sources[0].addresses = rule();
    let by_certificate = async |house: &House, name: &str| {
        house.directories.by_certificate(&[format!("{name}@example.org")], None, CLIENT).await
    };
    assert_eq!(by_certificate(&house, "paul").await, Err(Denied::Refused(Why::CertificateOfNobody)));
    assert_eq!(by_certificate(&house, "carl").await, Err(Denied::Refused(Why::CertificateOfNobody)));
    house.directories.sources[2].addresses = rule();
    assert_eq!(
        by_certificate(&house, "carl").await.unwrap().directory,
        "corp",
        "his rule is as good as ever"
    );
}

/// A directory that knows one token, which is wanda's.
#[derive(Debug)]
struct OneToken;

#[async_trait]
impl Directory for OneToken {
    fn abilities(&self) -> Abilities {
        Abilities { tokens: true, names: Names::Taken, ..Abilities::default() }
    }

    async fn by_password(&self, _login: &Login, _password: &Secret) -> Result<Principal, Denied> {
        Err(Denied::Refused(Why::NotJudgedHere))
    }

    async fn by_token(&self, claimed: Option<&Login>, token: &Secret) -> Result<Principal, Denied> {
        let is_hers = claimed.is_none_or(|login| login.key() == "wanda@example.org");
        if token.expose() != b"right" || !is_hers {
            return Err(Denied::Refused(Why::BadToken("wrong".to_owned())));
        }
        Ok(Principal::named("wanda@example.org", Vec::new()))
    }
}

#[tokio::test]
async fn a_token_that_names_nobody_is_its_owners_within_the_domains_of_the_directory() {
    let mut house = house();
    let idp = Source {
        name: "idp".to_owned(),
        addresses: vec![AddressRule::parse("{login}").unwrap()],
        directory: Arc::new(OneToken),
        ..Source::own(&house.users)
    };
    house.directories.sources.push(idp);
    let ask = async |house: &House, user: &str, token: &str| {
        let token = Secret::new(token);
        let credential = Credential::Token { user: user.to_owned(), token, endpoint: None };
        house.directories.by_credential(&credential, CLIENT).await
    };
    let wanda = ask(&house, "", "right").await.unwrap();
    assert_eq!((wanda.name.as_str(), wanda.directory.as_str()), ("wanda@example.org", "idp"));
    assert_eq!(
        ask(&house, "wanda@example.org", "right").await.unwrap(),
        wanda,
        "as if she had said her name"
    );
    assert!(ask(&house, "", "wrong").await.is_err());
    assert!(ask(&house, "olga", "right").await.is_err(), "a name that is claimed must be hers");
    assert_eq!(ask(&house, " ", "right").await, Err(Denied::Refused(Why::UnusableName)));
    house.directories.sources[2].domains = vec!["other.test".parse().unwrap()];
    let denied = ask(&house, "", "right").await.unwrap_err();
    assert!(matches!(denied, Denied::Refused(Why::BadToken(_))), "{denied:?}");
}

#[test]
fn removing_what_is_not_there_says_so() {
    let house = house();
    let refused = house.users.remove_app_password(["corp", "carl"], "phone");
    assert!(matches!(refused, Err(Error::NoSuchAppPassword { .. })));
}

/// Knows one person, whose password it keeps for SCRAM alone.
#[derive(Debug)]
struct Keeper;

#[async_trait]
impl Directory for Keeper {
    fn abilities(&self) -> Abilities {
        Abilities { passwords: true, scram: vec![ScramHash::Sha256], ..Abilities::default() }
    }

    async fn by_password(&self, _login: &Login, _password: &Secret) -> Result<Principal, Denied> {
        Err(Denied::Refused(Why::WrongPassword))
    }

    async fn scram_keys(&self, login: &Login, hash: ScramHash) -> Result<Option<ScramKeys>, Denied> {
        let key = ScramKey::of(hash, &Secret::new("kept"), b"salt", SCRAM_ITERATIONS, 7).unwrap();
        let keys = ScramKeys { salt: b"salt".to_vec(), iterations: SCRAM_ITERATIONS, keys: vec![key] };
        Ok((login.key() == "carl").then_some(keys))
    }

    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        Ok((login.key() == "carl").then(|| Principal::named("carl", vec!["carl@kept.test".parse().unwrap()])))
    }
}

#[tokio::test]
async fn who_proved_to_know_one_directorys_password_is_that_directorys_person() {
    let House { users, corp, _folder, .. } = house();
    let others: [(_, Arc<dyn Directory>); 2] = [("corp", corp), ("keeper", Arc::new(Keeper))];
    let directories = Directories::of_users_and(&users, others).unwrap();
    let keys = directories.scram_keys("carl", ScramHash::Sha256).await.unwrap();
    let label = keys.keys[0].label;
    let carl = directories.by_scram("carl", label, None, CLIENT).await.unwrap();
    assert_eq!(carl.directory, "keeper", "and not that of the first one who knows the name");
    for other in [7, 0, label ^ (1 << 60)] {
        let answer = directories.by_scram("carl", other, None, CLIENT).await;
        assert_eq!(answer, Err(Denied::Refused(Why::UnknownUser)), "a key of no directory");
    }
}

#[tokio::test]
async fn a_directory_whose_passwords_are_barred_gives_no_keys_for_them() {
    let House { users, _folder, .. } = house();
    let others: [(_, Arc<dyn Directory>); 1] = [("keeper", Arc::new(Keeper))];
    let mut directories = Directories::of_users_and(&users, others).unwrap();
    let label = directories.scram_keys("carl", ScramHash::Sha256).await.unwrap().keys[0].label;
    directories.sources[1].passwords = Passwords::Barred;
    assert!(directories.scram_keys("carl", ScramHash::Sha256).await.unwrap().keys.is_empty());
    assert!(directories.by_scram("carl", label, None, CLIENT).await.is_err(), "nor takes those given before");
}

#[tokio::test]
async fn names_that_are_one_have_one_salt_though_they_are_nobodys() {
    let House { directories, _folder, .. } = house();
    let mut salts = Vec::new();
    for name in ["bob@home.test", "BOB@home.test", "\"bob\"@home.test"] {
        salts.push(directories.scram_keys(name, ScramHash::Sha256).await.unwrap().salt);
    }
    assert!(salts.iter().all(|salt| *salt == salts[0]), "{salts:?}");
}

#[tokio::test]
async fn anothers_app_password_is_no_bridge_to_somebody_who_is_remembered() {
    let house = house();
    house.corp.people.lock().unwrap().insert("dora", "other");
    let carls = house.users.add_app_password(["corp", "carl"], "phone", &[]).unwrap();
    let doras = house.users.add_app_password(["corp", "dora"], "phone", &[]).unwrap();
    house.sign_in("carl", &carls).await.unwrap();
    assert!(house.sign_in("carl", &doras).await.is_err(), "it is not his");
    *house.corp.is_down.lock().unwrap() = true;
    assert!(house.sign_in("carl", &doras).await.is_err(), "nor while nobody can be asked");
    assert_eq!(house.sign_in("carl", &carls).await.unwrap().name, "carl", "his own still is");
}
