//! The `postern` program: the daemon, and everything an administrator does with it.
//!
//! Each subcommand is a module with its arguments and a `run`. What they do to a running or stopped installation goes
//! through [`postern_mta::admin::Admin`]; nothing here reaches deeper.

mod accept;
mod advice;
mod ask;
mod ban;
mod burst;
mod ca;
mod cert;
mod check_server;
mod config;
mod demo;
mod device;
mod doctor;
mod explain;
mod init;
mod json;
mod probe;
#[cfg(test)]
mod proposed;
mod queue;
mod reload;
mod route;
mod serve;
mod session;
mod table;
mod tls;
mod trouble;
mod user;
mod why;

use std::fmt::Debug;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use postern_mta::admin::{Admin, Error};
use postern_mta::config::{Config, Surroundings, default_path};
use postern_mta::event::clean;

use json::in_json;

/// What a subcommand comes to: its exit code, or words for the administrator.
type Done = Result<ExitCode, Box<dyn std::error::Error>>;

/// Secure, authenticated mail submission and relay.
#[derive(Parser)]
#[command(name = "postern", version, about = "Secure, authenticated mail submission and relay")]
#[command(arg_required_else_help = true, max_term_width = 110)]
struct Arguments {
    /// The configuration file [default: $POSTERN_CONFIG, else /etc/postern/postern.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the mail server in the foreground
    Serve(serve::Arguments),
    /// Try Postern on this machine, with a throw-away set-up on loopback
    Demo(demo::Arguments),
    /// Write a commented configuration
    Init(init::Arguments),
    /// Check, show or explain the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Have the running Postern read its configuration again
    Reload,
    /// People who may sign in, and the addresses they may send as
    #[command(subcommand)]
    User(user::Command),
    /// Who is turned away, why, and until when
    #[command(subcommand)]
    Ban(ban::Command),
    /// Mail that is held because its sender suddenly sends much more than usual
    #[command(subcommand)]
    Burst(burst::Command),
    /// What keeps people from sending, the worst first, and what to do about it
    #[command(subcommand)]
    Trouble(trouble::Command),
    /// Sessions that have ended: what was said in them, and what went wrong
    #[command(subcommand)]
    Session(session::Command),
    /// Printers, scanners and old applications
    #[command(subcommand)]
    Device(device::Command),
    /// Say whether a message would be accepted, by which rule and with which reply, without sending anything
    Accept(accept::Arguments),
    /// Say where mail to an address or a domain would go now, without sending anything
    Route(route::Arguments),
    /// Try a destination for real, up to and not including MAIL: what is there, and what mail would come to
    Probe(probe::Arguments),
    /// Is everything around this Postern as it should be: names, DNS, certificates, disk, machine?
    Doctor(doctor::Arguments),
    /// Say what a word in brackets in a refusal means, or the name of a trouble, and what to do about it
    Explain(explain::Arguments),
    /// Try a mail server from where the mail program runs: which settings work, and what is in the way
    CheckServer(check_server::Arguments),
    /// Messages that wait to be delivered
    #[command(subcommand)]
    Queue(queue::Command),
    /// Say what became of a message, or what happened to somebody's mail and sign-ins
    Why(why::Arguments),
    /// Our certificates: request, install, renew, show
    #[command(subcommand)]
    Cert(cert::Command),
    /// The private certificate authority
    #[command(subcommand)]
    Ca(ca::Command),
    /// How encrypted delivery goes, to others and to us
    #[command(subcommand)]
    Tls(tls::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.config.is_some() && matches!(arguments.command, Command::Demo(_)) {
        eprintln!("postern: the demo makes its own configuration: leave --config out");
        return ExitCode::FAILURE;
    }
    let given =
        arguments.config.is_some() || std::env::var_os("POSTERN_CONFIG").is_some_and(|path| !path.is_empty());
    let path = arguments.config.unwrap_or_else(default_path);
    let done = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments, &path),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Init(arguments) => init::run(arguments, path),
        Command::Config(command) => config::run(&command, &path),
        Command::Reload => reload::run(&path),
        Command::User(command) => user::run(command, &path),
        Command::Ban(command) => ban::run(command, &path),
        Command::Burst(command) => burst::run(command, &path),
        Command::Trouble(command) => trouble::run(command, &path),
        Command::Session(command) => session::run(command, &path),
        Command::Device(command) => device::run(&command, &path),
        Command::Accept(arguments) => accept::run(arguments, &path),
        Command::Route(arguments) => route::run(&arguments, &path),
        Command::Probe(arguments) => probe::run(&arguments, &path, given),
        Command::Doctor(arguments) => Ok(doctor::run(&arguments, &path)),
        Command::Explain(arguments) => explain::run(&arguments, &path),
        Command::CheckServer(arguments) => check_server::run(arguments),
        Command::Queue(command) => queue::run(command, &path),
        Command::Why(arguments) => why::run(&arguments, &path),
        Command::Cert(command) => cert::run(command, &path),
        Command::Ca(command) => ca::run(command, &path),
        Command::Tls(command) => tls::run(&command, &path),
    };
    done.unwrap_or_else(|error| {
        eprintln!("postern: {error}");
        ExitCode::FAILURE
    })
}

/// Reads the configuration; all that is wrong with it is the error.
fn load(path: &Path) -> Result<Config, Box<dyn std::error::Error>> {
    Ok(Config::load(path, &Surroundings::detect())?)
}

/// The operations on the installation that a configuration describes.
fn admin(path: &Path) -> Result<Admin, Box<dyn std::error::Error>> {
    let config = load(path)?;
    become_owner_of(&config.data_dir)?;
    Ok(Admin::new(config))
}

/// Root works as the user whose data directory it is, so that no file in it ends up unreadable for the daemon.
fn become_owner_of(data_dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let Ok(metadata) = std::fs::metadata(data_dir) else { return Ok(()) };
    if !geteuid().is_root() || metadata.uid() == 0 {
        return Ok(());
    }
    let group = Gid::from_raw(metadata.gid());
    setgroups(&[group])?;
    setgid(group)?;
    setuid(Uid::from_raw(metadata.uid()))?;
    Ok(())
}

/// Prints what a command found out. Whoever reads it may stop reading (`| head`), which is no error.
fn say(text: &str) -> Result<(), std::io::Error> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// An answer that does not fit the question: the running daemon is of another version.
fn unexpected(answer: &impl Debug) -> Error {
    Error::Garbled(clean(&format!("{answer:?}")))
}

/// Runs what must wait for something, for commands that are not the daemon. When it is done, nothing else is waited for: a name
/// that the system still looks up, or a file on a server that hangs, would outlast every time limit.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, std::io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}
