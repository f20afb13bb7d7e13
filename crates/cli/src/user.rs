//! `postern user`: people who may sign in, and the addresses they may send as.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use postern_mta::directory::User;
use postern_smtp::address::Mailbox;
use postern_smtp::secret::Secret;

use crate::{Done, admin, say};

/// Subcommands of `postern user`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a user
    Add {
        /// The name to sign in with
        name: String,
        /// An address that the user may send as and receives for; may be given several times
        #[arg(long, value_name = "ADDRESS")]
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
        address: Mailbox,
    },
    /// Take an address away from a user
    Remove {
        /// Whose
        name: String,
        /// The address
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
    let done = match command {
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
    };
    say(&done)?;
    Ok(ExitCode::SUCCESS)
}

impl PasswordSource {
    fn read(&self, name: &str) -> Result<Secret, Box<dyn std::error::Error>> {
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
