//! The sockets that are bound, matched against what the configuration of the moment wants.
//!
//! [`Bound`] owns them, each with the task that accepts on it. A socket is known by its listener's name and the address
//! as it was written, so that a reload leaves those alone that did not change, whatever else did.
//!
//! What it deliberately does not do: accept, or end sessions; closing a socket leaves its sessions to end by themselves.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Error, Phase, Shared};
use crate::inbound::listener::{self, Listener};

const BACKLOG: u32 = 1024;

/// The sockets that are bound.
#[derive(Default)]
pub(super) struct Bound {
    sockets: HashMap<(String, SocketAddr), Socket>,
    news: Vec<(String, SocketAddr)>,
}

struct Socket {
    address: SocketAddr,
    /// What its sessions are served with; `None` ends it.
    listener: watch::Sender<Option<Arc<Listener>>>,
    task: JoinHandle<()>,
}

impl Bound {
    /// Brings the sockets in line with the site: those no longer wanted are closed first, so that their addresses are
    /// free; those that stay get the new settings without missing a connection; new ones are bound.
    pub(super) async fn adopt(
        &mut self,
        shared: &Arc<Shared>,
        phase: &watch::Receiver<Phase>,
    ) -> Result<(), Error> {
        let site = shared.site.load_full();
        let wanted: Vec<((String, SocketAddr), &Arc<Listener>)> = site
            .listeners
            .iter()
            .flat_map(|listener| {
                let name = &listener.config.name;
                listener.config.bind.iter().map(move |address| ((name.clone(), *address), listener))
            })
            .collect();
        let gone: Vec<_> = self
            .sockets
            .keys()
            .filter(|key| !wanted.iter().any(|(wanted, _)| wanted == *key))
            .cloned()
            .collect();
        for key in gone {
            if let Some(socket) = self.sockets.remove(&key) {
                let _ = socket.listener.send(None);
                let _ = socket.task.await;
            }
        }
        for (key, listener) in wanted {
            if let Some(socket) = self.sockets.get(&key) {
                let _ = socket.listener.send(Some(Arc::clone(listener)));
                continue;
            }
            let (socket, address) = bind(&key.0, key.1)?;
            let (sender, receiver) = watch::channel(Some(Arc::clone(listener)));
            let task = tokio::spawn(listener::serve(socket, Arc::clone(shared), receiver, phase.clone()));
            self.news.push((key.0.clone(), address));
            self.sockets.insert(key, Socket { address, listener: sender, task });
        }
        Ok(())
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

fn bind(listener: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = (|| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
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
