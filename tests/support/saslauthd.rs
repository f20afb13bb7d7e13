//! A saslauthd that asks PAM, which asks lists of users that nobody else on this machine sees. Needs root, as its confinement does
//! (see [`super::unpacked`]).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tempfile::TempDir;

use super::programs::{program, succeed, text};
use super::unpacked::Confined;
use super::{is_root, wait_for};

/// The service that PAM has rules for.
pub const SERVICE: &str = "postern";

/// The rules and lists of this test's own lie over the machine's.
const CONFINE: &str = r#"
folder=$1 saslauthd=$2
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/shadow" /etc/shadow
mount --bind "$folder/pam.d" /etc/pam.d
"$saslauthd" -a pam -m "$folder/run" -n 2 -d </dev/null &
read -r _ || true
"#;

/// It runs until it is dropped or stopped.
pub struct Saslauthd {
    running: Option<Confined>,
    folder: TempDir,
}

/// Whether an account is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    Open,
    /// Since the second day of 1970.
    Expired,
}

impl Saslauthd {
    /// Knows these people.
    #[track_caller]
    pub fn start(people: &[(&str, &str, Account)]) -> Saslauthd {
        assert!(is_root(), "saslauthd with its own PAM runs only as root: run this test as root, as CI does");
        let folder = tempfile::Builder::new().prefix("saslauthd").tempdir().unwrap();
        for name in ["run", "pam.d"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let rules = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n";
        fs::write(folder.path().join("pam.d").join(SERVICE), rules).unwrap();
        let (mut passwd, mut shadow) = ("root:x:0:0::/root:/bin/sh\n".to_owned(), String::new());
        for (number, (name, password, account)) in people.iter().enumerate() {
            let hash = succeed(program("openssl").args(["passwd", "-6", password]));
            let id = 61_000 + number;
            passwd += &format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin\n");
            let end = if *account == Account::Expired { "1" } else { "" };
            shadow += &format!("{name}:{}:19000:0:99999:7::{end}:\n", hash.trim());
        }
        fs::write(folder.path().join("passwd"), passwd).unwrap();
        fs::write(folder.path().join("shadow"), shadow).unwrap();
        fs::set_permissions(folder.path().join("shadow"), Permissions::from_mode(0o600)).unwrap();
        let mut saslauthd = Saslauthd { running: None, folder };
        saslauthd.run();
        saslauthd
    }

    /// Runs, again if it was stopped.
    #[track_caller]
    pub fn run(&mut self) {
        let daemon = program("saslauthd");
        let arguments = [text(self.folder.path()), text(daemon.get_program())];
        self.running = Some(Confined::run(CONFINE, &arguments, self.folder.path()));
        wait_for("saslauthd's socket", || UnixStream::connect(self.socket()).ok());
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/mux")
    }
}

impl Drop for Saslauthd {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let output = super::unpacked::output(self.folder.path());
            eprintln!("saslauthd's output:\n{}", fs::read_to_string(output).unwrap_or_default());
        }
    }
}
