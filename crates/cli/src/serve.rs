//! `postern serve`: the daemon in the foreground, as systemd and containers want it.
//!
//! SIGTERM and SIGINT end it in order; SIGHUP, or `postern reload`, reads the configuration again.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use postern_mta::config::Config;
use postern_mta::daemon::{self, Daemon};
use postern_mta::event::Event;
use postern_mta::observe::{Log, LogFormat, LogStyle, Observer};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::{Done, load};

/// Trusted roots are loaded again this often, so that renewed ones count.
const REFRESH: Duration = Duration::from_hours(6);

/// Arguments of `postern serve`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How log lines look, whatever the configuration says
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    log: Option<String>,
}

/// Runs the daemon until it is told to end.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let config = load(path)?;
    raise_file_limit();
    let log = Log::new(style(&config, arguments));
    let observer = Observer::new(vec![Box::new(log.clone())]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, Source { path, arguments, log, observer }))
}

/// Where the configuration comes from, and what follows it besides the daemon.
struct Source<'a> {
    path: &'a Path,
    arguments: &'a Arguments,
    log: Log,
    observer: Observer,
}

async fn serve(config: Config, source: Source<'_>) -> Done {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let (asked, mut reload) = mpsc::channel(1);
    let started =
        Event::Started { version: env!("CARGO_PKG_VERSION").into(), hostname: config.hostname.to_string() };
    let mut daemon = Daemon::start(config, source.observer.clone(), asked).await?;
    // Only now is it true: the store is open, and the listeners are bound.
    source.observer.daemon(started);
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.tick().await;
    tell_systemd(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // What came of it stands in the log.
            _ = hang_up.recv() => drop(source.reload(&mut daemon).await),
            Some(answer) = reload.recv() => drop(answer.send(source.reload(&mut daemon).await)),
            _ = refresh.tick() => daemon.refresh().await,
        }
    }
    tell_systemd(&[NotifyState::Stopping]);
    daemon.stop().await;
    Ok(ExitCode::SUCCESS)
}

impl Source<'_> {
    /// A broken configuration changes nothing: the old one stays in force, and the log says what is wrong with the new.
    async fn reload(&self, daemon: &mut Daemon) -> Result<(), String> {
        let config = load(self.path).map_err(|problems| self.refuse(&problems.to_string()))?;
        self.log.restyle(style(&config, self.arguments));
        let in_words = |errors: Vec<daemon::Error>| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        daemon.reload(config).await.map_err(in_words)
    }

    fn refuse(&self, problems: &str) -> String {
        for problem in problems.lines() {
            let remedy = "the old configuration stays in force; mend the new one and reload again".into();
            self.observer.daemon(Event::Alarm { what: format!("not reloaded: {problem}"), remedy });
        }
        format!("not reloaded:\n{problems}")
    }
}

fn style(config: &Config, arguments: &Arguments) -> LogStyle {
    let format = match arguments.log.as_deref() {
        Some("json") => LogFormat::Json,
        Some(_) => LogFormat::Text,
        None => config.log.format,
    };
    LogStyle { format, ..config.log }
}

/// Each session is a file descriptor; the usual soft limit of 1,024 is for programs that use select(2).
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // With the lower limit it works as well, only for fewer.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
