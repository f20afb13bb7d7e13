//! `[[device]]`: printers, scanners and old applications, each known by its address.

use std::net::IpAddr;

use ipnet::IpNet;
use postern_smtp::address::Mailbox;
use postern_smtp::server::ClearSignIn;

use super::{AddressSpace, Rate};
use crate::routing::destination_of;

/// A `[[device]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What log, replies and commands call it.
    pub name: String,
    /// Where it is: host bits cleared, IPv4-mapped networks turned into IPv4. Never empty; no two devices have the same.
    pub networks: Vec<IpNet>,
    /// Why so wide a list is right, where it needs a reason.
    pub because: Option<String>,
    /// The address it sends as; ASCII.
    pub sender: Mailbox,
    /// What is done about another one.
    pub other_senders: OtherSenders,
    /// Where it may send to, and nowhere else. Never empty.
    pub recipients: Vec<AddressSpace>,
    /// How many messages it may send in which time.
    pub rate: Option<Rate>,
    /// Whether it may go without TLS.
    pub tls: DeviceTls,
    /// Whether it may go without signing in.
    pub sign_in: SignIn,
    /// Whether its password may cross the network in clear.
    pub clear_sign_in: ClearSignIn,
}

/// What is done when a device sends as something else than its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherSenders {
    /// It is refused.
    Refused,
    /// Its address is put in their place.
    Replaced,
}

/// Whether a device may go without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceTls {
    /// It may not.
    Required,
    /// It may.
    Offered,
}

/// Whether a device may go without signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// It may not.
    Required,
    /// It may.
    Optional,
}

impl Device {
    /// How closely its networks name a client: the length of the longest prefix. `None`: not at all.
    pub fn closeness(&self, client: IpAddr) -> Option<u8> {
        let client = client.to_canonical();
        self.networks.iter().filter(|network| network.contains(&client)).map(IpNet::prefix_len).max()
    }

    /// Whether it may send to an address.
    pub fn may_send_to(&self, address: &Mailbox) -> bool {
        let domain = destination_of(address).0;
        self.recipients.iter().any(|space| space.matches(&domain).is_some())
    }
}
