//! Whether somebody may send as an address, and why: `postern user may-send`.
//!
//! The types to know: [`Question`] and [`MaySend`], the answer, with one [`Check`] for each thing that SMTP would look at. It is
//! made by the same functions that answer MAIL and the end of content, from the same directories, so that it cannot say
//! anything else than they do.
//!
//! What it deliberately does not do: ask for a password, or count as a sign-in.

use postern_message::inspect::{Inspection, Inspector};
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::reply::Reply;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::config::{Config, FromCheck};
use crate::directory::{AppPasswordUsed, Directories, Login, Means, Principal, Users};
use crate::sender::{Permission, Senders};

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    /// What the user would sign in as.
    pub user: String,
    /// The address.
    pub address: Mailbox,
    /// What stands in the From: field; without, the address.
    pub from: Option<String>,
    /// What stands in the Sender: field; without, there is none.
    pub sender: Option<String>,
    /// As if signed in with an app password that is bound to these addresses; empty: with any other proof.
    pub only: Vec<Mailbox>,
}

/// Whether somebody may send so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaySend {
    /// Who that is; `None`: no directory knows such a user.
    pub user: Option<Person>,
    /// Whether all that is looked at allows it.
    pub allowed: bool,
    /// What is looked at, in the order in which SMTP does.
    pub checks: Vec<Check>,
    /// The listeners that do not look at the header.
    pub unchecked: Vec<String>,
}

/// Somebody who could sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// His name.
    pub name: String,
    /// The directory that knows him.
    pub directory: String,
    /// The addresses that are his.
    pub addresses: Vec<Mailbox>,
    /// The groups he is in.
    pub groups: Vec<String>,
}

/// One thing that SMTP would look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What: `MAIL FROM:<…>`, or the header fields.
    pub what: String,
    /// The address's standing, in words; for the header, that of each author.
    pub because: Vec<String>,
    /// The reply that refuses it; `None`: it is allowed.
    pub reply: Option<String>,
    /// What would have to be added, where it is refused.
    pub remedy: Option<String>,
}

/// Asks the directories, and judges.
///
/// # Errors
/// In words: the name cannot be anybody's, or a directory that may know him cannot be asked.
pub(crate) async fn ask(
    config: &Config,
    directories: &Directories,
    senders: &Senders,
    question: &Question,
) -> Result<MaySend, String> {
    let login = Login::new(&question.user).ok_or("this cannot be the name of a user")?;
    let found = directories.look_up(&login).await.map_err(|denied| denied.to_string())?;
    let Some(mut principal) = found else {
        return Ok(MaySend { user: None, allowed: false, checks: Vec::new(), unchecked: Vec::new() });
    };
    if !question.only.is_empty() {
        let name = "(bound to these addresses)".to_owned();
        principal.app_password = Some(AppPasswordUsed { name, addresses: question.only.clone() });
    }
    Ok(answer(config, senders, &principal, question))
}

/// The same without a running daemon.
///
/// # Errors
/// What cannot be opened or asked.
pub(super) async fn ask_directly(config: &Config, question: &Question) -> Result<MaySend, Error> {
    let users = Users::open_for_reading(&config.data_dir)?;
    let means = Means { users: &users, resolver: None, observer: None };
    let directories =
        Directories::new(config, &means, None).map_err(|error| Error::Failed(error.to_string()))?;
    ask(config, &directories, &Senders::new(config), question).await.map_err(Error::Failed)
}

fn answer(config: &Config, senders: &Senders, principal: &Principal, question: &Question) -> MaySend {
    let judging = Judging { senders, principal };
    let checks = vec![judging.reverse_path(&question.address), judging.header(question)];
    let unchecked = config.listeners.iter().filter(|listener| listener.check_from_header == FromCheck::Off);
    MaySend {
        allowed: checks.iter().all(|check| check.reply.is_none()),
        checks,
        unchecked: unchecked.map(|listener| listener.name.clone()).collect(),
        user: Some(Person {
            name: principal.name.clone(),
            directory: principal.directory.clone(),
            addresses: principal.addresses.clone(),
            groups: principal.groups.clone(),
        }),
    }
}

/// One person under one set of rules.
struct Judging<'a> {
    senders: &'a Senders,
    principal: &'a Principal,
}

impl Judging<'_> {
    fn reverse_path(&self, address: &Mailbox) -> Check {
        let path = ReversePath::Mailbox(address.clone());
        let refusal = self.senders.check_reverse_path(self.principal, &path).err();
        self.check(format!("MAIL FROM:{path}"), std::slice::from_ref(address), refusal)
    }

    /// Without a From: field of the question it is the address, and a Sender: field stands beside it where it must.
    fn header(&self, question: &Question) -> Check {
        let from = question.from.clone().unwrap_or_else(|| format!("<{}>", question.address));
        let needs_sender = question.from.is_none()
            && matches!(self.senders.judge(self.principal, &question.address), Permission::OnBehalf(_));
        let own = || self.senders.author(self.principal, &ReversePath::Null).map(|own| format!("<{own}>"));
        let sender = question.sender.clone().or_else(|| own().filter(|_| needs_sender));
        let mut fields = vec![format!("From: {from}")];
        fields.extend(sender.map(|sender| format!("Sender: {sender}")));
        let header = inspected(&fields);
        let refusal = self.senders.check_header(self.principal, &header).err();
        self.check(fields.join(", "), header.from.as_deref().unwrap_or_default(), refusal)
    }

    fn check(&self, what: String, addresses: &[Mailbox], refusal: Option<Reply>) -> Check {
        let standing =
            |address: &Mailbox| format!("{address}: {}", words(&self.senders.judge(self.principal, address)));
        Check {
            what,
            because: addresses.iter().map(standing).collect(),
            remedy: refusal.as_ref().and_then(|_| self.remedy(addresses)),
            reply: refusal.map(|reply| reply.one_line()),
        }
    }

    /// What an administrator would add, or the sender.
    fn remedy(&self, addresses: &[Mailbox]) -> Option<String> {
        let name = &self.principal.name;
        addresses.iter().find_map(|address| match self.senders.judge(self.principal, address) {
            Permission::NotOwned if self.principal.directory == crate::directory::OWN => Some(format!(
                "postern user address add '{name}' '{address}', or a [[send_as]] with this address and users = [\"{name}\"]"
            )),
            Permission::NotOwned => Some(format!(
                "give him the address in the directory {}, or write a [[send_as]] with this address and users = [\"{name}\"]",
                self.principal.directory
            )),
            Permission::OutsideAppPassword(_) => {
                Some("use an app password that is bound to no address, or to this one, too".into())
            }
            Permission::OnBehalf(_) => {
                Some("have the mail program add a Sender: field with one address of his own".into())
            }
            _ => None,
        })
    }
}

/// A header is read as it would be in SMTP. What would break it into other fields is taken out first: the words come from a
/// command line.
fn inspected(fields: &[String]) -> Inspection {
    let mut inspector = Inspector::default();
    for field in fields {
        inspector.feed(field.replace(['\r', '\n', '\0'], " ").as_bytes());
        inspector.feed(b"\r\n");
    }
    inspector.feed(b"\r\n");
    inspector.finish()
}

/// What somebody's right to an address rests on.
pub(super) fn words(permission: &Permission<'_>) -> String {
    match permission {
        Permission::Own => "his own".into(),
        Permission::Detail => "his own, with a detail".into(),
        Permission::Alias(target) => format!("an alias, whose mail all goes to his {target}"),
        Permission::Rule(name) => format!("allowed by [[send_as]] \"{name}\""),
        Permission::OnBehalf(name) => {
            format!("allowed on behalf by [[send_as]] \"{name}\": with a Sender: field of his own")
        }
        Permission::OutsideAppPassword(name) => format!("not among the addresses of the app password {name}"),
        Permission::NotOwned => "not his, and no rule allows it".into(),
    }
}
