//! What is said depends on what the server offers, and what must not be dropped is refused.

use postern_smtp::client::Job;
use postern_smtp::envelope::{BodyType, Notify, OriginalRecipient, Ret};

use crate::harness::{Scene, job, to_one};

/// A ready session with these keywords, pipelining among them, that was just given a job.
fn offering(keywords: &[&str]) -> String {
    let lines: Vec<String> = keywords
        .iter()
        .map(|keyword| {
            format!(
                "S: 250-{keyword}
"
            )
        })
        .collect();
    let lines = lines.concat();
    format!("S: 220 hi\nC: EHLO mail.example.org\nS: 250-hi\n{lines}S: 250 PIPELINING\n= ready\n! deliver\n")
}

/// That this job, with these keywords offered, begins with these lines.
#[track_caller]
fn begins(job: Job, keywords: &[&str], mail: &str, rcpt: &str) {
    Scene::new(vec![job]).play(&format!("{}C: {mail}\nC: {rcpt}\nC: DATA\n", offering(keywords)));
}

/// That this job, with these keywords offered, fails without a word.
#[track_caller]
fn fails(job: Job, keywords: &[&str], why: &str) {
    Scene::new(vec![job]).play(&format!("{}= failed: {why}\n= ready", offering(keywords)));
}

const MAIL: &str = "MAIL FROM:<a@example.org>";
const RCPT: &str = "RCPT TO:<b@example.net>";
const NEEDS_UTF8: &str = "the other server cannot take internationalised mail (no SMTPUTF8)";

#[test]
fn size_is_declared_where_it_is_understood() {
    begins(to_one(), &["SIZE"], "MAIL FROM:<a@example.org> SIZE=21", RCPT);
    begins(to_one(), &["SIZE 0"], "MAIL FROM:<a@example.org> SIZE=21", RCPT);
    begins(to_one(), &["SIZE 21"], "MAIL FROM:<a@example.org> SIZE=21", RCPT);
}

#[test]
fn a_message_over_the_announced_size_is_not_tried() {
    fails(
        to_one(),
        &["SIZE 20"],
        "the message is larger than the other server takes (20 octets) at MAIL FROM",
    );
}

#[test]
fn eight_bit_content_is_declared_or_refused() {
    let eight_bit = Job { eight_bit: true, ..to_one() };
    begins(eight_bit.clone(), &["8BITMIME"], "MAIL FROM:<a@example.org> BODY=8BITMIME", RCPT);
    fails(eight_bit, &[], "the other server cannot take 8-bit content (no 8BITMIME) at MAIL FROM");
}

#[test]
fn content_that_turned_out_plain_needs_no_eight_bit_server() {
    let mut declared = to_one();
    declared.params.body = Some(BodyType::EightBitMime);
    begins(declared, &[], MAIL, RCPT);
}

fn binary() -> Job {
    let mut binary = Job { eight_bit: true, ..to_one() };
    binary.params.body = Some(BodyType::BinaryMime);
    binary
}

#[test]
fn binary_content_goes_in_chunks() {
    let mut scene = Scene::new(vec![binary()]);
    scene.piece = 15;
    scene.play(&format!(
        "{}C: MAIL FROM:<a@example.org> BODY=BINARYMIME
        C: {RCPT}
        S: 250 ok
        S: 250 ok
        C: BDAT 15
        C: Subject: hi
        C:
        C: BDAT 6
        C: .dot
        C: BDAT 0 LAST
        S: 250 ok
        S: 250 ok
        S: 250 queued
        = delivered: 250 queued
        = ready",
        offering(&["CHUNKING", "BINARYMIME"])
    ));
}

#[test]
fn without_pipelining_each_chunk_waits_for_its_reply() {
    let mut scene = Scene::new(vec![binary()]);
    scene.piece = 15;
    let opening = offering(&["CHUNKING", "BINARYMIME"]).replace("PIPELINING", "HELP");
    scene.play(&format!(
        "{opening}C: MAIL FROM:<a@example.org> BODY=BINARYMIME
        S: 250 ok
        C: {RCPT}
        S: 250 ok
        C: BDAT 15
        C: Subject: hi
        C:
        S: 250 ok
        C: BDAT 6
        C: .dot
        S: 250 ok
        C: BDAT 0 LAST
        S: 250 queued
        = delivered: 250 queued
        = ready"
    ));
}

#[test]
fn no_more_than_four_chunks_are_unanswered() {
    let mut scene = Scene::new(vec![binary()]);
    scene.content = b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n".to_vec();
    scene.piece = 3;
    let chunks = |lines: &[u8]| {
        lines.iter().map(|line| format!("C: BDAT 3\nC: {line}\n")).collect::<Vec<_>>().concat()
    };
    scene.play(&format!(
        "{}C: MAIL FROM:<a@example.org> BODY=BINARYMIME\nC: {RCPT}\nS: 250 ok\nS: 250 ok\n{}
        S: 250 1
        {}S: 250 2
        {}S: 250 3
        C: BDAT 0 LAST
        S: 250 4
        S: 250 5
        S: 250 6
        S: 250 queued
        = delivered: 250 queued
        = ready",
        offering(&["CHUNKING", "BINARYMIME"]),
        chunks(&[1, 2, 3, 4]),
        chunks(&[5]),
        chunks(&[6]),
    ));
}

#[test]
fn a_refused_chunk_ends_the_transaction_with_rset() {
    let mut scene = Scene::new(vec![binary(), to_one()]);
    scene.piece = 15;
    let opening = offering(&["CHUNKING", "BINARYMIME"]).replace("PIPELINING", "HELP");
    scene.play(&format!(
        "{opening}C: MAIL FROM:<a@example.org> BODY=BINARYMIME
        S: 250 ok
        C: {RCPT}
        S: 250 ok
        C: BDAT 15
        C: Subject: hi
        C:
        S: 552 5.3.4 too big
        = failed: the other server refused at the end of the message: 552 5.3.4 too big
        = ready
        ! deliver
        C: RSET"
    ));
}

#[test]
fn binary_content_is_refused_without_both_extensions() {
    for keywords in [&["CHUNKING"][..], &["BINARYMIME"], &["8BITMIME"]] {
        fails(binary(), keywords, "the other server cannot take binary content (no BINARYMIME) at MAIL FROM");
    }
}

#[test]
fn chunking_alone_changes_nothing() {
    begins(to_one(), &["CHUNKING", "BINARYMIME"], MAIL, RCPT);
}

fn with_dsn() -> Job {
    let mut job = to_one();
    job.params.ret = Some(Ret::Headers);
    job.params.envid = Some("id+1".into());
    job.to[0].1.notify = Some(Notify { success: true, failure: true, delay: false });
    job.to[0].1.orcpt =
        Some(OriginalRecipient { address_type: "rfc822".into(), address: "x=y@example.org".into() });
    job
}

#[test]
fn dsn_parameters_are_passed_on_only_to_those_who_know_them() {
    begins(with_dsn(), &[], MAIL, RCPT);
    begins(
        with_dsn(),
        &["DSN"],
        "MAIL FROM:<a@example.org> RET=HDRS ENVID=id+2B1",
        "RCPT TO:<b@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+3Dy@example.org",
    );
}

fn utf8(from: &str, to: &[&str]) -> Job {
    let mut job = Job {
        from: postern_smtp::address::ReversePath::Mailbox(from.parse().expect("an address")),
        ..job(to)
    };
    job.params.smtputf8 = true;
    job
}

#[test]
fn smtputf8_is_declared_only_when_something_needs_it() {
    begins(utf8("a@example.org", &["b@example.net"]), &["SMTPUTF8"], MAIL, RCPT);
    begins(
        utf8("ä@example.org", &["b@example.net"]),
        &["SMTPUTF8"],
        "MAIL FROM:<ä@example.org> SMTPUTF8",
        RCPT,
    );
    let headers = Job { utf8_headers: true, ..utf8("a@example.org", &["b@example.net"]) };
    begins(headers, &["SMTPUTF8"], "MAIL FROM:<a@example.org> SMTPUTF8", RCPT);
}

#[test]
fn without_smtputf8_a_domain_goes_as_a_labels() {
    let scene = utf8("a@bücher.example", &["b@bücher.example"]);
    begins(scene, &[], "MAIL FROM:<a@xn--bcher-kva.example>", "RCPT TO:<b@xn--bcher-kva.example>");
}

#[test]
fn without_smtputf8_what_needs_it_fails() {
    fails(utf8("ä@example.org", &["b@example.net"]), &[], &format!("{NEEDS_UTF8} at MAIL FROM"));
    let headers = Job { utf8_headers: true, ..utf8("a@example.org", &["b@example.net"]) };
    fails(headers, &[], &format!("{NEEDS_UTF8} at MAIL FROM"));
    fails(utf8("a@example.org", &["ä@example.net"]), &[], &format!("{NEEDS_UTF8} at RCPT TO"));
}

#[test]
fn without_smtputf8_a_non_ascii_recipient_fails_alone() {
    Scene::new(vec![utf8("a@example.org", &["ä@example.net", "b@example.net"])]).play(&format!(
        "{}C: {MAIL}
        C: {RCPT}
        C: DATA
        S: 250 ok
        S: 450 later
        S: 503 no
        = failed: {NEEDS_UTF8} at RCPT TO
        = deferred: the other server refused at RCPT TO: 450 later
        = ready",
        offering(&[])
    ));
}

#[test]
fn a_report_goes_from_the_null_path() {
    let report = Job { from: postern_smtp::address::ReversePath::Null, ..to_one() };
    begins(report, &[], "MAIL FROM:<>", RCPT);
}
