//! `postern user`: people who may sign in, and the addresses they may send as.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use postern_mta::directory::{Error, User, Users};
use postern_smtp::address::Mailbox;
use postern_smtp::secret::Secret;

use crate::{Done, admin, say};

/// Why something was not done.
type Failure = Box<dyn std::error::Error>;

/// Subcommands of `postern user`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a user
    Add {
        /// The name to sign in with
        name: String,
        /// An address that the user may send as and receives for; may be given several times
        #[arg(long, value_name = "ADDRESS", value_parser = one_address)]
        address: Vec<Mailbox>,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Set a new password
    Passwd {
        /// Whose
        name: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List all users
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one user
    Show {
        /// Whom
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a user
    Remove {
        /// Whom
        name: String,
    },
    /// Addresses that a user may send as
    #[command(subcommand)]
    Address(AddressCommand),
}

/// Subcommands of `postern user address`.
#[derive(Subcommand)]
pub(crate) enum AddressCommand {
    /// Add an address to a user
    Add {
        /// Whose
        name: String,
        /// The address
        #[arg(value_parser = one_address)]
        address: Mailbox,
    },
    /// Take an address away from a user
    Remove {
        /// Whose
        name: String,
        /// The address
        #[arg(value_parser = one_address)]
        address: Mailbox,
    },
}

/// Where a password comes from; asked for at the terminal otherwise.
#[derive(Args)]
pub(crate) struct PasswordSource {
    /// Read the password from standard input (its first line)
    #[arg(long)]
    password_stdin: bool,
}

/// Carries out a subcommand.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    let users = admin(path)?.users()?;
    say(&carry_out(command, &users).map_err(with_hint)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What was done, in words.
fn carry_out(command: Command, users: &Users) -> Result<String, Failure> {
    Ok(match command {
        Command::Add { name, address, password } => {
            users.add(&name, &password.read(&name)?, &address)?;
            let hint = format!(
                "\n{name} has no address yet and cannot send: postern user address add {name} ADDRESS"
            );
            format!("added {name}{}\n", if address.is_empty() { hint.as_str() } else { "" })
        }
        Command::Passwd { name, password } => {
            users.show(&name)?;
            users.set_password(&name, &password.read(&name)?)?;
            format!("password of {name} changed\n")
        }
        Command::List { json: true } => serde_json::to_string_pretty(&users.list()?)? + "\n",
        Command::List { json: false } => users.list()?.iter().map(|user| line(user) + "\n").collect(),
        Command::Show { name, json: true } => serde_json::to_string_pretty(&users.show(&name)?)? + "\n",
        Command::Show { name, json: false } => details(&users.show(&name)?),
        Command::Remove { name } => {
            users.remove(&name)?;
            format!("removed {name}\n")
        }
        Command::Address(AddressCommand::Add { name, address }) => {
            users.add_address(&name, &address)?;
            format!("{name} may now send as {address}\n")
        }
        Command::Address(AddressCommand::Remove { name, address }) => {
            users.remove_address(&name, &address)?;
            format!("{name} may no longer send as {address}\n")
        }
    })
}

/// Who mistypes a name wants to see the right ones.
fn with_hint(failure: Failure) -> Failure {
    match failure.downcast_ref() {
        Some(Error::NoSuchUser { .. }) => format!("{failure}; `postern user list` shows all").into(),
        _ => failure,
    }
}

/// An address of the command line. Whole domains are asked for often enough to be answered.
fn one_address(text: &str) -> Result<Mailbox, String> {
    if text.starts_with('@') || text.starts_with("*@") {
        return Err(
            "a whole domain cannot be given to a user: add each address by itself, such as anna@example.org"
                .into(),
        );
    }
    text.parse().map_err(|error: <Mailbox as FromStr>::Err| error.to_string())
}

impl PasswordSource {
    fn read(&self, name: &str) -> Result<Secret, Failure> {
        if self.password_stdin {
            let mut text = String::new();
            std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text)?;
            return Ok(Secret::new(text.lines().next().unwrap_or_default()));
        }
        if !std::io::stdin().is_terminal() {
            return Err("no terminal to ask for the password at: pipe it in and say --password-stdin".into());
        }
        let password = dialoguer::Password::new()
            .with_prompt(format!("Password for {name}"))
            .with_confirmation("Once more", "The two differ")
            .interact()?;
        Ok(Secret::new(password))
    }
}

fn line(user: &User) -> String {
    format!("{:<20} {}", user.name, addresses(user).join(", "))
}

fn details(user: &User) -> String {
    let addresses = match addresses(user) {
        none if none.is_empty() => "none: this user cannot send".to_owned(),
        some => some.join("\n              "),
    };
    format!(
        "name          {}\nmay send as   {addresses}\ncreated       {}\npassword set  {}\n",
        user.name, user.created, user.password_set
    )
}

fn addresses(user: &User) -> Vec<String> {
    user.addresses.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_leads_to_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let users = Users::open(folder.path()).unwrap();
        let name = || "nobody".to_owned();
        let address = || "nobody@example.org".parse().unwrap();
        for command in [
            Command::Show { name: name(), json: false },
            Command::Remove { name: name() },
            Command::Address(AddressCommand::Add { name: name(), address: address() }),
        ] {
            let said = carry_out(command, &users).map_err(with_hint).unwrap_err().to_string();
            assert!(said.contains("no user nobody") && said.contains("postern user list"), "{said}");
        }
    }

    #[test]
    fn a_whole_domain_is_no_address() {
        for text in ["@example.org", "*@example.org"] {
            assert!(one_address(text).unwrap_err().contains("whole domain"), "{text}");
        }
        assert_eq!(one_address("anna@example.org").unwrap().to_string(), "anna@example.org");
        assert!(!one_address("anna").unwrap_err().contains("whole domain"));
    }
}
