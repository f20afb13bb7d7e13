//! `postern demo`: the main job on this machine, without root, configuration or another server.
//!
//! Two Posterns run in this process: the organisation's own, with the three usual listeners, and one that stands for
//! another organisation, which the first relays to over verified TLS. What they do is told in one line per step.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use postern_mta::admin::Admin;
use postern_mta::config::{Config, File, Problems, Surroundings};
use postern_mta::daemon::Daemon;
use postern_mta::event::{Event, Level};
use postern_mta::observe::{Observer, Record, Sink};
use postern_smtp::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::Done;

const OURS: &str = "example.org";
const THEIRS: &str = "example.net";
const USER: &str = "anna";

/// Arguments of `postern demo`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// End by itself after this long, such as 30s
    #[arg(long = "for", value_name = "TIME", value_parser = postern_mta::config::units::duration)]
    lasting: Option<Duration>,
}

/// Runs the demo until it is interrupted.
pub(crate) fn run(arguments: &Arguments) -> Done {
    let folder = tempfile::Builder::new().prefix("postern-demo-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(demonstrate(folder.path(), arguments.lasting))
}

async fn demonstrate(folder: &Path, most: Option<Duration>) -> Done {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let world = start(their_config(folder), "other server").await?;
    let ports = Ports::free();
    let world_port = port_of(&world, "mx");
    let password = password();
    let config = our_config(folder, &ports, world_port)?;
    Admin::new(config.clone()).users()?.add(
        USER,
        &Secret::new(password.as_str()),
        &[address(USER, OURS).parse()?],
    )?;
    let ours = match start(Ok(config), "postern").await {
        // Another program, perhaps another demo, was quicker.
        Err(error) if is_taken(error.as_ref()) => {
            start(our_config(folder, &Ports::ANY, world_port), "postern").await?
        }
        started => started?,
    };
    print!("{}", Sheet { folder, daemon: &ours, password: &password });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(most.unwrap_or(Duration::MAX)), if most.is_some() => {}
    }
    println!("\nThe demo ends; its files are removed.");
    ours.stop().await;
    world.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn start(
    config: Result<Config, Problems>,
    who: &'static str,
) -> Result<Daemon, Box<dyn std::error::Error>> {
    let (reload, _) = mpsc::channel(1);
    Ok(Daemon::start(config?, Observer::new(vec![Box::new(Narrator { who })]), reload).await?)
}

/// The organisation's own server.
fn our_config(folder: &Path, ports: &Ports, world: u16) -> Result<Config, Problems> {
    let folder = folder.display();
    let Ports { relay, submission, submissions } = ports;
    resolve(&format!(
        r#"
        hostname = "mail.{OURS}"
        data_dir = "{folder}/postern"
        [dns]
        dnssec = "off"
        [[listener]]
        name = "mx"
        role = "relay"
        bind = ["127.0.0.1:{relay}"]
        [[listener]]
        name = "submission"
        role = "submission"
        bind = ["127.0.0.1:{submission}"]
        tls = "auto"
        [[listener]]
        name = "submissions"
        role = "submission"
        bind = ["127.0.0.1:{submissions}"]
        tls = "auto"
        tls_expects = "tls"
        [[domain]]
        name = "{OURS}"
        deliver = "mailboxes"
        mailboxes = ["bob"]
        [[connector]]
        name = "mailboxes"
        to = "maildir:{folder}/mail/{OURS}/{{local}}"
        [[connector]]
        name = "other-organisation"
        address_space = ["{THEIRS}"]
        to = "smtp:localhost:{world}"
        tls = "verified"
        trust = "{folder}/other-server/ca/root.pem"
        [[connector]]
        name = "sink"
        address_space = ["*"]
        to = "maildir:{folder}/mail/everywhere-else/{{address}}"
        [queue]
        retry = ["5s"]
        "#
    ))
}

/// The other organisation's server: one listener, everybody there has a mailbox.
fn their_config(folder: &Path) -> Result<Config, Problems> {
    let folder = folder.display();
    resolve(&format!(
        r#"
        hostname = "mx.{THEIRS}"
        data_dir = "{folder}/other-server"
        [dns]
        dnssec = "off"
        [[listener]]
        name = "mx"
        role = "relay"
        bind = ["127.0.0.1:0"]
        [[domain]]
        name = "{THEIRS}"
        deliver = "mailboxes"
        mailboxes = ["carol"]
        catch_all = "carol@{THEIRS}"
        [[connector]]
        name = "mailboxes"
        to = "maildir:{folder}/mail/{THEIRS}/{{local}}"
        "#
    ))
}

fn resolve(text: &str) -> Result<Config, Problems> {
    let file = File::parse(text, "the demo's configuration").map_err(|problem| Problems(vec![problem]))?;
    file.resolve(&Surroundings::default()).map_err(Problems)
}

fn is_taken(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(postern_mta::daemon::Error::Bind { .. }))
}

/// The ports that people will look for, or 0 (any) for those that are taken.
struct Ports {
    relay: u16,
    submission: u16,
    submissions: u16,
}

impl Ports {
    const ANY: Self = Self { relay: 0, submission: 0, submissions: 0 };

    fn free() -> Self {
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_or(0, |_| port);
        Self { relay: free(2525), submission: free(2587), submissions: free(2465) }
    }
}

fn port_of(daemon: &Daemon, listener: &str) -> u16 {
    daemon.addresses().iter().find(|(name, _)| name == listener).map_or(0, |(_, address)| address.port())
}

fn address(local: &str, domain: &str) -> String {
    format!("{local}@{domain}")
}

/// Good enough for a set-up that lives for minutes on loopback; letters and digits that a shell leaves alone.
fn password() -> String {
    std::iter::repeat_with(|| fastrand::char('a'..='z')).take(16).collect()
}

/// What is printed at the start: how to send.
struct Sheet<'a> {
    folder: &'a Path,
    daemon: &'a Daemon,
    password: &'a str,
}

impl std::fmt::Display for Sheet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let root: PathBuf = self.folder.join("postern/ca/root.pem");
        let root = root.display();
        let [relay, submission, submissions] = ["mx", "submission", "submissions"]
            .map(|name| SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(self.daemon, name))));
        let (password, port) = (self.password, submission.port());
        write!(
            f,
            "\
Postern runs on this machine only, with a throw-away user, certificate and mailboxes.

  Server         localhost
  Submission     {submission} with STARTTLS, or {submissions} with TLS from the start (SSL/TLS)
  Other servers  {relay} (as port 25)
  User name      {USER}
  Password       {password}
  Sends as       {anna}
  Certificate    {root}  (import it, or accept the warning)
  Mailboxes      bob@{OURS} here; anybody@{THEIRS} on another Postern, over verified TLS; all else in a sink
  Mail           {mail}

Paste one of these into another terminal:

  swaks --server localhost:{port} --tls --tls-verify --tls-ca-path {root} --auth PLAIN --auth-user {USER} --auth-password {password} --from {anna} --to bob@{OURS},carol@{THEIRS}

  printf 'From: {anna}\\r\\nTo: bob@{OURS}\\r\\nSubject: Hello\\r\\n\\r\\nIt works.\\r\\n' | curl --silent --show-error --ssl-reqd --cacert {root} --user {USER}:{password} --mail-from {anna} --mail-rcpt bob@{OURS} --mail-rcpt dora@example.com --upload-file - smtp://localhost:{port}

Every step of a message is shown below. Ctrl-C ends the demo and removes its files.

",
            anna = address(USER, OURS),
            mail = self.folder.join("mail").display(),
        )
    }
}

/// Tells what happens, one line a step.
struct Narrator {
    who: &'static str,
}

impl Sink for Narrator {
    fn record(&self, record: &Record) {
        let shown = record.level > Level::Debug || matches!(record.event, Event::TlsStarted { .. });
        let about_us = matches!(
            record.event,
            Event::Listening { .. } | Event::AuthorityMade { .. } | Event::Draining | Event::Stopped
        );
        if shown && !about_us {
            println!("{:<12}  {}  {}", self.who, record.id, record.event);
        }
    }
}
