//! How names are proved: the three solvers, each over what it needs.
//!
//! [`Pages`] shows pages on port 80, [`Handshakes`] certificates in TLS handshakes, [`Records`] TXT records that a
//! [`Publisher`] sets. What this deliberately does not do: bind ports or know zones.

use async_trait::async_trait;
use futures_util::future::join_all;
use postern_pki::Challenges;
use postern_pki::acme::{Challenge, ChallengeKind, Solver};

use super::answers::Answers;
use crate::certificates::dns_challenge::Publisher;

/// HTTP-01.
pub(super) struct Pages(pub(super) Answers);

/// TLS-ALPN-01.
pub(super) struct Handshakes(pub(super) Challenges);

/// DNS-01.
pub(super) struct Records(pub(super) Box<dyn Publisher>);

#[async_trait]
impl Solver for Pages {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Http01
    }

    async fn prepare(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        for one in challenges {
            self.0.put(&one.token, one.answer.text());
        }
        vec![Ok(()); challenges.len()]
    }

    async fn clean_up(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        for one in challenges {
            self.0.take(&one.token);
        }
        vec![Ok(()); challenges.len()]
    }
}

#[async_trait]
impl Solver for Handshakes {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::TlsAlpn01
    }

    async fn prepare(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        let one = |challenge: &Challenge| {
            let certificate = challenge.certificate().map_err(|error| error.to_string())?;
            self.0.set(&challenge.server_name(), certificate);
            Ok(())
        };
        challenges.iter().map(one).collect()
    }

    async fn clean_up(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        for one in challenges {
            self.0.clear(&one.server_name());
        }
        vec![Ok(()); challenges.len()]
    }
}

#[async_trait]
impl Solver for Records {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Dns01
    }

    /// All at once: each may have to wait until all name servers show its record.
    async fn prepare(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        join_all(
            challenges
                .iter()
                .map(async |one| self.0.publish(&one.record_name(), &one.answer.record()).await.map(drop)),
        )
        .await
    }

    async fn clean_up(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        join_all(
            challenges
                .iter()
                .map(async |one| self.0.withdraw(&one.record_name(), &one.answer.record()).await.map(drop)),
        )
        .await
    }
}
