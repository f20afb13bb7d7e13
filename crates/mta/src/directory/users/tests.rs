use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use tempfile::TempDir;

use postern_smtp::sasl::Credential;

use super::*;
use crate::directory::Directories;
use crate::directory::complaint::Heard;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

struct House {
    folder: TempDir,
    users: Users,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let users = Users::open(folder.path()).unwrap();
    House { folder, users }
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

fn credential(user: &str, password: &str) -> Credential {
    Credential::Password { user: user.to_owned(), password: Secret::new(password), acting_as: None }
}

async fn sign_in(users: &Users, credential: &Credential) -> Result<Principal, Denied> {
    Directories::of_users(users).unwrap().by_credential(credential, CLIENT).await
}

async fn certified(
    users: &Users,
    addresses: &[String],
    acting_as: Option<&str>,
) -> Result<Principal, Denied> {
    Directories::of_users(users).unwrap().by_certificate(addresses, acting_as, CLIENT).await
}

fn is_refused(answer: &Result<Principal, Denied>) -> bool {
    matches!(answer, Err(Denied::Refused(_)))
}

fn with_anna() -> House {
    let house = house();
    let addresses = [mailbox("anna@example.org"), mailbox("info@example.org")];
    house.users.add("Anna", &Secret::new("correct horse"), &addresses).unwrap();
    house
}

#[tokio::test]
async fn the_right_password_signs_in_by_name_in_any_case_and_by_address() {
    let House { users, folder: _folder } = with_anna();
    for name in ["anna", "ANNA", "Anna@Example.ORG", "info@example.org", "\"info\"@example.org"] {
        let principal = sign_in(&users, &credential(name, "correct horse")).await.unwrap();
        assert_eq!(principal.name, "anna");
        assert_eq!(principal.addresses, [mailbox("anna@example.org"), mailbox("info@example.org")]);
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_cost_and_say_the_same() {
    let House { users, folder: _folder } = with_anna();
    let mut costs = Vec::new();
    for name in ["anna", "nobody", "anna@example.org", "nobody@example.org"] {
        let before = users.passwords_worked_out();
        let denied = sign_in(&users, &credential(name, "wrong")).await.unwrap_err();
        assert!(matches!(denied, Denied::Refused(_)), "{denied:?}");
        costs.push(users.passwords_worked_out() - before);
    }
    assert_eq!(costs, [1, 1, 1, 1], "argon2 is worked out exactly once, whoever is asked for");
}

#[tokio::test]
async fn many_sessions_of_one_sender_work_the_password_out_once() {
    let House { users, folder: _folder } = with_anna();
    let before = users.passwords_worked_out();
    for _ in 0..20 {
        sign_in(&users, &credential("anna", "correct horse")).await.unwrap();
    }
    assert_eq!(users.passwords_worked_out() - before, 1);
    sign_in(&users, &credential("anna", "wrong")).await.unwrap_err();
    assert_eq!(users.passwords_worked_out() - before, 2, "a wrong password is never taken from memory");
}

#[tokio::test]
async fn a_password_changed_by_the_command_line_is_in_force_at_once_in_the_daemon() {
    let House { users: daemon, folder } = with_anna();
    sign_in(&daemon, &credential("anna", "correct horse")).await.unwrap();
    let command_line = Users::open(folder.path()).unwrap();
    command_line.set_password("ANNA", &Secret::new("battery staple")).unwrap();
    assert!(is_refused(&sign_in(&daemon, &credential("anna", "correct horse")).await));
    sign_in(&daemon, &credential("anna", "battery staple")).await.unwrap();
    command_line.remove("anna").unwrap();
    assert!(is_refused(&sign_in(&daemon, &credential("anna", "battery staple")).await));
}

#[tokio::test]
async fn nobody_acts_for_somebody_else() {
    let House { users, folder: _folder } = with_anna();
    users.add("bert", &Secret::new("pw"), &[]).unwrap();
    let acting_as = |other: &str| Credential::Password {
        user: "anna".to_owned(),
        password: Secret::new("correct horse"),
        acting_as: Some(other.to_owned()),
    };
    assert!(is_refused(&sign_in(&users, &acting_as("bert")).await));
    assert_eq!(sign_in(&users, &acting_as("Anna@example.org")).await.unwrap().name, "anna");
}

#[tokio::test]
async fn a_broken_database_is_not_a_wrong_password() {
    let House { users, folder } = with_anna();
    let other = Connection::open(folder.path().join("users.db")).unwrap();
    other.execute_batch("ALTER TABLE users RENAME TO gone").unwrap();
    let denied = sign_in(&users, &credential("anna", "correct horse")).await.unwrap_err();
    assert!(matches!(&denied, Denied::Unavailable(reason) if reason.contains("users.db")), "{denied:?}");
    let denied = sign_in(&users, &credential("nobody", "x")).await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(_)), "unknown names are treated the same");
}

#[test]
fn an_address_belongs_to_one_user_only() {
    let House { users, folder: _folder } = with_anna();
    let error = users.add("bert", &Secret::new("pw"), &[mailbox("INFO@Example.org")]).unwrap_err();
    assert!(error.to_string().contains("belongs to the user anna already"), "{error}");
    assert!(matches!(users.show("bert"), Err(Error::NoSuchUser { .. })), "nothing of a refused user stays");
    users.add("bert", &Secret::new("pw"), &[]).unwrap();
    let error = users.add_address("bert", &mailbox("anna@example.org")).unwrap_err();
    assert!(matches!(error, Error::AddressTaken { .. }), "{error}");
}

#[test]
fn a_name_cannot_shadow_somebody_elses_address_nor_the_other_way_round() {
    let House { users, folder: _folder } = with_anna();
    let error = users.add("Info@example.ORG", &Secret::new("pw"), &[]).unwrap_err();
    assert!(matches!(error, Error::AddressTaken { .. }), "{error}");
    users.add("carl@example.org", &Secret::new("pw"), &[mailbox("carl@example.org")]).unwrap();
    users.add("dora@example.org", &Secret::new("pw"), &[]).unwrap();
    let error = users.add_address("anna", &mailbox("dora@example.org")).unwrap_err();
    assert!(matches!(error, Error::AddressIsName { .. }), "{error}");
}

#[test]
fn a_name_is_taken_in_any_case() {
    let House { users, folder: _folder } = with_anna();
    let error = users.add("ANNA", &Secret::new("pw"), &[]).unwrap_err();
    assert!(matches!(error, Error::UserExists { .. }), "{error}");
}

#[test]
fn addresses_come_and_go() {
    let House { users, folder: _folder } = with_anna();
    users.add_address("anna", &mailbox("Sales@example.org")).unwrap();
    users.add_address("anna", &mailbox("sales@example.org")).unwrap();
    users.remove_address("anna", &mailbox("INFO@example.org")).unwrap();
    assert_eq!(
        users.show("Anna").unwrap().addresses,
        [mailbox("anna@example.org"), mailbox("Sales@example.org")]
    );
    assert!(users.is_recipient(&mailbox("sales@EXAMPLE.org")).unwrap());
    assert!(!users.is_recipient(&mailbox("info@example.org")).unwrap());
    let error = users.remove_address("anna", &mailbox("info@example.org")).unwrap_err();
    assert_eq!(error.to_string(), "info@example.org is not an address of anna");
}

#[test]
fn a_removed_users_addresses_are_free_again() {
    let House { users, folder: _folder } = with_anna();
    users.remove("anna").unwrap();
    assert!(!users.is_recipient(&mailbox("anna@example.org")).unwrap());
    users.add("bert", &Secret::new("pw"), &[mailbox("anna@example.org")]).unwrap();
    assert_eq!(users.list().unwrap().len(), 1);
}

#[test]
fn whoever_does_not_exist_cannot_be_changed() {
    let House { users, folder: _folder } = house();
    let results = [
        users.remove("nobody"),
        users.set_password("nobody", &Secret::new("pw")),
        users.add_address("nobody", &mailbox("a@example.org")),
        users.show("nobody").map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::NoSuchUser { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn unusable_names_and_passwords_are_refused_everywhere() {
    let House { users, folder: _folder } = with_anna();
    let long = "x".repeat(2000);
    for name in ["", " anna", "an\0na", "an\nna", long.as_str()] {
        assert!(
            matches!(users.add(name, &Secret::new("pw"), &[]), Err(Error::UnusableName { .. })),
            "{name:?}"
        );
        assert!(is_refused(&sign_in(&users, &credential(name, "pw")).await));
    }
    for password in ["", "a\0b", "a\rb", long.as_str()] {
        let result = users.set_password("anna", &Secret::new(password));
        assert!(matches!(result, Err(Error::UnusablePassword { .. })), "{result:?}");
        assert!(is_refused(&sign_in(&users, &credential("anna", password)).await));
    }
    assert_eq!(users.passwords_worked_out(), 1, "no work is wasted on what cannot be right");
}

#[test]
fn a_principal_owns_his_addresses_in_any_case_and_with_details() {
    let addresses = vec![mailbox("anna@example.org"), mailbox("a+b@example.org")];
    let principal = Principal::named("anna", addresses);
    let owns = |address: &str, delimiter| principal.owns(&mailbox(address), delimiter);
    assert!(owns("Anna@Example.ORG", None));
    assert!(owns("\"anna\"@example.org", None));
    assert!(owns("anna+lists@example.org", Some('+')));
    assert!(owns("a+b@example.org", Some('+')) && owns("a+b@example.org", None));
    assert!(!owns("anna+lists@example.org", None));
    assert!(!owns("anna+lists@example.org", Some('-')));
    assert!(!owns("anna@example.net", Some('+')));
    assert!(!owns("a+c@example.org", Some('+')));
    assert!(!owns("+anna@example.org", Some('+')));
}

#[test]
fn both_spellings_of_a_domain_are_one() {
    let House { users, folder: _folder } = house();
    users.add("jürgen", &Secret::new("pw"), &[mailbox("info@bücher.example")]).unwrap();
    assert!(users.is_recipient(&mailbox("info@xn--bcher-kva.example")).unwrap());
    assert_eq!(users.show("JÜRGEN").unwrap().name, "jürgen");
}

#[test]
fn the_file_is_for_its_owner_alone_and_survives_reopening() {
    let House { users, folder } = with_anna();
    for name in ["users.db", "users.db-wal", "users.db-shm"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(users);
    let text = std::fs::read(folder.path().join("users.db")).unwrap();
    assert!(!text.windows(13).any(|window| window == b"correct horse"), "the password itself is nowhere");
    assert_eq!(Users::open(folder.path()).unwrap().list().unwrap()[0].name, "anna");
}

#[test]
fn a_file_that_others_could_read_is_narrowed() {
    let House { users, folder } = house();
    std::fs::set_permissions(users.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    Users::open(folder.path()).unwrap();
    assert_eq!(std::fs::metadata(users.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_no_database_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let garbage = "not a database at all. ".repeat(100);
    std::fs::write(&path, &garbage).unwrap();
    let error = Users::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains("users.db"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), garbage);
}

#[test]
fn a_newer_format_is_refused() {
    let House { users, folder } = house();
    let other = Connection::open(users.path()).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    let error = Users::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::TooNew { found: 99, known: 2, .. }), "{error}");
}

#[test]
fn another_programs_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = Connection::open(folder.path().join("users.db")).unwrap();
    other.execute_batch("PRAGMA user_version = 7; CREATE TABLE theirs (x)").unwrap();
    let error = Users::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

fn addresses(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_certificate_is_of_the_one_user_who_owns_its_addresses() {
    let House { users, folder: _folder } = with_anna();
    for borne in [
        &["anna@example.org"][..],
        &["Anna@Example.ORG"],
        &["anna@example.org", "info@example.org"],
        &["nobody@elsewhere.example", "not an address", "info@example.org"],
    ] {
        let principal = certified(&users, &addresses(borne), None).await.unwrap();
        assert_eq!(principal.name, "anna", "{borne:?}");
    }
    for borne in
        [&[][..], &["nobody@example.org"], &["anna"], &["anna+lists@example.org"], &["*@example.org"]]
    {
        let denied = certified(&users, &addresses(borne), None).await;
        assert!(is_refused(&denied), "{borne:?}");
    }
    assert_eq!(users.passwords_worked_out(), 1, "only for adding her: no password is asked here");
}

#[tokio::test]
async fn a_certificate_with_the_addresses_of_two_users_is_nobodys() {
    let House { users, folder: _folder } = with_anna();
    users.add("bob", &Secret::new("battery staple"), &[mailbox("bob@example.org")]).unwrap();
    let both = addresses(&["anna@example.org", "bob@example.org"]);
    for acting_as in [None, Some("anna"), Some("bob")] {
        assert!(is_refused(&certified(&users, &both, acting_as).await));
    }
}

#[tokio::test]
async fn a_certificates_user_acts_for_himself_alone() {
    let House { users, folder: _folder } = with_anna();
    users.add("bob", &Secret::new("battery staple"), &[mailbox("bob@example.org")]).unwrap();
    let annas = addresses(&["anna@example.org"]);
    for own in [None, Some("anna"), Some("ANNA"), Some("info@example.org")] {
        assert_eq!(certified(&users, &annas, own).await.unwrap().name, "anna", "{own:?}");
    }
    for other in ["bob", "bob@example.org", "nobody", ""] {
        assert!(is_refused(&certified(&users, &annas, Some(other)).await), "{other:?}");
    }
}

/// A user's name may look like an address; whose address it is, the list of addresses says.
#[tokio::test]
async fn a_user_who_is_only_called_like_the_address_does_not_own_the_certificate() {
    let House { users, folder: _folder } = house();
    users.add("carl@example.org", &Secret::new("battery staple"), &[]).unwrap();
    let denied = certified(&users, &addresses(&["carl@example.org"]), None).await;
    assert!(is_refused(&denied));
}

const BY_MAIN: u64 = MAIN;

fn login(name: &str) -> Login {
    Login::new(name).unwrap()
}

async fn keys_of(users: &Users, name: &str) -> ScramKeys {
    let mut keys = Directories::of_users(users).unwrap().scram_keys(name, ScramHash::Sha256).await.unwrap();
    // As the directory itself numbers them: without the mark that tells it from others.
    keys.keys.iter_mut().for_each(|key| key.label &= (1 << 48) - 1);
    keys
}

/// Waits for what is done behind a sign-in.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_mins(1), "waited in vain for {what}");
        tokio::task::yield_now().await;
    }
}

/// A file as Postern wrote it before there were keys for SCRAM: anna, whose password is `correct horse`, and
/// bert@example.org, whose password is `battery staple`.
fn from_before() -> House {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users.db"), include_bytes!("format-1.db")).unwrap();
    let users = Users::open(folder.path()).unwrap();
    House { folder, users }
}

#[tokio::test]
async fn a_file_from_before_is_taken_over_with_all_that_is_in_it() {
    let House { users, folder } = from_before();
    let anna = users.show("anna").unwrap();
    assert_eq!(anna.addresses, [mailbox("anna@example.org"), mailbox("info@example.org")]);
    assert_eq!((anna.standing, anna.main_password), (Standing::Enabled, MainPassword::Allowed));
    assert_eq!((anna.scram, anna.last_sign_in), (ScramState::AtNextSignIn, None));
    assert_eq!(anna.created.as_second(), 1_795_295_961);
    sign_in(&users, &credential("bert@example.org", "battery staple")).await.unwrap();
    assert!(is_refused(&sign_in(&users, &credential("anna", "battery staple")).await));
    let salt = keys_of(&users, "anna").await.salt;
    drop(users);
    let again = Users::open(folder.path()).unwrap();
    assert_eq!(keys_of(&again, "anna").await.salt, salt, "nothing is made anew the second time");
}

#[tokio::test]
async fn scram_is_announced_once_nobody_lacks_keys_any_more() {
    let House { users, folder: _folder } = from_before();
    assert_eq!(users.abilities().scram, []);
    assert_eq!(keys_of(&users, "anna").await.keys, []);
    sign_in(&users, &credential("anna", "correct horse")).await.unwrap();
    eventually("anna's keys", || users.show("anna").unwrap().scram == ScramState::Ready).await;
    assert_eq!(users.abilities().scram, [], "bert has none yet");
    sign_in(&users, &credential("bert@example.org", "battery staple")).await.unwrap();
    eventually("bert's keys", || users.abilities().scram == [ScramHash::Sha256]).await;
    let kept = keys_of(&users, "info@example.org").await;
    let made = users.database.account("anna").unwrap().unwrap().kept;
    let fresh = Keys::of(&Secret::new("correct horse"), &kept.salt, kept.iterations, &[ScramHash::Sha256]);
    assert_eq!(made.keys.sha256, fresh.sha256, "they are of the password that he signed in with");
}

#[tokio::test]
async fn that_keys_cannot_be_stored_is_told_once_and_keeps_nobody_out() {
    let House { users, folder: _folder } = from_before();
    let heard = Heard::default();
    users.tell(&heard.observer());
    let closed = "CREATE TRIGGER closed BEFORE UPDATE OF sha256 ON users BEGIN SELECT raise(FAIL, 'no'); END";
    rusqlite::Connection::open(users.path()).unwrap().execute_batch(closed).unwrap();
    for (name, password) in [("anna", "correct horse"), ("bert@example.org", "battery staple")] {
        sign_in(&users, &credential(name, password)).await.unwrap();
        eventually("the work to end", || users.scram.busy.lock().unwrap().is_empty()).await;
    }
    let told = heard.taken();
    assert!(matches!(&told[..], [told] if told.contains("keys for SCRAM")), "{told:?}");
}

#[tokio::test]
async fn whoever_cannot_use_scram_anyway_keeps_nobody_from_it() {
    let House { users, folder: _folder } = from_before();
    users.set_standing("anna", Standing::Disabled).unwrap();
    users.set_main_password("bert@example.org", MainPassword::Barred).unwrap();
    assert_eq!(users.abilities().scram, [ScramHash::Sha256]);
}

#[tokio::test]
async fn a_wrong_password_gives_nobody_keys() {
    let House { users, folder: _folder } = from_before();
    sign_in(&users, &credential("anna", "wrong")).await.unwrap_err();
    assert!(users.scram.busy.lock().unwrap().is_empty());
    assert_eq!(users.show("anna").unwrap().scram, ScramState::AtNextSignIn);
}

#[tokio::test]
async fn keys_that_come_too_late_for_a_changed_password_are_not_kept() {
    let House { users, folder: _folder } = from_before();
    let before = users.database.account("anna").unwrap().unwrap();
    users.set_password("anna", &Secret::new("tr0ubador")).unwrap();
    let after = keys_of(&users, "anna").await;
    let late = users.keys(&Secret::new("correct horse"), &before);
    users.database.add_keys(&before, &late).unwrap();
    assert_eq!(keys_of(&users, "anna").await, after);
}

#[tokio::test]
async fn keys_for_sha1_are_kept_only_while_it_is_switched_on() {
    let House { users, folder: _folder } = with_anna();
    assert_eq!(users.abilities().scram, [ScramHash::Sha256]);
    users.keep_sha1(true);
    assert_eq!(users.abilities().scram, [ScramHash::Sha256], "anna has none for SHA-1");
    sign_in(&users, &credential("anna", "correct horse")).await.unwrap();
    eventually("anna's keys", || users.abilities().scram.contains(&ScramHash::Sha1)).await;
    assert_eq!(users.scram_keys(&login("anna"), ScramHash::Sha1).await.unwrap().unwrap().keys.len(), 1);
}

#[tokio::test]
async fn nobodys_salt_outlives_a_restart_and_a_name_and_its_address_share_theirs() {
    let House { users, folder } = with_anna();
    let nobody = keys_of(&users, "nobody").await;
    assert_eq!((nobody.salt.len(), nobody.iterations, nobody.keys.len()), (16, SCRAM_ITERATIONS, 0));
    assert_eq!(keys_of(&users, "NOBODY@example.org").await.salt, nobody.salt);
    let anna = keys_of(&users, "anna").await;
    assert_eq!((anna.salt.len(), anna.iterations, anna.keys.len()), (16, SCRAM_ITERATIONS, 1));
    assert_eq!(keys_of(&users, "anna@example.org").await, anna);
    drop(users);
    let again = Users::open(folder.path()).unwrap();
    assert_eq!(keys_of(&again, "nobody").await, nobody);
    again.remove("anna").unwrap();
    assert_eq!(keys_of(&again, "anna").await.salt, anna.salt, "nobody sees that she has gone");
}

#[tokio::test]
async fn a_disabled_user_signs_in_by_nothing_and_still_gets_mail() {
    let House { users, folder: _folder } = with_anna();
    let app = users.add_app_password([NAME, "anna"], "phone", &[]).unwrap();
    users.set_standing("ANNA", Standing::Disabled).unwrap();
    let disabled = Err(Denied::Refused(Why::Disabled));
    assert_eq!(sign_in(&users, &credential("anna", "correct horse")).await, disabled);
    assert_eq!(sign_in(&users, &credential("anna", app.expose_str().unwrap())).await, disabled);
    assert_eq!(keys_of(&users, "anna").await.keys, [], "SCRAM does not even say that a password is right");
    assert_eq!(users.by_scram(&login("anna"), BY_MAIN).await, disabled);
    assert!(is_refused(&certified(&users, &addresses(&["anna@example.org"]), None).await));
    assert!(users.is_recipient(&mailbox("anna@example.org")).unwrap());
    users.set_standing("anna", Standing::Enabled).unwrap();
    sign_in(&users, &credential("anna", "correct horse")).await.unwrap();
}

#[tokio::test]
async fn a_barred_main_password_does_not_count_and_app_passwords_do() {
    let House { users, folder: _folder } = with_anna();
    sign_in(&users, &credential("anna", "correct horse")).await.unwrap();
    users.set_main_password("anna", MainPassword::Barred).unwrap();
    let barred = Err(Denied::Refused(Why::AppPasswordNeeded));
    assert_eq!(sign_in(&users, &credential("anna", "correct horse")).await, barred);
    assert_eq!(users.by_scram(&login("anna"), BY_MAIN).await, barred);
    assert_eq!(
        sign_in(&users, &credential("anna", "wrong")).await,
        Err(Denied::Refused(Why::WrongPassword)),
        "only who knows it is told so in the log"
    );
    let app = users.add_app_password([NAME, "anna"], "phone", &[]).unwrap();
    sign_in(&users, &credential("anna", app.expose_str().unwrap())).await.unwrap();
    let kept = keys_of(&users, "anna").await;
    assert_eq!(kept.keys.len(), 1, "the app password's alone");
    let principal = users.by_scram(&login("anna"), kept.keys[0].label).await.unwrap();
    assert_eq!(principal.app_password.unwrap().name, "phone");
}

#[tokio::test]
async fn groups_come_and_go_and_reach_the_principal() {
    let House { users, folder: _folder } = with_anna();
    users.add_group("anna", "Sales").unwrap();
    users.add_group("anna", "sales").unwrap();
    users.add_group("anna", "board").unwrap();
    let principal = sign_in(&users, &credential("anna", "correct horse")).await.unwrap();
    assert_eq!(principal.groups, ["board", "Sales"]);
    assert_eq!(users.show("anna").unwrap().groups, ["board", "Sales"]);
    users.remove_group("anna", "SALES").unwrap();
    assert!(matches!(users.remove_group("anna", "sales"), Err(Error::NotInGroup { .. })));
    for group in ["", " x", "a\nb", &"x".repeat(101)] {
        assert!(matches!(users.add_group("anna", group), Err(Error::UnusableGroup { .. })), "{group:?}");
    }
}

#[tokio::test]
async fn an_app_password_signs_its_owner_in_however_it_is_typed_and_costs_nothing() {
    let House { users, folder: _folder } = with_anna();
    users.add("bert", &Secret::new("pw"), &[]).unwrap();
    let only = [mailbox("info@example.org")];
    let app = users.add_app_password([NAME, "anna"], "Phone", &only).unwrap();
    let shown = app.expose_str().unwrap();
    let before = users.passwords_worked_out();
    for (name, typed) in [("anna", shown.to_owned()), ("Anna@example.org", shown.to_uppercase())] {
        let principal = sign_in(&users, &credential(name, &typed)).await.unwrap();
        let used = AppPasswordUsed { name: "Phone".to_owned(), addresses: only.to_vec() };
        assert_eq!((principal.name.as_str(), principal.app_password), ("anna", Some(used)));
        assert_eq!(principal.addresses.len(), 2, "what narrows them is the gate's matter");
    }
    assert_eq!(users.passwords_worked_out(), before);
    assert!(is_refused(&sign_in(&users, &credential("bert", shown)).await), "it is not bert's");
    let other = app_password::made().unwrap();
    assert!(is_refused(&sign_in(&users, &credential("anna", other.expose_str().unwrap())).await));
    assert_eq!(users.passwords_worked_out(), before + 2, "a wrong one costs what a wrong password costs");
    users.remove_app_password([NAME, "anna"], "PHONE").unwrap();
    assert!(is_refused(&sign_in(&users, &credential("anna", shown)).await), "in force at once");
}

#[tokio::test]
async fn an_app_password_taken_away_during_a_scram_exchange_does_not_count() {
    let House { users, folder: _folder } = with_anna();
    users.add("bert", &Secret::new("pw"), &[]).unwrap();
    users.add_app_password([NAME, "anna"], "phone", &[]).unwrap();
    let label = keys_of(&users, "anna").await.keys[1].label;
    users.by_scram(&login("anna"), label).await.unwrap();
    let wrong = Err(Denied::Refused(Why::WrongPassword));
    assert_eq!(users.by_scram(&login("bert"), label).await, wrong, "nor does it for another user");
    users.remove_app_password([NAME, "anna"], "phone").unwrap();
    users.add_app_password([NAME, "anna"], "tablet", &[]).unwrap();
    assert_eq!(users.by_scram(&login("anna"), label).await, wrong, "numbers are never used twice");
    assert_eq!(users.by_scram(&login("anna"), u64::MAX).await, wrong);
}

#[test]
fn app_passwords_have_names_and_there_are_only_so_many() {
    let House { users, folder: _folder } = with_anna();
    let anna = [NAME, "anna"];
    for name in ["", " x", "a\tb", &"x".repeat(101)] {
        let refused = users.add_app_password(anna, name, &[]);
        assert!(matches!(refused, Err(Error::UnusableAppPasswordName { .. })), "{name:?}");
    }
    for number in 0..50 {
        users.add_app_password(["corp", "anna"], &number.to_string(), &[]).unwrap();
    }
    let full = users.add_app_password(["corp", "anna"], "one more", &[]);
    assert!(matches!(full, Err(Error::TooManyAppPasswords { .. })));
    users.add_app_password(anna, "phone", &[]).unwrap();
    assert!(matches!(users.add_app_password(anna, "PHONE", &[]), Err(Error::AppPasswordExists { .. })));
    assert_eq!(users.app_passwords(anna).unwrap().len(), 1, "people of other directories are others");
    assert_eq!(users.app_password_owners("Anna").unwrap(), ["corp", "users"]);
    assert!(users.has_app_passwords());
    users.remove("anna").unwrap();
    assert_eq!(users.app_passwords(anna).unwrap(), [], "they go with their owner");
}

#[tokio::test]
async fn the_last_use_is_written_down_behind_the_sign_in() {
    let House { users, folder: _folder } = with_anna();
    let app = users.add_app_password([NAME, "anna"], "phone", &[]).unwrap();
    let directories = Directories::of_users(&users).unwrap();
    let before = Timestamp::now().as_second();
    directories.by_credential(&credential("anna", app.expose_str().unwrap()), CLIENT).await.unwrap();
    let used = || users.app_passwords([NAME, "anna"]).unwrap().remove(0);
    eventually("the last use", || used().last_used.is_some()).await;
    assert_eq!(used().last_client.as_deref(), Some("192.0.2.7"));
    assert!(used().last_used.unwrap().as_second() >= before);
    assert!(users.show("anna").unwrap().last_sign_in.unwrap().as_second() >= before);
}

/// How long each of these sign-ins takes, in the middle, when they take turns.
async fn medians<const N: usize, F: Future<Output = ()>>(
    rounds: usize,
    attempts: [impl Fn() -> F; N],
) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..rounds {
        for turn in 0..N {
            let which = (turn + round) % N;
            let begin = Instant::now();
            attempts[which]().await;
            times[which].push(begin.elapsed());
        }
    }
    times.map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

/// What a look-up that finds more rows takes longer than one that finds none: far below what a password costs, and below what
/// the way through TLS and a network varies by.
const UNSEEN: Duration = Duration::from_micros(250);

/// Whether the longest is within half as much again of the shortest, or longer by nothing that can be seen from outside. A
/// machine that is busy with something else gets three tries; what would tell who exists differs by orders of magnitude and
/// fails all of them.
async fn alike<const N: usize, F: Future<Output = ()>>(rounds: usize, attempts: [impl Fn() -> F; N]) {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let medians: [Duration; N] = medians(rounds, std::array::from_fn(|which| &attempts[which])).await;
        let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
        if *most < *least * 3 / 2 || most.saturating_sub(*least) < UNSEEN {
            return;
        }
        seen.push(medians);
    }
    panic!("time tells who exists: {seen:?}");
}

#[tokio::test]
async fn time_tells_nobody_who_exists() {
    let House { users, folder: _folder } = with_anna();
    for (name, password) in [("dora", "closed"), ("emil", "barred")] {
        users.add(name, &Secret::new(password), &[mailbox(&format!("{name}@example.org"))]).unwrap();
    }
    users.set_standing("dora", Standing::Disabled).unwrap();
    users.set_main_password("emil", MainPassword::Barred).unwrap();
    let directories = Directories::of_users(&users).unwrap();
    let tried = [("nobody", "x"), ("anna", "x"), ("dora", "closed"), ("emil", "barred"), ("dora", "x")];
    let (directories, users) = (&directories, &users);
    let by_password = tried.map(|(name, password)| {
        move || async move {
            let before = users.passwords_worked_out();
            directories.by_credential(&credential(name, password), CLIENT).await.unwrap_err();
            assert_eq!(users.passwords_worked_out() - before, 1, "{name}");
        }
    });
    alike(9, by_password).await;
    let before = users.passwords_worked_out();
    let by_scram = ["nobody", "nobody@example.org", "anna", "anna@example.org", "dora", "emil"].map(|name| {
        move || async move {
            let kept = directories.scram_keys(name, ScramHash::Sha256).await.unwrap();
            assert_eq!((kept.salt.len(), kept.iterations), (16, SCRAM_ITERATIONS));
        }
    });
    alike(101, by_scram).await;
    assert_eq!(users.passwords_worked_out(), before, "no password is worked out for SCRAM");
}
