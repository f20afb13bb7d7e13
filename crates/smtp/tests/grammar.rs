//! What the grammar accepts, and what it makes of it.

use std::collections::HashSet;

use bytes::BytesMut;
use postern_smtp::address::{
    AddressError, Domain, ForwardPath, Host, LocalPart, Mailbox, ReversePath, split_detail,
};
use postern_smtp::command::{Command, Verb};
use postern_smtp::content::{ChunkChecker, ContentEncoder, Violation};
use postern_smtp::envelope::{BodyType, MailParams, Notify, Rcpt, Ret, xtext_decode, xtext_encode};
use postern_smtp::extension::{Announcement, Capabilities, Limits, ehlo_reply};
use postern_smtp::reply::{Reply, ReplyParser};
use postern_smtp::server::LineEndings;

fn parse(line: &str) -> Command {
    Command::parse(line.as_bytes()).expect(line)
}

fn mail_params(line: &str) -> MailParams {
    match parse(line) {
        Command::Mail(mail) => mail.params,
        other => panic!("{line}: {other:?}"),
    }
}

fn rcpt(line: &str) -> Rcpt {
    match parse(line) {
        Command::Rcpt(rcpt) => rcpt,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn verbs_are_found_in_any_case() {
    assert_eq!(parse("dAtA"), Command::Data);
    assert_eq!(parse("ehlo Client.Example"), Command::Ehlo("Client.Example".into()));
    assert_eq!(parse("HELO [192.0.2.1]"), Command::Helo("[192.0.2.1]".into()));
    assert_eq!(parse("noop any words"), Command::Noop);
    assert_eq!(parse("BDAT 86 last"), Command::Bdat { size: 86, last: true });
    assert_eq!(parse("BDAT 0"), Command::Bdat { size: 0, last: false });
    assert_eq!(parse("Vrfy smith").verb(), Verb::Vrfy);
}

#[test]
fn blanks_at_the_end_of_a_line_are_tolerated() {
    assert_eq!(parse("QUIT \t "), Command::Quit);
    assert_eq!(parse("MAIL FROM:<> "), parse("MAIL FROM:<>"));
}

#[test]
fn one_space_before_the_path_is_tolerated() {
    assert_eq!(parse("MAIL FROM: <a@b.c> SIZE=1"), parse("MAIL FROM:<a@b.c> SIZE=1"));
    assert_eq!(parse("rcpt to: <a@b.c>"), parse("RCPT TO:<a@b.c>"));
}

#[test]
fn an_unknown_command_shows_its_verb_only_when_it_looks_like_one() {
    assert_eq!(parse("XFORWARD ADDR=1.2.3.4"), Command::Unknown("XFORWARD".into()));
    for line in ["", " MAIL FROM:<>", "c2VjcmV0cGFzc3dvcmQ=", "\u{1b}[2J", "MAIL\tFROM:<>"] {
        assert_eq!(parse(line), Command::Unknown(String::new()), "{line:?}");
    }
}

#[test]
fn every_parameter_of_mail_is_typed() {
    let line = "MAIL FROM:<a@b.c> size=1000 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B1 AUTH=<>";
    let params = mail_params(line);
    assert_eq!(params.size, Some(1000));
    assert_eq!(params.body, Some(BodyType::EightBitMime));
    assert!(params.smtputf8);
    assert_eq!(params.ret, Some(Ret::Headers));
    assert_eq!(params.envid.as_deref(), Some("QQ+1"));
    assert_eq!(params.auth.as_deref(), Some("<>"));
}

#[test]
fn a_size_beyond_all_numbers_is_still_a_size() {
    assert_eq!(mail_params("MAIL FROM:<> SIZE=99999999999999999999").size, Some(u64::MAX));
}

#[test]
fn every_parameter_of_rcpt_is_typed() {
    let params = rcpt("RCPT TO:<a@b.c> NOTIFY=delay,SUCCESS ORCPT=RFC822;Bob+2Bx@b.c").params;
    assert_eq!(params.notify, Some(Notify { success: true, failure: false, delay: true }));
    let orcpt = params.orcpt.expect("ORCPT was given");
    assert_eq!((orcpt.address_type.as_str(), orcpt.address.as_str()), ("rfc822", "Bob+x@b.c"));
}

#[test]
fn a_source_route_is_ignored_and_the_final_mailbox_counts() {
    let path = rcpt("RCPT TO:<@relay.example,@two.example:user@final.example>").to;
    assert_eq!(path.to_string(), "<user@final.example>");
    for route in ["<@a.b>", "<@:u@c.d>", "<@a.b,c.d:u@e.f>", "<@a.b;@c.d:u@e.f>"] {
        assert_eq!(route.parse::<ForwardPath>(), Err(AddressError::BadSourceRoute), "{route}");
    }
}

#[test]
fn percent_and_bang_are_plain_characters_of_a_local_part() {
    for (path, local, host) in [
        ("<user%elsewhere.example@here.example>", "user%elsewhere.example", "here.example"),
        ("<elsewhere.example!user@here.example>", "elsewhere.example!user", "here.example"),
        ("<\"user@elsewhere.example\"@[192.0.2.1]>", "user@elsewhere.example", "[192.0.2.1]"),
    ] {
        let parsed: ForwardPath = path.parse().expect(path);
        let mailbox = parsed.mailbox().expect("a mailbox");
        assert_eq!((mailbox.local.value().as_ref(), mailbox.host.to_string().as_str()), (local, host));
    }
}

#[test]
fn two_at_signs_need_quotes() {
    assert_eq!("<user@elsewhere.example@here.example>".parse::<ForwardPath>(), Err(AddressError::BadDomain));
}

#[test]
fn domains_are_kept_in_lower_case_and_local_parts_as_written() {
    let mailbox: Mailbox = "Bob.Smith@EXAMPLE.Org".parse().expect("well-formed");
    assert_eq!(mailbox.to_string(), "Bob.Smith@example.org");
}

#[test]
fn local_parts_that_mean_the_same_are_equal() {
    let parse = |text: &str| text.parse::<LocalPart>().expect(text);
    assert_eq!(parse("\"abc\""), parse("abc"));
    assert_eq!(parse("\"a\\bc\""), parse("abc"));
    assert_ne!(parse("Abc"), parse("abc"));
}

#[test]
fn a_local_part_made_from_a_value_is_quoted_where_it_must_be() {
    let made = |value| LocalPart::from_value(value).expect(value).to_string();
    assert_eq!(made("abc"), "abc");
    assert_eq!(made("a b\"\\"), r#""a b\"\\""#);
    assert_eq!(made(""), "\"\"");
    assert_eq!(LocalPart::from_value("a\nb"), Err(AddressError::BadLocalPart));
}

#[test]
fn the_limits_on_addresses_are_those_of_the_rfc() {
    let local = |octets: usize| "a".repeat(octets);
    assert!(local(64).parse::<LocalPart>().is_ok());
    assert_eq!(local(65).parse::<LocalPart>(), Err(AddressError::LocalPartTooLong));
    assert!(format!("{}.example", local(63)).parse::<Domain>().is_ok());
    assert_eq!(format!("{}.example", local(64)).parse::<Domain>(), Err(AddressError::DomainTooLong));
    let domain = |octets: usize| format!("{}a", "a.".repeat(octets / 2));
    assert!(domain(255).parse::<Domain>().is_ok());
    assert_eq!(domain(257).parse::<Domain>(), Err(AddressError::DomainTooLong));
    assert!(format!("<u@{}>", domain(251)).parse::<ReversePath>().is_ok());
    assert_eq!(format!("<uvw@{}>", domain(251)).parse::<ReversePath>(), Err(AddressError::PathTooLong));
    assert_eq!(format!("uvw@{}", domain(251)).parse::<Mailbox>(), Err(AddressError::PathTooLong));
}

#[test]
fn internationalised_addresses_are_parsed_and_told_apart() {
    let mailbox: Mailbox = "grün@BÜCHER.example".parse().expect("well-formed");
    assert!(!mailbox.is_ascii());
    let domain = mailbox.domain().expect("a domain");
    assert_eq!(domain.as_str(), "bücher.example");
    assert_eq!(domain.to_ascii().as_deref(), Ok("xn--bcher-kva.example"));
    assert!("a@b.c".parse::<Mailbox>().expect("well-formed").is_ascii());
}

#[test]
fn a_domain_has_one_spelling() {
    for text in ["bu\u{308}cher.example", "ｂücher.example", "bücher。example", "x\u{200b}ü.example"] {
        assert_eq!(text.parse::<Domain>(), Err(AddressError::BadDomain), "{text}");
    }
}

#[test]
fn a_domain_is_the_same_in_u_labels_and_in_a_labels() {
    let one: Domain = "Büro.bücher.example".parse().expect("well-formed");
    for text in
        ["xn--bro-hoa.xn--bcher-kva.example", "büro.XN--BCHER-KVA.example", "xn--bro-hoa.bücher.example"]
    {
        let other: Domain = text.parse().expect(text);
        assert_eq!(one, other, "{text}");
        assert_eq!(one.cmp(&other), std::cmp::Ordering::Equal, "{text}");
        assert!(HashSet::from([one.clone()]).contains(&other), "{text}");
        assert_eq!(other.as_str(), text.to_lowercase(), "it is kept as it was spelled");
    }
    assert_ne!(one, "bücher.example".parse().expect("well-formed"));
    let [u, a] = ["ann@bücher.example", "ann@xn--bcher-kva.example"].map(str::parse::<Mailbox>);
    assert_eq!(u, a);
}

#[test]
fn a_host_has_one_key() {
    let key = |text: &str| text.parse::<Host>().expect(text).key().into_owned();
    assert_eq!(key("BÜCHER.example"), "xn--bcher-kva.example");
    assert_eq!(key("XN--bcher-kva.Example"), "xn--bcher-kva.example");
    assert_eq!(key("[192.0.2.1]"), "[192.0.2.1]");
    assert_eq!(key("[ipv6:2001:DB8:0:0::1]"), "[IPv6:2001:db8::1]");
}

#[test]
fn a_detail_is_split_off_at_the_first_delimiter_only() {
    assert_eq!(split_detail("anna+lists+rust", Some('+')), ("anna", Some("lists+rust")));
    assert_eq!(split_detail("anna+", Some('+')), ("anna", Some("")));
    for (local, delimiter) in
        [("anna", Some('+')), ("anna+lists", None), ("anna+lists", Some('-')), ("+x", Some('+'))]
    {
        assert_eq!(split_detail(local, delimiter), (local, None));
    }
}

#[test]
fn hosts_survive_as_strings() {
    for text in ["example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[IPv6:::ffff:192.0.2.1]"] {
        let host = Host::try_from(text.to_owned()).expect(text);
        assert_eq!(String::from(host), text);
    }
}

#[test]
fn xtext_is_decoded_strictly() {
    assert_eq!(xtext_encode("a+b=c d\u{e9}"), "a+2Bb+3Dc+20d+C3+A9");
    assert_eq!(xtext_decode("a+2Bb").as_deref(), Some("a+b"));
    for malformed in ["a+2b", "a+2", "a+", "a=b", "a b", "+FF"] {
        assert_eq!(xtext_decode(malformed), None, "{malformed}");
    }
}

#[test]
fn content_is_stuffed_and_ended() {
    let mut out = BytesMut::new();
    let mut encoder = ContentEncoder::new();
    encoder.encode(b".a\r\n..b\r\n.", &mut out);
    encoder.finish(&mut out);
    assert_eq!(out.as_ref(), b"..a\r\n...b\r\n..\r\n.\r\n");
}

#[test]
fn empty_content_is_a_single_dot_line() {
    let mut out = BytesMut::new();
    ContentEncoder::new().finish(&mut out);
    assert_eq!(out.as_ref(), b".\r\n");
}

#[test]
fn chunks_keep_dots_and_check_line_ends_across_their_borders() {
    let mut out = BytesMut::new();
    let mut checker = ChunkChecker::new(LineEndings::Strict);
    checker.check(b".\r", &mut out).expect("the LF may come");
    checker.check(b"\n.\r\n", &mut out).expect("clean");
    assert_eq!(checker.finish(), Ok(()));
    assert_eq!(out.as_ref(), b".\r\n.\r\n");
    assert_eq!(checker.check(b"a\r", &mut out), Ok(()));
    assert_eq!(checker.finish(), Err(Violation::BareCr));
    assert_eq!(checker.check(b"b", &mut out), Err(Violation::BareCr));
}

#[test]
fn chunks_obey_the_rule_for_line_endings() {
    let mut out = BytesMut::new();
    assert_eq!(ChunkChecker::new(LineEndings::Strict).check(b"a\nb", &mut out), Err(Violation::BareLf));
    assert_eq!(ChunkChecker::new(LineEndings::Repair).check(b"a\0", &mut out), Err(Violation::Nul));
    out.clear();
    ChunkChecker::new(LineEndings::Repair).check(b"a\n\nb\r\n", &mut out).expect("repaired");
    assert_eq!(out.as_ref(), b"a\r\n\r\nb\r\n");
    out.clear();
    ChunkChecker::binary().check(b"\0\r\r\n\n", &mut out).expect("binary");
    assert_eq!(out.as_ref(), b"\0\r\r\n\n");
}

#[test]
fn ehlo_announces_what_the_listener_offers() {
    let limits = Limits { rcptmax: Some(100), mailmax: None };
    let offer = Announcement {
        size: 1000,
        starttls: false,
        auth: &["PLAIN", "LOGIN"],
        requiretls: false,
        xclient: &[],
        limits,
    };
    let reply = ehlo_reply("mx.example", "client\r\nexample", &offer);
    assert_eq!(
        reply.lines,
        [
            "mx.example greets client??example",
            "PIPELINING",
            "SIZE 1000",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "AUTH PLAIN LOGIN",
            "AUTH=PLAIN LOGIN",
            "CHUNKING",
            "BINARYMIME",
            "DSN",
            "LIMITS RCPTMAX=100",
            "HELP",
        ]
    );
}

#[test]
fn what_is_announced_is_understood() {
    let limits = Limits { rcptmax: Some(100), mailmax: Some(7) };
    let offer = Announcement {
        size: 1000,
        starttls: true,
        auth: &["PLAIN", "LOGIN"],
        requiretls: false,
        xclient: &[],
        limits,
    };
    let capabilities = Capabilities::parse(&ehlo_reply("mx.example", "client.example", &offer));
    let expected = Capabilities {
        pipelining: true,
        size: Some(Some(1000)),
        eight_bit_mime: true,
        smtputf8: true,
        enhanced_status_codes: true,
        starttls: true,
        auth: vec!["PLAIN".into(), "LOGIN".into()],
        chunking: true,
        binary_mime: true,
        dsn: true,
        requiretls: false,
        limits,
    };
    assert_eq!(capabilities, expected);
}

#[test]
fn keywords_of_peers_are_read_in_any_case_and_never_from_the_first_line() {
    let lines =
        ["STARTTLS", "size 0", "auth=Plain", "X-Unknown foo", "8bitMIME", "Limits MAILMAX=x RCPTMAX=5", ""];
    let reply = Reply { code: 250, enhanced: None, lines: lines.map(str::to_owned).to_vec() };
    let capabilities = Capabilities::parse(&reply);
    assert!(!capabilities.starttls && capabilities.eight_bit_mime && capabilities.offers_auth("plain"));
    assert_eq!(capabilities.size, Some(None));
    assert_eq!(capabilities.limits, Limits { rcptmax: Some(5), mailmax: None });
}

#[test]
fn pipelined_replies_are_taken_one_by_one() {
    let wire = b"250-2.1.0 one\r\n250 2.1.0 two\r\n354 go\r\n";
    let mut parser = ReplyParser::new();
    let (consumed, first) = parser.feed(wire).expect("well-formed");
    assert_eq!(first.map(|reply| reply.lines), Some(vec!["one".to_owned(), "two".to_owned()]));
    let (rest, second) = parser.feed(&wire[consumed..]).expect("well-formed");
    assert_eq!((consumed + rest, second), (wire.len(), Some(Reply::plain(354, "go"))));
}

#[test]
fn a_code_alone_on_a_line_is_a_reply() {
    let (_, reply) = ReplyParser::new().feed(b"250\r\n").expect("well-formed");
    assert_eq!(reply, Some(Reply::plain(250, "")));
}
