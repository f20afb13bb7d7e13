//! A whole Exim (Debian's, with GnuTLS) as a next hop: its own configuration, spool and Maildir. Needs root, as its confinement
//! does (see [`super::unpacked`]).

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::certificates::Identity;
use super::programs::text;
use super::unpacked::{Confined, User, output};
use super::{unused_address, wait_until_open};

pub struct Exim {
    address: SocketAddr,
    // Ended before its folder goes.
    _running: Confined,
    folder: TempDir,
}

impl Exim {
    /// Takes mail for `domain` and files it in one Maildir. With an identity it offers STARTTLS.
    #[track_caller]
    pub fn start(domain: &str, identity: Option<&Identity>) -> Exim {
        let folder = tempfile::Builder::new().prefix("exim").tempdir().unwrap();
        let (root, address) = (folder.path(), unused_address());
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
        for name in ["spool", "log", "mail"] {
            fs::create_dir(root.join(name)).unwrap();
            User::Exim.own(&root.join(name));
        }
        let configuration = root.join("exim.conf");
        fs::write(&configuration, settings(text(root), domain, address) + &tls(root, identity) + RULES)
            .unwrap();
        fs::set_permissions(&configuration, Permissions::from_mode(0o644)).unwrap();
        let running = Confined::spawn("exim", &["exim4", "-C", text(&configuration), "-bdf"], root);
        let exim = Exim { address, _running: running, folder };
        wait_until_open("Exim", address);
        exim
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The one Maildir for everybody.
    pub fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail/all")
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = self.folder.path().join("log");
        for path in [output(self.folder.path()), log.join("mainlog"), log.join("paniclog")] {
            eprintln!("Exim's {}:\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

/// Exim reads the key as its own user: it gets a copy.
fn tls(root: &Path, identity: Option<&Identity>) -> String {
    let Some(identity) = identity else {
        return "tls_advertise_hosts =\n".to_owned();
    };
    let key = root.join("key");
    fs::copy(&identity.key, &key).unwrap();
    User::Exim.own(&key);
    let (certificate, key) = (text(&identity.certificate), text(&key));
    format!("tls_advertise_hosts = *\ntls_certificate = {certificate}\ntls_privatekey = {key}\n")
}

fn settings(root: &str, domain: &str, address: SocketAddr) -> String {
    let (user, ip, port) = (User::Exim.name(), address.ip(), address.port());
    format!(
        "primary_hostname = {domain}
domainlist ours = {domain}
spool_directory = {root}/spool
log_file_path = {root}/log/%slog
log_selector = +tls_cipher +tls_sni +smtp_protocol_error +smtp_connection
pid_file_path = {root}/spool/pid
MAILDIR = {root}/mail/all
USER = {user}
local_interfaces = {ip}
daemon_smtp_ports = {port}
"
    )
}

/// It never looks anything up, and delivers with the rights that it already has. Without these two, every session would wait for
/// the machine's resolver, and every delivery would run as root.
const RULES: &str = "host_lookup =
deliver_drop_privilege
keep_environment =
add_environment =
acl_smtp_rcpt = check
acl_smtp_data = accept
smtp_accept_max = 0
message_size_limit = 100M
begin acl
check:
  accept domains = +ours
  deny message = relay not permitted
begin routers
everybody:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  directory = MAILDIR
  maildir_format
  user = USER
";
