use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use tempfile::TempDir;

use postern_smtp::sasl::Credential;

use super::*;
use crate::directory::Directories;

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
    Directories::of_users(users).unwrap().by_credential(credential).await
}

async fn certified(
    users: &Users,
    addresses: &[String],
    acting_as: Option<&str>,
) -> Result<Principal, Denied> {
    Directories::of_users(users).unwrap().by_certificate(addresses, acting_as).await
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
    assert!(matches!(error, Error::TooNew { found: 99, known: 1, .. }), "{error}");
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
