//! Facts of a session in which nothing happened, for tests that change what they are about.

use jiff::Timestamp;
use postern_smtp::server::{CloseReason, Dialogue};

use super::{End, Entrance, Facts, Opening, Stage};
use crate::config::{Greets, Otherwise, Role};

/// A client that came to the submission port and left.
pub(crate) fn facts(id: &str, client: &str) -> Facts {
    Facts {
        id: id.to_owned(),
        place: Entrance {
            listener: "submission".into(),
            port: 587,
            role: Role::Submission,
            greets: Greets::InClear,
            otherwise: Otherwise::Fails,
        },
        client: client.parse().unwrap(),
        began: Timestamp::from_second(1_800_000_000).unwrap(),
        lasted: 1234,
        opening: Opening::Words,
        offer: None,
        name_borne: None,
        tls: None,
        tls_fault: None,
        hello: None,
        dialogue: Dialogue::default(),
        sign_ins: Vec::new(),
        refusals: Vec::new(),
        right_name: None,
        claimant: None,
        user: None,
        accepted: 0,
        end: End::Closed { reason: CloseReason::Quit, stage: Stage::Hello },
    }
}
