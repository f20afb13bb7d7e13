//! `[rates]`, `[guessing]`, `[bans]` and `[bursts]`: how much anybody may do, and what is done about guessers and thieves.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// All that keeps people from doing too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// How much in how much time.
    pub rates: Rates,
    /// What wrong passwords lead to.
    pub guessing: Guessing,
    /// How long guessers are banned, and who never is.
    pub bans: BanRules,
    /// What is done about a sudden burst.
    pub bursts: Bursts,
}

/// `[rates]`: how much in how much time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of each signed-in principal.
    pub principal: Allowances,
    /// Of each client address; an IPv6 network of 64 bits is one.
    pub address: Allowances,
    /// Of each client network: 24 bits of IPv4, 64 bits of IPv6.
    pub network: Allowances,
    /// At each listener.
    pub listener: Allowances,
}

/// What one of them may do; `None`: as much as it likes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowances {
    /// Messages taken.
    pub messages: Option<Allowance>,
    /// Recipients of messages taken.
    pub recipients: Option<Allowance>,
    /// Those of them that it never wrote to before.
    pub new_recipients: Option<Allowance>,
    /// Octets of content taken.
    pub octets: Option<Allowance>,
    /// Sessions begun; of a principal: sign-ins.
    pub sessions: Option<Allowance>,
    /// Sign-ins that failed, the same wrong password again included.
    pub failed_sign_ins: Option<Allowance>,
}

/// So much in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How much; at least 1.
    pub most: u64,
    /// In which time; more than zero, at most a day.
    pub per: Duration,
}

/// `[guessing]`: what wrong passwords lead to. Only distinct ones count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guessing {
    /// So many for one account, and it is closed to networks where it has not signed in lately.
    pub account: Allowance,
    /// So many from one address, and it is banned; from a network of 24 bits, four times as many.
    pub network: Allowance,
    /// The longest that somebody who guesses waits before his next password is looked at.
    pub longest_wait: Duration,
    /// So long a sign-in makes a network known.
    pub known_for: Duration,
}

/// `[bans]`: how long guessers are banned, and who never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanRules {
    /// The first ban of a network; each further one lasts twice as long,
    pub first: Duration,
    /// but no longer than this.
    pub longest: Duration,
    /// Networks that are never banned by themselves, and whose addresses have no rates.
    pub never: Vec<IpNet>,
}

/// `[bursts]`: what is done about a sudden burst from one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bursts {
    /// What.
    pub action: BurstAction,
    /// So many recipients within an hour are no burst, whatever the account did before.
    pub floor: u64,
    /// So many times the account's busiest hour of the last four weeks are no burst.
    pub factor: u64,
}

/// What is done about a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BurstAction {
    /// The mail is accepted and held.
    Hold,
    /// Nothing.
    Off,
}

impl BanRules {
    /// Whether this client is in one of the networks that are never banned.
    pub fn spares(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.never.iter().any(|network| network.contains(&client))
    }
}
