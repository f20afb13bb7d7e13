//! `postern user app-password`: passwords for single programs and devices, made here and shown once.

use clap::Subcommand;
use postern_mta::directory::{AppPassword, NewAppPassword, People};
use postern_smtp::address::Mailbox;
use serde_json::json;

use super::{Failure, one_address, texts};
use crate::in_json;
use crate::table::{Line, table};

/// Subcommands of `postern user app-password`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make one, and show it: this once
    #[command(after_help = "\
The user may be one of Postern's own, or anybody whom a directory of the configuration knows.

Examples:
  postern user app-password add anna telephone
  postern user app-password add anna scanner --address scanner@example.org")]
    Add {
        /// Whose
        user: String,
        /// What it is for: the name of the program or device
        name: String,
        /// It may send as this address only; may be given several times [default: all that are the user's]
        #[arg(long, value_name = "ADDRESS", value_parser = one_address)]
        address: Vec<Mailbox>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List a user's, with when and from where each was last used
    List {
        /// Whose
        user: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take one away: in force at the next sign-in
    Remove {
        /// Whose
        user: String,
        /// Its name
        name: String,
    },
}

pub(super) async fn run(command: Command, people: &People) -> Result<String, Failure> {
    match command {
        Command::Add { user, name, address, json } => {
            let made = people.add_app_password(&user, &name, &address).await?;
            added(&made, &name, &address, json)
        }
        Command::List { user, json: true } => Ok(in_json(&people.app_passwords(&user).await?)?),
        Command::List { user, json: false } => Ok(list(&user, &people.app_passwords(&user).await?)),
        Command::Remove { user, name } => {
            people.remove_app_password(&user, &name).await?;
            Ok(format!("nobody signs in as {user} with the password {name:?} any more\n"))
        }
    }
}

fn added(made: &NewAppPassword, name: &str, addresses: &[Mailbox], json: bool) -> Result<String, Failure> {
    let NewAppPassword { owner, password, foreign } = made;
    let user = owner.name();
    let password = password.expose_str().ok_or("the new password is no text")?;
    if json {
        let made = json!({
            "user": user,
            "name": name,
            "addresses": texts(addresses),
            "password": password,
            "not_his_addresses": texts(foreign),
        });
        return Ok(in_json(&made)?);
    }
    let mut text =
        format!("{password}\n\nThis is the app password {name:?} of {user}. It is not shown again.\n");
    for address in foreign {
        text += &format!(
            "Note: {address} is not an address of {user}; unless `[[send_as]]` lets him, it is refused.\n"
        );
    }
    Ok(text)
}

fn list(user: &str, passwords: &[AppPassword]) -> String {
    if passwords.is_empty() {
        return format!("{user} has no app passwords\n");
    }
    let head = Line::cells(["name", "made", "last used", "only for"]);
    let line = |password: &AppPassword| {
        let only_for = texts(&password.addresses).join(", ");
        Line::Cells(vec![password.name.clone(), password.created.to_string(), last_use(password), only_for])
    };
    let lines: Vec<Line> = [head].into_iter().chain(passwords.iter().map(line)).collect();
    table(&lines)
}

/// When it was last used, and from where.
pub(super) fn last_use(password: &AppPassword) -> String {
    match (&password.last_used, &password.last_client) {
        (Some(time), Some(client)) => format!("{time} from {client}"),
        (Some(time), None) => time.to_string(),
        (None, _) => "never used".to_owned(),
    }
}
