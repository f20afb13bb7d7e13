//! People as an administrator asks for them: whichever directory knows them, and their app passwords.
//!
//! [`People`] finds a [`Person`] by any of his names and looks after his app passwords, which are kept in Postern's own file for
//! people of other directories too. What can be taken away can be taken away while the directory is out of order, or knows him
//! no longer.
//!
//! What it deliberately does not do: change anything in the directories of others.

use postern_smtp::address::Mailbox;
use postern_smtp::secret::Secret;

use super::users::{NAME, usable_name};
use super::{AppPassword, Denied, Directories, Error, Login, Means, Principal, User, Users};
use crate::config::Config;

/// Postern's own users and the directories beside them.
#[derive(Debug)]
pub struct People {
    users: Users,
    directories: Directories,
}

/// Somebody whom a directory knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// One of Postern's own users.
    Own(User),
    /// One whom another directory knows, as it tells him at the moment.
    Other(Principal),
}

/// An app password that was just made.
#[derive(Debug)]
pub struct NewAppPassword {
    /// Whose it is.
    pub owner: Person,
    /// The password, which nobody can show again.
    pub password: Secret,
    /// The addresses among those that it is for that are not, or not directly, its owner's.
    pub foreign: Vec<Mailbox>,
}

impl People {
    /// Those of a configuration.
    ///
    /// # Errors
    /// Local: the system has no randomness to give.
    pub fn new(config: &Config, users: Users) -> Result<Self, Error> {
        let means = Means { users: &users, resolver: None, observer: None };
        let directories =
            Directories::new(config, &means, None).map_err(|error| Error::Crypto(error.to_string()))?;
        Ok(Self { users, directories })
    }

    /// Who this is: by name, or by one of his addresses.
    ///
    /// # Errors
    /// Nobody knows the name, or a directory that might cannot be asked.
    pub async fn find(&self, name: &str) -> Result<Person, Error> {
        let name = usable_name(name)?;
        let login = Login::new(&name).ok_or_else(|| Error::KnownToNobody { name: name.clone() })?;
        match self.directories.look_up(&login).await {
            Ok(Some(principal)) if principal.directory == NAME => {
                self.users.show(&principal.name).map(Person::Own)
            }
            Ok(Some(principal)) => Ok(Person::Other(principal)),
            // Who may not sign in is found as well.
            Ok(None) => match self.users.show(&name) {
                Err(Error::NoSuchUser { name }) => Err(Error::KnownToNobody { name }),
                shown => shown.map(Person::Own),
            },
            Err(Denied::Unavailable(why)) => Err(Error::Directory(why)),
            Err(Denied::Refused(_)) => Err(Error::KnownToNobody { name }),
        }
    }

    /// Makes an app password for somebody. Without addresses it may send as all that are his.
    ///
    /// # Errors
    /// Nobody knows him, its name cannot be used or is taken, or he has too many.
    pub async fn add_app_password(
        &self,
        whose: &str,
        name: &str,
        addresses: &[Mailbox],
    ) -> Result<NewAppPassword, Error> {
        let owner = self.find(whose).await?;
        let password = self.users.add_app_password(owner.whose(), name, addresses)?;
        let foreign = addresses.iter().filter(|address| !owner.owns(address)).cloned().collect();
        Ok(NewAppPassword { owner, password, foreign })
    }

    /// Somebody's app passwords, by name.
    ///
    /// # Errors
    /// Nobody knows him, and nobody has app passwords under this name.
    pub async fn app_passwords(&self, whose: &str) -> Result<Vec<AppPassword>, Error> {
        let owners = self.owners(whose).await?;
        let lists = owners.iter().map(|[directory, name]| self.users.app_passwords([directory, name]));
        Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Takes an app password away. Nobody signs in with it from now on; sessions that are signed in go on.
    ///
    /// # Errors
    /// He has none of this name.
    pub async fn remove_app_password(&self, whose: &str, name: &str) -> Result<(), Error> {
        let missing = || Error::NoSuchAppPassword { user: whose.to_owned(), name: name.to_owned() };
        let mut removed = Err(missing());
        for [directory, principal] in self.owners(whose).await? {
            match self.users.remove_app_password([&directory, &principal], name) {
                Err(Error::NoSuchAppPassword { .. }) => {}
                done => removed = done,
            }
        }
        removed
    }

    /// Whose app passwords are meant: those of the person himself; where no directory says who that is, those that are kept
    /// under the name.
    async fn owners(&self, whose: &str) -> Result<Vec<[String; 2]>, Error> {
        let unknown = match self.find(whose).await {
            Ok(person) => return Ok(vec![person.whose().map(str::to_owned)]),
            Err(error @ (Error::KnownToNobody { .. } | Error::Directory(_))) => error,
            Err(error) => return Err(error),
        };
        let name = usable_name(whose)?;
        let directories = self.users.app_password_owners(&name)?;
        if directories.is_empty() {
            return Err(unknown);
        }
        Ok(directories.into_iter().map(|directory| [directory, name.clone()]).collect())
    }
}

impl Person {
    /// His name, as his directory has it.
    pub fn name(&self) -> &str {
        self.whose()[1]
    }

    /// His addresses.
    pub fn addresses(&self) -> &[Mailbox] {
        match self {
            Self::Own(user) => &user.addresses,
            Self::Other(principal) => &principal.addresses,
        }
    }

    /// Which directory knows him, and under what name.
    fn whose(&self) -> [&str; 2] {
        match self {
            Self::Own(user) => [NAME, &user.name],
            Self::Other(principal) => [&principal.directory, &principal.name],
        }
    }

    fn owns(&self, address: &Mailbox) -> bool {
        super::source::is_among(self.addresses(), address, None)
    }
}
