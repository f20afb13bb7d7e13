//! What is sent: lines, characters, fields.

use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const BAD_LINE_ENDING: Section = Section {
    title: "A line does not end with CRLF",
    meaning: "The client sent a CR or LF alone, or a NUL. Old programs and scripts do so by mistake, attackers to smuggle a second message into the first. The session is ended, for what follows cannot be trusted.",
    user: "Your mail program writes lines in a way that mail does not allow. Update it, or send from another program.",
    remedy: "In content, submission and device listeners repair a bare LF by themselves (`line_endings = \"repair\"`, their default); a bare CR, a NUL and commands with a bare LF are never taken. A script has to write \\r\\n.",
    programs: &[
        (
            Program::Swaks,
            "A file for --data may have either line ending; what `--no-data-fixup` sends must have CRLF.",
        ),
        (Program::Curl, "`--crlf` turns the line feeds of a file into CRLF."),
        (Program::Smtplib, "`send_message()` writes CRLF; with `docmd()` and `send()` it is yours to do."),
        (Program::PhpMailer, "Leave its line endings alone, and do not pass the message on through mail()."),
    ],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const LINE_TOO_LONG: Section = Section {
    title: "A command is too long",
    meaning: "A line that should be a command is longer than any may be (RFC 5321 §4.5.3.1.4). Mostly content that came where commands belong, or an address of absurd length.",
    user: "Your mail program sent something that is far too long for a command. Check the addresses of the message, or send from another program.",
    remedy: "`postern session show` has what came before. If DATA was refused and the program sent the content all the same, the first refusal is the trouble.",
    programs: &[],
    symptoms: &["500 5.5.2 Line too long"],
    gravity: Gravity::Program,
};

pub(crate) const BAD_CHARACTERS: Section = Section {
    title: "Eight-bit or control characters in a command",
    meaning: "A command holds control characters, or octets beyond ASCII that are not UTF-8: an address typed with umlauts in an old character set. In content, eight bits are taken whether they were announced (BODY=8BITMIME) or not.",
    user: "One of the addresses holds letters that mail addresses do not have. Check the recipients and your own address for umlauts and other special letters.",
    remedy: "The explanation has the command. A device or script that sends in Latin-1 has to send UTF-8 and say SMTPUTF8, or use plain ASCII addresses.",
    programs: &[(Program::Printer, "Enter addresses and the device's name in plain ASCII letters.")],
    symptoms: &["501 5.5.2 The arguments of MAIL hold characters that may not stand there"],
    gravity: Gravity::Program,
};

pub(crate) const BINARY_WITHOUT_BDAT: Section = Section {
    title: "Binary content without BDAT",
    meaning: "The client announced binary content (BODY=BINARYMIME) and then used DATA, which works on lines (RFC 3030 §3).",
    user: "Your mail program sends in a way that cannot work. Update it.",
    remedy: "The program has to use BDAT, or announce 8BITMIME.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const HEADER_UNREADABLE: Section = Section {
    title: "From: or Sender: cannot be understood",
    meaning: "The message has no From: field, or two, or one that cannot be parsed; or more than one Sender:. Who has written it could not be checked.",
    user: "Your message has no proper sender. Check your name and address in the settings of your mail program: quotation marks, commas and blanks are where it goes wrong.",
    remedy: "The explanation has the reply; have the program write one From: field such as `From: Anna Example <anna@example.org>`.",
    programs: &[
        (
            Program::Printer,
            "Enter the sender's address in the device's web page, and its name in plain letters.",
        ),
        (Program::Msmtp, "`set_from_header on`."),
        (
            Program::Curl,
            "The file for --upload-file must begin with header fields, From: among them, and an empty line behind them.",
        ),
    ],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const MAIL_LOOP: Section = Section {
    title: "The message goes in circles",
    meaning: "The message has been through this server too often: two servers send it to each other, each believing that the other has the mailbox.",
    user: "Your message went in circles between servers. That is not your fault; tell your administrator.",
    remedy: "Look at its Received: fields: they name the servers of the circle. Then at `deliver` of the [[domain]] and at what the next server believes; `postern route ADDRESS` says where mail goes from here.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const NO_TLS_REPORT: Section = Section {
    title: "No TLS report",
    meaning: "The recipient is the address that the DNS names for reports about TLS (RFC 8460), which only a program reads, and the message is no such report.",
    user: "That address is read by a program only. Write to the postmaster instead.",
    remedy: "Nothing is to be done, unless a report that is one was refused: then the reply says what is wrong with it.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Noise,
};
