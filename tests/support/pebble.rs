//! Pebble, an ACME server for tests, with names that lead where the test says.
//!
//! Names come from `pebble-challtestsrv`, which leads all of them to 127.0.0.1 until [`Pebble::leads_to`] says otherwise, or
//! from a name server of the test's. Pebble asks at the two ports that [`Pebble::http`] and [`Pebble::tls`] name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::certificates::Authority;
use super::programs::{Background, program, succeed, text};
use super::{unused_address, wait_for, wait_until_open};

/// A key that Pebble knows of an account elsewhere.
pub const EXTERNAL: (&str, &str) =
    ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

/// How it behaves.
#[derive(Default, Clone, Copy)]
pub struct Ways {
    /// It takes only accounts that are bound to [`EXTERNAL`].
    pub wants_binding: bool,
    /// So many of a hundred good nonces are refused.
    pub refused_nonces: u32,
    /// Certificates are good for so many seconds.
    pub validity: Option<u32>,
    /// The name server that it asks.
    pub names: Option<SocketAddr>,
}

pub struct Pebble {
    folder: PathBuf,
    root: PathBuf,
    ways: Ways,
    listen: SocketAddr,
    management: SocketAddr,
    names: SocketAddr,
    /// Where it asks for pages.
    pub http: SocketAddr,
    /// Where it makes handshakes.
    pub tls: SocketAddr,
    server: Option<Background>,
    _names: Option<Background>,
}

impl Pebble {
    /// Starts it; its own certificate is of this authority.
    pub fn start(folder: &Path, authority: &Authority, ways: Ways) -> Pebble {
        let folder = folder.join("pebble");
        std::fs::create_dir_all(&folder).unwrap();
        let dns = unused_address();
        let names = unused_address();
        let resolver = ways.names.is_none().then(|| {
            let mut command = program("pebble-challtestsrv");
            command.args(["-dns01", &dns.to_string(), "-management", &names.to_string()]);
            command.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
            let resolver = Background::spawn(&mut command, &folder.join("names.log"));
            wait_until_open("pebble-challtestsrv", names);
            resolver
        });
        let mut pebble = Pebble {
            root: authority.root(),
            listen: unused_address(),
            management: unused_address(),
            names,
            http: unused_address(),
            tls: unused_address(),
            server: None,
            _names: resolver,
            ways: Ways { names: Some(ways.names.unwrap_or(dns)), ..ways },
            folder,
        };
        pebble.write(authority);
        pebble.restart();
        pebble
    }

    /// Starts it anew: it forgets all accounts, orders and its own keys.
    pub fn restart(&mut self) {
        self.server = None;
        let mut command = program("pebble");
        command.args(["-config", text(&self.folder.join("pebble.json"))]);
        command.args(["-dnsserver", &self.resolver().to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        command.env("PEBBLE_WFE_NONCEREJECT", self.ways.refused_nonces.to_string());
        self.server = Some(Background::spawn(&mut command, &self.folder.join("pebble.log")));
        wait_until_open("pebble", self.listen);
        wait_until_open("pebble's management", self.management);
    }

    /// The address of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.listen)
    }

    /// Who knows the names.
    pub fn resolver(&self) -> SocketAddr {
        self.ways.names.unwrap()
    }

    /// The root of what it issues, in a file.
    pub fn issues_under(&self) -> PathBuf {
        let file = self.folder.join("issued-root.pem");
        let url = format!("https://{}/roots/0", self.management);
        wait_for("pebble's root", || {
            let mut curl = program("curl");
            curl.args(["--silent", "--show-error", "--fail", "--cacert", text(&self.root)]);
            curl.args(["--output", text(&file), &url]).status().unwrap().success().then_some(())
        });
        file
    }

    /// Where `pebble-challtestsrv` is told what to say.
    pub fn management_of_names(&self) -> SocketAddr {
        self.names
    }

    /// Lets a name lead to another address.
    pub fn leads_to(&self, name: &str, address: &str) {
        let body = format!("{{\"host\":\"{name}.\",\"addresses\":[\"{address}\"]}}");
        let url = format!("http://{}/add-a", self.names);
        succeed(program("curl").args(["--silent", "--show-error", "--fail", "--data", &body, &url]));
    }

    fn write(&self, authority: &Authority) {
        let own = authority.issue(&["pebble.test", "127.0.0.1"]);
        let Ways { wants_binding, validity, .. } = &self.ways;
        let validity =
            validity.map_or(String::new(), |seconds| format!("\"certificateValidityPeriod\": {seconds},"));
        let (key_id, key) = EXTERNAL;
        let config = format!(
            "{{\"pebble\": {{\"listenAddress\": \"{}\", \"managementListenAddress\": \"{}\", \"certificate\": {:?}, \
             \"privateKey\": {:?}, \"httpPort\": {}, \"tlsPort\": {}, \"ocspResponderURL\": \"\", {validity} \
             \"externalAccountBindingRequired\": {wants_binding}, \
             \"externalAccountMACKeys\": {{\"{key_id}\": \"{key}\"}}}}}}",
            self.listen,
            self.management,
            own.certificate,
            own.key,
            self.http.port(),
            self.tls.port()
        );
        std::fs::write(self.folder.join("pebble.json"), config).unwrap();
    }
}
