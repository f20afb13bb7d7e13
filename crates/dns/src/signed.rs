//! Lookups with DNSSEC: by the word of a validating resolver on this machine, or validated here.
//!
//! - [`DnssecResolver`] asks recursive servers and says of each answer how far DNSSEC vouches for it.
//! - [`Trust`] is whose word it takes: the AD bit of a resolver on loopback (RFC 7672 §2.1.1), or the validator of the
//!   `domain` crate, which starts from [`Anchors`].
//! - [`Validation`] is whether that was seen to work. Until it was, nothing is called secure. Of several servers each must
//!   be seen to validate: see [`Witnesses`].
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
use tokio::time::timeout;

use crate::anchors::Anchors;
use crate::families::both_families;
use crate::local::Local;
use crate::message::{self, Checking, Kind, Request, WireName};
use crate::upstream::{Asked, Upstream};
use crate::validation::{Validation, Validator};
use crate::witness::Witnesses;
use crate::{Answer, Dnssec, LookupError, Mx, Resolver, TlsaRecord};

/// No lookup takes longer, however many servers and keys have to be asked.
const LONGEST: Duration = Duration::from_secs(30);

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
}

/// Whose word is taken.
enum Trust {
    /// The AD bit of these servers, all of them on loopback.
    Resolver(Arc<Witnesses>),
    /// Nobody's: this server is not on loopback.
    Remote(SocketAddr),
    /// The validator's.
    Own(Arc<Own>),
}

struct Own {
    context: ValidationContext<Upstream>,
    /// A zone that must be secure.
    zone: WireName,
    /// What the last probe saw.
    seen: Mutex<Option<Validation>>,
}

impl DnssecResolver {
    /// Takes the word of validating resolvers on this machine. When one of the servers is elsewhere, no answer is ever
    /// secure, and [`Self::probe`] says so.
    pub(crate) fn of_resolver(servers: &[SocketAddr], timeout: Duration) -> Self {
        let remote = servers.iter().find(|server| !server.ip().to_canonical().is_loopback());
        let upstream = Upstream::new(servers, timeout);
        let trust = match remote {
            Some(&server) => Trust::Remote(server),
            None => Trust::Resolver(Witnesses::new(upstream.clone())),
        };
        Self::new(upstream, trust)
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
        Self::new(upstream, Trust::Own(Arc::new(Own { context, zone: anchors.zone, seen: Mutex::default() })))
    }

    fn new(upstream: Upstream, trust: Trust) -> Self {
        Self { upstream, local: Local::from_system(), trust }
    }

    /// Looks whether answers are validated, by asking for a zone that must be secure: the root, or the trust anchor's.
    /// All servers are asked whose word is taken. What it finds holds until it is called again, except that
    /// [`Validation::Unknown`] is looked into by later lookups.
    pub async fn probe(&self) -> Validation {
        match &self.trust {
            Trust::Remote(server) => Validation::Remote(*server),
            Trust::Resolver(witnesses) => witnesses.probe().await,
            Trust::Own(own) => {
                let found = self.probe_own(own).await;
                *own.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
                found
            }
        }
    }

    /// What is known without asking; `None` before anybody looked.
    pub fn seen(&self) -> Option<Validation> {
        match &self.trust {
            Trust::Remote(server) => Some(Validation::Remote(*server)),
            Trust::Resolver(witnesses) => witnesses.seen(),
            Trust::Own(own) => own.seen.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    async fn probe_own(&self, own: &Arc<Own>) -> Validation {
        let late = || LookupError::Temporary("the name servers did not answer in time".to_owned());
        let asking = timeout(LONGEST, self.validated(own, &own.zone, Rtype::SOA)).await;
        match asking.unwrap_or_else(|_| Err(late())) {
            Ok((_, Dnssec::Secure)) => Validation::Works(Validator::Own),
            Ok((_, status)) => Validation::Broken(format!("{} came out as {status:?}", own.zone)),
            Err(LookupError::Bogus(said)) => Validation::Broken(said),
            Err(error) => Validation::Unknown(error.to_string()),
        }
    }

    async fn lookup<T>(&self, name: WireName, kind: &Kind<T>) -> Result<Answer<Vec<T>>, LookupError> {
        let asking = async {
            let (answer, dnssec) = match &self.trust {
                Trust::Own(own) => self.validated(own, &name, kind.rtype).await?,
                Trust::Resolver(witnesses) => self.vouched(witnesses, &name, kind.rtype).await?,
                Trust::Remote(_) => self.unvouched(&name, kind.rtype).await?,
            };
            message::read(&answer, &name, kind, dnssec)
        };
        let late = || LookupError::Temporary(format!("{name}: the name servers did not answer in time"));
        timeout(LONGEST, asking).await.unwrap_or_else(|_| Err(late()))
    }

    /// An answer by the word of the server that gave it.
    async fn vouched(
        &self,
        witnesses: &Witnesses,
        name: &WireName,
        rtype: Rtype,
    ) -> Result<(Message<Bytes>, Dnssec), LookupError> {
        let Asked { answer, server, .. } = self.ask(name, rtype, Checking::Wanted).await?;
        let conclusive = message::is_conclusive(&answer);
        match witnesses.of(server).await {
            Validation::Works(_) if !conclusive => Err(self.why_refused(name, rtype, &answer).await),
            _ if !conclusive => Err(failed(name, &answer)),
            // RFC 7672 §2.1.1: without the bit an answer is insecure or indeterminate, which mean the same for mail.
            // Who validates says so of a signed zone even when the root could not be asked for.
            Validation::Works(_) | Validation::Unknown(_) if answer.header().ad() => {
                Ok((answer, Dnssec::Secure))
            }
            Validation::Works(_) => Ok((answer, Dnssec::Insecure)),
            // Nothing is known, which demands nothing; but beside a server that does validate it is no word.
            unknown @ Validation::Unknown(_) if witnesses.any_validates() => {
                Err(LookupError::Temporary(format!("{name}: {unknown}")))
            }
            _ => Ok((answer, Dnssec::Indeterminate)),
        }
    }

    /// An answer that nobody's word is taken for.
    async fn unvouched(
        &self,
        name: &WireName,
        rtype: Rtype,
    ) -> Result<(Message<Bytes>, Dnssec), LookupError> {
        let answer = self.send(name, rtype, Checking::Wanted).await?;
        let conclusive = message::is_conclusive(&answer);
        if conclusive { Ok((answer, Dnssec::Indeterminate)) } else { Err(failed(name, &answer)) }
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
        self.ask(name, rtype, checking).await.map(|asked| asked.answer)
    }

    async fn ask(&self, name: &WireName, rtype: Rtype, checking: Checking) -> Result<Asked, LookupError> {
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
