//! The second opinion is real: OpenSSL, Dovecot's `doveadm` and crypt(3) by way of Python make the hashes here.

use std::process::{Command, Stdio};

use super::*;

const PASSWORD: &str = "pässwörd: with blanks";

/// What a program says. It must be there.
#[track_caller]
fn said(package: &str, command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("apt-get install {package}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// crypt(3) of the system itself.
#[track_caller]
fn crypt3_of_system(password: &str, setting: &str) -> String {
    let script = "import crypt, sys; print(crypt.crypt(sys.argv[1], sys.argv[2]))";
    let arguments = ["-W", "ignore", "-c", script, password, setting];
    said("python3", Command::new("/usr/bin/python3").args(arguments))
}

#[track_caller]
fn openssl(arguments: &[&str]) -> String {
    said("openssl", Command::new("openssl").arg("passwd").args(arguments).arg(PASSWORD))
}

/// Dovecot wants a configuration, even an empty one.
#[track_caller]
fn doveadm(scheme: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("dovecot.conf");
    std::fs::write(&empty, "ssl = no\n").unwrap();
    let mut command = Command::new("doveadm");
    command.arg("-c").arg(&empty).args(["pw", "-s", scheme, "-p", PASSWORD]);
    said("dovecot-core", &mut command)
}

fn read(stored: &str) -> Crypt {
    Crypt::parse(stored, ClearPasswords::Taken).unwrap_or_else(|unfit| panic!("{stored}: {unfit}"))
}

/// The right password fits, nothing near it does, and nobody's has nothing that fits.
#[track_caller]
fn proves(stored: &str) {
    let crypt = read(stored);
    assert!(crypt.fits(&Secret::new(PASSWORD), &mut Memory::default()).unwrap(), "{stored}");
    assert!(!crypt.of_nobody().fits(&Secret::new(PASSWORD), &mut Memory::default()).unwrap(), "{stored}");
    for wrong in ["", "p", "pässwörd: with blank", "pässwörd: with blanks ", stored] {
        assert!(!crypt.fits(&Secret::new(wrong), &mut Memory::default()).unwrap(), "{stored}: {wrong:?}");
    }
}

#[test]
fn what_crypt3_makes_is_verified() {
    for setting in [
        "$6$saltsaltsaltsalt",
        "$6$rounds=1000$s",
        "$5$saltsalt",
        "$5$rounds=6000$./salt",
        "$1$saltsalt",
        "$1$s",
        "$y$j75$saltsaltsalt",
        "$y$j9T$LdJMENpBABJJ3hIHjB1Bi.",
        "$2b$04$abcdefghijklmnopqrstuu",
        "$2y$04$abcdefghijklmnopqrstuu",
        "$2a$05$abcdefghijklmnopqrstuu",
    ] {
        proves(&crypt3_of_system(PASSWORD, setting));
    }
}

#[test]
fn what_openssl_makes_is_verified() {
    for option in ["-1", "-apr1", "-5", "-6"] {
        proves(&openssl(&[option]));
    }
}

#[test]
fn what_dovecot_makes_is_verified() {
    for scheme in [
        "ARGON2ID",
        "ARGON2I",
        "SHA512-CRYPT",
        "SHA256-CRYPT",
        "BLF-CRYPT",
        "MD5-CRYPT",
        "SSHA",
        "SSHA256",
        "SSHA512",
        "SHA",
        "SHA256",
        "SHA512",
        "PBKDF2",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
        "PLAIN",
        "CLEARTEXT",
        "SSHA256.hex",
        "SSHA512.b64",
        "SHA512.HEX",
        "SHA512-CRYPT.b64",
        "PLAIN.hex",
    ] {
        let stored = doveadm(scheme);
        assert!(stored.starts_with('{'), "{stored}");
        proves(&stored);
    }
}

#[test]
fn passwords_of_every_length_are_compared_as_crypt3_does() {
    for length in [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 71, 72, 73, 128, 255] {
        let password = "x".repeat(length);
        for setting in
            ["$1$saltsalt", "$5$rounds=1000$salt", "$6$rounds=1000$salt", "$2b$04$abcdefghijklmnopqrstuu"]
        {
            let stored = crypt3_of_system(&password, setting);
            assert!(
                read(&stored).fits(&Secret::new(password.as_str()), &mut Memory::default()).unwrap(),
                "{length}: {stored}"
            );
        }
    }
}

#[test]
fn ldaps_way_of_writing_crypt3_is_known() {
    proves(&format!("{{CRYPT}}{}", openssl(&["-6"])));
    proves(&format!("{{crypt}}{}", openssl(&["-5"])));
}

#[test]
fn a_password_longer_than_crypt3_takes_is_wrong_after_the_same_work() {
    let longest = "x".repeat(LONGEST_FOR_CRYPT);
    let crypt = read(&sha_of(&longest));
    assert!(crypt.fits(&Secret::new(longest.as_str()), &mut Memory::default()).unwrap());
    assert!(!crypt.fits(&Secret::new(format!("{longest}x")), &mut Memory::default()).unwrap());
}

fn sha_of(password: &str) -> String {
    use argon2::PasswordHasher as _;
    let sha =
        sha_crypt::ShaCrypt::new(sha_crypt::Algorithm::Sha512Crypt, sha_crypt::Params::new(1000).unwrap());
    sha.hash_password_with_salt(password.as_bytes(), b"salt").unwrap().to_string()
}

#[test]
fn what_is_locked_is_locked() {
    for locked in ["", "!", "!!", "*", "!$6$s$x", "*LK*", "{CRYPT}!", "{CRYPT}*", "{CRYPT}"] {
        assert_eq!(Crypt::parse(locked, ClearPasswords::Taken).unwrap_err(), Unfit::Locked, "{locked:?}");
    }
    assert_eq!(Unfit::Locked.denied("anna"), Denied::Refused(Why::Disabled));
}

/// Nothing here may ever fit anything.
#[test]
fn what_is_broken_or_unknown_is_said_and_never_fits() {
    for broken in [
        "$y$j9T$LdJMENpBABJJ3hIHjB1Bi.$",
        "$y$j9T$$",
        "$y$$$",
        "$6$salt$",
        "$6$$",
        "$6$",
        "$5$rounds=x$salt$hash",
        "$6$rounds=1000$salt$short",
        "$2b$04$short",
        "$2b$99$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuuabcdefghijklmnop",
        "$2x$04$abcdefghijklmnopqrstuuFbTMdL8zfTE9hvCmdI2m0jBiPBqfBvz",
        "$1$salt$",
        "$1$toolongasalt$0123456789012345678901",
        "$argon2id$",
        "$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHQ",
        "$7$scrypt",
        "$$",
        "abJnggxhB/yWI",
        "secret",
        "{SSHA}",
        "{SSHA}AAAA",
        "{SHA}!!!!",
        "{SHA512.hex}zz",
        "{SHA512.hex}abc",
        "{PBKDF2}$1$salt$0$00",
        "{PBKDF2}$1$salt$5000$",
        "{SCRAM-SHA-256}4096,c2FsdA==,AAAA,AAAA",
        "{SCRAM-SHA-256}",
        "{PLAIN}",
        "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
        "{UNHEARD}x",
        "{",
        "{}",
    ] {
        let unfit = Crypt::parse(broken, ClearPasswords::Taken).unwrap_err();
        assert!(!matches!(unfit, Unfit::Locked), "{broken}: {unfit}");
        let denied = unfit.denied("anna");
        assert!(matches!(&denied, Denied::Unavailable(why) if why.contains("anna")), "{denied:?}");
    }
}

#[test]
fn what_would_cost_too_much_is_not_worked_out() {
    let hash = |length: usize| "a".repeat(length);
    for costly in [
        format!("$6$rounds=999999999$salt${}", hash(86)),
        format!("$5$rounds=1000001$salt${}", hash(43)),
        format!("$y$jMT$salt${}", hash(43)),
        format!("$2b$31$abcdefghijklmnopqrstuu{}", hash(31)),
        "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        "$argon2id$v=19$m=65536,t=1000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            .to_owned(),
        format!("{{PBKDF2}}$1$salt$4000000000${}", hash(40)),
    ] {
        let unfit = Crypt::parse(&costly, ClearPasswords::Refused).unwrap_err();
        assert!(matches!(unfit, Unfit::TooCostly { .. }), "{costly}: {unfit}");
    }
}

#[test]
fn a_password_in_clear_is_taken_only_when_that_is_allowed() {
    let unfit = Crypt::parse("{PLAIN}secret", ClearPasswords::Refused).unwrap_err();
    assert_eq!(unfit, Unfit::InClear);
    assert!(!format!("{:?} {}", read("{PLAIN}secret"), unfit.denied("anna")).contains("secret"));
    let unknown = Crypt::parse("{my secret}", ClearPasswords::Refused).unwrap_err().denied("anna");
    assert!(!unknown.to_string().contains("secret"), "{unknown}");
}

#[test]
fn scram_keys_are_those_that_dovecot_keeps() {
    let crypt = read(&doveadm("SCRAM-SHA-256"));
    let keys = crypt.scram_keys(ScramHash::Sha256).unwrap();
    assert_eq!((keys.keys.len(), keys.iterations.get()), (1, 4096));
    assert_eq!(crypt.scram_keys(ScramHash::Sha1), None);
    assert!(!crypt.is_dated(), "SCRAM would end with it");
}

#[test]
fn nobody_is_stored_like_most() {
    let mut typical = Typical::default();
    assert!(typical.nobody().is_none());
    for stored in [sha_of("a"), sha_of("b"), "{PLAIN}x".to_owned()] {
        typical.note(&read(&stored));
    }
    let nobody = typical.nobody().unwrap();
    assert_eq!(nobody.kind(), Kind { scheme: "SHA512-CRYPT", cost: [1000, 0, 0] });
    assert!(nobody.text().is_none() && !nobody.fits(&Secret::new("a"), &mut Memory::default()).unwrap());
}
