//! Mail servers that Debian does not install beside Postfix: `./test packages` unpacks them below `target/debian`, and here they
//! run as if they were installed, without the machine noticing.
//!
//! [`Confined`] gives a program its own mount and process namespaces (`unshare`, which needs root). There the unpacked
//! `usr/sbin` and `usr/libexec` lie over the machine's, so that the paths compiled into the programs are right; the users that the
//! packages would have made exist ([`User`]); `/run`, `/var/lib` and `/var/spool` are empty. The network is the machine's.
//!
//! Everything that a program has started ends with it: when the value is dropped, and also when the test is killed, because then
//! the pipe closes that keeps the namespace's first process waiting, and the kernel ends the others.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::is_root;
use super::programs::{program, text};

/// What becomes of the namespace before the program starts; its arguments are the package's folder, ours, and the program's line.
const CONFINE: &str = r#"
package=$1 folder=$2
shift 2
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/group" /etc/group
for programs in usr/sbin usr/libexec; do
  [ ! -d "$package/$programs" ] || mount --bind "$package/$programs" "/$programs"
done
for empty in /run /var/lib /var/spool; do mount -t tmpfs -o mode=755 tmpfs "$empty"; done
mkdir -p /var/lib/opensmtpd/empty
mkdir -m 711 /var/spool/smtpd
"$@" </dev/null &
read -r _ || true
"#;

/// Who exists in the namespace besides root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    Nobody,
    Exim,
    OpenSmtpd,
    OpenSmtpdQueue,
}

/// A program from an unpacked package, in namespaces of its own; all its processes end when it is dropped.
pub struct Confined(Child);

impl Confined {
    /// Starts `line` (the program's name in `/usr/sbin`, and its arguments) from the package unpacked in `target/debian/PACKAGE`.
    /// `folder` takes `output` and the lists of users.
    #[track_caller]
    pub fn spawn(package: &str, line: &[&str], folder: &Path) -> Confined {
        assert!(is_root(), "{} runs only as root: run this test as root, as CI does", line[0]);
        let package = unpacked(package, line[0]);
        write_users(folder);
        let path = format!("/usr/sbin/{}", line[0]);
        Confined::run(CONFINE, &[&[text(&package), text(folder), &path], &line[1..]].concat(), folder)
    }

    /// Runs a script as root in namespaces of its own; it starts its program in the background and reads its input until that
    /// ends. `folder` takes `output`.
    #[track_caller]
    pub fn run(script: &str, arguments: &[&str], folder: &Path) -> Confined {
        let output = File::create(output(folder)).unwrap();
        let mut command = program("unshare");
        command.args(["--mount", "--pid", "--fork", "sh", "-euc", script, "confine"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        Confined(command.spawn().unwrap())
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // The namespace's first process waits for the end of its input; `unshare` ends after the last process in there.
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

impl User {
    const ALL: [User; 4] = [User::Nobody, User::Exim, User::OpenSmtpd, User::OpenSmtpdQueue];

    /// The name that the programs were built with.
    pub fn name(self) -> &'static str {
        match self {
            User::Nobody => "nobody",
            User::Exim => "Debian-exim",
            User::OpenSmtpd => "opensmtpd",
            User::OpenSmtpdQueue => "opensmtpq",
        }
    }

    /// Gives a file or folder to this user.
    pub fn own(self, path: &Path) {
        let id = self.id();
        nix::unistd::chown(path, Some(id.into()), Some(id.into())).unwrap();
    }

    /// For the user and for its group; nobody else on the machine is likely to have it.
    fn id(self) -> u32 {
        match self {
            User::Nobody => 65_534,
            User::Exim => 42_501,
            User::OpenSmtpd => 42_502,
            User::OpenSmtpdQueue => 42_503,
        }
    }
}

/// Where the output of a confined program goes.
pub fn output(folder: &Path) -> PathBuf {
    folder.join("output")
}

#[track_caller]
fn unpacked(package: &str, name: &str) -> PathBuf {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debian")).join(package);
    let program = folder.join("usr/sbin").join(name);
    assert!(program.is_file(), "{} is not there: run ./test packages", program.display());
    folder.canonicalize().unwrap()
}

/// The `passwd` and `group` of the namespace.
fn write_users(folder: &Path) {
    let (mut passwd, mut group) = ("root:x:0:0::/:/bin/sh\n".to_owned(), "root:x:0:\nmail:x:8:\n".to_owned());
    for user in User::ALL {
        let (name, id) = (user.name(), user.id());
        passwd += &format!("{name}:x:{id}:{id}::/:/bin/sh\n");
        group += &format!("{name}:x:{id}:\n");
    }
    for (name, lines) in [("passwd", passwd), ("group", group)] {
        fs::write(folder.join(name), lines).unwrap();
        fs::set_permissions(folder.join(name), Permissions::from_mode(0o644)).unwrap();
    }
}
