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
const CONTENTS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n.\r\n",
    b".",
    b"\r",
    b"\n",
    b"a",
    b"\n.\n",
    b"\r\n..",
    b"\0",
    b"\xff",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

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
}
