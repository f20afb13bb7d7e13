//! Certificate files: what OpenSSL and GnuTLS write is read, what Postern writes they read, and what is broken is refused
//! in words that help.

#![allow(clippy::unwrap_used)]

mod broken;
mod chains;
mod examine;
mod random;
mod read;
mod write;

use std::path::PathBuf;
use std::process::{Command, Output};

use postern_pki::{Bundle, BundleError, Passphrase, PrivateKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

/// A folder in which other programs make keys and certificates.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With a root, an intermediate authority below it, and a certificate with its key: `root`, `issuing` and `host`, each
    /// as `.pem` and `.key`.
    fn with_chain() -> Self {
        let desk = Self::new();
        desk.write("ca", b"basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n");
        desk.write("leaf", b"subjectAltName=DNS:mail.example.org\nextendedKeyUsage=serverAuth\n");
        desk.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -subj /CN=Root -days 999");
        desk.key("issuing.key");
        desk.sign("issuing", "Issuing", "root", "ca", 900);
        desk.key("host.key");
        desk.sign("host", "mail.example.org", "issuing", "leaf", 90);
        desk
    }

    /// Makes a key on P-256.
    fn key(&self, name: &str) {
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}"));
    }

    /// Makes `NAME.pem` for `NAME.key`, signed by `ISSUER`, with the extensions in the file of that name, for so many days.
    fn sign(&self, name: &str, common_name: &str, issuer: &str, extensions: &str, days: u32) {
        self.openssl(&format!("req -new -key {name}.key -subj /CN={common_name} -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days {days} -extfile {extensions} -out {name}.pem"
        ));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Puts these files behind each other.
    fn join(&self, name: &str, parts: &[&str]) {
        self.write(name, &parts.iter().flat_map(|part| self.bytes(part)).collect::<Vec<_>>());
    }

    fn openssl(&self, arguments: &str) -> String {
        succeed(&self.run("openssl", arguments), arguments)
    }

    fn certtool(&self, arguments: &str) -> String {
        succeed(&self.run("certtool", arguments), arguments)
    }

    /// Arguments are divided at spaces; `""` is an empty one.
    fn run(&self, program: &str, arguments: &str) -> Output {
        let arguments = arguments.split(' ').map(|part| if part == "\"\"" { "" } else { part });
        let mut command = Command::new(program);
        let command = command.args(arguments).current_dir(self.0.path());
        command.output().unwrap_or_else(|error| panic!("{program}: {error} (./test packages installs it)"))
    }

    fn read(&self, name: &str, passphrase: Option<&str>) -> Result<Bundle, BundleError> {
        Bundle::read(&self.path(name), passphrase.map(secret).as_ref())
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }
}

fn succeed(output: &Output, arguments: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &said
}

fn secret(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

/// Whether exactly this key is in the bundle, and it belongs to this certificate.
fn holds_key(bundle: &Bundle, certificate: &CertificateDer<'_>) -> bool {
    matches!(&bundle.keys[..], [key] if PrivateKey::fits(key, certificate))
}

/// How long the header and the content of an element of DER are.
fn header(der: &[u8]) -> (usize, usize) {
    match der[1] {
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        0x81 => (3, usize::from(der[2])),
        short => (2, usize::from(short)),
    }
}
