//! The fuzz targets on random input made of pieces that matter to them.

use proptest::collection::vec;
use proptest::prelude::*;

fn input(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(pieces).prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![8 => known, 1 => vec(any::<u8>(), 0..4)];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const COMMANDS: &[&[u8]] = &[
    b"MAIL FROM:<",
    b"RCPT TO:<",
    b"AUTH PLAIN ",
    b"BDAT 1 LAST",
    b"\r\n",
    b">\r\n",
    b"> ",
    b"@",
    b"\"",
    b"\\",
    b"[",
    b"]",
    b"a",
    b"b.c",
    b"IPv6:::1",
    b"1.2.3.4",
    b" ",
    b",",
    b":",
    b"SIZE=1",
    b"BODY=7BIT",
    b"SMTPUTF8",
    b"RET=FULL",
    b"ENVID=a+20b",
    b"AUTH=<>",
    b"NOTIFY=NEVER",
    b"ORCPT=rfc822;a",
    b"ORCPT=utf-8;\\x{FC}",
    "ü".as_bytes(),
    b"+2B",
];
const REPLIES: &[&[u8]] = &[
    b"250",
    b"250-",
    b"250 ",
    b"550 ",
    b"354 ",
    b"\r\n",
    b"\r",
    b"\n",
    b"2.1.0 ",
    b"5.7.509 ",
    b"2.1.0",
    b"text",
    b" ",
    b"\0",
    "é".as_bytes(),
    b"\xff",
];
const CONTENTS: &[&[u8]] =
    &[b"\r\n", b"\r\n.\r\n", b".", b"\r", b"\n", b"a", b"\n.\n", b"\r\n..", b"\0", b"\xff"];

const SERVER: &[&[u8]] = &[
    b"EHLO client.example\r\n",
    b"EHLO client.example\r\nSTARTTLS\r\nEHLO client.example\r\n",
    b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\n",
    b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nabc\r\n.\r\n",
    b"RCPT TO:<b@example.org>\r\nDATA\r\nabc\r\n",
    b"RCPT TO:<b@example.org>\r\nBDAT 5\r\nabc\r\nBDAT 5 LAST\r\ndef\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n",
    b"AUTH LOGIN\r\n",
    b"dGlt\r\n",
    b"*\r\n",
    b"AUTH SCRAM-SHA-256 biwsbj10aW0scj1jbGllbnQ=\r\n",
    b"AUTH XOAUTH2 dXNlcj10aW0BYXV0aD1CZWFyZXIgdAEB\r\n",
    b"XCLIENT ADDR=192.0.2.7\r\n",
    b"XCLIENT ADDR=192.0.2.7 LOGIN=tim\r\n",
    b"MAIL FROM:<a@example.org>\r\n",
    b"MAIL FROM:<> BODY=BINARYMIME SIZE=9\r\n",
    b"RCPT TO:<b@example.org>\r\n",
    b"RCPT TO:<b@example.org>\r\n",
    b"DATA\r\n",
    b"BDAT 5\r\n",
    b"BDAT 5 LAST\r\n",
    b"abc\r\n",
    b"\r\n.\r\n",
    b"RSET\r\n",
];
const CLIENT_BEGINS: &[&[u8]] = &[
    b"",
    b"EHLO client.example\r\n",
    b"EHLO client.example\r\nSTARTTLS\r\nEHLO client.example\r\n",
    b"EHLO client.example\r\nSTARTTLS\r\nEHLO client.example\r\nAUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n",
    b"EHLO client.example\r\nAUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n",
];
const CLIENT: &[&[u8]] = &[
    b"220 hi\r\n",
    b"220 hi\r\n250-hi\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
    b"220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",
    b"250 ok\r\n",
    b"250 ok\r\n250 ok\r\n354 go\r\n",
    b"250-hi\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
    b"250-hi\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 LIMITS RCPTMAX=1\r\n",
    b"250-hi\r\n250-SIZE 3\r\n250 PIPELINING\r\n",
    b"334 \r\n",
    b"235 ok\r\n",
    b"354 go\r\n",
    b"452 4.5.3 full\r\n",
    b"550 5.1.1 \x1b[31mno\r\n",
    "550 \u{202e}no\r\n".as_bytes(),
];
const SERVER_BEGINS: &[&[u8]] = &[
    b"",
    b"220 hi\r\n",
    b"220 hi\r\n250-hi\r\n250-STARTTLS\r\n250 PIPELINING\r\n220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n235 ok\r\n",
    b"220 hi\r\n250-hi\r\n250 AUTH LOGIN PLAIN\r\n235 ok\r\n",
    b"220 hi\r\n250-hi\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n",
];
/// The second is a server's first message in SCRAM, with the nonce that the target uses; the last is JSON.
const CHALLENGES: &[&[u8]] = &[
    b"334 ",
    b"cj1Cd2NIQndjSEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIJXNlcnZlcixzPWMyRnNkQ0J2WmlCMGFHVWdkR1Z6ZEE9PSxpPTQwOTY=",
    b"dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==",
    b"ZT1pbnZhbGlkLXByb29m",
    b"\r\n",
    b"\r\n334 ",
    b"235 ok\r\n",
    b"=",
    b"AQ==",
    b"\xff",
    b"e30=",
];
/// First messages of a client in SCRAM, a last one, tokens, and PLAIN.
const ANSWERS: &[&[u8]] = &[
    b"biwsbj10aW0scj1jbGllbnQ=",
    b"eSwsbj10aW0scj1jbGllbnQ=",
    b"cD10bHMtZXhwb3J0ZXIsLG49dGltLHI9Y2xpZW50",
    b"Yz1iaXdzLHI9Y2xpZW50LHA9QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQT0=",
    b"bixhPXRpbSwBYXV0aD1CZWFyZXIgdAEB",
    b"dXNlcj10aW0BYXV0aD1CZWFyZXIgdAEB",
    b"AHRpbQB0YW5zdGFhZg==",
    b"dGlt",
    b"\n",
    b"\r\n",
    b"=",
    b"*",
    b"\xff",
];
/// What ends most sessions.
const HARMFUL: &[&[u8]] = &[b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"250-", b"QUIT\r\n", b"421 bye\r\n"];
const HEADERS: &[&[u8]] = &[
    b"From: ",
    b"From:",
    b"Received: x",
    b"Message-ID: <a@b>",
    b"\r\n",
    b"\r\n ",
    b"\n",
    b"\r",
    b"a@b.example",
    b"\"a b\" <c@d.example>",
    b"group: a@b.example, c@d.example;",
    b", ",
    b"(",
    b")",
    b"\\",
    b"\"",
    b"<",
    b">",
    b"=?utf-8?q?a?=",
    "\u{fc}@b\u{fc}cher.example".as_bytes(),
    b"\0",
];
const REPORTED: &[&[u8]] = &[
    b"550 5.1.1 ",
    b"550-",
    b"no such user",
    b"\r\n",
    b"\r\n\r\n",
    b"--=_",
    b"Message-ID: <a@b>\r\n",
    b"Bcc: x@example.com",
    b"\xff",
    "\u{fc}\u{202e}".as_bytes(),
    b"\0",
    b" ",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
const PUBLISHED: &[&[u8]] = &[
    b"v=STSv1",
    b"v=TLSRPTv1",
    b"; id=20260101",
    b";rua=mailto:a%2Cb@c.example",
    b",https://d.example/x",
    b";",
    b"=",
    b"version: STSv1",
    b"mode: enforce",
    b"mode: none",
    b"max_age: 86400",
    b"mx: a.example",
    b"mx: *.b.example",
    "mx: *.ü.example".as_bytes(),
    b"\n",
    b"\r\n",
    b"\nversion: STSv1\nmode: testing\nmax_age: 1\nmx: ",
    b":",
    b"*.",
    b"C.Example",
    b" ",
    b"\t",
    b"\r",
    b"\0",
    b"\xff",
];

const TLS_REPORT: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b": ",
    b"null",
    b"18446744073709551615",
    b"-1",
    b"1e9",
    b"\"x\"",
    b"\\u001b",
    b"\\ud800",
    "\u{202e}\u{fc}".as_bytes(),
    b"\r\n",
    b"\r\n\r\n",
    b"--=_4cY1.0\r\n",
    b"Content-Type: multipart/mixed; boundary=\"=_4cY1.0\"\r\n\r\n",
    b"Content-Type: application/tlsrpt+json\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"\"mx-host\": [\"a\", \"b\"],",
    b"\"policies\": [],",
];

/// A good report in one of its wrappings, with a few places written over.
fn spoilt_report() -> impl Strategy<Value = Vec<u8>> {
    let wrapping = prop::sample::select(postern_fuzz::tls_report_seeds());
    let piece = prop_oneof![4 => prop::sample::select(TLS_REPORT).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..4)];
    let change = (any::<prop::sample::Index>(), 0_usize..12, piece);
    (wrapping, vec(change, 0..4)).prop_map(|((_, mut octets), changes)| {
        for (at, instead_of, piece) in changes {
            let at = at.index(octets.len() + 1);
            let end = octets.len().min(at + instead_of);
            octets.splice(at..end, piece);
        }
        octets
    })
}

/// A good certificate file with a few octets written over, or cut off.
fn spoilt_file(seeds: &[(&'static str, Vec<u8>)]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let file = prop::sample::select(seeds.to_vec());
    let change = (any::<prop::sample::Index>(), 0_usize..4, vec(any::<u8>(), 0..4));
    (file, vec(change, 0..4)).prop_map(|((_, mut octets), changes)| {
        for (at, instead_of, piece) in changes {
            let at = at.index(octets.len() + 1);
            let end = octets.len().min(at + instead_of);
            octets.splice(at..end, piece);
        }
        octets
    })
}

/// Any settings, and then decisions most of which are for the usual course of things.
fn decisions() -> impl Strategy<Value = Vec<u8>> {
    let usual = prop_oneof![12 => Just(0), 2 => 1_u8..20, 1 => any::<u8>()];
    (vec(any::<u8>(), 0..6), vec(usual, 0..40)).prop_map(|(settings, others)| [settings, others].concat())
}

/// Most sessions begin in the usual way and meet what is harmful late.
fn dialogue(
    begins: &'static [&'static [u8]],
    pieces: &'static [&'static [u8]],
) -> impl Strategy<Value = Vec<u8>> {
    let one_of = |pieces| prop::sample::select::<&[u8]>(pieces).prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![20 => one_of(pieces), 1 => one_of(HARMFUL), 1 => vec(any::<u8>(), 0..4)];
    let wire = (one_of(begins), vec(piece, 0..24));
    decided(wire.prop_map(|(begin, pieces)| [begin, pieces.concat()].concat()))
}

/// Decisions in front of the wire.
fn decided(wire: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (decisions(), wire).prop_map(|(decisions, wire)| {
        let length = u8::try_from(decisions.len()).expect("fewer than 46");
        [&[length], decisions.as_slice(), wire.as_slice()].concat()
    })
}

/// The data of a TLSA record behind their length, most of them of a kind and length that there is.
fn tlsa_record() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => Just(32_usize), 4 => Just(64), 1 => 0..80_usize];
    (0..5_u8, 0..3_u8, 0..4_u8, length, any::<u8>()).prop_map(|(usage, selector, matching, length, octet)| {
        let rdata = [&[usage, selector, matching][..], &vec![octet; length]].concat();
        let length = u8::try_from(rdata.len()).expect("fewer than 84");
        [&[length][..], &rdata].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_command_breaks_its_laws(data in input(COMMANDS)) {
        postern_fuzz::command(&data);
    }

    #[test]
    fn no_reply_breaks_its_laws(data in input(REPLIES)) {
        postern_fuzz::reply(&data);
    }

    #[test]
    fn no_content_breaks_its_laws(data in input(CONTENTS)) {
        postern_fuzz::content(&data);
    }

    #[test]
    fn no_client_breaks_the_server(data in dialogue(CLIENT_BEGINS, SERVER)) {
        postern_fuzz::server(&data);
    }

    #[test]
    fn no_server_breaks_the_client(data in dialogue(SERVER_BEGINS, CLIENT)) {
        postern_fuzz::client(&data);
    }

    #[test]
    fn no_challenge_breaks_the_sign_in(data in decided(input(CHALLENGES))) {
        postern_fuzz::sasl_client(&data);
    }

    #[test]
    fn no_answer_breaks_the_sign_in(data in decided(input(ANSWERS))) {
        postern_fuzz::sasl_server(&data);
    }

    #[test]
    fn no_header_breaks_its_laws(data in input(HEADERS)) {
        postern_fuzz::header(&data);
    }

    #[test]
    fn no_report_breaks_its_laws(data in decided(input(REPORTED))) {
        postern_fuzz::dsn(&data);
    }

    #[test]
    fn no_tls_report_breaks_its_laws(data in prop_oneof![3 => spoilt_report(), 1 => input(TLS_REPORT)]) {
        postern_fuzz::tls_report(&data);
    }

    #[test]
    fn no_policy_breaks_its_laws(data in input(PUBLISHED)) {
        postern_fuzz::mta_sts(&data);
    }

    #[test]
    fn no_tlsa_record_breaks_its_laws(data in vec(tlsa_record(), 0..6)) {
        postern_fuzz::tlsa(&data.concat());
    }

    #[test]
    fn no_hello_breaks_its_laws(data in spoilt_file(&postern_fuzz::hello_seeds())) {
        postern_fuzz::tls_offer(&data);
    }

    #[test]
    fn no_certificate_file_breaks_its_laws(data in spoilt_file(postern_fuzz::file_seeds())) {
        postern_fuzz::certificate_files(&data);
    }

    #[test]
    fn no_signing_request_breaks_its_laws(data in spoilt_file(&postern_fuzz::request_seeds())) {
        postern_fuzz::signing_request(&data);
    }
}
