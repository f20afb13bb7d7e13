//! Laws of the grammar that must hold for every input, however the bytes are cut into pieces.

use bytes::BytesMut;
use postern_smtp::address::{Domain, ForwardPath, Host, LocalPart, Mailbox, ReversePath};
use postern_smtp::command::Command;
use postern_smtp::content::{ChunkChecker, ContentDecoder, ContentEncoder, Violation};
use postern_smtp::envelope::{
    BodyType, Mail, MailParams, Notify, OriginalRecipient, Rcpt, RcptParams, Ret, xtext_decode, xtext_encode,
};
use postern_smtp::reply::{Enhanced, Reply, ReplyParser};
use postern_smtp::server::LineEndings;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn local_part() -> impl Strategy<Value = LocalPart> {
    let dot_string = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~äπ漢-]{1,8}(\\.[a-z0-9+]{1,8}){0,2}";
    prop_oneof![
        dot_string.prop_map(|text| text.parse().expect("a dot-string")),
        "[ -~é]{0,20}".prop_map(|value| LocalPart::from_value(&value).expect("printable")),
        "\"([ !#-\\[\\]-~ü]|\\\\[ -~]){0,16}\"".prop_map(|text| text.parse().expect("a quoted string")),
    ]
}

fn domain() -> impl Strategy<Value = Domain> {
    let ascii = "[a-zA-Z]([a-z0-9-]{0,10}[a-z0-9])?(\\.[a-z]{2,6}){1,3}";
    let unicode = "(bücher|例え|παράδειγμα|straße)(\\.[a-z]{2,6}){1,2}";
    prop_oneof![4 => ascii, 1 => unicode].prop_map(|text| text.parse().expect("a domain"))
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        4 => domain().prop_map(Host::Domain),
        1 => any::<std::net::IpAddr>().prop_map(Host::Literal),
    ]
}

fn mailbox() -> impl Strategy<Value = Mailbox> {
    (local_part(), host()).prop_map(|(local, host)| Mailbox::new(local, host))
}

fn mail() -> impl Strategy<Value = Mail> {
    let from = prop_oneof![Just(ReversePath::Null), mailbox().prop_map(ReversePath::Mailbox),];
    let body =
        prop_oneof![Just(BodyType::SevenBit), Just(BodyType::EightBitMime), Just(BodyType::BinaryMime)];
    let ret = prop_oneof![Just(Ret::Full), Just(Ret::Headers)];
    let envid = "[ -~]{1,33}";
    let auth = "[!-~ü]{1,20}";
    let params = (
        option::of(any::<u64>()),
        option::of(body),
        any::<bool>(),
        option::of(ret),
        option::of(envid),
        option::of(auth),
        any::<bool>(),
    );
    (from, params).prop_map(|(from, (size, body, smtputf8, ret, envid, auth, requiretls))| Mail {
        from,
        params: MailParams { size, body, smtputf8, ret, envid, auth, requiretls },
    })
}

fn rcpt() -> impl Strategy<Value = Rcpt> {
    let to = prop_oneof![Just(ForwardPath::Postmaster), mailbox().prop_map(ForwardPath::Mailbox),];
    let notify =
        any::<(bool, bool, bool)>().prop_map(|(success, failure, delay)| Notify { success, failure, delay });
    let orcpt = prop_oneof![("rfc822", "[ -~]{1,40}"), ("utf-8", "[ -~é漢🦀]{1,40}"),];
    let orcpt = orcpt.prop_map(|(address_type, address)| OriginalRecipient { address_type, address });
    (to, option::of(notify), option::of(orcpt))
        .prop_map(|(to, notify, orcpt)| Rcpt { to, params: RcptParams { notify, orcpt } })
}

/// Texts without an enhanced code of their own.
fn reply() -> impl Strategy<Value = Reply> {
    let enhanced = (0..1000_u16, 0..1000_u16);
    let text = "[a-zA-Z<>()@é][ -~é]{0,60}";
    (200..600_u16, option::of(enhanced), vec(text, 1..6)).prop_map(|(code, enhanced, lines)| {
        let class = u8::try_from(code / 100).expect("a digit");
        let enhanced = enhanced.filter(|_| class != 3);
        let enhanced = enhanced.map(|(subject, detail)| Enhanced::new(class, subject, detail));
        Reply { code, enhanced, lines }
    })
}

/// Clean content: no NUL, and CR and LF only as CRLF. Many dots and line ends.
fn clean_content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => Just(b"\r\n".to_vec()),
        3 => Just(b".".to_vec()),
        2 => vec(prop_oneof![1..=9_u8, 14..=255_u8], 0..20),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Anything that a hostile client may send behind DATA.
fn hostile_content() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => Just(b'\r'), 4 => Just(b'\n'), 4 => Just(b'.'), 4 => Just(b'a'), 1 => Just(0), 1 => any::<u8>(),
    ];
    let piece = prop_oneof![3 => Just(b"\r\n".to_vec()), 1 => Just(b".\r\n".to_vec()), 3 => vec(octet, 1..4)];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn line_endings() -> impl Strategy<Value = LineEndings> {
    prop_oneof![Just(LineEndings::Strict), Just(LineEndings::Repair)]
}

/// Where to cut: any positions, used as far as they lie within the bytes.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(0..200_usize, 0..8)
}

fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut positions: Vec<usize> = cuts.iter().map(|at| (*at).min(bytes.len())).collect();
    positions.extend([0, bytes.len()]);
    positions.sort_unstable();
    positions.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn encode(pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut encoder = ContentEncoder::new();
    for piece in pieces {
        encoder.encode(piece, &mut out);
    }
    encoder.finish(&mut out);
    out.to_vec()
}

/// The content, and how many octets of the wire belong to it if it has ended.
type Content = (Vec<u8>, Option<usize>);

fn decode(line_endings: LineEndings, pieces: &[&[u8]]) -> Result<Content, Violation> {
    let mut out = BytesMut::new();
    let mut decoder = ContentDecoder::new(line_endings);
    let mut consumed = 0;
    for piece in pieces {
        let decoded = decoder.decode(piece, &mut out)?;
        consumed += decoded.consumed;
        if decoded.ended {
            return Ok((out.to_vec(), Some(consumed)));
        }
    }
    Ok((out.to_vec(), None))
}

fn check_chunks(line_endings: LineEndings, pieces: &[&[u8]]) -> Result<Vec<u8>, Violation> {
    let mut out = BytesMut::new();
    let mut checker = ChunkChecker::new(line_endings);
    pieces.iter().try_for_each(|piece| checker.check(piece, &mut out))?;
    checker.finish()?;
    Ok(out.to_vec())
}

/// Whether every CR and LF is half of a CRLF and there is no NUL.
fn is_clean(content: &[u8]) -> bool {
    let rest = String::from_utf8_lossy(content).replace("\r\n", "");
    !rest.contains(['\r', '\n', '\0'])
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

fn single_octets(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

proptest! {
    #[test]
    fn a_mailbox_survives_being_written_and_read(mailbox in mailbox()) {
        let text = mailbox.to_string();
        let read: Mailbox = text.parse().expect(&text);
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(read, mailbox);
    }

    #[test]
    fn a_local_part_made_from_its_value_means_the_same(value in "[ -~é]{0,30}") {
        let local = LocalPart::from_value(&value).expect("printable");
        prop_assert_eq!(local.value(), value);
    }

    #[test]
    fn whatever_parses_as_a_path_is_written_back_unchanged(
        text in "<?[a-c\"\\\\@.<> :,%!\\[\\]é-]{0,16}@[a-cA.:é\\[\\]1-]{0,8}>?",
    ) {
        if let Ok(path) = text.parse::<ForwardPath>() {
            let written = path.to_string();
            prop_assert_eq!(written.parse::<ForwardPath>(), Ok(path));
            if !text.starts_with("<@") {
                prop_assert_eq!(written, text.to_lowercase());
            }
        }
    }

    #[test]
    fn mail_survives_being_written_and_read(mail in mail()) {
        let line = format!("MAIL FROM:{mail}");
        prop_assert_eq!(Command::parse(line.as_bytes()), Ok(Command::Mail(mail)), "{}", line);
    }

    #[test]
    fn rcpt_survives_being_written_and_read(rcpt in rcpt()) {
        let line = format!("RCPT TO:{rcpt}");
        prop_assert_eq!(Command::parse(line.as_bytes()), Ok(Command::Rcpt(rcpt)), "{}", line);
    }

    #[test]
    fn parsing_a_command_never_panics_and_its_refusal_is_one_clean_line(
        verb in "(MAIL FROM:|RCPT TO:|AUTH |BDAT |EHLO |)", rest in vec(any::<u8>(), 0..80),
    ) {
        let line = [verb.as_bytes(), &rest].concat();
        if let Err(error) = Command::parse(&line) {
            let reply = error.reply().to_string();
            prop_assert!(reply.ends_with("\r\n") && reply.lines().count() == 1, "{:?}", reply);
            prop_assert!(matches!(error.reply().code, 501 | 555));
        }
    }

    #[test]
    fn xtext_is_a_bijection(text in "\\PC{0,40}") {
        let encoded = xtext_encode(&text);
        prop_assert!(encoded.bytes().all(|c| c.is_ascii_graphic() && c != b'='));
        prop_assert_eq!(xtext_decode(&encoded), Some(text));
    }

    #[test]
    fn stuffing_is_undone_whatever_the_pieces(
        content in clean_content(), cuts_out in cuts(), cuts_in in cuts(), line_endings in line_endings(),
    ) {
        let wire = encode(&cut(&content, &cuts_out));
        let mut expected = content;
        if !expected.is_empty() && !expected.ends_with(b"\r\n") {
            expected.extend(b"\r\n");
        }
        let followed = [&wire[..], b"QUIT\r\n"].concat();
        prop_assert_eq!(decode(line_endings, &cut(&followed, &cuts_in)), Ok((expected, Some(wire.len()))));
    }

    #[test]
    fn stuffed_content_holds_one_end_only(content in clean_content()) {
        let wire = [b"\r\n".to_vec(), encode(&[&content])].concat();
        prop_assert_eq!(count(&wire, b"\r\n.\r\n"), 1);
    }

    #[test]
    fn hostile_content_decodes_the_same_octet_by_octet(wire in hostile_content(), line_endings in line_endings()) {
        prop_assert_eq!(decode(line_endings, &single_octets(&wire)), decode(line_endings, &[&wire]));
    }

    #[test]
    fn hostile_content_decodes_the_same_whatever_the_pieces(
        wire in hostile_content(), line_endings in line_endings(), cuts in cuts(),
    ) {
        prop_assert_eq!(decode(line_endings, &cut(&wire, &cuts)), decode(line_endings, &[&wire]));
    }

    #[test]
    fn what_is_decoded_is_clean_and_ended_by_crlf_dot_crlf_only(
        wire in hostile_content(), line_endings in line_endings(),
    ) {
        if let Ok((content, Some(end))) = decode(line_endings, &[&wire]) {
            let wire = [b"\r\n", &wire[..end]].concat();
            prop_assert!(wire.ends_with(b"\r\n.\r\n"));
            prop_assert_eq!(count(&wire, b"\r\n.\r\n"), 1);
            prop_assert!(is_clean(&content));
        }
    }

    #[test]
    fn chunks_are_checked_the_same_whatever_the_pieces(
        wire in hostile_content(), line_endings in line_endings(), cuts in cuts(),
    ) {
        let whole = check_chunks(line_endings, &[&wire]);
        prop_assert_eq!(check_chunks(line_endings, &cut(&wire, &cuts)), whole.clone());
        prop_assert_eq!(check_chunks(line_endings, &single_octets(&wire)), whole.clone());
        if let Ok(content) = whole {
            prop_assert!(is_clean(&content));
        }
    }

    #[test]
    fn a_reply_survives_being_written_and_read_whatever_the_pieces(reply in reply(), cuts in cuts()) {
        let wire = reply.to_string();
        let followed = format!("{wire}250 next\r\n");
        let mut parser = ReplyParser::new();
        let mut taken = 0;
        let mut read = None;
        for piece in cut(followed.as_bytes(), &cuts) {
            let (consumed, complete) = parser.feed(piece).expect("well-formed");
            taken += consumed;
            if complete.is_some() {
                read = complete;
                break;
            }
        }
        prop_assert_eq!(taken, wire.len());
        prop_assert_eq!(read, Some(reply));
    }

    #[test]
    fn whatever_a_peer_replies_can_be_logged(wire in vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..60)) {
        let wire = [b"250 ", &wire[..], b"\r\n"].concat();
        if let Ok((_, Some(reply))) = ReplyParser::new().feed(&wire) {
            prop_assert!(!reply.one_line().contains(char::is_control));
        }
    }
}
