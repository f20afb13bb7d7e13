//! When TLS starts on a listener.
//!
//! [`ListenerTls`] is what is written; [`ListenerTls::mode`] is what a session is told of it, and [`ListenerTls::greets`]
//! what a client is expected to begin with at one port. Under [`ListenerTls::Auto`] either beginning is served, and a
//! session is as strict as under [`ListenerTls::Required`]: how TLS begins is left to the client, whether it does is not.
//!
//! What it deliberately does not do: look at a connection; that is `inbound::opening`.

use std::net::SocketAddr;

use postern_smtp::server::TlsMode;
use serde::{Deserialize, Serialize};

use crate::ports::SUBMISSIONS;

/// When TLS starts on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerTls {
    /// STARTTLS is offered (RFC 3207).
    Offered,
    /// STARTTLS must come first.
    Required,
    /// TLS from the first octet (RFC 8314 §3).
    Implicit,
    /// TLS from the first octet or by STARTTLS, as the client begins; it must come first either way.
    Auto(Expects),
}

/// What a listener expects of clients that it knows nothing of, where it serves either beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expects {
    /// TLS on port 465, else that they wait for the banner and say STARTTLS.
    #[default]
    ByPort,
    /// That they wait for the banner and say STARTTLS.
    StartTls,
    /// TLS from the first octet.
    Tls,
}

/// What a port expects a client to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Greets {
    /// It says its banner at once, and STARTTLS may follow (RFC 3207).
    InClear,
    /// TLS comes first (RFC 8314 §3).
    AfterTls,
}

/// What becomes of a client that begins otherwise than its port expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// It gets nowhere.
    #[default]
    Fails,
    /// It is served as well (`tls = "auto"`): where its first try comes to nothing, the next one is waited for.
    Served,
}

impl ListenerTls {
    /// What a session is told.
    pub fn mode(self) -> TlsMode {
        match self {
            Self::Offered => TlsMode::Offered,
            Self::Required | Self::Auto(_) => TlsMode::Required,
            Self::Implicit => TlsMode::Implicit,
        }
    }

    /// What a client is expected to begin with at this port.
    pub fn greets(self, port: u16) -> Greets {
        match self {
            Self::Implicit | Self::Auto(Expects::Tls) => Greets::AfterTls,
            Self::Auto(Expects::ByPort) if port == SUBMISSIONS => Greets::AfterTls,
            Self::Offered | Self::Required | Self::Auto(_) => Greets::InClear,
        }
    }

    /// What becomes of a client that begins otherwise than is expected.
    pub fn otherwise(self) -> Otherwise {
        match self {
            Self::Auto(_) => Otherwise::Served,
            Self::Offered | Self::Required | Self::Implicit => Otherwise::Fails,
        }
    }

    /// Whether somebody who knows only TLS from the first octet, as an authority that validates a name by TLS-ALPN-01 does,
    /// is surely served at one of these addresses.
    pub fn begins_with_tls(self, bind: &[SocketAddr]) -> bool {
        bind.iter().any(|address| self.greets(address.port()) == Greets::AfterTls)
    }
}
