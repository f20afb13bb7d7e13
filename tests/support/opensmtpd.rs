//! A whole OpenSMTPD as a next hop: its own configuration, spool and Maildir. Needs root, as its confinement does (see
//! [`super::unpacked`]).
//!
//! There are two. [`OpenSmtpd::start`] is a healthy one. [`OpenSmtpd::start_with_broken_tls`] is the one that Debian 12 ships: it
//! offers STARTTLS, and ends each handshake with the alert `internal_error`, because it cannot use its key with OpenSSL 3. Hosts
//! like that are out there.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::certificates::Identity;
use super::programs::text;
use super::unpacked::{Confined, User, output};
use super::{unused_address, wait_until_open};

pub struct OpenSmtpd {
    address: SocketAddr,
    // Ended before its folder goes.
    _running: Confined,
    folder: TempDir,
}

impl OpenSmtpd {
    /// Takes mail for `domain` and files it in one Maildir. With an identity it offers STARTTLS.
    #[track_caller]
    pub fn start(domain: &str, identity: Option<&Identity>) -> OpenSmtpd {
        OpenSmtpd::start_package("opensmtpd", domain, identity)
    }

    /// As [`start`](OpenSmtpd::start), but every handshake fails.
    #[track_caller]
    pub fn start_with_broken_tls(domain: &str, identity: &Identity) -> OpenSmtpd {
        OpenSmtpd::start_package("opensmtpd-6.8", domain, Some(identity))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The one Maildir for everybody.
    pub fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(output(self.folder.path())).unwrap_or_default()
    }

    #[track_caller]
    fn start_package(package: &str, domain: &str, identity: Option<&Identity>) -> OpenSmtpd {
        let folder = tempfile::Builder::new().prefix("osmtpd").tempdir().unwrap();
        let (root, address) = (folder.path(), unused_address());
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.join("mail")).unwrap();
        User::Nobody.own(&root.join("mail"));
        let configuration = root.join("smtpd.conf");
        fs::write(&configuration, settings(text(root), domain, address, identity)).unwrap();
        let running = Confined::spawn(package, &["smtpd", "-d", "-f", text(&configuration)], root);
        let opensmtpd = OpenSmtpd { address, _running: running, folder };
        wait_until_open("OpenSMTPD", address);
        opensmtpd
    }
}

impl Drop for OpenSmtpd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("OpenSMTPD's log:\n{}", self.log());
        }
    }
}

fn settings(root: &str, domain: &str, address: SocketAddr, identity: Option<&Identity>) -> String {
    let (ip, port, user) = (address.ip(), address.port(), User::Nobody.name());
    let (mut keys, mut tls) = (String::new(), "");
    if let Some(identity) = identity {
        let (certificate, key) = (text(&identity.certificate), text(&identity.key));
        keys = format!("pki ours cert \"{certificate}\"\npki ours key \"{key}\"\n");
        tls = "tls pki ours";
    }
    format!(
        "{keys}table users {{ \"@\" = \"{user}\" }}
smtp max-message-size \"100M\"
listen on {ip} port {port} hostname \"{domain}\" {tls}
action \"file\" maildir \"{root}/mail\" virtual <users>
match from any for domain \"{domain}\" action \"file\"
"
    )
}
