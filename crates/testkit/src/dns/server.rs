//! A real name server on loopback that answers from a script.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::wire::{self, Transport};
use super::{Kind, Script, Zone};

/// How often another port is tried when the one that UDP got is taken for TCP.
const ATTEMPTS: usize = 20;

/// A name server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    script: Script,
    _tasks: JoinSet<()>,
}

/// Starts a name server on a free port of 127.0.0.1, UDP and TCP. Call it from within a tokio runtime.
///
/// # Errors
/// No port was to be had.
pub async fn serve(zone: Zone) -> io::Result<Server> {
    let (udp, tcp) = bind().await?;
    let address = udp.local_addr()?;
    let script = Script::new(zone);
    let mut tasks = JoinSet::new();
    tasks.spawn(answer_datagrams(udp, script.clone()));
    tasks.spawn(answer_connections(tcp, script.clone()));
    Ok(Server { address, script, _tasks: tasks })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far, in order, over either transport.
    pub fn queries(&self) -> Vec<(String, Kind)> {
        self.script.lock().queries.clone()
    }

    /// Changes the zone; the next question sees it.
    pub fn change(&self, change: impl FnOnce(Zone) -> Zone) {
        self.script.change(change);
    }
}

async fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn answer_datagrams(socket: UdpSocket, script: Script) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(answer) = answer(&script, &buffer[..length], Transport::Udp) {
            // A peer that went away is its own affair.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn answer_connections(listener: TcpListener, script: Script) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer_stream(stream, script.clone()));
        }
    }
}

/// RFC 1035 §4.2.2: each message has its length in front.
async fn answer_stream(mut stream: TcpStream, script: Script) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await.ok()?;
        if let Some(answer) = answer(&script, &message, Transport::Tcp) {
            let length = u16::try_from(answer.len()).ok()?;
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await.ok()?;
        }
    }
}

fn answer(script: &Script, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let question = wire::question(message)?;
    let found = script.ask(&question.name, question.kind);
    wire::answer(&question, &found, &script.lock().zone, transport)
}
