use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::{ClearPasswords, PasswdFormat, Rehash};
use crate::directory::Why;
use crate::directory::complaint::Heard;

/// A file, and the directory made of it.
struct Town {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    directory: PasswdFile,
    heard: Heard,
}

fn town(text: &str, change: impl FnOnce(&mut Settings)) -> Town {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    fs::write(&path, text).unwrap();
    let mut settings = Settings {
        path: path.clone(),
        format: PasswdFormat::Dovecot,
        names: NamePart::Whole,
        clear: ClearPasswords::Taken,
        rehash: Rehash::Never,
    };
    change(&mut settings);
    let (checker, heard) = (Arc::new(Checker::new().unwrap()), Heard::default());
    let directory = PasswdFile::new(&settings, "staff", checker, heard.complaint());
    Town { _folder: folder, path, directory, heard }
}

impl Town {
    async fn ask(&self, name: &str, password: &str) -> Result<Principal, Denied> {
        self.directory.by_password(&Login::new(name).unwrap(), &Secret::new(password)).await
    }

    async fn why(&self, name: &str, password: &str) -> Why {
        match self.ask(name, password).await {
            Err(Denied::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn people_of_a_file_sign_in_with_their_own_passwords() {
    let town = town("Anna:{PLAIN}one\nben:{PLAIN}two::::::nologin\ncarol:!\ndora:{DES}x\n", |_| ());
    assert_eq!(town.ask("ANNA", "one").await.unwrap().name, "anna");
    assert_eq!(town.why("anna", "two").await, Why::WrongPassword);
    assert_eq!(town.why("nobody", "one").await, Why::UnknownUser);
    assert_eq!(town.why("ben", "two").await, Why::Disabled);
    assert_eq!(town.why("ben", "wrong").await, Why::WrongPassword);
    assert_eq!(town.why("carol", "!").await, Why::Disabled);
    let denied = town.ask("dora", "x").await.unwrap_err();
    assert!(
        matches!(&denied, Denied::Unavailable(why) if why.contains("dora") && why.contains("{DES}")),
        "{denied:?}"
    );
    let look_up = async |name| town.directory.look_up(&Login::new(name).unwrap()).await;
    assert!(look_up("anna").await.unwrap().is_some());
    assert_eq!(look_up("ben").await, Ok(None), "his account is closed");
}

#[tokio::test]
async fn a_change_is_in_force_at_once_and_a_missing_file_is_no_wrong_password() {
    let town = town("anna:{PLAIN}one\n", |_| ());
    assert!(town.ask("anna", "one").await.is_ok());
    fs::write(&town.path, "anna:{PLAIN}two\n").unwrap();
    assert_eq!(town.why("anna", "one").await, Why::WrongPassword, "of the same size, within the same second");
    assert!(town.ask("anna", "two").await.is_ok());
    fs::remove_file(&town.path).unwrap();
    let denied = town.ask("anna", "two").await.unwrap_err();
    assert!(matches!(&denied, Denied::Unavailable(why) if why.contains("users")), "{denied:?}");
    File::create(&town.path).unwrap().set_len(BIGGEST + 1).unwrap();
    assert!(matches!(town.ask("anna", "two").await, Err(Denied::Unavailable(why)) if why.contains("16 MiB")));
    fs::write(&town.path, "anna:{PLAIN}three\n").unwrap();
    assert!(town.ask("anna", "three").await.is_ok());
}

#[tokio::test]
async fn an_unchanged_file_is_read_once() {
    let town = town("anna:{PLAIN}one\n", |_| ());
    let old = SystemTime::now() - Duration::from_hours(1);
    File::options().write(true).open(&town.path).unwrap().set_modified(old).unwrap();
    let (first, _) = town.directory.find(&Login::new("anna").unwrap()).await.unwrap();
    let (second, _) = town.directory.find(&Login::new("anna").unwrap()).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn the_part_before_the_at_can_be_what_the_file_knows() {
    let town = town("anna:{PLAIN}one\n", |settings| settings.names = NamePart::Local);
    assert_eq!(town.ask("anna@example.org", "one").await.unwrap().name, "anna");
    assert_eq!(town.ask("anna", "one").await.unwrap().name, "anna");
}

#[tokio::test]
async fn clear_text_is_out_of_order_unless_it_is_allowed() {
    let town = town("anna:{PLAIN}one\n", |settings| settings.clear = ClearPasswords::Refused);
    let denied = town.ask("anna", "one").await.unwrap_err();
    assert!(
        matches!(&denied, Denied::Unavailable(why) if why.contains("allow_plain") && !why.contains("one")),
        "{denied:?}"
    );
}

#[tokio::test]
async fn a_right_password_is_stored_anew_when_that_is_asked_and_only_then() {
    let town = town("# staff\nanna:{PLAIN}one:1:1\nben:{PLAIN}two\n", |settings| {
        settings.rehash = Rehash::WhenRight;
    });
    fs::set_permissions(&town.path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(town.why("anna", "wrong").await, Why::WrongPassword);
    assert!(town.directory.rehash.is_idle(), "a wrong one is not");
    assert!(town.ask("anna", "one").await.is_ok());
    // Done when the turn is free again.
    town.directory.rehash.done().await;
    let text = fs::read_to_string(&town.path).unwrap();
    assert!(text.starts_with("# staff\nanna:{ARGON2ID}$argon2id$"), "{text}");
    assert!(text.ends_with(":1:1\nben:{PLAIN}two\n"), "{text}");
    assert!(town.ask("anna", "one").await.is_ok());
    assert_eq!(town.why("anna", "{PLAIN}one").await, Why::WrongPassword);
}

#[tokio::test]
async fn that_no_password_can_be_stored_anew_is_told_once() {
    let town = town("anna:{PLAIN}one\n", |settings| settings.rehash = Rehash::WhenRight);
    let (_, line) = town.directory.find(&Login::new("anna").unwrap()).await.unwrap();
    fs::remove_file(&town.path).unwrap();
    for _ in 0..2 {
        town.directory.restore(line.clone().unwrap(), Secret::new("one"));
        // Done when the turn is free again.
        town.directory.rehash.done().await;
    }
    let told = town.heard.taken();
    let [told] = &told[..] else { panic!("it is told once: {told:?}") };
    assert!(told.starts_with("staff: rehash") && told.contains(town.path.to_str().unwrap()), "{told}");
}

#[tokio::test]
async fn scram_is_offered_when_everybody_has_keys() {
    let keys = "{SCRAM-SHA-256}4096,c2FsdHNhbHQ=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,\
                AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let anna = Login::new("anna").unwrap();
    let all = town(&format!("anna:{keys}\n"), |_| ());
    assert_eq!(all.directory.abilities().scram, [ScramHash::Sha256]);
    assert!(all.directory.scram_keys(&anna, ScramHash::Sha256).await.unwrap().is_some());
    assert_eq!(all.directory.scram_keys(&anna, ScramHash::Sha1).await, Ok(None));
    let some = town(&format!("anna:{keys}\nben:{{PLAIN}}x\n"), |_| ());
    assert_eq!(some.directory.abilities().scram, []);
}

#[test]
fn the_problems_of_a_file_name_their_lines() {
    let town = town("anna:{PLAIN}one\nnonsense\n", |_| ());
    let problems = problems(&town.directory.settings).unwrap();
    assert_eq!(problems, ["line 2: there is no colon behind the name"]);
}
