//! The program under test: its generated configuration, its life and death, and what it says.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::certificates::Authority;
use super::programs::{self, both, signal, text};
use super::{Client, maildir_messages, wait_for, wait_for_maildir};

/// The name Postern bears in the suite: one that every machine resolves to loopback, so that clients can check the certificate.
pub const HOST: &str = "localhost.test";
/// Anna may send as this, and has her mailbox here.
pub const ANNA: &str = "anna@home.test";
/// Her password: with what shells, URLs and base64 make trouble of.
pub const PASSWORD: &str = "Geheim+7/ähm";

/// A daemon to be started. The house: domain `home.test` in Maildirs, user `anna`, and three listeners: `mx` (relay, AUTH after
/// STARTTLS), `submission` and `submissions`.
pub struct Setup {
    folder: TempDir,
    authority: Authority,
    top: String,
    listeners: String,
    domains: String,
    connectors: String,
    rest: String,
    queue: String,
    data_dir: PathBuf,
    with_user: bool,
    environment: Vec<(&'static str, PathBuf)>,
}

/// A running daemon; killed when dropped.
pub struct Postern {
    setup: Setup,
    child: Option<Child>,
}

impl Setup {
    pub fn new() -> Setup {
        let folder = tempfile::Builder::new().prefix("postern").tempdir().unwrap();
        // Dovecot and Postfix may have to look in as somebody else.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let authority = Authority::new(&folder.path().join("tls"));
        let identity = authority.issue(&["localhost", HOST, "127.0.0.1", "::1"]);
        let tls = format!(
            "[[tls.identity]]\nname = \"main\"\ncertificate = {:?}\nkey = {:?}\n",
            identity.certificate, identity.key
        );
        Setup {
            data_dir: folder.path().join("data"),
            authority,
            top: String::new(),
            listeners: listeners("127.0.0.1:0"),
            domains: "[[domain]]\nname = \"home.test\"\ndeliver = \"mailboxes\"\n".to_owned(),
            connectors: format!(
                "[[connector]]\nname = \"mailboxes\"\nto = \"maildir:{}/mail/{{local}}\"\n",
                text(folder.path())
            ),
            rest: tls,
            queue: "retry = [\"200ms\"]\njitter = 0.0\n".to_owned(),
            with_user: true,
            environment: Vec::new(),
            folder,
        }
    }

    /// Everything that is not for `home.test` goes to this SMTP server, in clear.
    pub fn next_hop(self, address: SocketAddr) -> Setup {
        self.connector(&format!(
            "name = \"out\"\nto = \"smtp:{address}\"\naddress_space = [\"*\"]\ntls = \"none\""
        ))
    }

    /// One more `[[connector]]`.
    pub fn connector(mut self, keys: &str) -> Setup {
        self.connectors += &format!("[[connector]]\n{keys}\n");
        self
    }

    /// These `[[connector]]` tables instead of those that were added.
    pub fn only_connectors(mut self, keys: &[String]) -> Setup {
        let tables: Vec<&str> = self.connectors.split("[[connector]]\n").take(2).collect();
        self.connectors = tables.join("[[connector]]\n");
        keys.iter().fold(self, |setup, keys| setup.connector(keys))
    }

    /// One more `[[domain]]`.
    pub fn domain(mut self, keys: &str) -> Setup {
        self.domains += &format!("[[domain]]\n{keys}\n");
        self
    }

    /// These `[[domain]]` tables instead of `home.test`.
    pub fn only_domain(mut self, keys: &str) -> Setup {
        self.domains = format!("[[domain]]\n{keys}\n");
        self
    }

    /// These `[[listener]]` tables instead of the three.
    pub fn listeners(mut self, tables: &str) -> Setup {
        tables.clone_into(&mut self.listeners);
        self
    }

    /// Any other tables.
    pub fn tables(mut self, tables: &str) -> Setup {
        self.rest += tables;
        self.rest += "\n";
        self
    }

    /// With some words of the other tables exchanged.
    pub fn replace(mut self, old: &str, new: &str) -> Setup {
        assert!(self.rest.contains(old), "{old} is not in the configuration");
        self.rest = self.rest.replace(old, new);
        self
    }

    /// With these keys of a connector exchanged for others.
    pub fn replace_connector(mut self, old: &str, new: &str) -> Setup {
        assert!(self.connectors.contains(old), "{old} is no connector");
        self.connectors = self.connectors.replace(old, new);
        self
    }

    /// Top-level keys besides `hostname` and `data_dir`.
    pub fn top(mut self, keys: &str) -> Setup {
        self.top += keys;
        self.top += "\n";
        self
    }

    /// The keys of `[queue]`, instead of a retry every 200 ms.
    pub fn queue(mut self, keys: &str) -> Setup {
        self.queue = format!("{keys}\n");
        self
    }

    /// With the private CA that Postern makes when no identity is configured.
    pub fn with_private_ca(mut self) -> Setup {
        self.rest = String::new();
        self
    }

    pub fn without_user(mut self) -> Setup {
        self.with_user = false;
        self
    }

    /// With this in the daemon's environment.
    pub fn environment(mut self, name: &'static str, value: &Path) -> Setup {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// With the test's authority as the only one that the system trusts.
    pub fn trusting_its_authority(self) -> Setup {
        let root = self.authority.root();
        self.environment("SSL_CERT_FILE", &root)
    }

    pub fn data_dir(mut self, path: &Path) -> Setup {
        path.clone_into(&mut self.data_dir);
        self
    }

    /// The folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    fn write(&self) {
        let Setup { top, listeners, domains, connectors, rest, queue, data_dir, .. } = self;
        let text = format!(
            "hostname = \"{HOST}\"\ndata_dir = {data_dir:?}\n{top}\n[queue]\n{queue}\n{listeners}\n{domains}\n{connectors}\n{rest}"
        );
        fs::write(self.configuration(), text).unwrap();
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("postern.toml")
    }

    /// Writes the configuration, adds the user, starts the daemon and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Postern {
        let mut postern = self.prepare();
        postern.start();
        postern
    }

    /// As [`start`](Setup::start), but does not start the daemon yet.
    #[track_caller]
    pub fn prepare(self) -> Postern {
        fs::create_dir_all(&self.data_dir).unwrap();
        self.write();
        let with_user = self.with_user;
        let postern = Postern { setup: self, child: None };
        if with_user {
            postern.add_user("anna", PASSWORD, ANNA);
        }
        postern
    }
}

/// The three usual `[[listener]]` tables, bound to `bind`.
pub fn listeners(bind: &str) -> String {
    format!(
        "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nauth = true\nbind = [\"{bind}\"]\n\
         [[listener]]\nname = \"submission\"\nrole = \"submission\"\nbind = [\"{bind}\"]\n\
         [[listener]]\nname = \"submissions\"\nrole = \"submission\"\ntls = \"implicit\"\nbind = [\"{bind}\"]\n"
    )
}

impl Postern {
    /// Starts (or starts again) and waits until it listens.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        drop(fs::remove_file(self.listeners_file()));
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.command(&["serve"]);
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        wait_for("the daemon to listen", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended with {ended:?} instead of listening");
            self.listening()
        });
    }

    /// The address of a listener.
    #[track_caller]
    pub fn at(&self, listener: &str) -> SocketAddr {
        let listeners = self.listening().unwrap();
        let address = &listeners[listener][0];
        address.as_str().unwrap_or_else(|| panic!("no listener {listener} in {listeners}")).parse().unwrap()
    }

    /// What `listeners.json` says, if it is complete.
    pub fn listening(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.listeners_file()).ok()?).ok()
    }

    /// The kernel's kill: nothing is tidied up.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and waits until it has ended well.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.begin_termination();
        self.wait_for_end();
    }

    pub fn begin_termination(&mut self) {
        signal(self.child.as_ref().unwrap(), Signal::SIGTERM);
    }

    #[track_caller]
    pub fn wait_for_end(&mut self) {
        let mut child = self.child.take().unwrap();
        let status = wait_for("the daemon to end", || child.try_wait().unwrap());
        assert!(status.success(), "the daemon ended with {status}");
    }

    /// Writes a changed configuration and sends SIGHUP.
    pub fn reload(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.configure(change);
        signal(self.child.as_ref().unwrap(), Signal::SIGHUP);
    }

    /// Writes a changed configuration.
    pub fn configure(&mut self, change: impl FnOnce(Setup) -> Setup) {
        // `Setup` is changed by value; this one stands in for the moment.
        let setup = std::mem::replace(&mut self.setup, Setup::new());
        self.setup = change(setup);
        self.setup.write();
    }

    /// A `postern` command with this configuration and the daemon's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = postern();
        command.envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--config").arg(self.setup.configuration()).args(arguments);
        command
    }

    /// Runs a `postern` command that must succeed.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> String {
        programs::succeed(&mut self.command(arguments))
    }

    /// Runs a `postern` command with something on its standard input.
    #[track_caller]
    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that refuses its arguments may not read at all.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    pub fn add_user(&self, name: &str, password: &str, address: &str) {
        let output = self.cli_with_input(
            &["user", "add", name, "--password-stdin", "--address", address],
            &format!("{password}\n"),
        );
        assert!(output.status.success(), "{}", both(&output));
    }

    /// The queue, as `postern queue list --json` shows it.
    #[track_caller]
    pub fn queue(&self) -> Vec<Value> {
        let output = programs::run(&mut self.command(&["queue", "list", "--json"]));
        assert!(output.status.success(), "{}", both(&output));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        match value {
            Value::Array(messages) => messages,
            Value::Object(mut object) => object["messages"].take().as_array().unwrap().clone(),
            other => panic!("queue list --json printed {other}"),
        }
    }

    /// The ids in the queue.
    #[track_caller]
    pub fn queue_ids(&self) -> Vec<String> {
        self.queue().iter().map(|delivery| id_of(delivery).to_owned()).collect()
    }

    #[track_caller]
    pub fn wait_for_empty_queue(&self) {
        wait_for("the queue to be empty", || self.queue().is_empty().then_some(()));
    }

    /// Waits until so many attempts at the one message that waits have failed, and hands back what `queue show` says of it.
    #[track_caller]
    pub fn wait_for_attempts(&self, count: u64) -> String {
        let id = wait_for(&format!("{count} failed attempts"), || {
            let queue = self.queue();
            let tried = |delivery: &&Value| delivery["attempts"].as_u64() >= Some(count);
            queue.iter().find(tried).map(|delivery| id_of(delivery).to_owned())
        });
        self.cli(&["queue", "show", &id])
    }

    /// What `queue why` says of a destination.
    #[track_caller]
    pub fn why(&self, destination: &str) -> String {
        self.cli(&["queue", "why", destination])
    }

    /// What kinds of failures were counted for the TLS reports to a domain (RFC 8460 §4.3), once there is any.
    #[track_caller]
    pub fn wait_for_failures(&self, domain: &str) -> Vec<String> {
        wait_for(&format!("counted failures of {domain}"), || {
            let report = self.cli(&["tls", "report", "show", domain, "--json"]);
            let report: Value = serde_json::from_str(&report).unwrap();
            let failures = report["seen"][0]["failures"].as_array()?;
            let results = failures.iter().filter_map(|failure| failure["result"].as_str());
            Some(results.map(str::to_owned).collect::<Vec<_>>()).filter(|results| !results.is_empty())
        })
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until the log holds this text.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait_for(&format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    pub fn root(&self) -> PathBuf {
        self.setup.authority.root()
    }

    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }

    pub fn data_dir(&self) -> &Path {
        &self.setup.data_dir
    }

    pub fn configuration(&self) -> PathBuf {
        self.setup.configuration()
    }

    /// A local user's Maildir.
    pub fn maildir(&self, local: &str) -> PathBuf {
        self.folder().join("mail").join(local)
    }

    /// What a local user has received.
    pub fn mail_of(&self, local: &str) -> Vec<Vec<u8>> {
        maildir_messages(&self.maildir(local))
    }

    #[track_caller]
    pub fn wait_for_mail(&self, local: &str, count: usize) -> Vec<Vec<u8>> {
        wait_for_maildir(&self.maildir(local), count)
    }

    /// A session on the submission listener, encrypted, Anna signed in.
    #[track_caller]
    pub fn signed_in(&self) -> Client {
        let mut client = Client::connect_starttls(self.at("submission"), &self.root(), "localhost");
        client.sign_in("anna", PASSWORD).expect(235);
        client
    }

    /// Anna sends a message; it is acknowledged when this returns.
    #[track_caller]
    pub fn submit(&self, to: &[&str], content: &[u8]) {
        let mut client = self.signed_in();
        client.deliver(ANNA, to, content).expect(250);
        client.say("QUIT").expect(221);
    }

    fn listeners_file(&self) -> PathBuf {
        self.setup.data_dir.join("listeners.json")
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log")
    }
}

impl Drop for Postern {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(80).collect();
            eprintln!("the daemon's log, its last lines:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
            let configuration = fs::read_to_string(self.configuration()).unwrap_or_default();
            eprintln!("its configuration:\n{configuration}");
        }
    }
}

fn id_of(delivery: &Value) -> &str {
    delivery["message"]["id"].as_str().unwrap_or_else(|| panic!("no id in {delivery:#}"))
}

/// The program, without a configuration.
pub fn postern() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    command
}

/// How long a test waits to see that something does *not* happen, when no later event proves it.
pub const QUIET: Duration = Duration::from_millis(700);
