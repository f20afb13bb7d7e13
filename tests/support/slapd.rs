//! An OpenLDAP server with a few people and groups, in a folder of its own, with StartTLS and `ldaps:`.
//!
//! Only the service account sees people; each of them sees his own entry. The overlay `memberof` writes groups into people's
//! entries, `ppolicy` locks one account.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use super::certificates::Identity;
use super::programs::{Background, program, succeed, text};
use super::{unused_address, wait_until_open};

/// The entry below which all is.
pub const BASE: &str = "dc=example,dc=org";
/// The account that asks questions, and its password.
pub const SERVICE: &str = "cn=postern,dc=example,dc=org";
pub const SERVICE_PASSWORD: &str = "Dienst Geheimnis";
pub const ANNAS: &str = "Sonnenblume 7";
pub const BENS: &str = "Zweites Wort";
pub const CLOSED: &str = "Drittes Wort";

pub struct Slapd {
    ldap: SocketAddr,
    ldaps: SocketAddr,
    running: Option<Background>,
    folder: TempDir,
}

impl Slapd {
    /// Shows this certificate.
    #[track_caller]
    pub fn start(identity: &Identity) -> Slapd {
        let folder = tempfile::Builder::new().prefix("slapd").tempdir().unwrap();
        fs::create_dir(folder.path().join("db")).unwrap();
        fs::write(folder.path().join("slapd.conf"), settings(text(folder.path()), identity)).unwrap();
        fs::write(folder.path().join("people.ldif"), PEOPLE).unwrap();
        fs::write(folder.path().join("groups.ldif"), GROUPS).unwrap();
        fs::write(folder.path().join("password"), SERVICE_PASSWORD).unwrap();
        let mut slapd = Slapd { ldap: unused_address(), ldaps: unused_address(), running: None, folder };
        succeed(program("slapadd").args(["-f", &slapd.path("slapd.conf"), "-l", &slapd.path("people.ldif")]));
        slapd.start_again();
        let address = format!("ldap://{}", slapd.ldap);
        let root = format!("cn=root,{BASE}");
        succeed(
            program("ldapadd")
                .args(["-x", "-H", &address, "-D", &root, "-w", "root", "-f"])
                .arg(slapd.path("groups.ldif")),
        );
        slapd
    }

    /// Where TLS is begun by StartTLS.
    pub fn ldap(&self) -> String {
        format!("ldap://localhost:{}", self.ldap.port())
    }

    /// Where TLS is begun with the first octet.
    pub fn ldaps(&self) -> String {
        format!("ldaps://localhost:{}", self.ldaps.port())
    }

    /// The file with the password of the service account.
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    /// On the same ports as before.
    #[track_caller]
    pub fn start_again(&mut self) {
        let addresses = format!("ldap://{} ldaps://{}", self.ldap, self.ldaps);
        let mut command = program("slapd");
        command.args(["-d", "0", "-h", &addresses, "-f", &self.path("slapd.conf")]);
        self.running = Some(Background::spawn(&mut command, &self.folder.path().join("output")));
        wait_until_open("slapd", self.ldap);
        wait_until_open("slapd with TLS", self.ldaps);
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name)).to_owned()
    }
}

fn settings(folder: &str, identity: &Identity) -> String {
    let (certificate, key) = (text(&identity.certificate), text(&identity.key));
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {folder}/pid
argsfile {folder}/args
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree=\"{BASE}\" by dn.exact=\"{SERVICE}\" read by self read by * none
database mdb
suffix {BASE}
rootdn cn=root,{BASE}
rootpw root
directory {folder}/db
maxsize 10485760
overlay memberof
overlay ppolicy
ppolicy_default cn=policy,{BASE}
"
    )
}

const PEOPLE: &str = "dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=postern,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: postern
userPassword: Dienst Geheimnis

dn: cn=policy,dc=example,dc=org
objectClass: device
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdLockout: TRUE

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: uid=anna,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: anna
cn: Anna Muster
sn: Muster
employeeType: twin
mail: anna@home.test
mail: a.muster@home.test
userPassword: Sonnenblume 7

dn: uid=ben,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ben
cn: Ben
sn: Ben
employeeType: twin
mail: ben@home.test
userPassword: Zweites Wort

dn: uid=closed,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: closed
cn: Cara
sn: Cara
mail: closed@home.test
userPassword: Drittes Wort
pwdAccountLockedTime: 000001010000Z
";

const GROUPS: &str = "dn: cn=senders,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: senders
member: uid=anna,ou=people,dc=example,dc=org
";
