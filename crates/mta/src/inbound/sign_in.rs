//! Signing in: from what a client claims to who it is.
//!
//! The directories say who somebody is ([`Directories`]); here stands what comes before and after: what the log hears, what
//! the client hears, and that the session's principal is set only by a proof that was given on this very connection.
//! Whatever was wrong, a client hears the same reply, so that nobody learns who exists; a directory that is out of order is
//! never taken for a wrong password.
//!
//! What it deliberately does not do: verify anything itself, or know of mechanisms beyond the form of their claims.

use postern_smtp::address::Domain;
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::sasl::{Claim, Credential, ScramHash, ScramProof};
use postern_smtp::server::Verdict;

use super::gate::Gate;
use crate::directory::{Denied, Directories, Principal, SignInFault, Why};
use crate::event::{Event, Proof};
use crate::limits::Home;
use crate::session::{NAMELESS_TOKEN, shortened};

impl Gate {
    /// Answers a claim.
    pub(super) async fn sign_in(&mut self, claim: Claim) -> Verdict {
        match claim {
            Claim::Keys { hash, user } => self.keys(hash, &user).await,
            claim => {
                let (user, by) = self.claimed(&claim);
                // A SCRAM exchange had a turn when it began, and many may have failed since.
                let pass = match self.admit(&user, by).await {
                    Ok(pass) => pass,
                    Err(verdict) => return verdict,
                };
                let judged = self.principal_of(&claim).await;
                match judged.and_then(|principal| self.unless_banned(&user, principal)) {
                    Ok(principal) => self.signed_in(&user, principal, by),
                    Err(denied) => {
                        // Counted first: who goes away while he waits has guessed all the same.
                        let banned = self.count_failure(&claim, &user, &denied);
                        pass.fail().await;
                        let failed = self.sign_in_failed(user, by, &denied);
                        banned.unwrap_or(failed)
                    }
                }
            }
        }
    }

    /// What is kept for SCRAM, of nobody too.
    async fn keys(&mut self, hash: ScramHash, user: &str) -> Verdict {
        let _pass = match self.admit_question(user).await {
            Ok(pass) => pass,
            Err(verdict) => return verdict,
        };
        match self.directories().scram_keys(user, hash).await {
            Ok(keys) => {
                self.keys_kept = !keys.keys.is_empty();
                Verdict::Keys(keys)
            }
            Err(denied) => self.sign_in_failed(user.to_owned(), Proof::Scram, &denied),
        }
    }

    pub(super) fn signed_in(&mut self, claimed: &str, principal: Principal, by: Proof) -> Verdict {
        let user = principal.name.clone();
        if let Err(verdict) = self.count_success(claimed, &user, by) {
            return verdict;
        }
        self.emit(Event::SignedIn { user: user.clone(), by });
        self.principal = Some(principal);
        Verdict::SignedIn { user }
    }

    fn sign_in_failed(&mut self, user: String, by: Proof, denied: &Denied) -> Verdict {
        self.told = true;
        let (reply, why) = match denied {
            Denied::Refused(why) => (catalogue::bad_credentials(), Some(why.to_string())),
            Denied::Unavailable(_) => (self.unavailable(denied), None),
        };
        let client = self.client.address.ip();
        let fault = match SignInFault::from(denied) {
            // Whoever signed in before exists.
            SignInFault::WrongOrUnknown if self.home_of(&user) != Home::Nowhere => SignInFault::WrongPassword,
            fault => fault,
        };
        self.tell_failure(Event::SignInFailed { user, by, fault, client, why, reply: reply.one_line() });
        Verdict::Refuse(reply)
    }

    /// Tells of a sign-in that failed. A name that nobody is known to have is told in short: somebody may have typed his
    /// password there. Until the session ends, its facts keep it whole.
    pub(super) fn tell_failure(&self, event: Event) {
        self.record().event(&event);
        self.publish(match event {
            Event::SignInFailed { user, by, fault, client, why, reply } => {
                let whole = by == Proof::Certificate || fault.shows_an_account() || self.may_be_told(&user);
                let user = if whole { user } else { shortened(&user) };
                Event::SignInFailed { user, by, fault, client, why, reply }
            }
            other => other,
        });
    }

    fn may_be_told(&self, name: &str) -> bool {
        name == NAMELESS_TOKEN || self.is_in_our_domains(name) || self.home_of(name) != Home::Nowhere
    }

    /// Whether a name is an address in a domain of ours, or of a directory.
    pub(super) fn is_in_our_domains(&self, name: &str) -> bool {
        let site = self.site();
        let own = site.config.domains.iter().map(|domain| domain.name.as_str());
        let served = site.config.directories.iter().flat_map(|directory| &directory.domains);
        let mut all = own.chain(served.map(Domain::as_str));
        name.rsplit_once('@').is_some_and(|(_, domain)| all.any(|ours| ours.eq_ignore_ascii_case(domain)))
    }

    /// The reply when a directory cannot be asked; the administrator hears of it.
    pub(super) fn unavailable(&self, denied: &Denied) -> Reply {
        self.alarm_of(denied);
        catalogue::directory_down()
    }

    /// Tells the administrator of a directory that cannot be asked.
    pub(super) fn alarm_of(&self, denied: &Denied) {
        self.emit(Event::Alarm {
            what: denied.to_string(),
            remedy:
                "look at the directory that is named: is it running, reachable, and its configuration right?"
                    .into(),
        });
    }

    fn directories(&self) -> std::sync::Arc<Directories> {
        std::sync::Arc::clone(&self.site().directories)
    }

    async fn principal_of(&self, claim: &Claim) -> Result<Principal, Denied> {
        let (directories, client) = (self.directories(), self.client.address.ip());
        match claim {
            Claim::Credential(Credential::External { acting_as }) => {
                let identity = self.certificate.as_ref().ok_or(Denied::Refused(Why::NoProof))?;
                directories.by_certificate(&identity.emails, acting_as.as_deref(), client).await
            }
            Claim::Credential(credential) => directories.by_credential(credential, client).await,
            Claim::Scram { user, acting_as, proof: ScramProof::Right { label } } => {
                directories.by_scram(user, *label, acting_as.as_deref(), client).await
            }
            Claim::Scram { proof: ScramProof::Void(fault), .. } => {
                Err(Denied::Refused(Why::VoidProof(*fault)))
            }
            // Whose keys were kept when the exchange began has an account; nobody's were made up.
            Claim::Scram { .. } if self.keys_kept => Err(Denied::Refused(Why::WrongPassword)),
            Claim::Scram { .. } => Err(Denied::Refused(Why::WrongOrUnknown)),
            Claim::Keys { .. } => Err(Denied::Refused(Why::NoProof)),
        }
    }

    /// What the log calls who wants to sign in, and how he would prove it.
    fn claimed(&self, claim: &Claim) -> (String, Proof) {
        match claim {
            Claim::Credential(Credential::Password { user, .. }) => (user.clone(), Proof::Password),
            Claim::Credential(Credential::Token { user, .. }) if user.is_empty() => {
                (NAMELESS_TOKEN.to_owned(), Proof::Token)
            }
            Claim::Credential(Credential::Token { user, .. }) => (user.clone(), Proof::Token),
            Claim::Credential(Credential::External { acting_as }) => {
                (self.certificate_name(acting_as.as_deref()), Proof::Certificate)
            }
            Claim::Keys { user, .. } | Claim::Scram { user, .. } => (user.clone(), Proof::Scram),
        }
    }

    /// What the log calls a client that wants to sign in by its certificate.
    fn certificate_name(&self, acting_as: Option<&str>) -> String {
        let borne =
            || self.certificate.as_ref().and_then(|identity| identity.emails.first().map(String::as_str));
        acting_as.or_else(borne).unwrap_or("a certificate without a mail address").to_owned()
    }
}
