//! Answers the six questions of a session: may they come, who are they, may they send this there?
//!
//! One `await`, one verdict, one reply each. The order of verbs and the limits were checked by the session before it
//! asked; what is decided here is policy: the directory, the relay rules, and whose address is whose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use postern_message::inspect::{Inspector, MAX_HEADER_BYTES};
use postern_message::rewrite::NewAuthor;
use postern_pki::ClientIdentity;
use postern_queue::Draft;
use postern_smtp::address::{ForwardPath, Mailbox};
use postern_smtp::content::ChunkChecker;
use postern_smtp::envelope::{BodyType, Mail, OriginalRecipient, Rcpt, RcptParams};
use postern_smtp::reply::Reply;
use postern_smtp::server::{Dialogue, Hello, LineEndings, Question, ServerSession, Verdict};
use postern_smtp::tls::TlsFacts;

use super::accept;
use super::connection::Established;
use super::decide::{Fault, Reached, Refusal, SoFar, Standing};
use super::front_end::Introduced;
use super::listener::{Listener, Place};
use crate::config::Device;
use crate::daemon::{Shared, Site};
use crate::diagnosis::session::{Diagnosis, Gravity, diagnose};
use crate::directory::Principal;
use crate::event::{Event, Subject};
use crate::policy::reports::Preview;
use crate::routing::Permit;
use crate::session::{Closing, Facts, Found, Keeping, Overheard, Recorder, Stopped};

/// Who is at the other end.
pub(crate) struct Client {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The port of ours that it came to.
    pub(crate) port: u16,
    /// The session's id.
    pub(crate) session: String,
    /// Its place within the limits; `None` while it has none.
    pub(crate) place: Option<Place>,
}

/// The policy's side of one session.
pub(crate) struct Gate {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) client: Client,
    pub(crate) hello: Option<Hello>,
    pub(crate) tls: Option<TlsFacts>,
    /// Who the client is by its certificate, when that was verified.
    pub(crate) certificate: Option<ClientIdentity>,
    pub(crate) principal: Option<Principal>,
    /// Which device it is, on a device listener.
    pub(crate) device: Option<Arc<Device>>,
    /// Messages accepted in this session.
    pub(crate) accepted: u32,
    /// A refusal of ours was told to the administrator already.
    pub(crate) told: bool,
    /// Why this client may relay was told to the administrator already.
    permit_told: bool,
    /// There were keys of the last name that began SCRAM.
    pub(super) keys_kept: bool,
    /// What a front end has said of the client, until that was answered.
    pub(super) introduced: Option<Introduced>,
    pub(super) pending: Pending,
    record: Mutex<Recorder>,
    /// So many lines of the session were told to those who follow.
    heard: u64,
}

/// The transaction that is under way.
#[derive(Default)]
pub(super) struct Pending {
    body: Option<BodyType>,
    recipients: Vec<(Mailbox, RcptParams)>,
    /// So many of them the sender never wrote to before.
    new: u64,
    content: Option<Content>,
}

/// Content on its way in: stored and looked at in one pass.
pub(crate) struct Content {
    pub(crate) draft: Draft,
    pub(crate) inspector: Inspector,
    /// For devices whose senders are replaced.
    pub(crate) new_author: Option<NewAuthor>,
    /// For content that is declared binary: follows it for as long as it is text all the same.
    pub(crate) still_text: Option<ChunkChecker>,
    /// When it goes to the address for TLS reports alone.
    pub(crate) preview: Option<Preview>,
    /// The first trouble in storing it; what follows is dropped and the end is answered with it.
    pub(crate) trouble: Option<postern_queue::Error>,
}

impl Gate {
    /// The gate for a session that begins.
    pub(crate) fn new(shared: Arc<Shared>, listener: Arc<Listener>, client: Client) -> Self {
        let wanted = shared.keeper.wants(&shared.site.load().config.kept_sessions);
        let keeping = if wanted { Keeping::All } else { Keeping::Nothing };
        Self {
            record: Mutex::new(Recorder::new(listener.entrance(client.port), keeping)),
            heard: 0,
            device: listener.device_at(client.address.ip()).map(|admitted| Arc::clone(&admitted.device)),
            shared,
            listener,
            client,
            hello: None,
            tls: None,
            certificate: None,
            principal: None,
            accepted: 0,
            told: false,
            permit_told: false,
            keys_kept: false,
            introduced: None,
            pending: Pending::default(),
        }
    }

    /// After STARTTLS nothing that was known before counts (RFC 3207 §4.2).
    pub(crate) fn start_over(&mut self, Established { facts, client, .. }: Established) {
        self.hello = None;
        self.principal = None;
        self.pending = Pending::default();
        self.tls = Some(facts);
        self.certificate = client;
    }

    /// Decides.
    pub(crate) async fn answer(&mut self, question: Question) -> Verdict {
        match question {
            Question::Connect => match self.unknown_device() {
                Some(refusal) => refusal,
                None => Box::pin(self.connect()).await,
            },
            Question::Hello(hello) => {
                self.hello = Some(hello);
                Verdict::Accept
            }
            Question::Authenticate(claim) => Box::pin(self.sign_in(claim)).await,
            Question::Mail(mail) => self.mail(&mail),
            Question::Rcpt(rcpt) => self.rcpt(&rcpt),
            Question::Take(transaction) => {
                self.end_content().await;
                let content = self.pending.content.take().unwrap_or_else(|| self.begin());
                let recipients = std::mem::take(&mut self.pending).recipients;
                let taken = Box::pin(accept::take(self, transaction, recipients, content)).await;
                taken.unwrap_or_else(|reply| self.refuse("end of content", None, reply))
            }
        }
    }

    /// Stores and inspects a piece of content.
    pub(crate) async fn content(&mut self, bytes: Bytes) {
        if self.pending.content.is_none() {
            self.pending.content = Some(self.begin());
        }
        let Some(content) = &mut self.pending.content else { return };
        let is_text = |checker: &mut ChunkChecker| checker.check(&bytes, &mut BytesMut::new()).is_ok();
        content.still_text = content.still_text.take_if(is_text);
        match &mut content.new_author {
            Some(new_author) => {
                let rewritten = new_author.feed(&bytes);
                content.keep(&rewritten).await;
            }
            None => content.keep(&bytes).await,
        }
    }

    /// What was held back is kept, too.
    async fn end_content(&mut self) {
        let Some(content) = &mut self.pending.content else { return };
        if let Some(new_author) = &mut content.new_author {
            let rest = new_author.finish();
            content.keep(&rest).await;
        }
    }

    /// Forgets the content streamed so far.
    pub(crate) fn discard(&mut self) {
        self.pending.content = None;
    }

    /// Emits an event of this session.
    pub(crate) fn emit(&self, event: Event) {
        self.record().event(&event);
        self.publish(event);
    }

    /// Emits an event that the session's facts have already.
    pub(super) fn publish(&self, event: Event) {
        self.shared.observer.emit(Subject::Session(self.client.session.clone()), event);
    }

    /// What is known of the session so far.
    pub(crate) fn record(&self) -> MutexGuard<'_, Recorder> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said, for those who follow.
    pub(crate) fn overheard(&mut self, dialogue: &Dialogue) {
        let keeper = &self.shared.keeper;
        if !keeper.is_followed() {
            return;
        }
        let names = self.record().names();
        let (session, listener) = (&*self.client.session, &*self.listener.config.name);
        let overheard = Overheard { session, client: self.client.address.ip(), listener, names, dialogue };
        keeper.overheard(&overheard, &mut self.heard, Timestamp::now());
    }

    /// The session has ended: what is known of it is put together, told and kept.
    pub(crate) fn conclude(&mut self, session: Option<&ServerSession>, stop: Stopped) {
        if let Some(session) = session {
            self.overheard(session.dialogue());
        }
        let place = self.record().place().clone();
        let record = std::mem::replace(&mut *self.record(), Recorder::new(place, Keeping::Nothing));
        let (tls_at_once, keeping) = (record.has_tls_where_none_is(), record.keeping());
        // A failed handshake was told with its reason.
        let told = self.told || self.accepted > 0 || matches!(stop, Stopped::Tls | Stopped::Validated);
        let facts = self.facts(record, session, stop);
        // That is told also where nothing is kept.
        let tls_at_once = if tls_at_once { diagnose(&facts) } else { None };
        let found = match keeping {
            Keeping::All => self.keep(facts),
            Keeping::Nothing => None,
        };
        if !told {
            self.tell_of_trouble(found, tls_at_once, session);
        }
    }

    /// All that is known of the session.
    fn facts(&self, record: Recorder, session: Option<&ServerSession>, stop: Stopped) -> Facts {
        let closing = Closing {
            id: self.client.session.clone(),
            client: self.client.address,
            user: self.principal.as_ref().map(|principal| principal.name.clone()),
            accepted: self.accepted,
            stop,
        };
        record.finish(session, closing)
    }

    /// Hands the facts over to be kept.
    fn keep(&self, mut facts: Facts) -> Option<Found> {
        let now = Timestamp::now();
        let site = self.site();
        let own = site.config.domains.iter().map(|domain| domain.name.as_str());
        let is_own = |name: &str| self.shared.users.show(name).is_ok();
        facts.tell_names_apart(own, is_own);
        facts.tell_claimant(|name| self.home_of(name), is_own, |name| self.is_in_our_domains(name));
        let keeper = &self.shared.keeper;
        if facts.accepted > 0 {
            keeper.sent(&facts, self.principal.as_ref(), now);
        }
        keeper.ended(facts, |name| self.is_in_our_domains(name), &site.config.kept_sessions, now)
    }

    /// Tells what kept the client from sending, in words for the administrator; of the same case once a minute, and of what
    /// concerns nobody only where a reply of ours said no.
    fn tell_of_trouble(
        &self,
        found: Option<Found>,
        tls_at_once: Option<Diagnosis>,
        session: Option<&ServerSession>,
    ) {
        let refusal = session.and_then(ServerSession::last_refusal).map(Reply::one_line);
        let (trouble, case, times) = match found {
            Some(Found { noted, .. }) if !noted.tell => return,
            Some(Found { diagnosis, noted })
                if refusal.is_some() || diagnosis.cause.section().gravity > Gravity::Noise =>
            {
                (Some(diagnosis.explanation), Some(noted.id), Some(noted.count))
            }
            Some(_) => return,
            None => (tls_at_once.map(|found| found.explanation).or(refusal), None, None),
        };
        let Some(trouble) = trouble else { return };
        let (client, listener) = (self.client.address, self.listener.config.name.clone());
        self.emit(Event::SessionTroubled { client, listener, trouble, case, times });
    }

    /// The configuration of the moment.
    pub(crate) fn site(&self) -> Arc<Site> {
        self.shared.site.load_full()
    }

    fn begin(&self) -> Content {
        let site = self.site();
        let for_reports_alone =
            matches!(self.pending.recipients.as_slice(), [(only, _)] if site.routing.takes_reports(only));
        Content {
            preview: for_reports_alone.then(Preview::new),
            new_author: self.new_author(),
            draft: self.shared.store.begin(Timestamp::now()),
            inspector: Inspector::new(MAX_HEADER_BYTES),
            still_text: (self.pending.body == Some(BodyType::BinaryMime))
                .then(|| ChunkChecker::new(LineEndings::Strict)),
            trouble: None,
        }
    }

    fn mail(&mut self, mail: &Mail) -> Verdict {
        self.pending = Pending { body: mail.params.body, ..Pending::default() };
        let site = self.site();
        match self.standing(&site).mail(mail, Timestamp::now()) {
            Ok(()) => Verdict::Accept,
            Err(refusal) => self.refuse_for("MAIL", Some(mail.from.to_string()), refusal),
        }
    }

    fn rcpt(&mut self, rcpt: &Rcpt) -> Verdict {
        let site = self.site();
        let before = SoFar { recipients: self.pending.recipients.len(), new: self.pending.new };
        let reached = self.standing(&site).rcpt(&rcpt.to, before, Timestamp::now());
        // Why is news once in a session, unless somebody has signed in, which is known already.
        let news = |permit: Permit<'_>| match permit {
            Permit::SignedIn => None,
            permit => (!self.permit_told).then(|| permit.to_string()),
        };
        let reached =
            reached.map(|Reached { mailboxes, new, permit }| (mailboxes, new, permit.and_then(news)));
        match reached {
            Ok((mailboxes, new, news)) => {
                self.permitted(news);
                self.pending.new = new;
                self.add(mailboxes, rcpt);
                Verdict::Accept
            }
            Err(refusal) => self.refuse_for("RCPT", Some(rcpt.to.to_string()), refusal),
        }
    }

    /// All that counts for a decision now.
    pub(super) fn standing<'a>(&'a self, site: &'a Site) -> Standing<'a> {
        Standing {
            rules: self.shared.rules(site),
            listener: &self.listener,
            client: self.client.address.ip(),
            tls: self.tls.as_ref(),
            certificate: self.certificate.as_ref(),
            principal: self.principal.as_ref(),
            device: self.device.as_deref(),
        }
    }

    /// Says why a client that has not signed in may relay.
    fn permitted(&mut self, news: Option<String>) {
        if let Some(by) = news {
            self.permit_told = true;
            self.emit(Event::RelayPermitted { by });
        }
    }

    /// Adds recipients, each once. Where an alias stands for others, what the sender wrote is kept as the original
    /// recipient (RFC 3461 §5.2.7), so that a report names an address that he knows.
    fn add(&mut self, mailboxes: Vec<Mailbox>, rcpt: &Rcpt) {
        let mut params = rcpt.params.clone();
        if let ForwardPath::Mailbox(written) = &rcpt.to
            && mailboxes.iter().any(|mailbox| mailbox != written)
        {
            params.orcpt.get_or_insert_with(|| original_recipient(written));
        }
        for mailbox in mailboxes {
            if !self.pending.recipients.iter().any(|(known, _)| *known == mailbox) {
                self.pending.recipients.push((mailbox, params.clone()));
            }
        }
    }

    pub(super) fn refuse(&mut self, at: &'static str, address: Option<String>, reply: Reply) -> Verdict {
        self.refuse_because(at, address, reply, None)
    }

    pub(super) fn refuse_because(
        &mut self,
        at: &'static str,
        address: Option<String>,
        reply: Reply,
        why: Option<String>,
    ) -> Verdict {
        self.refuse_for(at, address, Refusal { reply, why, fault: Fault::Client })
    }

    /// Tells what was decided: an inbound policy's name is only for the log.
    fn refuse_for(&mut self, at: &'static str, address: Option<String>, refusal: Refusal) -> Verdict {
        self.told = true;
        let Refusal { reply, why, fault } = refusal;
        let policy = match fault {
            Fault::Client => None,
            Fault::Policy(name) => Some(name),
            Fault::TooFast(no) => {
                self.shared.counters.too_fast(no.scope, no.what);
                None
            }
            Fault::Directory(denied) => {
                self.alarm_of(&denied);
                None
            }
        };
        let client = self.client.address.ip();
        let (token, one_line) = (reply.help_token(), reply.one_line());
        self.emit(Event::Refused { at, address, client, policy, why, token, reply: one_line });
        Verdict::Refuse(reply)
    }
}

fn original_recipient(written: &Mailbox) -> OriginalRecipient {
    let address_type = if written.is_ascii() { "rfc822" } else { "utf-8" };
    OriginalRecipient { address_type: address_type.to_owned(), address: written.to_string() }
}
