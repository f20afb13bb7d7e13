//! `[rates]`, `[guessing]`, `[bans]` and `[bursts]`: how much anybody may do, and what is done about guessers and thieves.
//!
//! [`protection`] reads them all. What it deliberately does not do: count anything (`limits` does).

use super::network;
use super::width::canonical;
use crate::config::model::{
    Allowance, Allowances, BanRules, BurstAction, Bursts, Guessing, Protection, Rates,
};
use crate::config::reader::{Reader, Section};
use crate::config::units;

/// More different passwords than this are not told apart.
const DISTINCT_MOST: u64 = 1000;

pub(super) fn protection<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Protection> {
    let rates = rates(reader, top);
    let guessing = guessing(reader, top);
    let bans = bans(reader, top);
    let bursts = bursts(reader, top);
    Some(Protection { rates, guessing: guessing?, bans: bans?, bursts: bursts? })
}

/// What cannot be read is noted as a problem, so that nothing runs without it.
fn rates<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Rates {
    let at = &reader.section(top, "rates");
    Rates {
        principal: allowances(reader, at, "principal"),
        address: allowances(reader, at, "address"),
        network: allowances(reader, at, "network"),
        listener: allowances(reader, at, "listener"),
    }
}

fn allowances<'a>(reader: &mut Reader<'a>, rates: &Section<'a>, name: &str) -> Allowances {
    let at = &reader.section(rates, name);
    let mut read = |key| {
        let turn = if key == "octets" { units::volume_or_none } else { units::rate_or_none };
        reader.turned(at, key, turn).flatten().map(|(most, per)| Allowance { most, per })
    };
    Allowances {
        messages: read("messages"),
        recipients: read("recipients"),
        new_recipients: read("new_recipients"),
        octets: read("octets"),
        sessions: read("sessions"),
        failed_sign_ins: read("failed_sign_ins"),
    }
}

fn guessing<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Guessing> {
    let at = &reader.section(top, "guessing");
    let account = distinct(reader, at, "account");
    let network = distinct(reader, at, "network");
    let longest_wait = reader.duration(at, "longest_wait");
    let known_for = reader.duration(at, "known_for");
    Some(Guessing {
        account: account?,
        network: network?,
        longest_wait: longest_wait?,
        known_for: known_for?,
    })
}

fn distinct<'a>(reader: &mut Reader<'a>, at: &Section<'a>, key: &'static str) -> Option<Allowance> {
    let (most, per) = reader.turned(at, key, units::rate)?;
    let most = u64::from(most);
    if most > DISTINCT_MOST {
        let what = format!("{most} different passwords are more than are told apart");
        reader.complain(at, key, what, format!("write {DISTINCT_MOST} or less"));
        return None;
    }
    Some(Allowance { most, per })
}

fn bans<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<BanRules> {
    let at = &reader.section(top, "bans");
    let first = reader.duration(at, "first");
    let longest = reader.duration(at, "longest");
    let never = reader.list(at, "never", network);
    let (first, longest) = (first?, longest?);
    if longest < first {
        reader.complain(at, "longest", "it is shorter than the first ban", "make it longer than first");
    }
    let never: Vec<_> = never?.into_iter().map(canonical).collect();
    if never.iter().any(|network| network.prefix_len() == 0) {
        let what = "nobody is ever banned by himself, and no address has a rate";
        reader.warn(at, "never", what, "name the networks of people that you know");
    }
    Some(BanRules { first, longest, never })
}

fn bursts<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Bursts> {
    let at = &reader.section(top, "bursts");
    let words = [("hold", BurstAction::Hold), ("off", BurstAction::Off)];
    let action = reader.choice(at, "action", None, &words);
    let floor = reader.count(at, "floor");
    let factor = reader.count(at, "factor");
    Some(Bursts { action: action?, floor: floor?, factor: factor? })
}
