//! `postern serve`: the daemon in the foreground, as systemd and containers want it.
//!
//! SIGTERM and SIGINT end it in order, SIGHUP reads the configuration again.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use postern_mta::config::{Config, LogFormat, LogLevel};
use postern_mta::daemon::Daemon;
use postern_mta::event::{Event, Level};
use postern_mta::observe::{self, Log, Observer};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::{Done, load};

/// Certificates are looked at again this often, so that renewed ones are served.
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
    let observer = Observer::new(vec![Box::new(log(&config, arguments))]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, path, observer))
}

async fn serve(config: Config, path: &Path, observer: Observer) -> Done {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let (asked, mut reload) = mpsc::channel(1);
    observer.daemon(Event::Started {
        version: env!("CARGO_PKG_VERSION").into(),
        hostname: config.hostname.to_string(),
    });
    let mut daemon = Daemon::start(config, observer.clone(), asked).await?;
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.tick().await;
    tell_systemd(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => reload_from(path, &mut daemon, &observer).await,
            Some(()) = reload.recv() => reload_from(path, &mut daemon, &observer).await,
            _ = refresh.tick() => daemon.refresh().await,
        }
    }
    tell_systemd(&[NotifyState::Stopping]);
    daemon.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// A broken configuration changes nothing: the old one stays in force, and the log says what is wrong with the new.
async fn reload_from(path: &Path, daemon: &mut Daemon, observer: &Observer) {
    match load(path) {
        Ok(config) => daemon.reload(config).await,
        Err(problems) => {
            for problem in problems.to_string().lines() {
                let remedy = "the old configuration stays in force; mend the new one and reload again".into();
                observer.daemon(Event::Alarm { what: format!("not reloaded: {problem}"), remedy });
            }
        }
    }
}

fn log(config: &Config, arguments: &Arguments) -> Log {
    let json = match arguments.log.as_deref() {
        Some(format) => format == "json",
        None => config.log.format == LogFormat::Json,
    };
    let format = if json { observe::LogFormat::Json } else { observe::LogFormat::Text };
    let least = match config.log.level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
    };
    Log::new(format, least)
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
