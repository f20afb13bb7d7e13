//! `postern init`: writes a first configuration, with comments, that passes `postern config check`.
//!
//! At a terminal it asks for what no flag gave; elsewhere flags must give it. Nothing is written before the result has
//! been judged as the daemon would judge it, and nothing is overwritten unless `--force` says so.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use dialoguer::{Confirm, Input, Select};
use postern_mta::config::show::literal;
use postern_mta::config::{Config, Problems, Surroundings, default_path};
use postern_smtp::address::Domain;

use crate::Done;

const USUAL_DATA_DIR: &str = "/var/lib/postern";
const USUAL_MAILDIR: &str = "maildir:/srv/mail/{domain}/{local}";
const USUAL_LMTP: &str = "lmtp:unix:/run/dovecot/lmtp";

/// Arguments of `postern init`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// The name under which the world knows this machine: mail.example.org
    #[arg(long, value_name = "NAME")]
    hostname: Option<Domain>,
    /// A domain whose mail is delivered here; without one, mail is only sent
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// Where the queue, the users and the private CA live
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where mail for the domain goes: maildir:/path/{local}, lmtp:unix:/path or lmtp:host:port
    #[arg(long, value_name = "WAY", requires = "domain")]
    deliver: Option<String>,
    /// Send all other mail through this host instead of directly
    #[arg(long, value_name = "HOST[:PORT]")]
    smarthost: Option<String>,
    /// The name to sign in with at the smarthost
    #[arg(long, value_name = "USER", requires = "smarthost", requires = "smarthost_password_file")]
    smarthost_user: Option<String>,
    /// The file whose first line is the password for the smarthost
    #[arg(long, value_name = "FILE", requires = "smarthost_user")]
    smarthost_password_file: Option<PathBuf>,
    /// The file to write [default: the configuration file]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
}

/// What a first configuration depends on.
#[derive(Debug, Clone)]
struct Answers {
    hostname: Domain,
    data_dir: PathBuf,
    own: Option<OwnDomain>,
    smarthost: Option<Smarthost>,
}

#[derive(Debug, Clone)]
struct OwnDomain {
    name: Domain,
    deliver: String,
}

#[derive(Debug, Clone)]
struct Smarthost {
    host: String,
    /// The name and the file with the password.
    credential: Option<(String, PathBuf)>,
}

/// Runs `postern init`.
///
/// # Errors
/// What is needed is neither given nor can be asked for, the answers make no sound configuration, or the file cannot be
/// written.
pub(crate) fn run(args: Arguments, configuration: PathBuf) -> Done {
    let path = args.output.clone().unwrap_or(configuration);
    let force = args.force;
    if path.exists() && !force {
        return Err(format!(
            "{} exists already; --force overwrites it, --output names another file",
            path.display()
        )
        .into());
    }
    let answers =
        if io::stdin().is_terminal() && io::stderr().is_terminal() { ask(args)? } else { take(args)? };
    let text = render(&answers);
    judge(&text, &path)?;
    write(&path, &text, force)?;
    println!("{}", next_steps(&answers, &path));
    Ok(ExitCode::SUCCESS)
}

/// Asks for what no flag gave.
fn ask(args: Arguments) -> Result<Answers, Box<dyn Error>> {
    let hostname = match args.hostname {
        Some(hostname) => hostname,
        None => Input::new().with_prompt("Host name of this machine (mail.example.org)").interact_text()?,
    };
    let own = match (args.domain, args.deliver) {
        (Some(name), Some(deliver)) => Some(OwnDomain { name, deliver }),
        (Some(name), None) => Some(OwnDomain { deliver: ask_way()?, name }),
        (None, _) => ask_domain(&hostname)?,
    };
    let smarthost = match args.smarthost {
        Some(host) => {
            Some(Smarthost { host, credential: args.smarthost_user.zip(args.smarthost_password_file) })
        }
        None => ask_smarthost()?,
    };
    let data_dir = match args.data_dir {
        Some(folder) => folder,
        None => ask_text("Folder for queue, users and keys", USUAL_DATA_DIR)?.into(),
    };
    Ok(Answers { hostname, data_dir, own, smarthost })
}

fn ask_domain(hostname: &Domain) -> Result<Option<OwnDomain>, Box<dyn Error>> {
    if !Confirm::new().with_prompt("Deliver mail for a domain here?").default(true).interact()? {
        return Ok(None);
    }
    let suggestion = hostname.as_str().split_once('.').map_or("", |(_, parent)| parent).to_owned();
    let prompt = Input::new().with_prompt("Own domain");
    let name: Domain = match suggestion.parse::<Domain>() {
        Ok(parent) if parent.as_str().contains('.') => prompt.default(parent).interact_text()?,
        _ => prompt.interact_text()?,
    };
    Ok(Some(OwnDomain { name, deliver: ask_way()? }))
}

fn ask_way() -> Result<String, Box<dyn Error>> {
    let ways = ["Maildirs on this machine", "a mail store such as Dovecot, by LMTP"];
    let chosen = Select::new().with_prompt("Where does its mail go").items(ways).default(0).interact()?;
    let usual = if chosen == 0 { USUAL_MAILDIR } else { USUAL_LMTP };
    ask_text("Way", usual)
}

fn ask_smarthost() -> Result<Option<Smarthost>, Box<dyn Error>> {
    let ways = ["directly to the recipients' servers (MX)", "through a smarthost"];
    if Select::new().with_prompt("Mail for others goes").items(ways).default(0).interact()? == 0 {
        return Ok(None);
    }
    let host = Input::new().with_prompt("Smarthost (host:port)").interact_text()?;
    let user: String =
        Input::new().with_prompt("User there (empty: none)").allow_empty(true).interact_text()?;
    if user.is_empty() {
        return Ok(Some(Smarthost { host, credential: None }));
    }
    let file = ask_text("File with the password", "/etc/postern/smarthost.password")?;
    Ok(Some(Smarthost { host, credential: Some((user, file.into())) }))
}

fn ask_text(prompt: &str, usual: &str) -> Result<String, Box<dyn Error>> {
    Ok(Input::new().with_prompt(prompt).default(usual.to_owned()).interact_text()?)
}

/// Takes the flags as they are.
fn take(args: Arguments) -> Result<Answers, Box<dyn Error>> {
    let Some(hostname) = args.hostname else {
        return Err("there is no terminal to ask at: give --hostname NAME (and --domain, --deliver, --smarthost as needed)".into());
    };
    let deliver = args.deliver.unwrap_or_else(|| USUAL_MAILDIR.to_owned());
    let credential = args.smarthost_user.zip(args.smarthost_password_file);
    Ok(Answers {
        hostname,
        data_dir: args.data_dir.unwrap_or_else(|| USUAL_DATA_DIR.into()),
        own: args.domain.map(|name| OwnDomain { name, deliver }),
        smarthost: args.smarthost.map(|host| Smarthost { host, credential }),
    })
}

fn render(answers: &Answers) -> String {
    let mut text = HEAD.to_owned();
    let data_dir = answers.data_dir.display().to_string();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "hostname = {}", literal(answers.hostname.as_str()));
    let _ = writeln!(text, "data_dir = {}", literal(&data_dir));
    text.push_str(IDENTITY);
    if answers.own.is_some() {
        text.push_str(RELAY_LISTENER);
    }
    text.push_str(SUBMISSION_LISTENERS);
    if let Some(own) = &answers.own {
        text.push_str(&own_domain(own));
    }
    text.push_str(&way_out(answers.smarthost.as_ref()));
    text
}

fn own_domain(own: &OwnDomain) -> String {
    format!(
        "
# Mail for this domain is for us. Unknown recipients are refused.
[[domain]]
name = {}
deliver = \"mailstore\"
# Besides the addresses of Postern's users (`postern user add`):
# mailboxes = [\"info\"]
# aliases = {{ sales = [\"anna\", \"bob@elsewhere.example\"] }}

[[connector]]
name = \"mailstore\"
to = {}
",
        literal(own.name.as_str()),
        literal(&own.deliver)
    )
}

fn way_out(smarthost: Option<&Smarthost>) -> String {
    let Some(smarthost) = smarthost else {
        return BY_MX.to_owned();
    };
    let mut text =
        "\n# Mail for everybody else goes through this host.\n[[connector]]\nname = \"smarthost\"\n"
            .to_owned();
    let _ = writeln!(text, "to = {}", literal(&format!("smtp:{}", smarthost.host)));
    text.push_str("address_space = [\"*\"]\n");
    match &smarthost.credential {
        Some((user, file)) => {
            let _ = writeln!(text, "user = {}", literal(user));
            let file = file.display().to_string();
            let _ = writeln!(text, "password_file = {}   # its first line; chmod 600", literal(&file));
        }
        None => text.push_str(
            "# user = \"office@example.org\"\n# password_file = \"/etc/postern/smarthost.password\"\n",
        ),
    }
    text
}

const HEAD: &str = "\
# The configuration of Postern. After a change:
#   postern config check          reports everything that is wrong, at once
#   systemctl reload postern      (or SIGHUP) puts it to use without dropping a session
# `postern config explain KEY` says what a key is for; `postern config show` prints every default.

";

const IDENTITY: &str = "
# The certificate that clients see. Without one, a private CA made at the first start issues it.
# [[tls.identity]]
# name = \"main\"
# certificate = \"/etc/postern/fullchain.pem\"
# key = \"/etc/postern/privkey.pem\"
";

const RELAY_LISTENER: &str = "
# Other servers bring mail for our domains here. Nobody relays through it.
[[listener]]
name = \"mx\"
role = \"relay\"
bind = [\"[::]:25\"]
tls = \"offered\"
";

const SUBMISSION_LISTENERS: &str = "
# Our people send from here, signed in: 587 is for STARTTLS, 465 for TLS from the first byte. \"auto\" serves mail programs
# that mix the two up as well, and none in clear.
[[listener]]
name = \"submission\"
role = \"submission\"
bind = [\"[::]:587\"]
tls = \"auto\"

[[listener]]
name = \"submissions\"
role = \"submission\"
bind = [\"[::]:465\"]
tls = \"auto\"
";

const BY_MX: &str = "
# Mail for everybody else goes to the servers that the DNS names (MX), with TLS wherever they offer it.
[[connector]]
name = \"mx\"
to = \"mx\"
address_space = [\"*\"]
";

fn judge(text: &str, path: &Path) -> Result<(), Problems> {
    Config::parse(text, &path.display().to_string(), &Surroundings::detect()).map(|_| ())
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), Box<dyn Error>> {
    let explain = |error: io::Error| {
        format!("{} cannot be written: {error}; --output names another file", path.display())
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(explain)?;
    }
    let mut options = OpenOptions::new();
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    let mut file = options.write(true).open(path).map_err(explain)?;
    file.write_all(text.as_bytes()).map_err(explain)?;
    Ok(())
}

fn next_steps(answers: &Answers, path: &Path) -> String {
    let named = if path == default_path() { String::new() } else { format!(" --config {}", path.display()) };
    let domain = answers.own.as_ref().map_or(answers.hostname.as_str(), |own| own.name.as_str());
    format!(
        "Wrote {}. Next:

  postern user add anna{named}      a person who may send, for example as anna@{domain}
  postern config check{named}      after each change
  postern serve{named}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(folder: &Path) -> Arguments {
        Arguments {
            hostname: Some("mail.example.org".parse().unwrap()),
            output: Some(folder.join("postern.toml")),
            ..Arguments::default()
        }
    }

    fn written(args: Arguments) -> Result<String, String> {
        let path = args.output.clone().unwrap();
        let answers = take(args).map_err(|error| error.to_string())?;
        let text = render(&answers);
        judge(&text, &path).map_err(|problems| problems.to_string())?;
        Ok(text)
    }

    #[test]
    fn every_choice_of_flags_makes_a_sound_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let own = |deliver: &str| Arguments {
            domain: Some("example.org".parse().unwrap()),
            deliver: Some(deliver.to_owned()),
            ..args(folder.path())
        };
        let smarthost = Arguments {
            smarthost: Some("smtp.example.net:465".to_owned()),
            smarthost_user: Some("a\"b".to_owned()),
            smarthost_password_file: Some("p w".into()),
            ..own(USUAL_MAILDIR)
        };
        let open = Arguments { smarthost: Some("smtp.example.net".to_owned()), ..args(folder.path()) };
        for args in [
            args(folder.path()),
            own(USUAL_MAILDIR),
            own(USUAL_LMTP),
            own("lmtp:store.example:24"),
            smarthost,
            open,
        ] {
            let shown = format!("{args:?}");
            assert!(written(args).is_ok(), "{shown}");
        }
    }

    #[test]
    fn a_senseless_answer_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let args = Arguments {
            domain: Some("example.org".parse().unwrap()),
            deliver: Some("pigeon:loft".to_owned()),
            ..args(folder.path())
        };
        assert!(written(args).unwrap_err().contains("pigeon:loft"));
    }

    #[test]
    fn an_existing_file_stays_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/postern.toml");
        write(&path, "first", false).unwrap();
        assert!(write(&path, "second", false).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        write(&path, "third", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third");
        let refused = run(Arguments { output: Some(path), ..args(folder.path()) }, default_path())
            .unwrap_err()
            .to_string();
        assert!(refused.contains("--force"), "{refused}");
    }

    #[test]
    fn without_a_terminal_the_host_name_must_be_given() {
        let error = take(Arguments::default()).unwrap_err().to_string();
        assert!(error.contains("--hostname"), "{error}");
    }
}
