//! Inputs on which SMTP software is known to go wrong, each with what Postern does instead.
//!
//! One test for each row of the table of bad inputs that the choice to write our own grammar rests on (see
//! `docs/dependencies.md`): every one of them was accepted, misread or silently changed by a parser in wide use.

use bytes::BytesMut;
use postern_smtp::address::{AddressError, ForwardPath, Mailbox};
use postern_smtp::command::{Command, SyntaxError, Verb};
use postern_smtp::content::{ContentDecoder, Violation};
use postern_smtp::line::{self, Line};
use postern_smtp::reply::{Enhanced, Reply, ReplyError, ReplyParser};
use postern_smtp::server::LineEndings;

/// The code and enhanced code of the refusal of a command line.
fn refusal(line: &str) -> String {
    let reply = Command::parse(line.as_bytes()).expect_err(line).reply();
    format!("{} {}", reply.code, reply.enhanced.expect("syntax errors have enhanced codes"))
}

fn recipient(line: &str) -> ForwardPath {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => rcpt.to,
        other => panic!("{line}: {other:?}"),
    }
}

fn mailbox_error(text: &str) -> AddressError {
    text.parse::<Mailbox>().expect_err(text)
}

/// What a decoder makes of content in one piece: the decoded octets and how many were consumed, if it ended.
fn decode(line_endings: LineEndings, wire: &[u8]) -> Result<(Vec<u8>, Option<usize>), Violation> {
    let mut out = BytesMut::new();
    let decoded = ContentDecoder::new(line_endings).decode(wire, &mut out)?;
    Ok((out.to_vec(), decoded.ended.then_some(decoded.consumed)))
}

fn parse_reply(wire: &str) -> Result<Option<Reply>, ReplyError> {
    ReplyParser::new().feed(wire.as_bytes()).map(|(_, reply)| reply)
}

#[test]
fn a_command_line_never_ends_at_a_bare_lf() {
    let found = line::next_line(b"MAIL FROM:<a@b.c>\nRCPT TO:<d@e.f>\r\n", line::MAX_COMMAND_LINE);
    assert_eq!(found, Line::Violation(Violation::BareLf));
}

#[test]
fn a_bare_cr_in_a_command_line_is_a_violation_wherever_it_stands() {
    for wire in ["MA\rIL FROM:<a@b.c>\r\n", "MAIL FROM:<a\r@b.c>\r\n", "QUIT\r\r\n"] {
        let found = line::next_line(wire.as_bytes(), line::MAX_COMMAND_LINE);
        assert_eq!(found, Line::Violation(Violation::BareCr), "{wire:?}");
    }
}

#[test]
fn a_nul_in_a_command_line_is_a_violation() {
    assert_eq!(line::next_line(b"NOOP \0\r\n", line::MAX_COMMAND_LINE), Line::Violation(Violation::Nul));
}

#[test]
fn a_cr_at_the_end_of_what_has_arrived_waits_for_its_lf() {
    assert_eq!(line::next_line(b"QUIT\r", line::MAX_COMMAND_LINE), Line::Incomplete);
    let complete = Line::Complete { line: b"QUIT", consumed: 6 };
    assert_eq!(line::next_line(b"QUIT\r\nNOOP", line::MAX_COMMAND_LINE), complete);
}

#[test]
fn a_line_is_refused_at_the_octet_that_makes_it_too_long() {
    let line = |octets: usize| [vec![b'x'; octets - 2], b"\r\n".to_vec()].concat();
    let whole = line(line::MAX_COMMAND_LINE);
    assert!(matches!(line::next_line(&whole, line::MAX_COMMAND_LINE), Line::Complete { .. }));
    let longer = line(line::MAX_COMMAND_LINE + 1);
    assert_eq!(line::next_line(&longer, line::MAX_COMMAND_LINE), Line::TooLong);
    assert_eq!(line::next_line(&longer[..line::MAX_COMMAND_LINE], line::MAX_COMMAND_LINE), Line::TooLong);
}

#[test]
fn the_rest_of_an_overlong_line_is_dropped_up_to_its_crlf() {
    let mid = line::skip_line(b"xxx\r").expect("no violation");
    assert_eq!((mid.consumed, mid.ended), (3, false));
    let end = line::skip_line(b"\r\nQUIT\r\n").expect("no violation");
    assert_eq!((end.consumed, end.ended), (2, true));
    assert_eq!(line::skip_line(b"xx\nQUIT\r\n"), Err(Violation::BareLf));
}

#[test]
fn only_auth_may_be_longer_than_other_command_lines() {
    assert_eq!(line::command_line_limit(b"auth PLAIN AGE="), line::MAX_AUTH_LINE);
    assert_eq!(line::command_line_limit(b"AUTHOR"), line::MAX_COMMAND_LINE);
}

#[test]
fn commands_without_arguments_refuse_junk_behind_them() {
    for line in ["DATA junk", "QUIT now", "STARTTLS x", "RSET x", "DATA  x"] {
        assert_eq!(refusal(line), "501 5.5.4", "{line}");
    }
}

#[test]
fn a_first_line_of_one_dot_ends_the_content() {
    assert_eq!(decode(LineEndings::Strict, b".\r\nQUIT\r\n"), Ok((Vec::new(), Some(3))));
}

#[test]
fn a_stuffed_dot_on_the_first_line_is_removed() {
    assert_eq!(decode(LineEndings::Strict, b"..x\r\n.\r\n"), Ok((b".x\r\n".to_vec(), Some(8))));
}

#[test]
fn a_doubled_cr_never_ends_the_content() {
    for line_endings in [LineEndings::Strict, LineEndings::Repair] {
        assert_eq!(decode(line_endings, b"a\r\n.\r\r\nMAIL"), Err(Violation::BareCr));
        assert_eq!(decode(line_endings, b"a\r\r\n.\r\n"), Err(Violation::BareCr));
    }
}

#[test]
fn every_other_end_of_data_is_refused_where_line_endings_are_strict() {
    let smuggled: [&[u8]; 6] = [b"a\n.\n", b"a\n.\r\n", b"a\r\n.\n", b"a\r.\r\n", b"a\r\n.\r", b"a\r.\r"];
    for end in smuggled {
        let wire = [end, b"MAIL FROM:<x@y.z>\r\n"].concat();
        assert!(decode(LineEndings::Strict, &wire).is_err(), "{end:?}");
    }
}

#[test]
fn a_repaired_lf_never_makes_an_end_of_data() {
    let smuggled: [(&[u8], &[u8]); 3] = [
        (b"a\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),
    ];
    for (wire, content) in smuggled {
        assert_eq!(decode(LineEndings::Repair, wire), Ok((content.to_vec(), None)), "{wire:?}");
    }
}

#[test]
fn after_a_repaired_dot_line_only_crlf_dot_crlf_ends_the_content() {
    let (content, end) = decode(LineEndings::Repair, b"a\n.\r\n.\r\nQUIT\r\n").expect("no violation");
    assert_eq!(content, b"a\r\n.\r\n");
    assert_eq!(end, Some(8));
}

#[test]
fn a_stuffed_dot_behind_a_repaired_lf_is_removed() {
    assert_eq!(decode(LineEndings::Repair, b"a\n..b\r\n.\r\n"), Ok((b"a\r\n.b\r\n".to_vec(), Some(10))));
}

#[test]
fn a_nul_in_content_is_a_violation() {
    assert_eq!(decode(LineEndings::Repair, b"a\0b\r\n.\r\n"), Err(Violation::Nul));
    assert_eq!(decode(LineEndings::Repair, b".\0\r\n"), Err(Violation::Nul));
}

#[test]
fn a_quoted_local_part_keeps_its_quotes() {
    for path in [r#"<"a@evil.com"@x.y>"#, r#"<"a> SIZE=1"@x.y>"#, r#"<"a\"b\\ c"@x.y>"#, r#"<""@x.y>"#] {
        assert_eq!(recipient(&format!("RCPT TO:{path}")).to_string(), path);
    }
}

#[test]
fn postmaster_without_a_domain_is_a_recipient_and_the_empty_path_is_not() {
    assert_eq!(recipient("RCPT TO:<postmaster>"), ForwardPath::Postmaster);
    assert_eq!(recipient("RCPT TO:<PostMaster>"), ForwardPath::Postmaster);
    assert_eq!(refusal("RCPT TO:<>"), "501 5.1.3");
    assert_eq!(refusal("MAIL FROM:<postmaster>"), "501 5.1.7");
}

#[test]
fn address_literals_are_addresses() {
    for path in ["<u@[127.0.0.1]>", "<u@[IPv6:::1]>", "<u@[IPv6:2001:db8::1]>"] {
        assert_eq!(recipient(&format!("RCPT TO:{path}")).to_string(), path);
    }
}

#[test]
fn malformed_literals_are_not() {
    for host in
        ["[1.2.3]", "[::1]", "[IPv6:1.2.3.4]", "[x400:a]", "[01.2.3.4]", "[1.2.3.4", "[]", "[1.2.3.4]x"]
    {
        assert_eq!(mailbox_error(&format!("u@{host}")), AddressError::BadLiteral, "{host}");
    }
}

#[test]
fn malformed_domains_are_refused() {
    for host in ["-x.y-", "x_y!.z", "x..y", ".x", "x.", "", "x y", "1.2.3.4", "a\u{7f}.b", "xé\u{85}.y"] {
        assert_eq!(mailbox_error(&format!("u@{host}")), AddressError::BadDomain, "{host}");
    }
}

#[test]
fn malformed_local_parts_are_refused() {
    for local in
        ["u.", ".u", "u..v", "", "u v", "\"u", "\"u\"v", "u\u{7f}", "u\u{85}", "\"\u{1}\"", "u\"v\"", "(u)"]
    {
        assert_eq!(mailbox_error(&format!("{local}@x.y")), AddressError::BadLocalPart, "{local:?}");
    }
}

#[test]
fn octets_that_are_no_utf8_are_refused_and_not_replaced() {
    let refused = Command::parse(b"RCPT TO:<u\xff@x.y>");
    assert_eq!(refused, Err(SyntaxError::Characters(Verb::Rcpt)));
}

#[test]
fn a_parameter_may_come_once() {
    for line in [
        "MAIL FROM:<> SIZE=10 SIZE=20",
        "MAIL FROM:<> SIZE=10 size=10",
        "MAIL FROM:<> BODY=7BIT BODY=8BITMIME",
        "MAIL FROM:<> SMTPUTF8 SMTPUTF8",
        "RCPT TO:<a@b.c> NOTIFY=NEVER NOTIFY=NEVER",
    ] {
        assert_eq!(refusal(line), "501 5.5.4", "{line}");
    }
}

#[test]
fn malformed_parameters_are_refused() {
    for line in [
        "MAIL FROM:<> SIZE",
        "MAIL FROM:<> SIZE=",
        "MAIL FROM:<> SIZE=1x",
        "MAIL FROM:<> SIZE=-1",
        "MAIL FROM:<> SIZE=123456789012345678901",
        "MAIL FROM:<> BODY=9BIT",
        "MAIL FROM:<> SMTPUTF8=1",
        "MAIL FROM:<> RET=SOME",
        "MAIL FROM:<> ENVID=a+0Ab",
        "MAIL FROM:<> ENVID=a+2",
        "MAIL FROM:<>  SIZE=1",
        "MAIL FROM:<> =1",
        "MAIL FROM:<> -X=1",
        "RCPT TO:<a@b.c> NOTIFY=NEVER,SUCCESS",
        "RCPT TO:<a@b.c> NOTIFY=SUCCESS,SUCCESS",
        "RCPT TO:<a@b.c> NOTIFY=",
        "RCPT TO:<a@b.c> ORCPT=a@b.c",
        "RCPT TO:<a@b.c> ORCPT=rfc822;",
        r"RCPT TO:<a@b.c> ORCPT=utf-8;a\x{0A}b",
        r"RCPT TO:<a@b.c> ORCPT=utf-8;a\x{D800}b",
    ] {
        assert_eq!(refusal(line), "501 5.5.4", "{line}");
    }
}

#[test]
fn unknown_parameters_are_refused_with_555() {
    for line in [
        "MAIL FROM:<> MT-PRIORITY=99",
        "MAIL FROM:<> XYZZY",
        "MAIL FROM:<> NOTIFY=NEVER",
        "RCPT TO:<a@b.c> SIZE=1",
    ] {
        assert_eq!(refusal(line), "555 5.5.4", "{line}");
    }
}

#[test]
fn sloppy_paths_are_refused() {
    for line in [
        "MAIL FROM:a@b.c",
        "MAIL FROM:<a@b.c",
        "MAIL FROM:<a@b.c>x",
        "MAIL FROM:<a@b.c>SIZE=1",
        "MAIL FROM:  <a@b.c>",
        "MAIL FROM:<a>",
        "MAIL FROM: ",
        "MAIL FROM:< >",
        "MAIL FROM:Joe <a@b.c>",
    ] {
        assert!(refusal(line).starts_with("501 5."), "{line}");
    }
    for line in ["MAIL FROM <a@b.c>", "MAIL FROM :<a@b.c>", "MAIL", "MAIL TO:<a@b.c>", "RCPT FROM:<a@b.c>"] {
        assert_eq!(refusal(line), "501 5.5.4", "{line}");
    }
}

#[test]
fn orcpt_of_type_utf8_is_understood() {
    let line = r"RCPT TO:<a@b.c> ORCPT=utf-8;gr\x{FC}n\x{2B}x@b.c".as_bytes();
    let Ok(Command::Rcpt(rcpt)) = Command::parse(line) else { panic!("refused") };
    let orcpt = rcpt.params.orcpt.expect("ORCPT was given");
    assert_eq!((orcpt.address_type.as_str(), orcpt.address.as_str()), ("utf-8", "grün+x@b.c"));
}

#[test]
fn an_unknown_mechanism_keeps_its_name_for_the_reply() {
    let Ok(Command::Auth { mechanism, .. }) = Command::parse(b"AUTH x-magic") else { panic!("refused") };
    assert_eq!(mechanism, "X-MAGIC");
}

#[test]
fn an_initial_response_that_is_not_base64_is_refused_without_being_shown() {
    let error = Command::parse(b"AUTH PLAIN pass:word").expect_err("not base64");
    assert_eq!(refusal("AUTH PLAIN pass:word"), "501 5.5.2");
    assert!(!format!("{error:?} {error} {}", error.reply()).contains("pass"));
    let parsed = Command::parse(b"AUTH PLAIN AGEAc2VjcmV0").expect("base64");
    assert!(!format!("{parsed:?}").contains("AGEAc2VjcmV0"));
}

#[test]
fn the_lines_of_a_reply_must_bear_one_code() {
    assert_eq!(parse_reply("250-a\r\n550 b\r\n"), Err(ReplyError::CodesDiffer));
}

#[test]
fn an_enhanced_code_keeps_a_detail_over_255() {
    let reply = parse_reply("550 5.7.509 no\r\n").expect("well-formed").expect("complete");
    assert_eq!(reply, Reply::new(550, Enhanced::new(5, 7, 509), "no"));
}

#[test]
fn an_enhanced_code_of_another_class_is_only_text() {
    let reply = parse_reply("550 2.0.0 no\r\n").expect("well-formed").expect("complete");
    assert_eq!(reply, Reply::plain(550, "2.0.0 no"));
}

#[test]
fn reply_codes_out_of_range_are_refused() {
    for wire in
        ["999 x\r\n", "199 x\r\n", "600 x\r\n", "25 x\r\n", "2500 x\r\n", "250x\r\n", "\r\n", "HTTP/1.1\r\n"]
    {
        assert_eq!(parse_reply(wire), Err(ReplyError::BadCode), "{wire:?}");
    }
}

#[test]
fn replies_are_bounded() {
    let long = format!("250 {}\r\n", "x".repeat(995));
    assert_eq!(parse_reply(&long), Err(ReplyError::LineTooLong));
    assert_eq!(parse_reply(&long[..1001]), Err(ReplyError::LineTooLong));
    assert!(parse_reply(&format!("250 {}\r\n", "x".repeat(994))).is_ok());
    assert_eq!(parse_reply(&"250-x\r\n".repeat(129)), Err(ReplyError::TooManyLines));
    assert_eq!(parse_reply(&"250-x\r\n".repeat(128)), Ok(None));
}

#[test]
fn a_reply_line_never_ends_at_a_bare_lf() {
    assert_eq!(parse_reply("250 ok\n"), Err(ReplyError::BareLf));
}

#[test]
fn control_characters_of_a_reply_are_never_kept() {
    let reply = parse_reply("550 \u{1b}[2Jgone\r\u{0}\u{85}!\r\n").expect("well-formed").expect("complete");
    assert_eq!(reply.lines, ["?[2Jgone???!"]);
}

#[test]
fn no_text_can_make_a_second_reply() {
    let reply = Reply::plain(250, "ok\r\n354 go ahead");
    assert_eq!(reply.to_string(), "250 ok??354 go ahead\r\n");
}
