//! `postern cert next-key`: the key of the next certificate, made beforehand.
//!
//! Who publishes TLSA records must publish the next key's before the certificate that has it is shown, for as long as
//! resolvers remember the old records. So the key is made early, and this prints what to publish.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::certificates::{Certificates, KeyKind, PrivateKey};
use serde_json::json;

use super::also_config;
use crate::{Done, admin, in_json, say};

/// Arguments of `postern cert next-key`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postern cert next-key mail
      makes the key, or shows the one that was made, with the TLSA records of the present and of the next key
  postern cert renew mail
      then asks for the certificate that has it")]
pub(crate) struct Arguments {
    /// Which certificate
    #[arg(value_parser = super::identity)]
    identity: String,
    /// The kind of the key, if it is made now [default: as the present one]
    #[arg(long, value_name = "KIND")]
    key: Option<KeyKind>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs `postern cert next-key`.
///
/// # Errors
/// There is no such identity in the store, or the disk.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let certificates = admin.certificates();
    let identity = &arguments.identity;
    let (_, present) = certificates.read(identity)?;
    let kind = arguments.key.or_else(|| present.kind()).unwrap_or_default();
    let next = certificates.next_key(identity, kind)?;
    let (now, then) = (records(&certificates, identity, &present)?, records(&certificates, identity, &next)?);
    let text = if arguments.json {
        let key = |key: &PrivateKey, records| json!({"key": key.describe(), "tlsa": records});
        let keys = json!({"identity": identity, "present": key(&present, &now), "next": key(&next, &then)});
        in_json(&keys)?
    } else {
        told(identity, [(&present, &now), (&next, &then)], &also_config(path))
    };
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn records(
    certificates: &Certificates<'_>,
    identity: &str,
    key: &PrivateKey,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    Ok(certificates.tlsa_records(identity, key)?)
}

fn told(identity: &str, [present, next]: [(&PrivateKey, &Vec<String>); 2], named: &str) -> String {
    let lines = |(key, records): (&PrivateKey, &Vec<String>)| {
        let records: String = records.iter().map(|record| format!("    {record}\n")).collect();
        format!("{}\n{records}", key.describe())
    };
    format!(
        "the present key of \"{identity}\": {}the next key: {}\n\
         If you publish TLSA records (or want to), publish both keys' now. Ask for the next certificate when the records have \
         been there for two TTLs: postern cert renew {identity}{named}\n",
        lines(present),
        lines(next)
    )
}
