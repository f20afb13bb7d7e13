//! Too large, too many, too fast.

use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const TOO_LARGE: Section = Section {
    title: "The message is too large",
    meaning: "The message has more octets than are taken. An attachment grows by more than a third on its way, as mail carries it in base64.",
    user: "Your message is too large for {host}. Make the attachments smaller, send them in several messages, or put them somewhere to be fetched.",
    remedy: "`message_size` in [limits] or [listener.limits] is the bound; the explanation has the figures. The next server has one of its own.",
    programs: &[(
        Program::Printer,
        "Scan with fewer dots per inch, in grey, or as a compressed PDF; some devices can split what they send.",
    )],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const TOO_MANY_RECIPIENTS: Section = Section {
    title: "Too many recipients in one message",
    meaning: "A message has more recipients than one transaction takes. A server sends to the rest by itself in another; some mail programs give up.",
    user: "Your message has too many recipients at once. Send it in several parts, or ask your administrator for a mailing list.",
    remedy: "`recipients` in [limits] or [listener.limits] is the bound. A list with an address of its own spares people this: `aliases` in [[domain]].",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const TOO_MANY_MESSAGES: Section = Section {
    title: "Too many messages in one session",
    meaning: "The session has brought as many messages as one may. The program has to connect again for the rest; most do by themselves.",
    user: "Your mail program sends very many messages at once. Wait until it connects again, or send the rest later.",
    remedy: "`transactions` in [limits] or [listener.limits] is the bound.",
    programs: &[(Program::Nodemailer, "`pool: true` with `maxMessages` below the bound.")],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const TOO_MANY_SESSIONS: Section = Section {
    title: "Too many sessions from one address",
    meaning: "The client's address has as many sessions open as it may. Behind a router of a whole office many people share one address.",
    user: "Too many connections to {host} come from your network at the same time. Try again in a few minutes.",
    remedy: "`sessions_per_address` in [limits] is the bound. For an office raise it, or have the program use fewer connections.",
    programs: &[(Program::Nodemailer, "`pool: true` with `maxConnections` below the bound.")],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const SESSIONS_TOO_FAST: Section = Section {
    title: "Sessions come too fast",
    meaning: "More sessions came from this client, its network, or at this listener, than are taken in so much time.",
    user: "Too many connections to {host} came from your network lately. Wait for the time that the message says.",
    remedy: "`sessions` in [rates.address], [rates.network] and [rates.listener] are the bounds. A program that makes a new connection for each message should keep one open.",
    programs: &[
        (Program::Nodemailer, "`pool: true` keeps connections open."),
        (Program::PhpMailer, "`$mail->SMTPKeepAlive = true`."),
    ],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const TOO_FAST: Section = Section {
    title: "Too much was sent in a short time",
    meaning: "So many messages, recipients, new recipients or octets were sent in a short time that no more are taken for now. Either somebody has a great deal to say, or somebody else sends with his password.",
    user: "You have sent very much in a short time, so {host} takes no more for now. Try again after the time that the message says; if it was not you, change your password and tell your administrator.",
    remedy: "`postern why {user}` shows what was sent and from where. The bounds are those of [rates]; raise them for who needs more. If the account is stolen: `postern ban add {user}` and a new password.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const TOO_MANY_ERRORS: Section = Section {
    title: "Too many mistakes in one session",
    meaning: "The client made more mistakes than a session may, or sent too many commands that lead nowhere. What it was told before is the reason.",
    user: "Your mail program made too many mistakes in a row with {host}. Check its settings for the outgoing server, and the addresses that you send to.",
    remedy: "`postern session show` has the dialogue: look at the first refusal. The bounds are `errors` and `idle_commands` in [limits].",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const SESSION_TOO_LONG: Section = Section {
    title: "The session lasted too long",
    meaning: "The session was open for longer than any may be. With a slow line and a large message that can happen to a person; a program that keeps a connection open for good meets it, too.",
    user: "Sending took too long. Make the message smaller, or try a faster network.",
    remedy: "`session_timeout` in [limits] or [listener.limits] is the bound.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};
