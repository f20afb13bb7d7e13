//! A session's facts as the rows look at them: read once, with what the client overcame left out.
//!
//! A healthy program is refused now and then and goes on: it tries a second mechanism, leaves a parameter out, sends the rest
//! of the recipients in another transaction. [`Sight::refused`] holds only what was refused for good.
//!
//! What it deliberately does not do: judge.

use postern_smtp::command::Verb;
use postern_smtp::server::{CloseReason, Dialogue, Offer, Said};

use crate::config::Greets;
use crate::session::{End, Facts, Opening, Refusal, SignIn, Stage};

/// A client that waited for so long in silence, in milliseconds, waited for something.
const WAITED: u64 = 4_000;

/// The facts, and what was worked out of them.
pub(super) struct Sight<'a> {
    /// All of them.
    pub(super) facts: &'a Facts,
    /// What was refused for good, in order.
    pub(super) refused: Vec<Refused<'a>>,
    /// The last failed attempt to sign in, unless one went well afterwards.
    pub(super) sign_in: Option<&'a SignIn>,
    /// Commands of the client that are none.
    pub(super) unknown: Vec<Strange<'a>>,
    /// How far it came.
    pub(super) course: Course,
}

/// What is no command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strange<'a> {
    /// As it was kept.
    pub(super) text: &'a str,
    /// So many octets behind its first word were not.
    pub(super) more: usize,
}

/// A refusal that the client did not overcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused<'a> {
    /// What it answered.
    pub(super) asked: Asked<'a>,
    /// The code.
    pub(super) code: u16,
    /// The enhanced one, class, subject and detail.
    pub(super) enhanced: Option<(u8, u16, u16)>,
    /// The help token.
    pub(super) token: Option<&'a str>,
    /// The reply.
    pub(super) reply: &'a str,
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// Nothing: the server speaks by itself.
    Nothing,
    /// A command.
    Command(Verb, &'a str),
    /// A line of a sign-in.
    Answer,
    /// A line that is too long.
    Overlong,
    /// The end of content.
    Content,
}

impl Asked<'_> {
    /// What the policy calls it where it refuses it.
    fn place(self) -> Option<&'static str> {
        match self {
            Self::Nothing => Some("connect"),
            Self::Command(Verb::Ehlo | Verb::Helo, _) => Some("EHLO"),
            Self::Command(Verb::Mail, _) => Some("MAIL"),
            Self::Command(Verb::Rcpt, _) => Some("RCPT"),
            Self::Command(Verb::Xclient, _) => Some("XCLIENT"),
            Self::Command(Verb::Bdat, _) | Self::Content => Some("end of content"),
            Self::Command(..) | Self::Answer | Self::Overlong => None,
        }
    }
}

/// How far a session came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// Lines of the client, of whatever kind.
    pub(super) lines: usize,
    /// Of these so many came after TLS had begun.
    pub(super) lines_in_tls: usize,
    /// Whether the last reply to EHLO offered STARTTLS.
    pub(super) offered: bool,
    /// Whether STARTTLS was said.
    pub(super) starttls: bool,
    /// Whether AUTH was said.
    pub(super) auth: bool,
    /// The last command.
    pub(super) last: Option<Verb>,
}

/// What the client got done later on, by the places of the replies.
#[derive(Default)]
struct Later<'a> {
    tls: Option<usize>,
    signed_in: Option<usize>,
    senders: Vec<(usize, &'a str)>,
    recipients: Vec<(usize, &'a str)>,
    queued: Option<usize>,
}

impl<'a> Sight<'a> {
    /// Reads the facts. The work is bounded as the dialogue is.
    pub(super) fn of(facts: &'a Facts) -> Self {
        let reading = Reading::of(&facts.dialogue);
        let refused = reading.refused.iter();
        let for_good = refused.filter(|(at, refused)| !reading.later.overcame(*at, refused));
        let mut sight = Self {
            facts,
            refused: for_good.map(|(_, refused)| *refused).collect(),
            sign_in: facts.sign_ins.last().filter(|last| last.fault.is_some()),
            unknown: reading.unknown,
            course: reading.course,
        };
        sight.forget_farewells();
        sight
    }

    /// Nothing went wrong that anybody should hear of: told without reading more than must be read.
    pub(super) fn is_untroubled(facts: &Facts) -> bool {
        let orderly = match &facts.end {
            End::Closed { reason, stage } => {
                matches!(reason, CloseReason::Quit | CloseReason::ClientLeft | CloseReason::Drained)
                    && *stage != Stage::Content
                    && (*stage != Stage::Transaction || facts.accepted > 0)
            }
            End::Validated => return true,
            End::Lost { stage, .. } => *stage == Stage::Done,
            End::TlsFailed | End::TurnedAway { .. } => false,
        };
        orderly
            && (facts.accepted > 0 || facts.user.is_some())
            && facts.tls_fault.is_none()
            && facts.refusals.is_empty()
            && facts.sign_ins.iter().all(|sign_in| sign_in.fault.is_none())
            && facts.dialogue.refusals().next().is_none()
    }

    /// The help tokens of what was refused for good.
    pub(super) fn refused_with(&self, token: &str) -> Option<&Refused<'a>> {
        self.refused.iter().find(|refused| refused.token == Some(token))
    }

    /// What the client was not told about a refusal.
    pub(super) fn why(&self, refused: &Refused<'_>) -> Option<&'a str> {
        let at = refused.asked.place()?;
        let is_meant = |refusal: &&Refusal| refusal.at == at && refusal.token.as_deref() == refused.token;
        let is_about = |refusal: &&Refusal| {
            let address = refusal.address.as_deref().map(path);
            matches!(refused.asked, Asked::Command(_, text) if address == Some(path(text)))
        };
        let meant = || self.facts.refusals.iter().rev().filter(is_meant);
        meant().find(is_about).or_else(|| meant().next())?.why.as_deref()
    }

    /// Whether the client went away by itself, in order or not.
    pub(super) fn left(&self) -> bool {
        matches!(
            self.facts.end,
            End::Closed { reason: CloseReason::Quit | CloseReason::ClientLeft, .. } | End::Lost { .. }
        )
    }

    /// Where it stood at its end.
    pub(super) fn stage(&self) -> Option<Stage> {
        match self.facts.end {
            End::Closed { stage, .. } | End::Lost { stage, .. } => Some(stage),
            _ => None,
        }
    }

    /// Whether it said anything at all.
    pub(super) fn is_mute(&self) -> bool {
        self.course.lines == 0 && self.facts.opening == Opening::Silence && self.facts.offer.is_none()
    }

    /// Whether it waited for a banner where TLS is expected first.
    pub(super) fn waited_for_a_banner(&self) -> bool {
        self.facts.place.greets == Greets::AfterTls
            && self.facts.opening == Opening::Silence
            && self.course.lines == 0
            && self.facts.lasted >= WAITED
    }

    /// A client that has sent its mail and is then sent away, because it idles or because all is over, misses nothing.
    fn forget_farewells(&mut self) {
        if self.facts.accepted > 0 && self.stage() != Some(Stage::Content) {
            self.refused.retain(|refused| refused.code != 421 || refused.token == Some("too-many-errors"));
        }
    }
}

/// What one pass over the dialogue finds.
#[derive(Default)]
struct Reading<'a> {
    refused: Vec<(usize, Refused<'a>)>,
    later: Later<'a>,
    unknown: Vec<Strange<'a>>,
    course: Course,
}

impl<'a> Reading<'a> {
    fn of(dialogue: &'a Dialogue) -> Self {
        let mut reading = Self::default();
        let mut asked = Asked::Nothing;
        for (at, line) in dialogue.lines().enumerate() {
            match &line.said {
                Said::Reply { code, enhanced, token, offers, text } => {
                    let enhanced =
                        enhanced.map(|enhanced| (enhanced.class, enhanced.subject, enhanced.detail));
                    let token = token.as_deref();
                    let refused = Refused { asked, code: *code, enhanced, token, reply: text };
                    reading.reply(at, refused, offers);
                    // Whatever comes next without being asked for, the server says by itself.
                    asked = if *code == 334 { Asked::Answer } else { Asked::Nothing };
                }
                Said::Tls { .. } => {
                    reading.later.tls = Some(at);
                    reading.course.lines_in_tls = 0;
                }
                said => {
                    asked = reading.said(said);
                    reading.course.lines += 1;
                    reading.course.lines_in_tls += usize::from(reading.later.tls.is_some());
                }
            }
        }
        reading
    }

    fn said(&mut self, said: &'a Said) -> Asked<'a> {
        match said {
            Said::Command { verb, text, more } => {
                self.course.last = Some(*verb);
                self.course.starttls |= *verb == Verb::StartTls;
                self.course.auth |= *verb == Verb::Auth;
                if *verb == Verb::Unknown {
                    self.unknown.push(Strange { text, more: *more });
                }
                Asked::Command(*verb, text)
            }
            Said::Withheld { .. } => Asked::Answer,
            Said::Overlong => Asked::Overlong,
            Said::Content { .. } => Asked::Content,
            Said::Reply { .. } | Said::Tls { .. } => Asked::Nothing,
        }
    }

    fn reply(&mut self, at: usize, reply: Refused<'a>, offers: &[Offer]) {
        let later = &mut self.later;
        match (reply.asked, reply.code) {
            (_, 400..) => self.refused.push((at, reply)),
            (Asked::Command(Verb::Auth, _) | Asked::Answer, 235) => later.signed_in = Some(at),
            (Asked::Command(Verb::Mail, text), 250) => later.senders.push((at, path(text))),
            (Asked::Command(Verb::Rcpt, text), 250) => later.recipients.push((at, path(text))),
            (Asked::Content, 250) => later.queued = Some(at),
            (Asked::Command(Verb::Ehlo, _), 250) => {
                self.course.offered = offers.contains(&Offer::StartTls);
            }
            _ => {}
        }
    }
}

impl Later<'_> {
    /// Whether the client got done later what was refused here.
    fn overcame(&self, at: usize, refused: &Refused<'_>) -> bool {
        let after = |place: Option<usize>| place.is_some_and(|place| place > at);
        let sent = after(self.senders.last().map(|(place, _)| *place));
        let among = |done: &[(usize, &str)], text: &str| {
            done.iter().any(|(place, path_of)| *place > at && *path_of == path(text))
        };
        match (refused.asked, refused.token) {
            (_, Some("starttls-first" | "auth-needs-tls" | "tls-demanded" | "requiretls-in-clear")) => {
                after(self.tls)
            }
            (Asked::Command(Verb::Auth, _) | Asked::Answer, _) => after(self.signed_in),
            (Asked::Command(Verb::Mail, _), Some("sign-in-first" | "hello-first" | "nested-mail")) => sent,
            (Asked::Command(Verb::Mail, text), _) => among(&self.senders, text),
            (Asked::Command(Verb::Rcpt, _), Some("too-many-recipients")) => {
                after(self.recipients.last().map(|(place, _)| *place))
            }
            (Asked::Command(Verb::Rcpt, text), _) => among(&self.recipients, text),
            (Asked::Content, _) => refused.code < 500 && after(self.queued),
            (Asked::Nothing, _) => false,
            (Asked::Command(..) | Asked::Overlong, _) => sent || after(self.signed_in) || after(self.queued),
        }
    }
}

/// What stands between the angle brackets of MAIL or RCPT, or all of it.
pub(super) fn path(text: &str) -> &str {
    let inside = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(text, |(path, _)| path)
}
