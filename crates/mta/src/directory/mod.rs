//! Who may sign in, and which addresses are whose.
//!
//! An organisation's people are in several places: Postern's own [`Users`], and the directories that the organisation has
//! already. The types to know:
//! - [`Directory`]: one such place. [`Principal`]: somebody who has signed in; [`Denied`]: why somebody could not.
//! - [`Directories`]: all of them, asked in order, within their time limits; app passwords before them.
//! - [`People`]: the same for administrators, with the app passwords that people have.
//! - `checker`: works password hashes out, in bounded parallelism; one who signs in often pays for it once.
//!
//! A directory that is out of order is never taken for a wrong password: the client is to try again later, not to ask its
//! user for another password. A name that does not exist costs as much time as a wrong password wherever Postern compares
//! passwords itself.
//!
//! What it deliberately does not do: decide what a principal may send (the gate does), count failures (`limits` does), or
//! resolve aliases and plus-addressing for recipients (routing does).

mod account;
mod checker;
mod complaint;
mod crypt;
mod directories;
mod dovecot;
mod fault;
pub(crate) mod ldap;
mod oauth;
mod passwd_file;
mod people;
mod recent;
mod rehash;
mod saslauthd;
mod source;
mod sql;
mod users;

pub use directories::{Directories, Means};
pub use fault::SignInFault;
pub(crate) use passwd_file::problems as passwd_file_problems;
pub use people::{NewAppPassword, People, Person};
pub(crate) use source::address_key;
pub use source::{Abilities, AppPasswordUsed, Denied, Directory, Login, Names, Principal, Why};
pub(crate) use source::{is_among, key_of};
pub(crate) use users::NAME as OWN;
pub use users::{AppPassword, Error, MainPassword, ScramState, Standing, User, Users};
