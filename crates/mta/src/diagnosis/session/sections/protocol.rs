//! What is not SMTP, or not as SMTP goes.

use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const HTTP_SPOKEN: Section = Section {
    title: "The client speaks HTTP",
    meaning: "What came first is a request of HTTP: a web browser, a monitor with the wrong kind of check, or somebody who looks for open proxies.",
    user: "That is a mail server, not a web page. In your mail program enter {host} as the outgoing server.",
    remedy: "Nothing is to be done for strangers. A monitor of yours should check SMTP instead.",
    programs: &[(Program::Curl, "Begin the URL with smtp:// or smtps://.")],
    symptoms: &["500 5.5.1 Command not recognised"],
    gravity: Gravity::Noise,
};

pub(crate) const OTHER_PROTOCOL: Section = Section {
    title: "The client speaks another protocol",
    meaning: "What came is no SMTP: IMAP, POP3, SSH, or the octets of a scanner that tries everything. For a person it means that the server for incoming mail was entered with the port of the outgoing one.",
    user: "Your mail program uses the port for sending to fetch mail. Check the port of the incoming server; the outgoing one is {host} with port {starttls_port} or {tls_port}.",
    remedy: "If it is a person, tell him the ports: IMAP is 993 or 143, POP3 995 or 110. From unknown addresses it is scanners.",
    programs: &[],
    symptoms: &["500 5.5.1 Command not recognised", "The server does not support IMAP"],
    gravity: Gravity::Noise,
};

pub(crate) const HELLO_MISSING: Section = Section {
    title: "The client begins without EHLO",
    meaning: "The client sends mail, or signs in, without saying EHLO first. A script that does it by hand, or a device with an old mail part.",
    user: "Your mail program does not greet the server as it must. Update it, or send from another program.",
    remedy: "The program has to say EHLO with its name before anything else, and again after STARTTLS.",
    programs: &[(
        Program::Smtplib,
        "Call ehlo() before docmd(); starttls(), login() and send_message() do it by themselves.",
    )],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const BAD_SEQUENCE: Section = Section {
    title: "Commands come in the wrong order",
    meaning: "A command came at a moment when it is not possible. Either the program ignored an earlier refusal and went on, or it is broken.",
    user: "Your mail program sends in the wrong order. Update it, or send from another program.",
    remedy: "`postern session show` has the dialogue: look at the first refusal in it.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const UNKNOWN_COMMAND: Section = Section {
    title: "A command or parameter that is not known",
    meaning: "The client used a command, an argument or a parameter that does not exist here, and did not get on without it. Extensions must be used only where they are offered.",
    user: "Your mail program says something that {host} does not understand. Update it, or send from another program.",
    remedy: "The explanation has the command. Have the option that uses it turned off in the program.",
    programs: &[
        (Program::Swaks, "Leave out --xclient, --proxy and what else the server does not offer."),
        (Program::Smtplib, "Leave mail_options and rcpt_options empty, or ask has_extn() first."),
    ],
    symptoms: &[
        "500 5.5.1 Command not recognised",
        "501 5.5.4 Syntax error in the arguments",
        "555 5.5.4 The parameter is not recognised",
        "502 5.5.1 is not available here",
    ],
    gravity: Gravity::Program,
};

pub(crate) const XCLIENT_REFUSED: Section = Section {
    title: "XCLIENT from somebody who is no front end",
    meaning: "The client says XCLIENT, by which a front end tells for whom it speaks, and is none of those that the listener names; or it says who has signed in, and that does not count here.",
    user: "That connection is for other servers. In your mail program enter {host} as the outgoing server, with port {starttls_port} or {tls_port}.",
    remedy: "If it is a front end of yours, name it in `xclient` of the [[listener]]; `xclient_login = true` lets it say who has signed in, and then the user must exist.",
    programs: &[(
        Program::MailServer,
        "In Postfix look at `smtp_send_xforward_command` and the proxy in front of it, in nginx at `xclient off`.",
    )],
    symptoms: &[],
    gravity: Gravity::Program,
};
