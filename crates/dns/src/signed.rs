//! Lookups with DNSSEC: by the word of a validating resolver on this machine, or validated here.
//!
//! - [`DnssecResolver`] asks recursive servers and says of each answer how far DNSSEC vouches for it.
//! - [`Trust`] is whose word it takes: the AD bit of a resolver on loopback (RFC 7672 §2.1.1), or the validator of the
//!   `domain` crate, which starts from [`Anchors`].
//! - [`Validation`] is whether that was seen to work. Until it was, nothing is called secure.
//!
//! It fails safe: an answer is [`Dnssec::Secure`] only when every link to it is, wrong signatures are an error
//! ([`LookupError::Bogus`]), and what cannot be told is an error as well. The validator runs in tasks of its own, so that
//! a panic in it is one failed lookup.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::base::{Message, Rtype};
use domain::dnssec::validator::context::{Config, ValidationContext, ValidationState};
use futures_util::future;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::anchors::Anchors;
use crate::families::both_families;
use crate::local::Local;
use crate::message::{self, Checking, Kind, Request, WireName};
use crate::upstream::Upstream;
use crate::validation::{Validation, Validator};
use crate::{Answer, Dnssec, LookupError, Mx, Resolver, TlsaRecord};

/// No lookup takes longer, however many servers and keys have to be asked.
const LONGEST: Duration = Duration::from_secs(30);

/// While it is not known whether the resolver validates, it is asked about that at most so often.
const PROBE_PAUSE: Duration = Duration::from_secs(5);

/// Zones, and signatures, that the validator remembers.
const ZONES_KEPT: u64 = 2_000;
const SIGNATURES_KEPT: u64 = 4_000;

/// How long the validator believes that a zone is broken; it may have been the network.
const BROKEN_FOR: Duration = Duration::from_secs(5);

/// Asks recursive name servers, with DNSSEC. `/etc/hosts` is honoured for addresses. Remembers no answers: see
/// [`crate::Cached`].
pub struct DnssecResolver {
    upstream: Upstream,
    local: Local,
    trust: Trust,
    /// What the last probe saw, and when.
    seen: Mutex<Option<(Validation, Instant)>>,
    probing: tokio::sync::Mutex<()>,
}

/// Whose word is taken.
enum Trust {
    /// The AD bit of these servers, all of them on loopback.
    Resolver,
    /// Nobody's: this server is not on loopback.
    Remote(SocketAddr),
    /// The validator's.
    Own(Arc<Own>),
}

struct Own {
    context: ValidationContext<Upstream>,
    /// A zone that must be secure.
    zone: WireName,
}

impl DnssecResolver {
    /// Takes the word of validating resolvers on this machine. When one of the servers is elsewhere, no answer is ever
    /// secure, and [`Self::probe`] says so.
    pub(crate) fn of_resolver(servers: &[SocketAddr], timeout: Duration) -> Self {
        let remote = servers.iter().find(|server| !server.ip().to_canonical().is_loopback());
        let trust = remote.map_or(Trust::Resolver, |&server| Trust::Remote(server));
        Self::new(Upstream::new(servers, timeout), trust)
    }

    /// Validates by itself, from these anchors on.
    pub(crate) fn of_anchors(servers: &[SocketAddr], timeout: Duration, anchors: Anchors) -> Self {
        let upstream = Upstream::new(servers, timeout);
        let mut config = Config::new();
        config.set_max_node_cache(ZONES_KEPT);
        config.set_max_isig_cache(SIGNATURES_KEPT);
        config.set_max_usig_cache(SIGNATURES_KEPT);
        config.set_max_bogus_validity(BROKEN_FOR);
        let context = ValidationContext::with_config(anchors.trusted, upstream.clone(), config);
        Self::new(upstream, Trust::Own(Arc::new(Own { context, zone: anchors.zone })))
    }

    fn new(upstream: Upstream, trust: Trust) -> Self {
        let local = Local::from_system();
        Self { upstream, local, trust, seen: Mutex::default(), probing: tokio::sync::Mutex::default() }
    }

    /// Looks whether answers are validated, by asking for a zone that must be secure: the root, or the trust anchor's.
    /// What it finds holds until it is called again, except that [`Validation::Unknown`] is looked into by later lookups.
    pub async fn probe(&self) -> Validation {
        let _alone = self.probing.lock().await;
        self.probe_now().await
    }

    async fn probe_now(&self) -> Validation {
        let found = match &self.trust {
            Trust::Remote(server) => Validation::Remote(*server),
            Trust::Resolver => self.probe_resolver().await,
            Trust::Own(own) => self.probe_own(own).await,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((found.clone(), Instant::now()));
        found
    }

    async fn probe_resolver(&self) -> Validation {
        let root = WireName::root_vec();
        match self.send(&root, Rtype::SOA, Checking::Wanted).await {
            Ok(answer) if !message::is_conclusive(&answer) => Validation::Unknown(message::failure(&answer)),
            Ok(answer) if answer.header().ad() => Validation::Works(Validator::Resolver),
            Ok(_) => Validation::Missing("it did not call the root zone secure".to_owned()),
            Err(error) => Validation::Unknown(error.to_string()),
        }
    }

    async fn probe_own(&self, own: &Arc<Own>) -> Validation {
        match self.validated(own, &own.zone, Rtype::SOA).await {
            Ok((_, Dnssec::Secure)) => Validation::Works(Validator::Own),
            Ok((_, status)) => Validation::Broken(format!("{} came out as {status:?}", own.zone)),
            Err(LookupError::Bogus(said)) => Validation::Broken(said),
            Err(error) => Validation::Unknown(error.to_string()),
        }
    }

    /// What the last probe found; a new one when there was none, or it came to nothing a while ago.
    async fn validation(&self) -> Validation {
        if let Some(known) = self.known() {
            return known;
        }
        let _alone = self.probing.lock().await;
        match self.known() {
            Some(known) => known,
            None => self.probe_now().await,
        }
    }

    fn known(&self) -> Option<Validation> {
        match &*self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((Validation::Unknown(_), when)) if when.elapsed() >= PROBE_PAUSE => None,
            Some((validation, _)) => Some(validation.clone()),
            None => None,
        }
    }

    async fn lookup<T>(&self, name: WireName, kind: &Kind<T>) -> Result<Answer<Vec<T>>, LookupError> {
        let asking = async {
            let (answer, dnssec) = match &self.trust {
                Trust::Own(own) => self.validated(own, &name, kind.rtype).await?,
                Trust::Resolver | Trust::Remote(_) => self.vouched(&name, kind.rtype).await?,
            };
            message::read(&answer, &name, kind, dnssec)
        };
        let late = || LookupError::Temporary(format!("{name}: the name servers did not answer in time"));
        timeout(LONGEST, asking).await.unwrap_or_else(|_| Err(late()))
    }

    /// An answer by the word of the resolver.
    async fn vouched(&self, name: &WireName, rtype: Rtype) -> Result<(Message<Bytes>, Dnssec), LookupError> {
        let answer = self.send(name, rtype, Checking::Wanted).await?;
        let conclusive = message::is_conclusive(&answer);
        match self.validation().await {
            Validation::Works(_) if !conclusive => Err(self.why_refused(name, rtype, &answer).await),
            _ if !conclusive => Err(failed(name, &answer)),
            // RFC 7672 §2.1.1: without the bit an answer is insecure or indeterminate, which mean the same for mail.
            Validation::Works(_) if answer.header().ad() => Ok((answer, Dnssec::Secure)),
            Validation::Works(_) => Ok((answer, Dnssec::Insecure)),
            unknown @ Validation::Unknown(_) => Err(LookupError::Temporary(format!("{name}: {unknown}"))),
            _ => Ok((answer, Dnssec::Indeterminate)),
        }
    }

    /// A validating resolver that fails, and answers when it is told not to check, holds the answer for bogus.
    async fn why_refused(&self, name: &WireName, rtype: Rtype, refusal: &Message<Bytes>) -> LookupError {
        match self.send(name, rtype, Checking::Disabled).await {
            Ok(answer) if message::is_conclusive(&answer) => match message::reasons(refusal) {
                reasons if reasons.is_empty() => {
                    bogus(name, "the resolver refuses it unless told not to check")
                }
                reasons => bogus(name, &reasons),
            },
            _ => failed(name, refusal),
        }
    }

    /// An answer that was validated here.
    async fn validated(
        &self,
        own: &Arc<Own>,
        name: &WireName,
        rtype: Rtype,
    ) -> Result<(Message<Bytes>, Dnssec), LookupError> {
        let mut answer = self.send(name, rtype, Checking::Disabled).await?;
        if !message::is_conclusive(&answer) {
            return Err(failed(name, &answer));
        }
        let own = Arc::clone(own);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let verdict = own.context.validate_msg::<_, Vec<u8>>(&mut answer).await;
            (verdict, answer)
        });
        let temporary = |what: String| LookupError::Temporary(format!("{name}: {what}"));
        let Some(Ok((verdict, answer))) = task.join_next().await else {
            return Err(temporary("the validator failed on the answer".to_owned()));
        };
        let (state, reason) = verdict.map_err(|error| temporary(format!("validation failed: {error}")))?;
        let dnssec = match state {
            ValidationState::Secure => Dnssec::Secure,
            ValidationState::Insecure => Dnssec::Insecure,
            ValidationState::Indeterminate => Dnssec::Indeterminate,
            ValidationState::Bogus => {
                let reason = reason.map(|reason| message::extended(&reason));
                return Err(bogus(name, reason.as_deref().unwrap_or("no chain of signatures leads to it")));
            }
        };
        Ok((answer, dnssec))
    }

    async fn send(
        &self,
        name: &WireName,
        rtype: Rtype,
        checking: Checking,
    ) -> Result<Message<Bytes>, LookupError> {
        let question: Request = message::question(name, rtype, checking)?;
        self.upstream.ask(&question).await
    }
}

#[async_trait]
impl Resolver for DnssecResolver {
    async fn mx(&self, domain: &str) -> Result<Answer<Vec<Mx>>, LookupError> {
        self.lookup(message::wire_name(domain)?, &message::MX).await
    }

    async fn addresses(&self, host: &str) -> Result<Answer<Vec<IpAddr>>, LookupError> {
        let name = message::wire_name(host)?;
        if let Some(answer) = self.local.addresses(host) {
            return Ok(answer);
        }
        let (six, four) =
            future::join(self.lookup(name.clone(), &message::A6), self.lookup(name, &message::A4)).await;
        both_families(six, four)
    }

    async fn ptr(&self, address: IpAddr) -> Result<Answer<Vec<String>>, LookupError> {
        self.lookup(message::reverse_name(address)?, &message::PTR).await
    }

    async fn txt(&self, name: &str) -> Result<Answer<Vec<String>>, LookupError> {
        self.lookup(message::wire_name(name)?, &message::TXT).await
    }

    async fn tlsa(&self, name: &str) -> Result<Answer<Vec<TlsaRecord>>, LookupError> {
        self.lookup(message::wire_name(name)?, &message::TLSA).await
    }

    async fn alias(&self, name: &str) -> Result<Answer<String>, LookupError> {
        let answer = self.lookup(message::wire_name(name)?, &message::CNAME).await?;
        let none = LookupError::NoRecords { dnssec: answer.dnssec };
        let Answer { records, owner, dnssec, ttl } = answer;
        let target = records.into_iter().next().ok_or(none)?;
        Ok(Answer { records: target, owner, dnssec, ttl })
    }
}

fn failed(name: &WireName, answer: &Message<Bytes>) -> LookupError {
    LookupError::Temporary(format!("{name}: {}", message::failure(answer)))
}

fn bogus(name: &WireName, said: &str) -> LookupError {
    LookupError::Bogus(format!("the DNSSEC signatures for {name} are wrong: {said}"))
}
