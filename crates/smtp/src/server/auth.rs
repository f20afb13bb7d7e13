//! AUTH (RFC 4954): which mechanisms are offered, and what each step of an exchange leads to.
//!
//! The exchange itself is in [`sasl`](crate::sasl). Here stands when one may begin, that its end leaves nothing behind, and
//! that nobody is signed in whose exchange has not come to its proof, whatever the policy says.

use super::session::ServerSession;
use super::state::{Open, State};
use super::{AuthOffer, ClearSignIn, Question};
use crate::command::{InitialResponse, Verb};
use crate::reply::{Reply, catalogue};
use crate::sasl::{BoundVariant, ChannelBindings, Mechanism, ScramKeys, ServerContext, ServerExchange, Step};
use crate::secret::Secret;
use crate::tls::Proof;

impl ServerSession {
    /// The mechanisms to announce, best first.
    pub(super) fn offered_mechanisms(&self) -> Vec<&'static str> {
        let settings = &self.settings;
        let safe = self.talk.tls.is_some() || settings.clear_sign_in == ClearSignIn::Allowed;
        let sign_in = safe && settings.auth != AuthOffer::Never && self.talk.user.is_none();
        let offered = Mechanism::ALL.into_iter().filter(|mechanism| sign_in && self.serves(*mechanism));
        offered.map(Mechanism::name).collect()
    }

    /// AUTH.
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&InitialResponse>) {
        if self.settings.auth == AuthOffer::Never {
            return self.refuse(&catalogue::not_implemented(&Verb::Auth));
        }
        let Some(served) = Mechanism::named(mechanism).filter(|known| self.serves(*known)) else {
            return self.refuse(&catalogue::unknown_mechanism(mechanism));
        };
        let context = self.context(served);
        let (exchange, step) = ServerExchange::start(served, initial.map(InitialResponse::expose), context);
        self.exchange_step(Box::new(exchange), step);
    }

    /// A line of an exchange. `*` cancels it (RFC 4954 §4).
    pub(super) fn exchange_line(&mut self, mut exchange: Box<ServerExchange>, line: &[u8]) {
        if line == b"*" {
            return self.failed_sign_in(&catalogue::sign_in_cancelled());
        }
        let step = exchange.respond(line);
        self.exchange_step(exchange, step);
    }

    /// What is kept of the user's passwords has been found.
    pub(super) fn continue_with(&mut self, mut exchange: Box<ServerExchange>, keys: ScramKeys) {
        match exchange.keys(keys) {
            Some(step) => self.exchange_step(exchange, step),
            None => self.failed_sign_in(&catalogue::local_error()),
        }
    }

    /// The policy says who it is. That counts only when the exchange has come to its proof.
    pub(super) fn proved(&mut self, exchange: &ServerExchange, user: String) {
        if !exchange.admits() {
            return self.failed_sign_in(&catalogue::bad_credentials());
        }
        self.talk.user = Some(user);
        self.reply(&catalogue::signed_in());
    }

    /// The policy says no. Some mechanisms have a word of their own before a refusal that is final.
    pub(super) fn refused_sign_in(&mut self, exchange: &ServerExchange, reply: &Reply) {
        match exchange.protest().filter(|_| reply.is_permanent()) {
            Some(challenge) => {
                self.talk.state = State::Protest(reply.clone());
                self.reply(&challenge_of(&challenge));
            }
            None => self.failed_sign_in(reply),
        }
    }

    /// An attempt to sign in that led nowhere.
    pub(super) fn failed_sign_in(&mut self, reply: &Reply) {
        self.refuse(reply);
        if let Err(spent) = self.budget.failed_sign_in(&self.settings.limits) {
            self.end_spent(spent);
        }
    }

    /// The state is `Ready` here: an exchange that ends leaves nothing behind.
    fn exchange_step(&mut self, exchange: Box<ServerExchange>, step: Step) {
        match step {
            Step::Challenge(challenge) => {
                self.talk.state = State::Exchange(exchange);
                self.reply(&challenge_of(&challenge));
            }
            Step::Ask(claim) => self.ask(Question::Authenticate(claim), Open::Authenticate(exchange)),
            Step::Malformed => self.failed_sign_in(&catalogue::bad_credentials_form()),
        }
    }

    /// Whether this client may sign in so. EXTERNAL rests on what TLS has proved (RFC 4422 Appendix A), the -PLUS mechanisms
    /// on the channel's name: without TLS that gives it there is no such mechanism.
    fn serves(&self, mechanism: Mechanism) -> bool {
        let facts = self.talk.tls.as_ref();
        let founded = match mechanism {
            Mechanism::External => facts.is_some_and(|facts| facts.peer.given.contains(Proof::Verified)),
            bound if bound.binds() => facts.is_some_and(|facts| !facts.channel_bindings.is_empty()),
            _ => true,
        };
        founded && self.settings.mechanisms.contains(&mechanism)
    }

    fn context(&mut self, mechanism: Mechanism) -> ServerContext {
        let offered = mechanism.bound_variant().is_some_and(|bound| self.serves(bound));
        let facts = self.talk.tls.as_ref();
        ServerContext {
            channel_bindings: facts
                .map_or_else(ChannelBindings::default, |facts| facts.channel_bindings.clone()),
            bound_variant: if offered { BoundVariant::Offered } else { BoundVariant::Absent },
            nonce: self.nonces.draw(),
        }
    }
}

/// A challenge may be longer than what else replies repeat (RFC 4954 §4), and is ours.
fn challenge_of(words: &Secret) -> Reply {
    let text = words.expose_str().unwrap_or_default().to_owned();
    Reply { lines: vec![text], ..catalogue::challenge("") }
}
