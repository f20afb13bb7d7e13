//! `postern user`: people who may sign in, the addresses they may send as, and their app passwords.
//!
//! What changes Postern's own users stands here; what is asked of any directory is in `user/show.rs` and
//! `user/app_password.rs`.

mod app_password;
mod may_send;
mod past;
mod show;

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use postern_mta::directory::{Error, MainPassword, ScramState, Standing, User, Users};
use postern_smtp::address::Mailbox;
use postern_smtp::secret::Secret;

use crate::table::{Line, table};
use crate::{Done, admin, block_on, in_json, say};

/// Why something was not done.
type Failure = Box<dyn std::error::Error>;

/// Subcommands of `postern user`.
#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Own(Own),
    /// Show one person, whichever directory knows him
    Show(show::Show),
    /// Passwords for single programs and devices
    #[command(subcommand)]
    AppPassword(app_password::Command),
    /// Say whether a user of any directory may send as an address, and why
    MaySend(may_send::Arguments),
}

/// Those that are about Postern's own users.
#[derive(Subcommand)]
pub(crate) enum Own {
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
    /// Remove a user
    Remove {
        /// Whom
        name: String,
    },
    /// Let a user no longer sign in; mail for his addresses still comes in
    Disable {
        /// Whom
        name: String,
    },
    /// Let a disabled user sign in again
    Enable {
        /// Whom
        name: String,
    },
    /// Say whether a user's main password counts, or only his app passwords
    MainPassword {
        /// Whose
        name: String,
        /// Whether it counts
        whether: Whether,
    },
    /// Addresses that a user may send as
    #[command(subcommand)]
    Address(AddressCommand),
    /// Groups that a user is in
    #[command(subcommand)]
    Group(GroupCommand),
}

/// Whether the main password counts.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Whether {
    /// It does
    Allowed,
    /// Only app passwords do
    Barred,
}

/// Subcommands of `postern user group`.
#[derive(Subcommand)]
pub(crate) enum GroupCommand {
    /// Put a user into a group
    Add {
        /// Whom
        name: String,
        /// Its name
        group: String,
    },
    /// Take a user out of a group
    Remove {
        /// Whom
        name: String,
        /// Its name
        group: String,
    },
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
    let admin = admin(path)?;
    let done = match command {
        Command::Own(command) => carry_out(command, &admin.users()?),
        Command::Show(arguments) => block_on(async { show::run(&arguments, &admin).await })?,
        Command::MaySend(arguments) => return may_send::run(arguments, path),
        Command::AppPassword(command) => {
            block_on(async { app_password::run(command, &admin.people()?).await })?
        }
    };
    say(&done.map_err(with_hint)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What was done, in words.
fn carry_out(command: Own, users: &Users) -> Result<String, Failure> {
    Ok(match command {
        Own::Add { name, address, password } => {
            users.add(&name, &password.read(&name)?, &address)?;
            let hint = format!(
                "\n{name} has no address yet and cannot send: postern user address add {name} ADDRESS"
            );
            format!("added {name}{}\n", if address.is_empty() { hint.as_str() } else { "" })
        }
        Own::Passwd { name, password } => {
            users.show(&name)?;
            users.set_password(&name, &password.read(&name)?)?;
            format!("password of {name} changed\n")
        }
        Own::List { json: true } => in_json(&users.list()?)?,
        Own::List { json: false } => list(&users.list()?),
        Own::Remove { name } => {
            users.remove(&name)?;
            format!("removed {name}\n")
        }
        Own::Disable { name } => {
            users.set_standing(&name, Standing::Disabled)?;
            format!("{name} can no longer sign in; sessions that are signed in go on\n")
        }
        Own::Enable { name } => {
            users.set_standing(&name, Standing::Enabled)?;
            format!("{name} can sign in\n")
        }
        Own::MainPassword { name, whether } => set_main_password(&name, whether, users)?,
        Own::Address(command) => change_address(command, users)?,
        Own::Group(command) => change_group(command, users)?,
    })
}

fn set_main_password(name: &str, whether: Whether, users: &Users) -> Result<String, Failure> {
    match whether {
        Whether::Allowed => {
            users.set_main_password(name, MainPassword::Allowed)?;
            Ok(format!("the main password of {name} counts\n"))
        }
        Whether::Barred => {
            users.set_main_password(name, MainPassword::Barred)?;
            let none = users.show(name)?.app_passwords == 0;
            let hint = format!("; there is none yet: postern user app-password add {name} PROGRAM");
            Ok(format!("only app passwords of {name} count{}\n", if none { hint.as_str() } else { "" }))
        }
    }
}

fn change_address(command: AddressCommand, users: &Users) -> Result<String, Failure> {
    match command {
        AddressCommand::Add { name, address } => {
            users.add_address(&name, &address)?;
            Ok(format!("{name} may now send as {address}\n"))
        }
        AddressCommand::Remove { name, address } => {
            users.remove_address(&name, &address)?;
            Ok(format!("{name} may no longer send as {address}\n"))
        }
    }
}

fn change_group(command: GroupCommand, users: &Users) -> Result<String, Failure> {
    match command {
        GroupCommand::Add { name, group } => {
            users.add_group(&name, &group)?;
            Ok(format!("{name} is in {group}\n"))
        }
        GroupCommand::Remove { name, group } => {
            users.remove_group(&name, &group)?;
            Ok(format!("{name} is no longer in {group}\n"))
        }
    }
}

/// Who mistypes a name wants to see the right ones.
fn with_hint(failure: Failure) -> Failure {
    match failure.downcast_ref() {
        Some(Error::NoSuchUser { .. } | Error::KnownToNobody { .. }) => {
            format!("{failure}; `postern user list` shows all").into()
        }
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

fn list(users: &[User]) -> String {
    let mut lines: Vec<Line> = users.iter().map(line).collect();
    if users.iter().any(lacks_scram) {
        lines.push(Line::Remark(
            "no SCRAM yet: the password is from before Postern kept what SCRAM needs; it is made at the next sign-in with\n      \
             PLAIN or LOGIN, or by `postern user passwd`. Until nobody lacks it, SCRAM is not announced by itself."
                .to_owned(),
        ));
    }
    table(&lines)
}

fn line(user: &User) -> Line {
    let remarks = [
        (user.standing == Standing::Disabled, "disabled"),
        (user.main_password == MainPassword::Barred, "app passwords only"),
        (lacks_scram(user), "no SCRAM yet"),
    ];
    let remarks: Vec<&str> =
        remarks.into_iter().filter(|(holds, _)| *holds).map(|(_, remark)| remark).collect();
    Line::Cells(vec![user.name.clone(), texts(&user.addresses).join(", "), remarks.join(", ")])
}

/// Whether he is one of those who keep SCRAM from being announced.
fn lacks_scram(user: &User) -> bool {
    user.scram == ScramState::AtNextSignIn
        && user.standing == Standing::Enabled
        && user.main_password == MainPassword::Allowed
}

fn texts(addresses: &[Mailbox]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
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
            Own::Disable { name: name() },
            Own::Remove { name: name() },
            Own::Address(AddressCommand::Add { name: name(), address: address() }),
            Own::Group(GroupCommand::Add { name: name(), group: "staff".to_owned() }),
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
