//! The sockets that are bound, matched against what the configuration of the moment wants.
//!
//! [`Bound`] owns them, each with the task that accepts on it: those for mail, those for HTTP, and
//! those for ACME's handshakes. A socket is known by
//! its listener's name and the address as it was written, so that a reload leaves those alone that did not change,
//! whatever else did.
//!
//! What it deliberately does not do: accept, or end sessions; closing a socket leaves its sessions to end by themselves.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Ipv6V6Only;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accept::{Accepted, accept};
use super::{Error, Phase, Shared, services};
use crate::certificates::acme;
use crate::certificates::acme::handshakes::{self, Port};
use crate::http::{self, Service};
use crate::inbound::listener::{self, Listener};

const BACKLOG: u32 = 1024;
/// The rights to the list of listeners.
const LIST_MODE: u32 = 0o644;

/// The sockets that are bound.
pub(super) struct Bound {
    mail: Sockets<Listener>,
    http: Sockets<Service>,
    acme: Sockets<Port>,
    news: Vec<(String, SocketAddr)>,
}

/// Those that serve one kind of thing.
struct Sockets<T> {
    open: HashMap<Key, Socket<T>>,
    start: fn(Accepted<T>),
}

/// A listener's name and an address as it is configured.
type Key = (String, SocketAddr);

/// What is to be bound, and what is to be served there.
type Wanted<T> = Vec<(Key, Arc<T>)>;

struct Socket<T> {
    address: SocketAddr,
    /// What its sessions are served with; `None` ends it.
    current: watch::Sender<Option<Arc<T>>>,
    task: JoinHandle<()>,
}

/// What every socket's task needs.
struct Common<'a> {
    shared: &'a Arc<Shared>,
    phase: &'a watch::Receiver<Phase>,
    /// All addresses that are wanted.
    addresses: Vec<SocketAddr>,
}

impl Default for Bound {
    fn default() -> Self {
        Self {
            mail: Sockets::new(listener::start),
            http: Sockets::new(http::start),
            acme: Sockets::new(handshakes::start),
            news: Vec::new(),
        }
    }
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
        let (services, listeners) = (services::services(shared), &site.listeners);
        let ports = acme::ports(&site.config, &shared.challenges);
        let mail = wanted(listeners, |listener| (&listener.config.name, &listener.config.bind));
        let http = wanted(&services, |service| (&service.name, &service.bind));
        let acme = wanted(&ports, |port| (&port.name, &port.bind));
        self.mail.keep(&mail).await;
        self.http.keep(&http).await;
        self.acme.keep(&acme).await;
        let addresses = mail.iter().map(|(key, _)| key.1).chain(http.iter().map(|(key, _)| key.1));
        let addresses = addresses.chain(acme.iter().map(|(key, _)| key.1));
        let common = Common { shared, phase, addresses: addresses.collect() };
        let outcome = self.mail.open(mail, &common, &mut self.news);
        let outcome = outcome.and(self.http.open(http, &common, &mut self.news));
        outcome.and(self.acme.open(acme, &common, &mut self.news))
    }

    /// The names and addresses of all that is bound.
    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let mut addresses: Vec<_> =
            self.mail.addresses().chain(self.http.addresses()).chain(self.acme.addresses()).collect();
        addresses.sort();
        addresses
    }

    /// The addresses that take mail.
    pub(super) fn mail_addresses(&self) -> Vec<SocketAddr> {
        self.mail.addresses().map(|(_, address)| address).collect()
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
        // It is a convenience; without it Postern serves all the same.
        let _ = replace(&folder.join("listeners.json"), &text).await;
    }
}

/// Puts a file in the place of another, whole. Nobody but us may change it, whatever the mask for new files says.
async fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("json.new");
    // What an earlier run left there may have other rights, or be a link.
    let _ = tokio::fs::remove_file(&new).await;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(LIST_MODE).open(&new).await?;
    file.write_all(content).await?;
    file.flush().await?;
    tokio::fs::rename(new, path).await
}

/// Each of these with each of its addresses.
fn wanted<T>(all: &[Arc<T>], place: impl Fn(&T) -> (&String, &Vec<SocketAddr>)) -> Wanted<T> {
    let of_one = |one: &Arc<T>| -> Wanted<T> {
        let (name, bind) = place(one);
        bind.iter().map(|address| ((name.clone(), *address), Arc::clone(one))).collect()
    };
    all.iter().flat_map(of_one).collect()
}

impl<T: Send + Sync + 'static> Sockets<T> {
    fn new(start: fn(Accepted<T>)) -> Self {
        Self { open: HashMap::new(), start }
    }

    /// Gives new settings to those that stay, and closes the others.
    async fn keep(&mut self, wanted: &Wanted<T>) {
        for (key, current) in wanted {
            if let Some(socket) = self.open.get(key) {
                let _ = socket.current.send(Some(Arc::clone(current)));
            }
        }
        let is_wanted = |key: &Key| wanted.iter().any(|(wanted, _)| wanted == key);
        let gone: Vec<Key> = self.open.keys().filter(|key| !is_wanted(key)).cloned().collect();
        for key in gone {
            if let Some(socket) = self.open.remove(&key) {
                let _ = socket.current.send(None);
                let _ = socket.task.await;
            }
        }
    }

    /// Binds those that are not bound yet.
    fn open(
        &mut self,
        wanted: Wanted<T>,
        common: &Common<'_>,
        news: &mut Vec<(String, SocketAddr)>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        for (key, current) in wanted {
            if self.open.contains_key(&key) {
                continue;
            }
            match bind(&key.0, key.1, reach_of(key.1, &common.addresses)) {
                Ok((socket, address)) => {
                    let (sender, receiver) = watch::channel(Some(current));
                    let Common { shared, phase, .. } = common;
                    let accepting =
                        accept(socket, Arc::clone(shared), receiver, (*phase).clone(), self.start);
                    news.push((key.0.clone(), address));
                    let socket = Socket { address, current: sender, task: tokio::spawn(accepting) };
                    self.open.insert(key, socket);
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    fn addresses(&self) -> impl Iterator<Item = (String, SocketAddr)> {
        self.open.iter().map(|((name, _), socket)| (name.clone(), socket.address))
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

fn reach_of(address: SocketAddr, wanted: &[SocketAddr]) -> Reach {
    let own_ipv4 =
        |other: &SocketAddr| other.is_ipv4() && other.ip().is_unspecified() && other.port() == address.port();
    let split = address.is_ipv6() && wanted.iter().any(own_ipv4);
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
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: correct its bind",
        _ => "correct its bind",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[tokio::test]
    async fn nobody_else_may_change_the_list_whatever_lay_in_its_way() {
        let folder = tempfile::tempdir().unwrap();
        let (path, left) = (folder.path().join("listeners.json"), folder.path().join("listeners.json.new"));
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode();
        std::fs::write(&left, "old").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o666)).unwrap();
        replace(&path, b"{}").await.unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode() & 0o022), (b"{}".to_vec(), 0));
        let other = folder.path().join("other");
        std::fs::write(&other, "other").unwrap();
        symlink(&other, &left).unwrap();
        replace(&path, b"[]").await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"[]");
        assert_eq!(std::fs::read(&other).unwrap(), b"other");
    }
}
