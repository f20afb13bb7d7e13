//! Name servers of a test's own, and addresses for the hosts that they name.
//!
//! [`Names`] answers from a script; its word on what is secure counts as that of a validating resolver. [`SignedNames`] is the
//! real thing: zones signed by Knot's tools behind unbound. [`Street`] puts the mail hosts of a zone on one port, each at a
//! loopback address that no other test uses ([`address`]).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use postern_testkit::dns::{Server, Zone, serve};
use postern_testkit::signed::{Signed, SignedWorld};
use tokio::runtime::Runtime;

use super::Peer;
use super::peer;

/// A scripted name server with its own threads.
pub struct Names {
    runtime: Runtime,
    server: Option<Server>,
}

impl Names {
    pub fn serve(zone: Zone) -> Names {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(serve(zone)).unwrap();
        Names { runtime, server: Some(server) }
    }

    pub fn address(&self) -> SocketAddr {
        self.server().address()
    }

    pub fn change(&self, change: impl FnOnce(Zone) -> Zone) {
        self.server().change(change);
    }

    /// The `[dns]` table that leads here.
    pub fn table(&self) -> String {
        dns_table(self.address())
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // It ends its tasks, which belong to this runtime.
        let _inside = self.runtime.enter();
        drop(self.server.take());
    }
}

/// Signed zones and a validating resolver.
pub struct SignedNames(SignedWorld);

impl SignedNames {
    pub fn serve(zones: &[(&str, &str, Signed)]) -> SignedNames {
        SignedNames(SignedWorld::start(zones))
    }

    /// The `[dns]` table by which Postern takes the resolver's word.
    pub fn table(&self) -> String {
        dns_table(self.0.unbound)
    }

    /// The `[dns]` table by which Postern validates by itself what a resolver passes on that validates nothing.
    pub fn table_for_own_validation(&self) -> String {
        let anchors = &self.0.anchor_file;
        format!("{}dnssec = \"own\"\ntrust_anchors = {anchors:?}\n", dns_table(self.0.careless))
    }

    /// The `[dns]` table of those who take the word of a resolver that validates nothing.
    pub fn careless_table(&self) -> String {
        dns_table(self.0.careless)
    }

    /// Ends the validating resolver, or starts it again at the same address.
    pub fn stop_resolver(&mut self) {
        self.0.stop_unbound();
    }

    pub fn start_resolver(&mut self) {
        self.0.start_unbound();
    }
}

fn dns_table(server: SocketAddr) -> String {
    format!("[dns]\nservers = [\"{server}\"]\ntimeout = \"2s\"\n")
}

/// Mail hosts on one port, each at an address of its own.
pub struct Street {
    port: u16,
}

impl Street {
    /// On a port that is free at the first address.
    pub fn new() -> Street {
        let first = peer::Peer::scripted(|_| peer::Do::Usual).start_at((address(), 0).into());
        Street { port: first.port() }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets a peer move in.
    pub fn house(&self, peer: peer::Setup) -> Peer {
        peer.start_at((address(), self.port).into())
    }
}

/// The address of a peer, as A records have it.
pub fn ip(peer: &Peer) -> Ipv4Addr {
    match peer.address() {
        SocketAddr::V4(address) => *address.ip(),
        SocketAddr::V6(address) => panic!("{address} is none of a street"),
    }
}

/// A loopback address that no other test has, nor another run of the suite.
pub fn address() -> Ipv4Addr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let number = TAKEN.fetch_add(1, Ordering::Relaxed);
    assert!(number < 500, "the suite has no more than 500 addresses");
    // 127.64.0.0/10 and above, in blocks of 500 by the process's id.
    let block = std::process::id() % 8000;
    Ipv4Addr::from_bits(0x7f40_0000 + block * 512 + number + 1)
}
