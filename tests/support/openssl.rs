//! The `openssl` program on the other side: an authority that certifies what it is asked for, and a client that says what it
//! was shown.
//!
//! [`OpenSsl`] is a root and an intermediate authority as files in a folder. [`Shown`] is what a server showed in a handshake.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::certificates::{Certificate, Identity, keep_to_ourselves};
use super::programs::{program, run, succeed, text};

/// How a key is made.
const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
/// What an authority's certificate says.
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";

/// How `openssl ca` works, which alone takes dates.
const DATED: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\n\
                     default_md = sha256\ncopy_extensions = copy\nunique_subject = no\npolicy = any\n[any]\n\
                     commonName = supplied\n";

/// An authority that signs with an intermediate one: `root.pem`, `root.key`, `issuer.pem`, `issuer.key`.
pub struct OpenSsl {
    folder: PathBuf,
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// TLS from the first octet.
    Implicit,
    /// STARTTLS in this protocol: `smtp`, `imap`.
    StartTls(&'static str),
}

/// What a server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its own certificate.
    pub certificate: Certificate,
    /// Whether it leads to the root, and is for the name that was asked for.
    pub verified: bool,
}

impl OpenSsl {
    pub fn new(folder: &Path) -> OpenSsl {
        fs::create_dir_all(folder).unwrap();
        let authority = OpenSsl { folder: folder.to_owned() };
        authority.openssl(
            &[
                &["req", "-x509", "-nodes", "-days", "700", "-keyout", "root.key", "-out", "root.pem"],
                &P256[..],
            ]
            .concat(),
            &["-subj", "/CN=Example Root"],
        );
        authority.intermediate("issuer", "Example Issuer", "root");
        authority
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.file("root.pem")
    }

    pub fn issuer(&self) -> PathBuf {
        self.file("issuer.pem")
    }

    /// Runs openssl in the authority's folder.
    #[track_caller]
    pub fn openssl(&self, what: &[&str], how: &[&str]) -> String {
        succeed(program("openssl").args(what).args(how).current_dir(&self.folder))
    }

    /// Certifies a request for 90 days with what it asks for, unless the flags for `openssl x509` say otherwise: `NAME.pem`.
    #[track_caller]
    pub fn sign(&self, request: &Path, name: &str, flags: &[&str]) -> PathBuf {
        let file = format!("{name}.pem");
        self.openssl(
            &[
                "x509",
                "-req",
                "-copy_extensions",
                "copy",
                "-days",
                "90",
                "-CA",
                "issuer.pem",
                "-CAkey",
                "issuer.key",
            ],
            &[&["-in", text(request), "-out", &file], flags].concat(),
        );
        self.file(&file)
    }

    /// Certifies a request for this time, with what it asks for: `NAME.pem`.
    #[track_caller]
    pub fn sign_between(&self, request: &Path, name: &str, [from, until]: [Timestamp; 2]) -> PathBuf {
        let file = format!("{name}.pem");
        fs::write(self.file("ca.cnf"), DATED).unwrap();
        fs::write(self.file("index.txt"), "").unwrap();
        let date = |time: Timestamp| time.strftime("%Y%m%d%H%M%SZ").to_string();
        self.openssl(
            &[
                "ca",
                "-batch",
                "-notext",
                "-config",
                "ca.cnf",
                "-cert",
                "issuer.pem",
                "-keyfile",
                "issuer.key",
            ],
            &["-in", text(request), "-out", &file, "-startdate", &date(from), "-enddate", &date(until)],
        );
        self.file(&file)
    }

    /// A file with extensions, for `-extfile`.
    pub fn extensions(&self, name: &str, lines: &str) -> String {
        let path = self.file(&format!("{name}.ext"));
        fs::write(&path, lines).unwrap();
        text(&path).to_owned()
    }

    /// A certificate for this name with a key that was made elsewhere: `NAME.pem` and `NAME.key`.
    #[track_caller]
    pub fn issue(&self, file: &str, name: &str) -> Identity {
        let (key, request) = (format!("{file}.key"), format!("{file}.csr"));
        let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
        self.openssl(
            &[&["req", "-nodes", "-keyout", &key, "-out", &request], &P256[..]].concat(),
            &["-subj", &subject, "-addext", &names],
        );
        keep_to_ourselves(&self.file(&key));
        Identity { certificate: self.sign(&self.file(&request), file, &[]), key: self.file(&key) }
    }

    /// One more authority below another: `NAME.pem` and `NAME.key`.
    #[track_caller]
    pub fn intermediate(&self, file: &str, subject: &str, above: &str) {
        let (key, request) = (format!("{file}.key"), format!("{file}.csr"));
        self.openssl(
            &[&["req", "-nodes", "-keyout", &key, "-out", &request], &P256[..]].concat(),
            &["-subj", &format!("/CN={subject}")],
        );
        self.certify(file, above);
    }

    /// Has an authority certify another one, once more if it was certified before.
    #[track_caller]
    pub fn certify(&self, file: &str, above: &str) {
        let (request, certificate) = (format!("{file}.csr"), format!("{file}.pem"));
        let (ca, key, extensions) =
            (format!("{above}.pem"), format!("{above}.key"), self.extensions("authority", AUTHORITY));
        self.openssl(
            &["x509", "-req", "-days", "600", "-in", &request, "-out", &certificate],
            &["-CA", &ca, "-CAkey", &key, "-extfile", &extensions],
        );
    }
}

impl Shown {
    /// What is shown at this address to a client that trusts this root alone and asks for this name, or for none.
    #[track_caller]
    pub fn at(address: SocketAddr, reach: Reach, name: Option<&str>, root: &Path) -> Shown {
        let address = address.to_string();
        let mut command = program("openssl");
        command.args(["s_client", "-connect", &address, "-CAfile", text(root), "-no-CApath", "-no-CAstore"]);
        if let Reach::StartTls(protocol) = reach {
            command.args(["-starttls", protocol]);
        }
        match name {
            Some(name) => command.args(["-servername", name, "-verify_hostname", name]),
            None => command.arg("-noservername"),
        };
        let said = run(&mut command);
        Shown {
            certificate: Certificate::in_pem(&said.stdout),
            verified: String::from_utf8_lossy(&said.stdout).contains("Verify return code: 0 (ok)"),
        }
    }
}
