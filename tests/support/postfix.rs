//! A whole Postfix as a next hop: its own configuration, queue and data folders, beside whatever the machine runs. Needs root,
//! as Postfix's master does.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::certificates::Identity;
use super::dovecot::DovecotAuth;
use super::programs::{program, run, succeed, text};
use super::{is_root, unused_address, wait_until_open};

pub struct Postfix {
    address: SocketAddr,
    folder: TempDir,
}

impl Postfix {
    /// Takes mail for `domain` and files it in one Maildir. With an identity it offers STARTTLS.
    pub fn start(domain: &str, identity: Option<&Identity>) -> Postfix {
        Postfix::start_with(domain, identity, "")
    }

    /// As [`start`](Postfix::start), but takes mail only from those who have signed in after STARTTLS.
    pub fn start_with_sign_in(domain: &str, identity: &Identity, dovecot: &DovecotAuth) -> Postfix {
        let socket = dovecot.socket();
        let settings = format!(
            "smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {}
smtpd_sasl_authenticated_header = yes
smtpd_tls_auth_only = yes
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
",
            text(&socket)
        );
        Postfix::start_with(domain, Some(identity), &settings)
    }

    /// As [`start`](Postfix::start), but takes mail from everybody to everywhere.
    pub fn start_open(domain: &str) -> Postfix {
        let settings = "smtpd_relay_restrictions = permit_mynetworks, reject\nmynetworks = 0.0.0.0/0\n";
        Postfix::start_with(domain, None, settings)
    }

    fn start_with(domain: &str, identity: Option<&Identity>, more: &str) -> Postfix {
        assert!(is_root(), "Postfix's master runs only as root: run this test as root, as CI does");
        let folder = tempfile::Builder::new().prefix("pfx").tempdir().unwrap();
        let postfix = Postfix { address: unused_address(), folder };
        postfix.write_configuration(domain, identity, more);
        succeed(postfix.command().arg("start"));
        wait_until_open("Postfix", postfix.address);
        postfix
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The one Maildir for everybody.
    pub fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail/all")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self) -> std::process::Command {
        let mut command = program("postfix");
        command.args(["-c", text(&self.folder.path().join("etc"))]);
        command
    }

    fn write_configuration(&self, domain: &str, identity: Option<&Identity>, more: &str) {
        let root = self.folder.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["etc", "queue", "data", "mail"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        give(&root.join("data"), "postfix");
        give(&root.join("mail"), "nobody");
        let tls = identity.map_or_else(
            || "smtpd_tls_security_level = none\n".to_owned(),
            |identity| {
                let (certificate, key) = (text(&identity.certificate), text(&identity.key));
                format!("smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {key}, {certificate}\nsmtpd_tls_received_header = yes\n")
            },
        );
        fs::write(root.join("etc/main.cf"), main_cf(text(root), domain) + &tls + more).unwrap();
        fs::write(root.join("etc/master.cf"), master_cf(self.address)).unwrap();
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Postfix's log:\n{}", self.log());
        }
        drop(run(self.command().arg("stop")));
    }
}

fn give(path: &Path, user: &str) {
    let user = nix::unistd::User::from_name(user).unwrap().unwrap();
    nix::unistd::chown(path, Some(user.uid), Some(user.gid)).unwrap();
}

fn main_cf(root: &str, domain: &str) -> String {
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    format!(
        "compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log
maillog_file_prefixes = {root}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = {domain}
mydestination =
mynetworks =
alias_maps =
alias_database =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = static:all/
disable_dns_lookups = yes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 100000000
"
    )
}

fn master_cf(address: SocketAddr) -> String {
    let services = [
        ("pickup unix n", "60", "1", "pickup"),
        ("cleanup unix n", "-", "0", "cleanup"),
        ("qmgr unix n", "300", "1", "qmgr"),
        ("tlsmgr unix -", "1000?", "1", "tlsmgr"),
        ("rewrite unix -", "-", "-", "trivial-rewrite"),
        ("bounce unix -", "-", "0", "bounce"),
        ("defer unix -", "-", "0", "bounce"),
        ("trace unix -", "-", "0", "bounce"),
        ("proxymap unix -", "-", "-", "proxymap"),
        ("smtp unix -", "-", "-", "smtp"),
        ("error unix -", "-", "-", "error"),
        ("retry unix -", "-", "-", "error"),
        ("virtual unix -", "-", "-", "virtual"),
        ("anvil unix -", "-", "1", "anvil"),
        ("postlog unix-dgram n", "-", "1", "postlogd"),
    ];
    let mut text = format!("{address} inet n - n - - smtpd\n");
    for (service, wake, most, program) in services {
        // The virtual delivery agent needs its privileges to become the mailbox's owner.
        let unprivileged = if program == "virtual" { "n" } else { "-" };
        text += &format!("{service} {unprivileged} n {wake} {most} {program}\n");
    }
    text
}
