//! A next hop that takes all mail and keeps none, with STARTTLS: for `bench/run`.
//!
//! `sink PORT MESSAGES FOLDER` listens on every address, makes itself a certificate in the folder, prints `ready`, and ends
//! when it has taken so many messages. It knows just enough SMTP for a client that does nothing wrong.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use postern_pki::{ClientCertificates, MinimumVersion, PrivateCa, ServerOptions, Tickets, server_config};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

const BUFFER: usize = 64 * 1024;

/// What all sessions share.
struct Sink {
    tls: TlsAcceptor,
    wanted: usize,
    taken: AtomicUsize,
    done: Notify,
}

/// How a session on one stream ended.
enum End {
    Closed,
    StartTls,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or_else(|| io::Error::other("usage: sink PORT MESSAGES FOLDER"));
    let port: u16 = next()?.parse().map_err(io::Error::other)?;
    let wanted = next()?.parse().map_err(io::Error::other)?;
    let tls = acceptor(Path::new(&next()?)).map_err(io::Error::other)?;
    let sink = Arc::new(Sink { tls, wanted, taken: AtomicUsize::new(0), done: Notify::new() });
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("ready");
    loop {
        tokio::select! {
            () = sink.done.notified() => return Ok(()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let sink = Arc::clone(&sink);
                // A client that breaks off is its own affair.
                tokio::spawn(async move { let _ = sink.serve(stream).await; });
            }
        }
    }
}

fn acceptor(folder: &Path) -> Result<TlsAcceptor, postern_pki::Error> {
    let now = Timestamp::now();
    let ca = PrivateCa::open_or_create(&folder.join("ca"), "sink.test", now)?;
    let issued = ca.ensure_server_identity(&folder.join("tls"), &["sink.test".to_owned()], now)?;
    let options = ServerOptions {
        identities: vec![Arc::new(issued.loaded.identity)],
        default_name: None,
        minimum: MinimumVersion::Tls12,
        tickets: Tickets::Off,
        client_certificates: ClientCertificates::Ignored,
    };
    Ok(TlsAcceptor::from(server_config(&options)?))
}

impl Sink {
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.write_all(b"220 sink.test ESMTP\r\n").await?;
        if let End::StartTls = self.converse(&mut stream, "250-STARTTLS\r\n").await? {
            let mut stream = self.tls.accept(stream).await?;
            self.converse(&mut stream, "").await?;
        }
        Ok(())
    }

    async fn converse(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        extra: &str,
    ) -> io::Result<End> {
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut replies = Vec::new();
        loop {
            while let Some(end) = buffer.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_slice() {
                    b"EHLO" => replies.extend_from_slice(
                        format!("250-sink.test\r\n{extra}250-PIPELINING\r\n250 8BITMIME\r\n").as_bytes(),
                    ),
                    b"STAR" => {
                        stream.write_all(b"220 Go ahead\r\n").await?;
                        return Ok(End::StartTls);
                    }
                    b"DATA" => {
                        replies.extend_from_slice(b"354 Go on\r\n");
                        stream.write_all(&replies).await?;
                        replies.clear();
                        read_content(stream, &mut buffer).await?;
                        self.count();
                        replies.extend_from_slice(b"250 Taken\r\n");
                    }
                    b"QUIT" => {
                        stream.write_all(b"221 Bye\r\n").await?;
                        return Ok(End::Closed);
                    }
                    _ => replies.extend_from_slice(b"250 Ok\r\n"),
                }
            }
            if !replies.is_empty() {
                stream.write_all(&replies).await?;
                replies.clear();
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(End::Closed);
            }
        }
    }

    fn count(&self) {
        if self.taken.fetch_add(1, Ordering::Relaxed) + 1 == self.wanted {
            self.done.notify_one();
        }
    }
}

/// Reads to the end of the content; what comes behind it stays in the buffer.
async fn read_content(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<()> {
    const END: &[u8] = b"\r\n.\r\n";
    let mut seen = 0;
    loop {
        let from = seen.min(buffer.len());
        if let Some(at) = buffer[from..].windows(END.len()).position(|window| window == END) {
            buffer.drain(..from + at + END.len());
            return Ok(());
        }
        seen = buffer.len().saturating_sub(END.len() - 1);
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
