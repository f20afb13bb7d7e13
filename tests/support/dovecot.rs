//! A Dovecot that does nothing but LMTP, on a unix socket and on TCP, into Maildirs of its own; one that does nothing but check
//! passwords, for a Postfix to ask; and one that is there to be connected to by IMAP, with the certificate in two files.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::programs::{Background, program, run, text};
use super::{is_root, unused_address, wait_for, wait_until_open};

/// A Dovecot that checks passwords by PLAIN, LOGIN and SCRAM-SHA-256.
pub struct DovecotAuth {
    // Ended before its folder goes.
    running: Option<Background>,
    folder: TempDir,
}

/// A Dovecot that people read their mail from, with STARTTLS and with TLS from the first octet.
pub struct DovecotImap {
    imap: SocketAddr,
    imaps: SocketAddr,
    _running: Background,
    folder: TempDir,
}

pub struct Dovecot {
    address: SocketAddr,
    // Ended before its folder goes.
    _running: Background,
    folder: TempDir,
}

impl Dovecot {
    pub fn start() -> Dovecot {
        let folder = tempfile::Builder::new().prefix("dove").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mail = folder.path().join("mail");
        fs::create_dir(&mail).unwrap();
        fs::set_permissions(&mail, fs::Permissions::from_mode(0o777)).unwrap();
        let address = unused_address();
        let configuration = folder.path().join("dovecot.conf");
        fs::write(&configuration, settings(text(folder.path()), address)).unwrap();
        let mut command = program("dovecot");
        command.args(["-F", "-c", text(&configuration)]);
        let running = Background::spawn(&mut command, &folder.path().join("output"));
        wait_until_open("Dovecot", address);
        let dovecot = Dovecot { address, folder, _running: running };
        wait_for("Dovecot's socket", || dovecot.socket().exists().then_some(()));
        dovecot
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("lmtp")
    }

    pub fn maildir(&self, user: &str) -> PathBuf {
        self.folder.path().join("mail").join(user)
    }
}

impl DovecotAuth {
    pub fn start(user: &str, password: &str) -> DovecotAuth {
        DovecotAuth::start_with(&format!("{user}:{{PLAIN}}{password}\n"))
    }

    /// Knows the users of this passwd-file, each with what else it says of them.
    pub fn start_with(lines: &str) -> DovecotAuth {
        let folder = tempfile::Builder::new().prefix("dove").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("users"), lines).unwrap();
        fs::write(folder.path().join("dovecot.conf"), auth_settings(text(folder.path()))).unwrap();
        let mut dovecot = DovecotAuth { folder, running: None };
        dovecot.run();
        dovecot
    }

    /// Runs, again if it was stopped.
    pub fn run(&mut self) {
        let mut command = program("dovecot");
        command.args(["-F", "-c", text(&self.folder.path().join("dovecot.conf"))]);
        self.running = Some(Background::spawn(&mut command, &self.folder.path().join("output")));
        wait_for("Dovecot's socket", || UnixStream::connect(self.socket()).ok());
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Its passwd-file.
    pub fn users(&self) -> PathBuf {
        self.folder.path().join("users")
    }

    /// Whether it lets somebody in.
    pub fn admits(&self, user: &str, password: &str) -> bool {
        let configuration = self.folder.path().join("dovecot.conf");
        let mut command = program("doveadm");
        command.args([
            "-c",
            text(&configuration),
            "auth",
            "test",
            "-a",
            text(&self.socket()),
            user,
            password,
        ]);
        run(&mut command).status.success()
    }

    /// Where Postfix asks.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("auth")
    }

    /// Where it tells about users.
    pub fn userdb_socket(&self) -> PathBuf {
        self.folder.path().join("userdb")
    }
}

impl DovecotImap {
    /// Shows the certificate in these files, which it reads anew when it is told to.
    #[track_caller]
    pub fn start(certificate: &Path, key: &Path) -> DovecotImap {
        let folder = tempfile::Builder::new().prefix("dove").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (imap, imaps) = (unused_address(), unused_address());
        let configuration = folder.path().join("dovecot.conf");
        fs::write(&configuration, imap_settings(text(folder.path()), [imap, imaps], [certificate, key]))
            .unwrap();
        let mut command = program("dovecot");
        command.args(["-F", "-c", text(&configuration)]);
        let running = Background::spawn(&mut command, &folder.path().join("output"));
        wait_until_open("Dovecot's IMAP", imap);
        wait_until_open("Dovecot's IMAP over TLS", imaps);
        DovecotImap { imap, imaps, folder, _running: running }
    }

    /// Where STARTTLS is.
    pub fn imap(&self) -> SocketAddr {
        self.imap
    }

    /// Where TLS is from the first octet.
    pub fn imaps(&self) -> SocketAddr {
        self.imaps
    }

    /// The command that has it read its files anew.
    pub fn reload(&self) -> String {
        let doveadm = program("doveadm");
        format!("{} -c {}/dovecot.conf reload", text(doveadm.get_program()), text(self.folder.path()))
    }
}

fn imap_settings(folder: &str, [imap, imaps]: [SocketAddr; 2], [certificate, key]: [&Path; 2]) -> String {
    let (user, group) = if is_root() { ("nobody".to_owned(), "nogroup".to_owned()) } else { who_we_are() };
    let (imap, imaps, certificate, key) = (imap.port(), imaps.port(), text(certificate), text(key));
    format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
passdb {{
  driver = static
  args = nopassword=y
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
"
    )
}

fn auth_settings(folder: &str) -> String {
    let (user, group) = if is_root() { ("nobody".to_owned(), "nogroup".to_owned()) } else { who_we_are() };
    format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
auth_mechanisms = plain login scram-sha-256
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
  unix_listener {folder}/userdb {{
    mode = 0600
  }}
}}
service anvil {{
  chroot =
}}
"
    )
}

fn settings(folder: &str, address: SocketAddr) -> String {
    // Dovecot delivers to no mailbox of root's; as anybody else it can only be who it is.
    let (user, group) = if is_root() { ("nobody".to_owned(), "nogroup".to_owned()) } else { who_we_are() };
    let port = address.port();
    format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:{folder}/mail/%n
mail_save_crlf = yes
first_valid_uid = 1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
recipient_delimiter = +
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%n allow_all_users=yes
}}
service lmtp {{
  chroot =
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
"
    )
}

fn who_we_are() -> (String, String) {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    let group = nix::unistd::Group::from_gid(user.gid).unwrap().unwrap();
    (user.name, group.name)
}
