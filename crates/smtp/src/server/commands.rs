//! What each command does once the table allows it, and what each verdict means.

use super::budget::Spent;
use super::session::{Drain, ServerSession};
use super::state::{Conversation, Gathering, Open, State};
use super::table::{self, Illegal, Place, Progress, Standing};
use super::{CloseReason, FrontEnd, Hello, Offer, Question, TlsMode, Transaction, Verdict};
use crate::command::{ATTRIBUTES, Command, Introduction, SyntaxError, Verb};
use crate::envelope::{BodyType, Mail, Rcpt};
use crate::extension::{Announcement, Limits as AnnouncedLimits, ehlo_reply};
use crate::reply::{Reply, catalogue};

impl ServerSession {
    /// One line that should be a command; `more` says whether bytes came behind it.
    pub(super) fn command_line(&mut self, line: &[u8], more: bool) {
        let parsed = Command::parse(line);
        let verb = parsed.as_ref().map_or_else(SyntaxError::verb, Command::verb);
        self.dialogue.command(line, &parsed);
        if self.must_drain(verb) {
            return self.end_drained();
        }
        if matches!(self.talk.state, State::TurnedAway) {
            return self.turned_away(verb);
        }
        if let Err(spent) = self.count(verb) {
            return self.end_spent(spent);
        }
        match table::check(verb, self.standing()) {
            Err(illegal) => self.illegal(verb, illegal, parsed.ok()),
            Ok(()) => match parsed {
                Ok(command) => self.perform(command, more),
                Err(error) => self.malformed(&error),
            },
        }
        self.after_command(verb, more);
    }

    /// The answer to the question that is open.
    pub(super) fn verdict(&mut self, verdict: Verdict) {
        let Some(open) = self.open.take() else { return };
        self.await_command();
        match (open, verdict) {
            (_, Verdict::RefuseAndClose(reply)) => self.end(&reply, CloseReason::Refused),
            // RFC 5321 §3.8: whoever says 421 closes.
            (_, Verdict::Refuse(reply)) if reply.code == 421 => self.end(&reply, CloseReason::Refused),
            (open, Verdict::Refuse(reply)) => self.refused(open, &reply),
            (Open::Connect, verdict @ (Verdict::Accept | Verdict::SignedIn { .. })) => self.admitted(verdict),
            (Open::Hello(hello), Verdict::Accept) => self.greeted(hello),
            (Open::Authenticate(exchange), Verdict::SignedIn { user }) => self.proved(&exchange, user),
            (Open::Authenticate(exchange), Verdict::Keys(keys)) => self.continue_with(exchange, keys),
            (Open::Mail(mail), Verdict::Accept) => self.begin(mail),
            (Open::Rcpt(rcpt), Verdict::Accept) => self.add(rcpt),
            (Open::Take, Verdict::Queued { id }) => {
                self.budget.message();
                self.reply(&catalogue::queued(&id));
            }
            // An answer to another question: nothing is granted by mistake.
            (open, _) => self.refused(open, &catalogue::local_error()),
        }
    }

    fn must_drain(&self, verb: Verb) -> bool {
        self.drain == Drain::Asked
            && match self.talk.state {
                State::Transaction(_) => verb != Verb::Quit,
                State::Chunks(_) => !matches!(verb, Verb::Quit | Verb::Bdat),
                _ => false,
            }
    }

    /// RFC 5321 §3.1: after a banner of 554, 503 to everything but QUIT.
    fn turned_away(&mut self, verb: Verb) {
        match verb {
            Verb::Quit => self.quit(),
            _ => self.refuse(&catalogue::bad_sequence(&verb)),
        }
    }

    fn count(&mut self, verb: Verb) -> Result<(), Spent> {
        match table::progress(verb) {
            Progress::Advances => Ok(()),
            Progress::Idles | Progress::Resets => self.budget.idle_command(&self.settings.limits),
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            place: self.talk.state.place(),
            mode: self.settings.tls,
            encrypted: self.talk.tls.is_some(),
            offer: self.settings.auth,
            clear: self.settings.clear_sign_in,
            signed_in: self.talk.user.is_some(),
        }
    }

    fn illegal(&mut self, verb: Verb, illegal: Illegal, command: Option<Command>) {
        let reply = match illegal {
            Illegal::TlsFirst => catalogue::starttls_first(),
            Illegal::HelloFirst => catalogue::hello_first(),
            Illegal::SignInFirst => catalogue::sign_in_first(),
            Illegal::SignedInAlready => catalogue::signed_in_already(),
            Illegal::Misplaced(place) => self.misplaced(verb, place),
        };
        match (verb, command) {
            (Verb::Bdat, Some(Command::Bdat { size, last })) => self.refuse_chunk(size, last, reply),
            (Verb::Bdat, _) => self.end(&reply, CloseReason::Violation),
            _ => self.refuse(&reply),
        }
    }

    fn misplaced(&self, verb: Verb, place: Place) -> Reply {
        let nobody_left = matches!(&self.talk.state, State::Transaction(gathering) if gathering.refused > 0);
        match (verb, place) {
            (Verb::Mail | Verb::Rcpt | Verb::Data, Place::Chunks) => catalogue::chunking_begun(),
            (Verb::Mail, _) => catalogue::nested_mail(),
            (Verb::Auth, _) => catalogue::auth_within_transaction(),
            (Verb::Rcpt | Verb::Data | Verb::Bdat, Place::Ready) => catalogue::mail_first(),
            (Verb::Data | Verb::Bdat, Place::Sender) if nobody_left => catalogue::no_valid_recipients(),
            (Verb::Data | Verb::Bdat, Place::Sender) => catalogue::rcpt_first(),
            _ => catalogue::bad_sequence(&verb),
        }
    }

    /// What cannot be understood is refused; a BDAT that cannot be understood ends the session too, as nobody knows
    /// how many of the octets behind it are content.
    fn malformed(&mut self, error: &SyntaxError) {
        match error.verb() {
            Verb::Bdat => self.end(&error.reply(), CloseReason::Violation),
            Verb::Xclient if self.front_end == FrontEnd::No => self.refuse(&catalogue::xclient_refused()),
            _ => self.refuse(&error.reply()),
        }
    }

    /// RFC 2920 §3.1: some commands end a group. Bytes behind a DATA that was refused are most likely the content,
    /// and must not be taken for commands.
    fn after_command(&mut self, verb: Verb, more: bool) {
        let content_expected = matches!(self.talk.state, State::Data(_) | State::Closed);
        if verb == Verb::Data && more && !content_expected {
            self.close(CloseReason::Violation);
        }
        if table::ends_group(verb) && self.open.is_none() {
            self.outbox.flush();
        }
    }

    fn perform(&mut self, command: Command, more: bool) {
        match command {
            Command::Ehlo(name) => self.hello_asked(name, true),
            Command::Helo(name) => self.hello_asked(name, false),
            Command::StartTls => self.start_tls(more),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial.as_ref()),
            Command::Xclient(introduction) => self.introduce(introduction),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(rcpt) => self.rcpt(rcpt),
            Command::Data => self.begin_data(),
            Command::Bdat { size, last } => self.begin_chunk(size, last),
            Command::Rset => self.reset(),
            Command::Noop => self.reply(&catalogue::ok()),
            Command::Help => self.reply(&catalogue::help()),
            Command::Vrfy => self.reply(&catalogue::cannot_verify()),
            Command::Expn => self.refuse(&catalogue::expn_refused()),
            Command::Quit => self.quit(),
            Command::Unknown(_) => self.refuse(&catalogue::unknown_command()),
        }
    }

    fn hello_asked(&mut self, name: String, extended: bool) {
        let hello = Hello { name, extended };
        self.ask(Question::Hello(hello.clone()), Open::Hello(hello));
    }

    /// RFC 5321 §4.1.4: an EHLO that is accepted resets as RSET does.
    fn greeted(&mut self, hello: Hello) {
        let reply = if hello.extended {
            let (reply, offers) = self.announcement(&hello);
            self.dialogue.offering(offers);
            reply
        } else {
            catalogue::helo(&self.settings.hostname)
        };
        self.talk.hello = Some(hello);
        self.talk.reset();
        self.outbox.discard();
        self.reply(&reply);
    }

    /// The reply to EHLO, and what it offers.
    fn announcement(&self, hello: &Hello) -> (Reply, Vec<Offer>) {
        let settings = &self.settings;
        let encrypted = self.talk.tls.is_some();
        let mechanisms = self.offered_mechanisms();
        let announcement = Announcement {
            size: settings.limits.message_size,
            starttls: !encrypted && settings.tls != TlsMode::Implicit,
            auth: &mechanisms,
            // RFC 8689 §2: only where it can be meant, which is after TLS has started.
            requiretls: encrypted,
            xclient: self.offered_attributes(),
            limits: AnnouncedLimits {
                rcptmax: u32::try_from(settings.limits.recipients).ok(),
                mailmax: u32::try_from(settings.limits.transactions).ok(),
            },
        };
        let starttls = announcement.starttls.then_some(Offer::StartTls);
        let auth = (!mechanisms.is_empty()).then_some(Offer::Auth);
        let offers = starttls.into_iter().chain(auth).collect();
        (ehlo_reply(&settings.hostname, &hello.name, &announcement), offers)
    }

    /// RFC 3207 §4. Bytes that came behind the command were sent in clear and would be taken for words said under
    /// TLS by a careless server (CVE-2011-0411): they end the session.
    fn start_tls(&mut self, more: bool) {
        if self.talk.tls.is_some() || self.settings.tls == TlsMode::Implicit {
            self.refuse(&catalogue::tls_already());
        } else if more {
            self.end(&catalogue::bad_sequence(&Verb::StartTls), CloseReason::Violation);
        } else if self.settings.tls_available {
            self.reply(&catalogue::starttls_ready());
            self.outbox.start_tls();
            self.talk.state = State::Handshake;
        } else {
            self.refuse(&catalogue::tls_unavailable());
        }
    }

    /// The client for whom the other end speaks from here on. All begins anew but for what is counted and the time; TLS is
    /// the front end's, and proves nothing of this client.
    fn introduce(&mut self, introduction: Introduction) {
        match (self.front_end, &introduction.login) {
            (FrontEnd::No, _) => return self.refuse(&catalogue::xclient_refused()),
            (FrontEnd::Trusted, Some(_)) => return self.refuse(&catalogue::xclient_login_refused()),
            (FrontEnd::Trusted, None) | (FrontEnd::TrustedWithLogin, _) => {}
        }
        // Once: what comes from here on may be the client's own words, passed through.
        self.front_end = FrontEnd::No;
        let before = std::mem::replace(&mut self.talk, Conversation::new(None));
        self.talk = before.introduced(introduction.login.clone());
        self.outbox.introduce(introduction);
        self.ask(Question::Connect, Open::Connect);
    }

    /// The client may have a session. Whoever is said to have signed in elsewhere must be known to the policy, and nobody
    /// else is signed in by a mere connection.
    fn admitted(&mut self, verdict: Verdict) {
        self.talk.user = match (self.talk.introduced.take(), verdict) {
            (Some(_), Verdict::SignedIn { user }) => Some(user),
            (None, Verdict::Accept) => None,
            _ => return self.refused(Open::Connect, &catalogue::xclient_login_refused()),
        };
        self.reply(&catalogue::greeting(&self.settings.hostname));
    }

    fn offered_attributes(&self) -> &'static [&'static str] {
        match self.front_end {
            FrontEnd::No => &[],
            FrontEnd::Trusted => &ATTRIBUTES[..ATTRIBUTES.len() - 1],
            FrontEnd::TrustedWithLogin => &ATTRIBUTES,
        }
    }

    fn mail(&mut self, mail: Mail) {
        let limits = &self.settings.limits;
        if !self.budget.allows_transaction(limits) {
            let reply = catalogue::too_many_messages(&self.settings.hostname);
            return self.end(&reply, CloseReason::TooManyErrors);
        }
        // RFC 6531 §3.5
        if !mail.params.smtputf8 && mail.from.mailbox().is_some_and(|mailbox| !mailbox.is_ascii()) {
            return self.refuse(&catalogue::needs_smtputf8());
        }
        // RFC 8689 §2: only under TLS, where it was announced.
        if mail.params.requiretls && self.talk.tls.is_none() {
            return self.refuse(&catalogue::requiretls_in_clear());
        }
        // RFC 1870 §6.1
        if mail.params.size.is_some_and(|size| size > limits.message_size) {
            return self.refuse(&catalogue::too_large(limits.message_size));
        }
        self.ask(Question::Mail(mail.clone()), Open::Mail(mail));
    }

    fn begin(&mut self, mail: Mail) {
        self.budget.transaction();
        let transaction =
            Transaction { from: mail.from, params: mail.params, to: Vec::new(), size: 0, eight_bit: false };
        self.talk.state = State::Transaction(Box::new(Gathering { transaction, refused: 0 }));
        self.reply(&catalogue::sender_ok());
    }

    fn rcpt(&mut self, rcpt: Rcpt) {
        let State::Transaction(gathering) = &self.talk.state else { return };
        let reply = if gathering.transaction.to.len() >= self.settings.limits.recipients {
            // RFC 5321 §4.5.3.1.10
            catalogue::too_many_recipients()
        } else if !gathering.transaction.params.smtputf8
            && rcpt.to.mailbox().is_some_and(|mailbox| !mailbox.is_ascii())
        {
            catalogue::needs_smtputf8()
        } else {
            return self.ask(Question::Rcpt(rcpt.clone()), Open::Rcpt(rcpt));
        };
        self.refuse_recipient(&reply);
    }

    /// Answers no to a RCPT; what that counts as, see [`Budget`](super::budget::Budget).
    fn refuse_recipient(&mut self, reply: &Reply) {
        let State::Transaction(gathering) = &mut self.talk.state else { return };
        gathering.refused += 1;
        let limits = &self.settings.limits;
        let counted = if !reply.is_permanent() {
            self.budget.put_off()
        } else if gathering.transaction.to.is_empty() {
            self.budget.error(limits)
        } else {
            self.budget.dead_address(limits)
        };
        self.reply(reply);
        if let Err(spent) = counted {
            self.end_spent(spent);
        }
    }

    fn add(&mut self, rcpt: Rcpt) {
        if let State::Transaction(gathering) = &mut self.talk.state {
            gathering.transaction.to.push((rcpt.to, rcpt.params));
            self.reply(&catalogue::recipient_ok());
        }
    }

    /// RFC 3030 §3: BINARYMIME cannot be sent with DATA, which works on lines.
    fn begin_data(&mut self) {
        match std::mem::replace(&mut self.talk.state, State::Ready) {
            State::Transaction(gathering)
                if gathering.transaction.params.body == Some(BodyType::BinaryMime) =>
            {
                self.talk.state = State::Transaction(gathering);
                self.refuse(&catalogue::binary_needs_bdat());
            }
            State::Transaction(gathering) => self.receive_data(gathering.transaction),
            other => self.talk.state = other,
        }
    }

    fn reset(&mut self) {
        self.talk.reset();
        self.outbox.discard();
        self.reply(&catalogue::reset());
    }

    fn quit(&mut self) {
        let reply = catalogue::closing(&self.settings.hostname);
        self.end(&reply, CloseReason::Quit);
    }

    fn refused(&mut self, open: Open, reply: &Reply) {
        match open {
            Open::Connect => {
                self.talk.state = State::TurnedAway;
                self.reply(reply);
            }
            Open::Authenticate(exchange) => self.refused_sign_in(&exchange, reply),
            Open::Rcpt(_) => self.refuse_recipient(reply),
            Open::Hello(_) | Open::Mail(_) | Open::Take => self.refuse(reply),
        }
    }
}
