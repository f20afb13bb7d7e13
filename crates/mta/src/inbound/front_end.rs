//! Front ends that say with XCLIENT who their client is.
//!
//! The session has checked that the other end may say so. From there on everything that looks at the client sees the one
//! that was named: the log, the limits and bans, `Received`. It takes a place of its own within the limits, and whether it
//! may come is asked as of any other. TLS is the front end's, so what its certificate proves says nothing of the client.
//!
//! What it deliberately does not do: believe a login without looking it up, or read the PROXY protocol (see `proxy`).

use std::net::SocketAddr;

use jiff::Timestamp;
use postern_smtp::command::Introduction;
use postern_smtp::reply::catalogue;
use postern_smtp::server::Verdict;

use super::gate::{Gate, Pending};
use super::limits::check_arrival;
use super::listener::Crowded;
use crate::directory::{Denied, Login};
use crate::event::{Event, Proof};

/// What a front end has said of its client.
#[derive(Debug)]
pub(super) struct Introduced {
    /// Whom it has signed in as.
    login: Option<String>,
    /// Why there is no place for it.
    crowded: Option<Crowded>,
}

impl Gate {
    /// Takes the client that a front end names for the one at the other end.
    pub(super) fn introduce(&mut self, told: Introduction) {
        let front_end = self.client.address;
        if let Some(address) = told.address {
            self.client.address = SocketAddr::new(address, told.port.unwrap_or(0));
        }
        let client = self.client.address;
        self.emit(Event::Introduced { front_end, client, name: told.name, login: told.login.clone() });
        self.hello = None;
        self.principal = None;
        self.certificate = None;
        self.pending = Pending::default();
        if let Some(facts) = &mut self.tls {
            facts.peer = postern_smtp::tls::PeerProof::anonymous();
        }
        self.introduced = Some(Introduced { login: told.login, crowded: self.take_place().err() });
    }

    /// Whether the client may have a session.
    pub(super) async fn connect(&mut self) -> Verdict {
        // Who has come by himself was looked at before there was a session.
        let Some(Introduced { login, crowded }) = self.introduced.take() else { return Verdict::Accept };
        let hostname = &self.listener.settings.hostname;
        match crowded {
            Some(Crowded::Full) => return Verdict::RefuseAndClose(catalogue::too_busy(hostname)),
            Some(Crowded::Client) => return Verdict::RefuseAndClose(catalogue::too_many_sessions(hostname)),
            None => {}
        }
        let client = self.client.address.ip();
        if let Err((reply, why)) = check_arrival(&self.shared, &self.listener, client, Timestamp::now()) {
            match why {
                Some(why) => {
                    self.refuse_because("XCLIENT", None, reply.clone(), Some(why));
                }
                None => self.told = true,
            }
            return Verdict::RefuseAndClose(reply);
        }
        match login {
            Some(login) => self.sign_in_introduced(&login).await,
            None => Verdict::Accept,
        }
    }

    /// The place of the client that was known before is given back first.
    fn take_place(&mut self) -> Result<(), Crowded> {
        self.client.place = None;
        let listener = &self.listener.config;
        let (whole, own) = (self.site().config.sessions, listener.limits.sessions);
        let place = self.shared.sessions.enter(whole, &listener.name, own, self.client.address.ip())?;
        self.client.place = Some(place);
        Ok(())
    }

    /// The front end has judged the proof; who it is, and whether he may still come, only the directories know.
    async fn sign_in_introduced(&mut self, name: &str) -> Verdict {
        let Some(login) = Login::new(name) else {
            return self.refuse("XCLIENT", None, catalogue::xclient_login_refused());
        };
        let directories = std::sync::Arc::clone(&self.site().directories);
        let found = directories.look_up(&login).await;
        let allowed = found.and_then(|found| found.map(|found| self.unless_banned(name, found)).transpose());
        match allowed {
            Ok(Some(principal)) => self.signed_in(name, principal, Proof::FrontEnd),
            Ok(None) | Err(Denied::Refused(_)) => {
                self.refuse("XCLIENT", None, catalogue::xclient_login_refused())
            }
            Err(denied @ Denied::Unavailable(_)) => {
                let reply = self.unavailable(&denied);
                self.refuse("XCLIENT", None, reply)
            }
        }
    }
}
