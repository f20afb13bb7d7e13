//! Where no certificate is configured, Postern is its own authority, and a user who imports its root is safe.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::postern::{ANNA, HOST, PASSWORD};
use crate::support::programs::{fail, program, succeed, text};
use crate::support::{Client, Setup, content, files_below};

#[test]
fn curl_that_trusts_the_private_root_delivers() {
    let postern = Setup::new().with_private_ca().start();
    let root = postern.data_dir().join("ca/root.pem");
    let port = postern.at("submission").port();
    let file = postern.folder().join("message");
    fs::write(&file, content::plain(ANNA, ANNA, "Private")).unwrap();
    let send = |trust: &[&str]| {
        let mut command = program("curl");
        command.args(["--silent", "--show-error", "--ssl-reqd", "--max-time", "30"]).args(trust);
        command.args([
            "--resolve",
            &format!("{HOST}:{port}:127.0.0.1"),
            "--url",
            &format!("smtp://{HOST}:{port}"),
        ]);
        command.args(["--user", &format!("anna:{PASSWORD}"), "--mail-from", ANNA, "--mail-rcpt", ANNA]);
        command.args(["--upload-file", text(&file)]);
        command
    };
    fail(&mut send(&[]));
    succeed(&mut send(&["--cacert", text(&root)]));
    postern.wait_for_mail("anna", 1);
}

#[test]
fn keys_are_for_the_owner_only_and_the_authority_outlives_a_restart() {
    let mut postern = Setup::new().with_private_ca().start();
    let root = postern.data_dir().join("ca/root.pem");
    let before = fs::read(&root).unwrap();
    let secret = |octets: &[u8]| octets.windows(11).any(|window| window == b"PRIVATE KEY");
    let keys = files_below(postern.data_dir())
        .into_iter()
        .filter(|path| secret(&fs::read(path).unwrap_or_default()))
        // A file that is written under another name first may be gone by now.
        .filter_map(|path| fs::metadata(&path).ok().map(|metadata| (path, metadata)));
    let keys: Vec<_> = keys.collect();
    assert!(!keys.is_empty());
    for (key, metadata) in keys {
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
    postern.terminate();
    postern.start();
    let told = format!("import its root into mail programs: {}", text(&root));
    assert_eq!(postern.log().matches(&told).count(), 1, "it is told when it is made, and then no more");
    assert_eq!(fs::read(&root).unwrap(), before);
    assert!(Client::is_presented(postern.at("submission"), &root, HOST));
}
