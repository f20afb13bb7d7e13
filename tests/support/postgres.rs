//! A PostgreSQL server of a test's own: on a port that the system gives, with TLS, in a folder that goes away.
//!
//! The server refuses to run as root; where the suite does, the server is nobody.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Authority;
use super::programs::{Background, program, run, succeed, text};
use super::{is_root, unused_address, wait_for};

/// The name of the one role, and its password.
pub const ROLE: &str = "postern";
pub const ROLE_PASSWORD: &str = "what the daemon knows";

pub struct Postgres {
    address: SocketAddr,
    authority: Authority,
    running: Option<Background>,
    folder: TempDir,
}

impl Postgres {
    /// With a certificate for `localhost`.
    #[track_caller]
    pub fn start() -> Postgres {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let authority = Authority::new(&folder.path().join("ca"));
        let identity = authority.issue(&["localhost"]);
        let mut postgres = Postgres { address: unused_address(), authority, running: None, folder };
        let at = |name: &str| postgres.folder.path().join(name);
        fs::write(at("role"), format!("{ROLE_PASSWORD}\n")).unwrap();
        fs::copy(identity.certificate, at("server.pem")).unwrap();
        fs::copy(identity.key, at("server.key")).unwrap();
        fs::set_permissions(at("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        postgres.give_to_server();
        let (data, role) = (at("data"), at("role"));
        succeed(postgres.as_server("initdb").args([
            "-D",
            text(&data),
            "-U",
            ROLE,
            "-A",
            "scram-sha-256",
            "--pwfile",
            text(&role),
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]));
        postgres.configure();
        postgres.resume();
        postgres
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What vouches for its certificate.
    pub fn root(&self) -> PathBuf {
        self.authority.root()
    }

    /// The file with the role's password.
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("role")
    }

    /// Runs statements; gives what they print.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        succeed(self.psql().args(["-c", statements])).trim().to_owned()
    }

    /// Begins a statement that goes on beside the test.
    pub fn begin(&self, statement: &str) -> Background {
        Background::spawn(self.psql().args(["-c", statement]), &self.folder.path().join("psql"))
    }

    /// Starts it, or starts it again.
    #[track_caller]
    pub fn resume(&mut self) {
        let data = self.folder.path().join("data");
        let log = self.folder.path().join("log");
        self.running = Some(Background::spawn(self.as_server("postgres").args(["-D", text(&data)]), &log));
        wait_for("PostgreSQL to answer", || {
            run(self.psql().args(["-c", "SELECT 1"])).status.success().then_some(())
        });
    }

    /// Stops it, whoever is connected.
    pub fn stop(&mut self) {
        if self.running.is_some() {
            let data = self.folder.path().join("data");
            drop(run(self.as_server("pg_ctl").args(["-D", text(&data), "-m", "fast", "-w", "stop"])));
            self.running = None;
        }
    }

    fn configure(&self) {
        let data = self.folder.path().join("data/postgresql.conf");
        let folder = text(self.folder.path());
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{folder}'\nssl = on\n\
             ssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\nfsync = off\n\
             shared_buffers = 16MB\nmax_connections = 20\n",
            self.address.port()
        );
        let old = fs::read_to_string(&data).unwrap();
        fs::write(&data, old + &settings).unwrap();
    }

    fn psql(&self) -> Command {
        let mut command = program("psql");
        let port = self.address.port().to_string();
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", ROLE]);
        command
            .args(["-p", &port, "-d", "postgres"])
            .env("PGPASSWORD", ROLE_PASSWORD)
            .env("PGCONNECT_TIMEOUT", "5");
        command
    }

    /// One of the server's own programs, run as whom the server runs.
    #[track_caller]
    fn as_server(&self, name: &str) -> Command {
        let program_path = server_program(name);
        let mut command = if is_root() {
            let mut command = program("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program_path);
            command
        } else {
            Command::new(program_path)
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }

    fn give_to_server(&self) {
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            succeed(program("chown").args(["-R", "nobody:nogroup", text(self.folder.path())]));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Debian keeps one folder for each version.
#[track_caller]
fn server_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not there: apt-get install postgresql, or run ./test packages"))
}
