//! The catalogue of replies: its words, its rules, and `docs/replies.md`, which is made from it.
//!
//! `POSTERN_BLESS=1 cargo test -p postern-smtp --test replies` rewrites the page.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

use postern_smtp::address::{ForwardPath, ReversePath};
use postern_smtp::reply::catalogue::{self, ALL, Entry};

const INTRODUCTION: &str = "# Replies

Every reply that Postern ever sends, apart from the list of extensions that answers EHLO. This page is generated from
`crates/smtp/src/reply/catalogue.rs`.

The first three digits and the enhanced code (RFC 3463) are for programs, the text is for people. Where there is something
to look up, the text ends with a *help token* in brackets: `(relay-denied)`. A code that begins with 4 means *not now*, and
the other side will try again; one that begins with 5 means *no*. `{…}` stands for what is filled in.

| code | text | means | source |
|---|---|---|---|
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for entry in ALL {
        let Entry { meaning, section, .. } = entry;
        writeln!(page, "| {} | `{}` | {meaning} | {section} |", codes(entry), whole_text(entry))
            .expect("a string");
    }
    page
}

fn codes(entry: &Entry) -> String {
    match entry.enhanced {
        Some(enhanced) => format!("{} {enhanced}", entry.code),
        None => entry.code.to_string(),
    }
}

fn whole_text(entry: &Entry) -> String {
    let text = entry.text.replace('\n', "` `");
    match entry.token {
        Some(token) => format!("{text} ({token})"),
        None => text,
    }
}

#[test]
fn the_page_of_replies_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/replies.md");
    if std::env::var_os("POSTERN_BLESS").is_some() {
        std::fs::write(&path, page()).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/replies.md is out of date: run the test again with POSTERN_BLESS=1");
}

#[test]
fn the_promised_words_are_kept() {
    let elsewhere: ForwardPath = "<elvin1@example.net>".parse().expect("well-formed");
    let sender: ReversePath = "<boss@example.org>".parse().expect("well-formed");
    for (reply, words) in [
        (
            catalogue::relay_denied(&elsewhere),
            "550 5.7.1 <elvin1@example.net>... Relaying denied. Proper authentication required. (relay-denied)",
        ),
        (catalogue::starttls_first(), "530 5.7.0 Must issue a STARTTLS command first (starttls-first)"),
        (catalogue::sign_in_first(), "530 5.7.0 Authentication required (sign-in-first)"),
        (
            catalogue::tls_unavailable(),
            "454 4.7.0 TLS not available due to temporary reason (tls-unavailable)",
        ),
        (catalogue::starttls_ready(), "220 2.0.0 Ready to start TLS"),
        (catalogue::bad_credentials(), "535 5.7.8 Authentication failed (bad-credentials)"),
        (
            catalogue::sender_not_owned(&sender, "anna"),
            "553 5.7.1 <boss@example.org>: not owned by anna (sender-not-owned)",
        ),
        (catalogue::queued("01J9"), "250 2.0.0 Queued as 01J9"),
    ] {
        assert_eq!(reply.one_line(), words);
    }
}

#[test]
fn names_and_help_tokens_are_unique() {
    let mut seen = HashSet::new();
    for entry in ALL {
        assert!(seen.insert(entry.name), "{}", entry.name);
        let Some(token) = entry.token else { continue };
        assert!(seen.insert(token), "{token}");
        assert!(token.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'), "{token}");
    }
}

/// RFC 2034 §4: all of 2yz, 4yz and 5yz but the greeting and the answers to EHLO and HELO, and nothing else.
#[test]
fn enhanced_codes_stand_where_they_belong() {
    for entry in ALL {
        let expected = entry.code / 100 != 3 && !["greeting", "helo"].contains(&entry.name);
        assert_eq!(entry.enhanced.is_some(), expected, "{}", entry.name);
        let fits = entry.enhanced.is_none_or(|enhanced| u16::from(enhanced.class) == entry.code / 100);
        assert!(fits, "{}", entry.name);
    }
}

#[test]
fn every_refusal_for_people_has_a_help_token() {
    for entry in ALL.iter().filter(|entry| matches!(entry.code, 421 | 450..=499 | 530..=554)) {
        assert!(entry.token.is_some(), "{}", entry.name);
    }
}

#[test]
fn words_of_a_client_are_bounded_and_cleaned() {
    let reply = catalogue::unknown_mechanism(&format!("X\r\n250 ok{}", "y".repeat(600)));
    assert_eq!(reply.lines.len(), 1);
    assert!(reply.to_string().len() <= 512, "RFC 5321 §4.5.3.1.5");
    assert!(reply.lines[0].starts_with("Unrecognized authentication type X??250 ok"));
}

#[test]
fn help_fits_on_reply_lines() {
    let help = catalogue::help();
    assert_eq!(help.lines.len(), 2);
    assert!(help.to_string().lines().all(|line| line.len() < 511));
}
