//! `postern device`: printers, scanners and old applications, and which of them still need their exceptions.
//!
//! What is known comes from [`postern_mta::admin`] as [`DeviceView`]s; here it becomes text, or JSON as it is.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;
use postern_mta::admin::devices::DeviceView;
use postern_mta::admin::{Request, Response};
use postern_mta::event::clean;

use crate::table::facts;
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// Subcommands of `postern device`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List all devices: when each was last seen, and when it last went without TLS or without signing in
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Carries out a subcommand.
pub(crate) fn run(command: &Command, path: &Path) -> Done {
    let Command::List { json } = command;
    let admin = admin(path)?;
    let devices = match block_on(admin.call(Request::Devices))?? {
        Response::Devices(devices) => devices,
        other => return Err(unexpected(&other).into()),
    };
    say(&match (json, devices.as_slice()) {
        (true, devices) => in_json(devices)?,
        (false, []) => "no [[device]] is configured\n".to_owned(),
        (false, devices) => devices.iter().map(described).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn described(device: &DeviceView) -> String {
    let seen = match (device.seen, &device.seen_at) {
        (Some(seen), Some(address)) => format!("{seen:.0} from {address}"),
        (Some(seen), None) => format!("{seen:.0}"),
        (None, _) => "never".to_owned(),
    };
    let all = [
        ("addresses", clean(&device.addresses.join(", "))),
        ("because", device.because.as_deref().map(clean).unwrap_or_default()),
        ("sends as", clean(&device.sender) + if device.rewrites { ", put in place of others" } else { "" }),
        ("sends to", clean(&device.recipient_domains.join(", "))),
        ("last seen", seen),
        ("messages", device.messages.to_string()),
        ("without TLS", exception(device, device.may_skip_tls, device.without_tls)),
        ("without sign-in", exception(device, device.may_skip_sign_in, device.without_sign_in)),
        ("password in clear", if device.may_sign_in_in_clear { "may" } else { "may not" }.to_owned()),
    ];
    format!("{}\n{}", clean(&device.name), facts(all))
}

/// Whether it may, and when it last did.
fn exception(device: &DeviceView, may: bool, last: Option<Timestamp>) -> String {
    match (may, last) {
        (true, Some(last)) => format!("may, last {last:.0}"),
        (true, None) if device.messages > 0 => "may, and never did: the exception can go".to_owned(),
        (true, None) => "may".to_owned(),
        (false, Some(last)) => format!("may not, last {last:.0}"),
        (false, None) => "may not".to_owned(),
    }
}
