//! Every way to be allowed, and every way not to be.

use postern_message::inspect::Inspector;

use super::*;
use crate::config::{File, Surroundings};
use crate::directory::AppPasswordUsed;

const CONFIG: &str = r#"
hostname = "mail.example.org"
[[listener]]
name = "submission"
role = "submission"
bind = ["[::1]:587"]
[[domain]]
name = "example.org"
deliver = "mx"
backup = true
mailboxes = ["anna", "ben"]
aliases = { office = ["front"], front = ["anna"], team = ["anna", "ben"], self = ["self", "ben"] }
[[directory]]
name = "corp"
[directory.saslauthd]
[[send_as]]
name = "desk"
addresses = ["help@example.org", "crm-*@partner.example"]
groups = ["Service Desk"]
[[send_as]]
name = "deputy"
addresses = ["boss@example.org", "help@example.org"]
users = ["anna", "carl"]
on_behalf = true
[[send_as]]
name = "corp only"
addresses = ["*@corp.example"]
users = ["anna"]
directory = "corp"
"#;

fn senders() -> Senders {
    let config = File::parse(CONFIG, "test").unwrap().resolve(&Surroundings::default());
    Senders::new(&config.unwrap_or_else(|problems| panic!("{problems:?}")))
}

fn anna() -> Principal {
    let addresses = ["anna@example.org", "Anna.Muster@example.org", "anna@elsewhere.example"];
    let addresses = addresses.map(|address| address.parse().unwrap()).into();
    Principal { directory: "users".into(), ..Principal::named("anna", addresses) }
}

fn judged<'a>(senders: &'a Senders, principal: &'a Principal, address: &str) -> Permission<'a> {
    senders.judge(principal, &address.parse().unwrap())
}

#[test]
fn own_addresses_are_judged_in_any_case_and_with_the_domains_delimiter_only() {
    let (senders, anna) = (senders(), anna());
    for (address, permission) in [
        ("ANNA@example.org", Permission::Own),
        ("\"anna.muster\"@EXAMPLE.org", Permission::Own),
        ("anna@elsewhere.example", Permission::Own),
        ("anna+lists@example.org", Permission::Detail),
        ("anna+lists@elsewhere.example", Permission::NotOwned),
        ("ben@example.org", Permission::NotOwned),
        ("anna@sub.example.org", Permission::NotOwned),
        ("annab@example.org", Permission::NotOwned),
    ] {
        assert_eq!(judged(&senders, &anna, address), permission, "{address}");
    }
}

#[test]
fn an_alias_is_his_whose_mail_it_brings_and_nobody_elses() {
    let (senders, anna) = (senders(), anna());
    let ben = Principal::named("ben", vec!["ben@example.org".parse().unwrap()]);
    for address in ["front@example.org", "Office@example.org", "office+x@example.org"] {
        assert!(matches!(judged(&senders, &anna, address), Permission::Alias(_)), "{address}");
        assert_eq!(judged(&senders, &ben, address), Permission::NotOwned, "{address}");
    }
    for shared in ["team@example.org", "self@example.org"] {
        assert_eq!(judged(&senders, &anna, shared), Permission::NotOwned, "{shared}");
        assert_eq!(judged(&senders, &ben, shared), Permission::NotOwned, "{shared}");
    }
}

#[test]
fn rules_go_by_name_group_and_directory() {
    let (senders, anna) = (senders(), anna());
    let clerk = Principal { groups: vec!["SERVICE desk".into()], ..anna.clone() };
    let of_corp = Principal { directory: "corp".into(), ..anna.clone() };
    let named_so = Principal::named("dora", vec!["carl@example.org".parse().unwrap()]);
    for (principal, address, permission) in [
        (&anna, "help@example.org", Permission::OnBehalf("deputy")),
        (&clerk, "help@example.org", Permission::Rule("desk")),
        (&clerk, "CRM-9@partner.example", Permission::Rule("desk")),
        (&clerk, "other@partner.example", Permission::NotOwned),
        (&anna, "crm-9@partner.example", Permission::NotOwned),
        (&anna, "boss+x@example.org", Permission::OnBehalf("deputy")),
        (&anna, "x@corp.example", Permission::NotOwned),
        (&of_corp, "x@corp.example", Permission::Rule("corp only")),
        (&named_so, "boss@example.org", Permission::NotOwned),
    ] {
        assert_eq!(judged(&senders, principal, address), permission, "{} {address}", principal.name);
    }
}

#[test]
fn an_app_password_narrows_and_never_widens() {
    let senders = senders();
    let bound = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let used = AppPasswordUsed { name: "scanner".into(), addresses };
        Principal { app_password: Some(used), ..anna() }
    };
    let (free, narrow, foreign) = (bound(&[]), bound(&["anna@example.org"]), bound(&["ben@example.org"]));
    assert_eq!(judged(&senders, &free, "anna.muster@example.org"), Permission::Own);
    assert_eq!(judged(&senders, &narrow, "anna+x@example.org"), Permission::Detail);
    for (principal, address) in
        [(&narrow, "anna.muster@example.org"), (&narrow, "boss@example.org"), (&foreign, "anna@example.org")]
    {
        assert_eq!(judged(&senders, principal, address), Permission::OutsideAppPassword("scanner"));
    }
    assert_eq!(judged(&senders, &foreign, "ben@example.org"), Permission::NotOwned);
    let author = senders.author(&bound(&["anna.muster@example.org"]), &ReversePath::Null).cloned();
    assert_eq!(author, "Anna.Muster@example.org".parse().ok(), "what is added is within it, too");
}

/// The help token of the reply to this header, or nothing.
fn header(principal: &Principal, fields: &[&str]) -> Option<String> {
    let mut inspector = Inspector::default();
    inspector.feed(format!("{}\r\n\r\n", fields.join("\r\n")).as_bytes());
    let reply = senders().check_header(principal, &inspector.finish()).err()?.one_line();
    Some(reply.rsplit(['(', ')']).nth(1)?.to_owned())
}

#[test]
fn every_author_must_be_his_or_named_by_a_sender_field_of_his_own() {
    let anna = anna();
    for (fields, token) in [
        (&["From: Anna <anna@example.org>"][..], None),
        (&["From: anna@example.org, office@example.org"], None),
        (&["From: anna@example.org, ben@example.org"], Some("from-not-owned")),
        (&["Subject: no author is added"], None),
        (&["From: boss@example.org"], Some("from-needs-sender")),
        (&["From: boss@example.org", "Sender: anna@example.org"], None),
        (&["From: boss@example.org, anna@example.org", "Sender: Anna <anna+x@example.org>"], None),
        (&["From: boss@example.org", "Sender: help@example.org"], Some("sender-header-not-owned")),
        (&["From: boss@example.org", "Sender: ben@example.org"], Some("sender-header-not-owned")),
        (&["From: ben@example.org", "Sender: anna@example.org"], Some("from-not-owned")),
        (&["From: anna@example.org", "Sender: ben@example.org"], Some("sender-header-not-owned")),
        (&["Subject: x", "Sender: ben@example.org"], Some("sender-header-not-owned")),
        (
            &["From: boss@example.org", "Sender: a@b.example, anna@example.org"],
            Some("sender-header-unreadable"),
        ),
        (
            &["From: boss@example.org", "Sender: anna@example.org", "Sender: anna@example.org"],
            Some("sender-header-unreadable"),
        ),
        (&["From: anna@example.org", "Sender: nobody"], Some("sender-header-unreadable")),
        (&["From: anna@example.org", "From: anna@example.org"], Some("from-unreadable")),
        (&["From: anna"], Some("from-unreadable")),
    ] {
        assert_eq!(header(&anna, fields).as_deref(), token, "{fields:?}");
    }
}

#[test]
fn the_reverse_path_may_be_on_behalf_or_null() {
    let (senders, anna) = (senders(), anna());
    for (from, allowed) in [
        ("<>", true),
        ("<boss@example.org>", true),
        ("<anna+x@example.org>", true),
        ("<ben@example.org>", false),
    ] {
        let from: ReversePath = from.parse().unwrap();
        let refusal = senders.check_reverse_path(&anna, &from).err();
        assert_eq!(refusal.is_none(), allowed, "{from}: {refusal:?}");
        if let Some(reply) = refusal {
            assert_eq!(reply.one_line(), "553 5.7.1 <ben@example.org>: not owned by anna (sender-not-owned)");
        }
    }
}

#[test]
fn an_author_that_is_added_is_never_one_that_needs_a_sender_field() {
    let (senders, anna) = (senders(), anna());
    let author = |from: &str| senders.author(&anna, &from.parse().unwrap()).map(ToString::to_string);
    assert_eq!(author("<boss@example.org>").as_deref(), Some("anna@example.org"));
    assert_eq!(author("<office@example.org>").as_deref(), Some("office@example.org"));
    assert_eq!(author("<>").as_deref(), Some("anna@example.org"));
}
