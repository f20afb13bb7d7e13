//! Signing in: from what a client claims to who it is.
//!
//! The directories say who somebody is ([`Directories`]); here stands what comes before and after: what the log hears, what
//! the client hears, and that the session's principal is set only by a proof that was given on this very connection.
//! Whatever was wrong, a client hears the same reply, so that nobody learns who exists; a directory that is out of order is
//! never taken for a wrong password.
//!
//! What it deliberately does not do: verify anything itself, or know of mechanisms beyond the form of their claims.

use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::sasl::{Claim, Credential, ScramHash, ScramProof};
use postern_smtp::server::Verdict;

use super::gate::Gate;
use crate::directory::{Denied, Directories, Principal, SignInFault, Why};
use crate::event::{Event, Proof};

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
            Ok(keys) => Verdict::Keys(keys),
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
        let fault = SignInFault::from(denied);
        self.emit(Event::SignInFailed { user, by, fault, client, why, reply: reply.one_line() });
        Verdict::Refuse(reply)
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
            Claim::Scram { .. } => Err(Denied::Refused(Why::WrongPassword)),
            Claim::Keys { .. } => Err(Denied::Refused(Why::NoProof)),
        }
    }

    /// What the log calls who wants to sign in, and how he would prove it.
    fn claimed(&self, claim: &Claim) -> (String, Proof) {
        match claim {
            Claim::Credential(Credential::Password { user, .. }) => (user.clone(), Proof::Password),
            Claim::Credential(Credential::Token { user, .. }) if user.is_empty() => {
                ("a token without a name".to_owned(), Proof::Token)
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
