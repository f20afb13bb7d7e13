//! Every address, every port, every way: what was seen there.
//!
//! [`addresses`] finds the server as a mail program does, by the system's own resolver (`/etc/hosts` and all). [`go`] visits each port
//! twice at the same time: once waiting for a banner, once beginning TLS at once.
//!
//! What it deliberately does not do: judge.

use std::net::{IpAddr, SocketAddr};

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream;
use postern_pki::{ClientTls, PeerPolicy};
use postern_smtp::client::Protocol;
use postern_smtp::text::without_os_code;
use tokio::net::lookup_host;
use tokio::time::timeout_at;

use crate::outbound::route::{NextHop, Socket};
use crate::probe::dialogue::Clock;
use crate::probe::session::{Door, Seen, Start, examine};

/// The name that is said in EHLO: nobody's (RFC 2606 §2).
const HELLO: &str = "check-server.invalid";
/// So many doors are gone through at the same time.
const AT_ONCE: usize = 16;

/// One port at one address, tried in every way.
#[derive(Debug, Default)]
pub(super) struct Tried {
    pub(super) port: u16,
    pub(super) address: Option<IpAddr>,
    /// In clear, and TLS after STARTTLS where that is offered.
    pub(super) clear: Seen,
    /// TLS with the first octet.
    pub(super) at_once: Seen,
}

/// The server's addresses: the first of each family, as the system orders them.
pub(super) async fn addresses(host: &str, clock: Clock) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    let found = match timeout_at(clock.due(), lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(without_os_code(error)),
        Err(_) => return Err("the name servers do not answer".into()),
    };
    let first = |of: fn(&&IpAddr) -> bool| found.iter().find(of).copied();
    let (v4, v6) = (first(|ip| ip.is_ipv4()), first(|ip| ip.is_ipv6()));
    let one_each: Vec<IpAddr> = v6.into_iter().chain(v4).collect();
    if one_each.is_empty() { Err("the name has no address".into()) } else { Ok(one_each) }
}

/// Tries every port at every address.
pub(super) async fn go(
    host: &str,
    addresses: &[IpAddr],
    ports: &[u16],
    tls: &Result<ClientTls, String>,
    clock: Clock,
) -> Vec<Tried> {
    let places = addresses.iter().flat_map(|address| ports.iter().map(|port| (*address, *port)));
    let tries: Vec<_> = places.map(|(address, port)| one(host, address, port, tls, clock)).collect();
    stream::iter(tries).buffered(AT_ONCE).collect().await
}

async fn one(host: &str, address: IpAddr, port: u16, tls: &Result<ClientTls, String>, clock: Clock) -> Tried {
    let next_hop = NextHop { host: host.to_owned(), at: Socket::Tcp(SocketAddr::new(address, port)) };
    let policy = PeerPolicy::default();
    let door = |start| Door {
        next_hop: &next_hop,
        server_name: host,
        start,
        protocol: Protocol::Smtp,
        hello: HELLO,
        source: &[],
        policy: &policy,
        tls,
        clock,
    };
    let (clear, at_once) = join(examine(door(Start::Upgrade)), examine(door(Start::Implicit))).await;
    Tried { port, address: Some(address), clear, at_once }
}
