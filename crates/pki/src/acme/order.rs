//! An order, from the names to the certificate chain (RFC 8555 §7.4).
//!
//! [`Client::order`] places it, proves all names at once, hands the request in and fetches the chain. Whatever happens
//! on the way, the answers to challenges are taken down again. Of names that cannot be proved all are told, not only the
//! first.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use instant_acme::{AuthorizationStatus, Identifier, NewOrder, OrderStatus};
use jiff::Timestamp;
use postern_smtp::text;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    AcmeError, Challenge, Client, KeyAuthorisation, NameFault, Problem, ProblemKind, RetryAfter, Solver,
    Step, with_fresh_nonce,
};
use crate::identity::{names_of, timestamp};

/// So long the CA may look at our answers, and so long it may take to sign.
const PATIENCE: Duration = Duration::from_mins(10);
/// So long all may take until the names are proved, however many they are: a CA that answers slowly holds up others of ours.
const WHOLE_PATIENCE: Duration = Duration::from_mins(40);
/// So long we try to close at the CA what was given up.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The first pause between two looks at how far the CA is; each one is longer by half.
const PAUSE: Duration = Duration::from_millis(250);
/// And the longest, unless the CA says otherwise.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The names: in lower case, as A-labels, wildcards and addresses too.
    pub names: &'a [String],
    /// The certificate request (PKCS #10) for just these names.
    pub request: &'a [u8],
    /// One of the profiles that the CA offers.
    pub profile: Option<&'a str>,
    /// The certificate that this one replaces (RFC 9773 §5).
    pub replaces: Option<&'a CertificateDer<'a>>,
}

/// What was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, then those that lead to the CA's root, as the CA gave them.
    pub chain: Vec<CertificateDer<'static>>,
    /// The names that it is good for.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Issued {
    /// From the chain in PEM (RFC 8555 §7.4.2).
    fn read(pem: &str) -> Result<Self, AcmeError> {
        let bad = |what: String| AcmeError::Protocol(format!("what was issued is no certificate: {what}"));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|error| bad(text::clean(error, 200)))?;
        let leaf = chain.first().ok_or_else(|| bad("it is empty".to_owned()))?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| bad(text::clean(error, 200)))?;
        let (names, not_after) = (names_of(&parsed), timestamp(parsed.validity().not_after.timestamp()));
        Ok(Self { chain, names, not_after })
    }
}

impl Client<'_> {
    /// Goes the whole way and returns what was issued. That it is for our key and names, the caller sees to.
    ///
    /// When `stop` comes true before the names are proved, or that takes longer than 40 minutes, the order is given up;
    /// answers are taken down in any case.
    ///
    /// # Errors
    /// See [`AcmeError`]. Nothing of ours is changed then.
    ///
    /// # Cancel safety
    /// Answers to challenges may stay up when this is dropped: use `stop`.
    pub async fn order(
        &mut self,
        order: Order<'_>,
        solver: &dyn Solver,
        stop: impl Future<Output = ()>,
    ) -> Result<Issued, AcmeError> {
        let mut limit = Limit { end: Instant::now() + WHOLE_PATIENCE, stop: pin!(stop) };
        let mut placed = limit.keep(self.place_with_account(order)).await?;
        (self.tell)(Step::Ordered { url: text::clean(placed.url(), 300) });
        self.prove(&mut placed, order.names, solver, limit).await?;
        self.finish(&mut placed, order.request).await
    }

    /// Places the order, under a new account if the old one is none any more.
    async fn place_with_account(&mut self, order: Order<'_>) -> Result<instant_acme::Order, AcmeError> {
        match self.place(order).await {
            Ok(placed) => Ok(placed),
            Err(error) => {
                self.replace_account(error).await?;
                self.place(order).await
            }
        }
    }

    /// Places the order; where the CA does not take it as a replacement, without saying that it is one.
    async fn place(&self, order: Order<'_>) -> Result<instant_acme::Order, AcmeError> {
        let Some(replaced) =
            order.replaces.and_then(|old| instant_acme::CertificateIdentifier::try_from(old).ok())
        else {
            return self.place_as(order, None).await;
        };
        match self.place_as(order, Some(replaced)).await {
            Err(error) if is_about_replacing(&error) => {
                (self.tell)(Step::NotReplacing { why: error.to_string() });
                self.place_as(order, None).await
            }
            // The CA knows nothing of replacements.
            Err(AcmeError::Protocol(_)) => self.place_as(order, None).await,
            placed => placed,
        }
    }

    async fn place_as(
        &self,
        order: Order<'_>,
        replaces: Option<instant_acme::CertificateIdentifier<'_>>,
    ) -> Result<instant_acme::Order, AcmeError> {
        let identifiers: Vec<_> = order.names.iter().map(|name| identifier(name)).collect();
        let mut wanted = NewOrder::new(&identifiers);
        if let Some(replaces) = replaces {
            wanted = wanted.replaces(replaces);
        }
        if let Some(profile) = order.profile {
            wanted = wanted.profile(profile);
        }
        let placed = with_fresh_nonce!(self.account.new_order(&wanted).await);
        placed.map_err(|error| self.failed("placing the order", error))
    }

    /// Proves all names that the CA has no proof of yet.
    async fn prove(
        &self,
        order: &mut instant_acme::Order,
        names: &[String],
        solver: &dyn Solver,
        mut limit: Limit<'_, impl Future<Output = ()>>,
    ) -> Result<(), AcmeError> {
        let challenges = limit.keep(self.challenges(order, names, solver)).await?;
        let proved = limit.keep(self.answer(order, &challenges, solver)).await;
        self.clean_up(&challenges, solver).await;
        if proved.is_err() {
            let _ = timeout(LAST_WORDS, self.give_up(order)).await;
        }
        proved
    }

    /// What has to be answered; names that were proved before are told.
    async fn challenges(
        &self,
        order: &mut instant_acme::Order,
        names: &[String],
        solver: &dyn Solver,
    ) -> Result<Vec<Challenge>, AcmeError> {
        // RFC 8555 §7.1.3: what was proved before may be left out, and nothing comes on top.
        let wanted = order.state().authorizations.len();
        if wanted > names.len() {
            let ordered = names.len();
            return Err(AcmeError::Protocol(format!(
                "it wants {wanted} names to be proved, and {ordered} were ordered"
            )));
        }
        with_fresh_nonce!(load(order).await)
            .map_err(|error| self.failed("reading what is to be proved", error))?;
        let mut challenges = Vec::new();
        let mut authorisations = order.authorizations();
        while let Some(Ok(authorisation)) = authorisations.next().await {
            let name = authorisation.identifier().to_string();
            if !names.contains(&name) {
                let name = text::clean(name, 100);
                return Err(AcmeError::Protocol(format!(
                    "it wants {name} to be proved, which was not ordered"
                )));
            }
            if authorisation.status == AuthorizationStatus::Valid {
                (self.tell)(Step::ProvedBefore { name });
                continue;
            }
            challenges.push(challenge(name, authorisation, solver)?);
        }
        Ok(challenges)
    }

    async fn answer(
        &self,
        order: &mut instant_acme::Order,
        challenges: &[Challenge],
        solver: &dyn Solver,
    ) -> Result<(), AcmeError> {
        self.prepare(challenges, solver).await?;
        let names: Vec<_> = challenges.iter().map(|challenge| challenge.name.as_str()).collect();
        self.ask(order, &names, solver).await?;
        self.wait_for_proofs(order, &names, solver).await?;
        self.wait_for(order, OrderStatus::Pending, "it still checks the names").await
    }

    async fn prepare(&self, challenges: &[Challenge], solver: &dyn Solver) -> Result<(), AcmeError> {
        if challenges.is_empty() {
            return Ok(());
        }
        let mut faults = Vec::new();
        for (challenge, prepared) in challenges.iter().zip(solver.prepare(challenges).await) {
            let name = challenge.name.clone();
            match prepared {
                Ok(()) => (self.tell)(Step::Prepared { name, challenge: challenge.kind }),
                Err(why) => {
                    faults.push(NameFault::of_solver(&name, challenge.kind, &why));
                    (self.tell)(Step::NotPrepared { name, why: text::clean(why, 1000) });
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(AcmeError::Names(faults)) }
    }

    /// Tells the CA to look (RFC 8555 §7.5.1).
    async fn ask(
        &self,
        order: &mut instant_acme::Order,
        names: &[&str],
        solver: &dyn Solver,
    ) -> Result<(), AcmeError> {
        let mut authorisations = order.authorizations();
        while let Some(Ok(mut authorisation)) = authorisations.next().await {
            let name = authorisation.identifier().to_string();
            if !names.contains(&name.as_str()) {
                continue;
            }
            let Some(mut handle) = authorisation.challenge(solver.kind().into()) else { continue };
            match with_fresh_nonce!(handle.set_ready().await) {
                // What is wrong with a challenge is found at the authorisation, too.
                Ok(()) | Err(instant_acme::Error::Api(_)) => (self.tell)(Step::Asked { name }),
                Err(error) => return Err(self.failed("telling the CA to look", error)),
            }
        }
        Ok(())
    }

    /// Waits until the CA has judged every name, and tells each verdict once.
    async fn wait_for_proofs(
        &self,
        order: &mut instant_acme::Order,
        names: &[&str],
        solver: &dyn Solver,
    ) -> Result<(), AcmeError> {
        let mut open: BTreeSet<_> = names.iter().map(ToString::to_string).collect();
        let mut faults = Vec::new();
        let mut pauses = Pauses::new();
        while !open.is_empty() {
            pauses.next(self, "it still checks the names").await?;
            let mut authorisations = order.authorizations();
            while let Some(Ok(mut authorisation)) = authorisations.next().await {
                let name = authorisation.identifier().to_string();
                if !open.contains(&name) {
                    continue;
                }
                let refreshed = with_fresh_nonce!(authorisation.refresh().await.map(|_| ()));
                refreshed.map_err(|error| self.failed("asking for the proof of a name", error))?;
                match authorisation.status {
                    AuthorizationStatus::Pending => continue,
                    AuthorizationStatus::Valid => (self.tell)(Step::Proved { name: name.clone() }),
                    _ => {
                        let mut errors = authorisation.challenges.iter().filter_map(|one| one.error.as_ref());
                        let problem = errors.next().map(Problem::from);
                        faults.push(NameFault::of_problem(&name, solver.kind(), problem.as_ref()));
                        (self.tell)(Step::NotProved { name: name.clone(), problem });
                    }
                }
                open.remove(&name);
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(AcmeError::Names(faults)) }
    }

    /// Hands the request in and fetches the chain (RFC 8555 §7.4, §7.4.2).
    async fn finish(&self, order: &mut instant_acme::Order, request: &[u8]) -> Result<Issued, AcmeError> {
        let doing = "handing the certificate request in";
        with_fresh_nonce!(order.finalize_csr(request).await).map_err(|error| self.failed(doing, error))?;
        (self.tell)(Step::Requested);
        self.wait_for(order, OrderStatus::Processing, "it still makes the certificate").await?;
        let chain = with_fresh_nonce!(order.certificate().await);
        let chain = chain.map_err(|error| self.failed("fetching the certificate", error))?;
        let chain = chain
            .ok_or_else(|| AcmeError::Protocol("the order is done and has no certificate".to_owned()))?;
        let issued = Issued::read(&chain)?;
        (self.tell)(Step::Issued);
        Ok(issued)
    }

    /// Waits while the order is in this state.
    async fn wait_for(
        &self,
        order: &mut instant_acme::Order,
        state: OrderStatus,
        what: &'static str,
    ) -> Result<(), AcmeError> {
        let mut pauses = Pauses::new();
        while order.state().status == state {
            let refreshed = with_fresh_nonce!(order.refresh().await.map(|_| ()));
            refreshed.map_err(|error| self.failed("asking for the order", error))?;
            let now = order.state();
            if let Some(error) = &now.error {
                let problem = Box::new(Problem::from(error));
                return Err(AcmeError::Refused {
                    doing: "the order",
                    problem,
                    retry_after: self.seen.retry_after(),
                });
            }
            if now.status != state {
                break;
            }
            pauses.next(self, what).await?;
        }
        match order.state().status {
            OrderStatus::Invalid => {
                Err(AcmeError::Protocol("the order failed, and the CA does not say why".to_owned()))
            }
            _ => Ok(()),
        }
    }

    async fn clean_up(&self, challenges: &[Challenge], solver: &dyn Solver) {
        if challenges.is_empty() {
            return;
        }
        for (challenge, cleaned) in challenges.iter().zip(solver.clean_up(challenges).await) {
            let name = challenge.name.clone();
            (self.tell)(match cleaned {
                Ok(()) => Step::CleanedUp { name },
                Err(why) => Step::NotCleanedUp { name, why: text::clean(why, 1000) },
            });
        }
    }

    /// What is open at the CA counts against limits there (RFC 8555 §7.5.2). That this works nobody depends on.
    async fn give_up(&self, order: &mut instant_acme::Order) {
        let mut authorisations = order.authorizations();
        while let Some(Ok(mut authorisation)) = authorisations.next().await {
            if authorisation.status == AuthorizationStatus::Pending {
                let _ = with_fresh_nonce!(authorisation.deactivate().await.map(|_| ()));
            }
        }
    }
}

/// How long all may take, and when it is no longer wanted.
struct Limit<'s, Stop> {
    end: Instant,
    stop: Pin<&'s mut Stop>,
}

impl<Stop: Future<Output = ()>> Limit<'_, Stop> {
    /// Does a part of the work within the limit. After an error nothing else is done within it.
    async fn keep<T>(&mut self, work: impl Future<Output = Result<T, AcmeError>>) -> Result<T, AcmeError> {
        let slow = || AcmeError::TooSlow(WHOLE_PATIENCE.as_secs() / 60, "the names are not proved yet");
        tokio::select! {
            biased;
            () = self.stop.as_mut() => Err(AcmeError::Stopped),
            done = timeout_at(self.end, work) => done.unwrap_or_else(|_| Err(slow())),
        }
    }
}

/// Pauses between looks: as long as the CA says, else longer and longer.
struct Pauses {
    end: Instant,
    next: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { end: Instant::now() + PATIENCE, next: PAUSE }
    }

    async fn next(&mut self, client: &Client<'_>, what: &'static str) -> Result<(), AcmeError> {
        let pause = match client.seen.retry_after() {
            Some(RetryAfter::In(time)) => time.max(PAUSE),
            // There is no clock here to hold a date against.
            Some(RetryAfter::At(_)) => LONGEST_PAUSE,
            None => self.next,
        };
        self.next = (self.next * 3 / 2).min(LONGEST_PAUSE);
        if Instant::now() + pause > self.end {
            return Err(AcmeError::TooSlow(PATIENCE.as_secs() / 60, what));
        }
        sleep(pause).await;
        Ok(())
    }
}

/// Fetches what the order says only the addresses of.
async fn load(order: &mut instant_acme::Order) -> Result<(), instant_acme::Error> {
    let mut authorisations = order.authorizations();
    while let Some(authorisation) = authorisations.next().await {
        authorisation?;
    }
    Ok(())
}

fn challenge(
    name: String,
    authorisation: instant_acme::AuthorizationHandle<'_>,
    solver: &dyn Solver,
) -> Result<Challenge, AcmeError> {
    // Bound anew, so that it need not live as long as what it points to.
    let mut authorisation = authorisation;
    let kind = solver.kind();
    let offered: Vec<_> = authorisation.challenges.iter().map(|one| format!("{:?}", one.r#type)).collect();
    let Some(handle) = authorisation.challenge(kind.into()) else {
        let what =
            format!("the CA does not take {kind} for it, but only: {}", text::clean(offered.join(", "), 200));
        let remedy = "choose another challenge in the [[acme]] section; wildcards need dns-01".to_owned();
        return Err(AcmeError::Names(vec![NameFault { name, what, remedy }]));
    };
    let token = handle.token.clone();
    let Some(answer) = KeyAuthorisation::of(&token, handle.key_authorization().as_str()) else {
        return Err(AcmeError::Protocol(format!("{:?} is no token", text::clean(token, 100))));
    };
    Ok(Challenge { name, kind, token, answer })
}

fn identifier(name: &str) -> Identifier {
    name.parse().map_or_else(|_| Identifier::Dns(name.to_owned()), Identifier::Ip)
}

/// RFC 9773 §5: the CA refuses the order for what it says of the certificate to be replaced.
fn is_about_replacing(error: &AcmeError) -> bool {
    use ProblemKind::{AlreadyReplaced, Malformed};
    matches!(error, AcmeError::Refused { problem, .. } if matches!(problem.kind(), AlreadyReplaced | Malformed))
}
