//! `postern cert request`: asking for a certificate.
//!
//! At a terminal it is a wizard: each question has a proposal, and what cannot be is asked again with the reason. In scripts
//! flags and the same proposals make the request, and `--yes` confirms it. Either way [`gather`] comes to one [`Ask`],
//! which is shown before anything is made.
//!
//! The request itself goes to standard output, as PEM or within JSON; all else is said on standard error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dialoguer::{Input, Select};
use jiff::Timestamp;
use postern_mta::admin::Admin;
use postern_mta::admin::certificates::{
    Ask, Certificates, Earlier, Error, KeyChoice, KeyKind, Name, Passphrase, RequestDetails, Subject, Waiting,
};
use postern_mta::event::clean;
use serde_json::json;

use super::also_config;
use super::install::Confirmation;
use super::send::{Target, send};
use crate::ask::{Usual, at_terminal, go_on};
use crate::table::facts;
use crate::{Done, admin, block_on, in_json, say};

/// Why something cannot be asked for.
type Failure = Box<dyn std::error::Error>;

/// So long the names are looked up; what is wrong with them is only a warning.
const LOOKUPS_MOST: Duration = Duration::from_secs(20);

/// Arguments of `postern cert request`.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  postern cert request
      asks for everything at the terminal, with proposals
  postern cert request --send private-ca --yes
      has the private CA certify it, and installs it
  postern cert request --identity mail --name mail.example.org,smtp.example.org --organisation 'Example GmbH' --country DE --yes > mail.csr
      prepares a request for an authority elsewhere; install what it sends with: postern cert install FILE")]
pub(crate) struct Arguments {
    /// What the certificate is called here [default: the first label of the host name]
    #[arg(long, value_name = "NAME", value_parser = super::identity)]
    identity: Option<String>,
    /// A host name (or address) that the certificate is to be good for; several with commas or several times [default: the
    /// host name, or what the configuration says for this identity]
    #[arg(long = "name", value_name = "HOST", value_delimiter = ',')]
    names: Vec<Name>,
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    key: KeyArguments,
    /// Throw a request away that waits under the same name
    #[arg(long)]
    replace: bool,
    /// Send it now: to private-ca, or to the [[acme]] of this name [default: send it later]
    #[arg(long, value_name = "AUTHORITY")]
    send: Option<Target>,
    /// The file whose first line opens the private CA's key; asked for at the terminal otherwise
    #[arg(long, value_name = "FILE", requires = "send")]
    passphrase_file: Option<PathBuf>,
    /// Ask nothing: take the proposals for what is not given
    #[arg(long)]
    yes: bool,
    /// Print the request as JSON
    #[arg(long, conflicts_with = "send")]
    json: bool,
}

/// Whom the certificate is for.
#[derive(Debug, Default, Args)]
struct SubjectArguments {
    /// The common name [default: the first name]
    #[arg(long, value_name = "TEXT")]
    common_name: Option<String>,
    /// The organisation
    #[arg(long, value_name = "TEXT", visible_alias = "organization")]
    organisation: Option<String>,
    /// The unit within the organisation
    #[arg(long, value_name = "TEXT")]
    unit: Option<String>,
    /// The country, as two letters: DE, US
    #[arg(long, value_name = "XX")]
    country: Option<String>,
    /// The state or province
    #[arg(long, value_name = "TEXT")]
    state: Option<String>,
    /// The town
    #[arg(long, value_name = "TEXT")]
    locality: Option<String>,
}

/// With which key.
#[derive(Debug, Default, Args)]
struct KeyArguments {
    /// Make a new key of this kind: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096 [default: ecdsa-p256]
    #[arg(long, value_name = "KIND", conflicts_with = "keep_key")]
    key: Option<KeyKind>,
    /// Ask for the key that was made beforehand, else for the present one: TLSA records and pins stay true
    #[arg(long)]
    keep_key: bool,
}

impl KeyArguments {
    fn choice(&self) -> Option<KeyChoice> {
        if self.keep_key { Some(KeyChoice::Kept) } else { self.key.map(KeyChoice::New) }
    }
}

/// Runs `postern cert request`.
///
/// # Errors
/// What is asked for cannot be in a certificate, nobody confirms it, or it cannot be written.
pub(crate) fn run(arguments: Arguments, path: &Path) -> Done {
    let opened = arguments.passphrase_file.as_deref().map(Passphrase::in_file).transpose()?;
    let admin = admin(path)?;
    let certificates = admin.certificates();
    let (yes, json, given) = (arguments.yes, arguments.json, arguments.send.clone());
    given.as_ref().map_or(Ok(()), |target| target.refuse_unknown(&admin))?;
    let (ask, target) = if at_terminal() && !yes {
        let ask = gather_at_terminal(arguments, &certificates)?;
        let target = if given.is_some() { given } else { ask_target(&admin)? };
        (ask, target)
    } else {
        (gather(arguments, &certificates)?, given)
    };
    eprint!("{}", summary(&ask, target.as_ref()));
    warn(&certificates, &ask);
    let question = match target {
        Some(_) => "Make this request, send it, and install what comes?",
        None => "Make this request?",
    };
    if !go_on(question, Usual::Yes, yes)? {
        eprintln!("Nothing was made.");
        return Ok(ExitCode::FAILURE);
    }
    let waiting = certificates.request(ask, Timestamp::now()).map_err(with_hint)?;
    match target {
        Some(target) => {
            let confirmation = Confirmation { force: false, yes: true };
            let sent = send(&admin, &waiting.identity, &target, opened.as_ref(), confirmation);
            if !sent.as_ref().is_ok_and(|code| *code == ExitCode::SUCCESS) {
                eprintln!("{}", again(&waiting.identity, &target, path));
            }
            sent
        }
        None => hand_out(&waiting, json, path),
    }
}

/// A request that its maker carries to an authority.
fn hand_out(waiting: &Waiting, json: bool, path: &Path) -> Done {
    if json {
        say(&in_json(&as_json(waiting))?)?;
    } else {
        eprintln!("\n{}", next_steps(waiting, path));
        say(&waiting.request.pem())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn again(identity: &str, target: &Target, path: &Path) -> String {
    format!(
        "The request was made and waits here. To send it again: postern cert send {identity} {}{}",
        target.word(),
        also_config(path)
    )
}

/// The words of the operation know no flags.
fn with_hint(error: Error) -> Failure {
    match error {
        Error::Waiting { .. } => format!("{error} (--replace)").into(),
        error => error.into(),
    }
}

/// What flags and proposals come to.
fn gather(arguments: Arguments, certificates: &Certificates<'_>) -> Result<Ask, Failure> {
    let proposal = certificates.propose(arguments.identity.as_deref());
    let proposed = proposal.details.names;
    let names = match (arguments.names, named_by(arguments.subject.common_name.as_deref())) {
        (given, _) if !given.is_empty() => given,
        (_, Some(name)) => vec![name],
        (..) => proposed,
    };
    let given = arguments.subject;
    let subject = Subject {
        common_name: given.common_name.or_else(|| first_as_text(&names)),
        organisation: given.organisation,
        unit: given.unit,
        country: given.country,
        state: given.state,
        locality: given.locality,
    };
    subject.check()?;
    Ok(Ask {
        identity: proposal.identity,
        details: RequestDetails { subject, names },
        key: arguments.key.choice().unwrap_or(KeyChoice::New(KeyKind::default())),
        earlier: if arguments.replace { Earlier::Replace } else { Earlier::Keep },
    })
}

/// The wizard: asks for what no flag gave.
fn gather_at_terminal(arguments: Arguments, certificates: &Certificates<'_>) -> Result<Ask, Failure> {
    eprintln!(
        "A certificate request. Enter takes what is proposed in brackets; Ctrl-C leaves, and nothing is made.\n"
    );
    let identity = match arguments.identity {
        Some(identity) => identity,
        None => ask_identity(&certificates.propose(None).identity)?,
    };
    let earlier = ask_earlier(certificates, &identity, arguments.replace)?;
    let proposed = certificates.propose(Some(&identity)).details;
    let given = arguments.subject;
    let usual = proposed.subject.common_name.unwrap_or_default();
    let parts: [(&str, Option<String>, &str, Part); 6] = [
        ("Common name", given.common_name, &usual, |subject| &mut subject.common_name),
        ("Organisation (may be empty)", given.organisation, "", |subject| &mut subject.organisation),
        ("Unit within it (may be empty)", given.unit, "", |subject| &mut subject.unit),
        ("Country, two letters such as DE (may be empty)", given.country, "", |subject| &mut subject.country),
        ("State or province (may be empty)", given.state, "", |subject| &mut subject.state),
        ("Town (may be empty)", given.locality, "", |subject| &mut subject.locality),
    ];
    let mut subject = Subject::default();
    for (question, given, proposed, part) in parts {
        *part(&mut subject) = match given {
            Some(given) => Some(given),
            None => ask_part(question, proposed, part)?,
        };
    }
    subject.check()?;
    let names = match arguments.names {
        given if !given.is_empty() => given,
        _ => ask_names(&with(named_by(subject.common_name.as_deref()), proposed.names))?,
    };
    let key = match arguments.key.choice() {
        Some(choice) => choice,
        None => ask_key(certificates.kept_key(&identity)?)?,
    };
    eprintln!();
    Ok(Ask { identity, details: RequestDetails { subject, names }, key, earlier })
}

/// A part of a subject.
type Part = fn(&mut Subject) -> &mut Option<String>;

fn ask_identity(proposed: &str) -> Result<String, Failure> {
    let input = Input::<String>::new().with_prompt("What it is called here").default(proposed.to_owned());
    Ok(input.validate_with(|text: &String| super::identity(text).map(|_| ())).interact_text()?)
}

/// A request that waits is not thrown away without a word.
fn ask_earlier(certificates: &Certificates<'_>, identity: &str, replace: bool) -> Result<Earlier, Failure> {
    let waits = certificates.waiting()?.into_iter().find(|waiting| waiting.identity == identity);
    let Some(earlier) = waits.filter(|_| !replace) else {
        return Ok(if replace { Earlier::Replace } else { Earlier::Keep });
    };
    eprintln!(
        "A request for \"{identity}\" of {:.0} waits for its certificate. If it is replaced, that certificate cannot be used \
         any more.",
        earlier.made
    );
    if go_on("Replace it?", Usual::No, false)? {
        return Ok(Earlier::Replace);
    }
    Err(format!("the request for \"{identity}\" waits on; install its certificate, or use another name here")
        .into())
}

/// The common name among the names, for programs look at the names alone (RFC 9525 §6.3).
fn with(common_name: Option<Name>, mut names: Vec<Name>) -> Vec<Name> {
    if let Some(name) = common_name.filter(|name| !names.contains(name)) {
        names.insert(0, name);
    }
    names
}

fn ask_names(proposed: &[Name]) -> Result<Vec<Name>, Failure> {
    let input = Input::<String>::new().with_prompt("All host names that it is to be good for, with commas");
    let text = input
        .default(joined(proposed))
        .validate_with(|text: &String| names_in(text).map(|_| ()))
        .interact_text()?;
    Ok(names_in(&text)?)
}

fn names_in(text: &str) -> Result<Vec<Name>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let names: Vec<Name> = words
        .map(|word| word.parse::<Name>().map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err(
            "a certificate needs at least one name: the host name that mail programs are set to".into()
        );
    }
    Ok(names)
}

fn ask_part(question: &str, proposed: &str, part: Part) -> Result<Option<String>, Failure> {
    let mut input = Input::<String>::new().with_prompt(question).allow_empty(true);
    if !proposed.is_empty() {
        input = input.default(proposed.to_owned());
    }
    let text = input.validate_with(|text: &String| check_part(text, part)).interact_text()?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn check_part(text: &str, part: Part) -> Result<(), String> {
    let mut subject = Subject::default();
    *part(&mut subject) = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    subject.check().map_err(|error| error.to_string())
}

/// The default first, and before it the key that there is, because keeping it keeps what is published about it.
fn ask_key(kept: Option<String>) -> Result<KeyChoice, Failure> {
    let keep = kept.map(|key| {
        (format!("keep the key that there is ({key}): TLSA records and pins stay true"), KeyChoice::Kept)
    });
    let new = KeyKind::ALL
        .into_iter()
        .map(|kind| (format!("a new one: {kind}, {}", merit(kind)), KeyChoice::New(kind)));
    let (words, choices): (Vec<_>, Vec<_>) = keep.into_iter().chain(new).unzip();
    let chosen = Select::new().with_prompt("Key").items(words).default(0).interact()?;
    Ok(choices.get(chosen).copied().unwrap_or(KeyChoice::New(KeyKind::default())))
}

/// Nothing is asked where there is nobody to send it to.
fn ask_target(admin: &Admin) -> Result<Option<Target>, Failure> {
    let targets = Target::all(admin);
    if targets.is_empty() {
        return Ok(None);
    }
    let words = targets.iter().map(|(_, words)| format!("send it now to {words}"));
    let words: Vec<String> =
        std::iter::once("prepare it now, send it later".to_owned()).chain(words).collect();
    let chosen = Select::new().with_prompt("Where it goes").items(words).default(0).interact()?;
    Ok(chosen.checked_sub(1).and_then(|at| targets.into_iter().nth(at)).map(|(target, _)| target))
}

fn merit(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::EcdsaP256 => "fast, and right for nearly everybody",
        KeyKind::EcdsaP384 => "where a rule demands it",
        KeyKind::Rsa2048 => "for programs that know nothing newer",
        KeyKind::Rsa3072 => "slower",
        KeyKind::Rsa4096 => "slowest",
    }
}

/// The name that a common name is, where it is one.
fn named_by(common_name: Option<&str>) -> Option<Name> {
    common_name?.parse().ok()
}

fn first_as_text(names: &[Name]) -> Option<String> {
    Subject::named(&names.first()?.to_string()).common_name
}

fn summary(ask: &Ask, target: Option<&Target>) -> String {
    let Subject { common_name, organisation, unit, country, state, locality } = &ask.details.subject;
    let part = |part: &Option<String>| clean(part.as_deref().unwrap_or_default());
    let key = match ask.key {
        KeyChoice::New(kind) => format!("a new one, {kind}"),
        KeyChoice::Kept => "the one that there is".to_owned(),
    };
    let earlier = match ask.earlier {
        Earlier::Replace => "one that waits under this name is thrown away with its key",
        Earlier::Keep => "",
    };
    let facts = facts([
        ("identity", ask.identity.clone()),
        ("names", joined(&ask.details.names)),
        ("common name", part(common_name)),
        ("organisation", part(organisation)),
        ("unit", part(unit)),
        ("country", part(country)),
        ("state", part(state)),
        ("locality", part(locality)),
        ("key", key),
        ("sent to", target.map_or("nobody yet: it is prepared", Target::word).to_owned()),
        ("earlier request", earlier.to_owned()),
    ]);
    format!("The request:\n{facts}{}", labels(&ask.details.names))
}

/// What became of names that were written in letters which no certificate holds.
fn labels(names: &[Name]) -> String {
    let told = |name: &Name| {
        let written = name.in_its_script()?;
        Some(format!("note: {name} is how certificates hold {}\n", clean(&written)))
    };
    names.iter().filter_map(told).collect()
}

/// Names in one line.
pub(super) fn joined(names: &[Name]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Says what probably is not meant. That it cannot be found out keeps nobody from asking for a certificate.
fn warn(certificates: &Certificates<'_>, ask: &Ask) {
    let names = &ask.details.names;
    if let Some(name) = named_by(ask.details.subject.common_name.as_deref())
        && !names.contains(&name)
    {
        eprintln!(
            "warning: {name} is the common name but none of the names: mail programs look at the names alone"
        );
    }
    let looked_up = block_on(async {
        tokio::time::timeout(LOOKUPS_MOST, certificates.concerns(&ask.identity, names)).await
    });
    let why = match looked_up {
        Ok(Ok(Ok(concerns))) => {
            return concerns.iter().for_each(|concern| eprintln!("warning: {}", clean(&concern.to_string())));
        }
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => format!("the DNS did not answer within {} seconds", LOOKUPS_MOST.as_secs()),
        Err(error) => error.to_string(),
    };
    eprintln!("warning: it could not be found out where the names lead: {why}");
}

pub(super) fn next_steps(waiting: &Waiting, path: &Path) -> String {
    let named = also_config(path);
    let [pem, der] = &waiting.paths;
    format!(
        "The request is made. Its key stays in Postern until the certificate comes.
  as PEM  {}
  as DER  {}

Next:
  1. Give the request, which follows, to an authority.
  2. postern cert install FILE...{named}      with what it sends back, in any form
",
        pem.display(),
        der.display()
    )
}

/// A request for programs.
pub(super) fn as_json(waiting: &Waiting) -> serde_json::Value {
    let [pem, der] = &waiting.paths;
    json!({
        "identity": waiting.identity,
        "made": waiting.made,
        "subject": waiting.request.subject,
        "names": waiting.request.names,
        "key": waiting.request.key(),
        "pem_file": pem,
        "der_file": der,
        "pem": waiting.request.pem(),
    })
}
