//! The sockets that are bound, matched against what the configuration of the moment wants.
//!
//! [`Bound`] owns them, each with the task that accepts on it. A socket is known by its listener's name and the address
//! as it was written, so that a reload leaves those alone that did not change, whatever else did.
//!
//! What it deliberately does not do: accept, or end sessions; closing a socket leaves its sessions to end by themselves.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Ipv6V6Only;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Error, Phase, Shared};
use crate::inbound::listener::{self, Listener};

const BACKLOG: u32 = 1024;

/// The sockets that are bound.
#[derive(Default)]
pub(super) struct Bound {
    sockets: HashMap<Key, Socket>,
    news: Vec<(String, SocketAddr)>,
}

/// A listener's name and an address as it is configured.
type Key = (String, SocketAddr);

struct Socket {
    address: SocketAddr,
    /// What its sessions are served with; `None` ends it.
    listener: watch::Sender<Option<Arc<Listener>>>,
    task: JoinHandle<()>,
}

impl Bound {
    /// Brings the sockets in line with the site: those that stay get the new settings without missing a connection; those
    /// no longer wanted are closed, so that their addresses are free; then the new ones are bound.
    ///
    /// # Errors
    /// The first address that cannot be bound; all others are bound and served nevertheless.
    pub(super) async fn adopt(
        &mut self,
        shared: &Arc<Shared>,
        phase: &watch::Receiver<Phase>,
    ) -> Result<(), Error> {
        let site = shared.site.load_full();
        let wanted: Vec<(Key, &Arc<Listener>)> = site
            .listeners
            .iter()
            .flat_map(|listener| {
                let name = &listener.config.name;
                listener.config.bind.iter().map(move |address| ((name.clone(), *address), listener))
            })
            .collect();
        for (key, listener) in &wanted {
            if let Some(socket) = self.sockets.get(key) {
                let _ = socket.listener.send(Some(Arc::clone(listener)));
            }
        }
        self.close_all_but(&wanted).await;
        let mut outcome = Ok(());
        for (key, listener) in &wanted {
            if self.sockets.contains_key(key) {
                continue;
            }
            match bind(&key.0, key.1, reach_of(key.1, &wanted)) {
                Ok((socket, address)) => {
                    let (sender, receiver) = watch::channel(Some(Arc::clone(listener)));
                    let serving = listener::serve(socket, Arc::clone(shared), receiver, phase.clone());
                    self.news.push((key.0.clone(), address));
                    self.sockets.insert(
                        key.clone(),
                        Socket { address, listener: sender, task: tokio::spawn(serving) },
                    );
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    async fn close_all_but(&mut self, wanted: &[(Key, &Arc<Listener>)]) {
        let is_wanted = |key: &Key| wanted.iter().any(|(wanted, _)| wanted == key);
        let gone: Vec<Key> = self.sockets.keys().filter(|key| !is_wanted(key)).cloned().collect();
        for key in gone {
            if let Some(socket) = self.sockets.remove(&key) {
                let _ = socket.listener.send(None);
                let _ = socket.task.await;
            }
        }
    }

    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let mut addresses: Vec<_> =
            self.sockets.iter().map(|((name, _), socket)| (name.clone(), socket.address)).collect();
        addresses.sort();
        addresses
    }

    /// The sockets bound since this was last asked.
    pub(super) fn take_news(&mut self) -> Vec<(String, SocketAddr)> {
        std::mem::take(&mut self.news)
    }

    /// Writes `listeners.json` for programs that need to know a port the system chose.
    pub(super) async fn write_list(&self, shared: &Shared) {
        let mut list: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, address) in self.addresses() {
            list.entry(name).or_default().push(address.to_string());
        }
        let folder = shared.site.load().config.data_dir.clone();
        let text = serde_json::to_vec_pretty(&list).unwrap_or_default();
        let (new, path) = (folder.join("listeners.json.new"), folder.join("listeners.json"));
        // It is a convenience; without it Postern serves all the same.
        if tokio::fs::write(&new, text).await.is_ok() {
            let _ = tokio::fs::rename(new, path).await;
        }
    }
}

/// Which clients a wildcard IPv6 socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// As the system has it: usually IPv4 clients, too.
    Usual,
    /// Only IPv6 clients, because `0.0.0.0` with the same port has its own socket.
    Ipv6Only,
}

fn reach_of(address: SocketAddr, wanted: &[(Key, &Arc<Listener>)]) -> Reach {
    let own_ipv4 =
        |other: &SocketAddr| other.is_ipv4() && other.ip().is_unspecified() && other.port() == address.port();
    let split = address.is_ipv6() && wanted.iter().any(|((_, other), _)| own_ipv4(other));
    if split { Reach::Ipv6Only } else { Reach::Usual }
}

fn bind(listener: &str, address: SocketAddr, reach: Reach) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = (|| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        if reach == Reach::Ipv6Only {
            setsockopt(&socket, Ipv6V6Only, &true)?;
        }
        socket.bind(address)?;
        let listening = socket.listen(BACKLOG)?;
        let address = listening.local_addr()?;
        Ok((listening, address))
    })();
    bound.map_err(|source: std::io::Error| Error::Bind {
        listener: listener.to_owned(),
        address,
        remedy: remedy(&source),
        source,
    })
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there: stop it (ss -ltnp shows which), or choose another port"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: let systemd grant CAP_NET_BIND_SERVICE (AmbientCapabilities), or choose a higher port"
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: correct listener.bind",
        _ => "correct listener.bind",
    }
}
