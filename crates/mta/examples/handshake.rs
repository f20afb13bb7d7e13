//! What signing in cannot do without: one bare TLS handshake and one password check. For `bench/run`; prints the CPU time of
//! the server's side of either, in milliseconds.
//!
//! The handshake is rustls alone over loopback, TLS 1.3 with X25519 (what the benchmark's client speaks) and a P-256
//! certificate, without resumption. The check is argon2id with the parameters of Postern's own users.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream};

const HANDSHAKES: u32 = 1000;
const CHECKS: u32 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:.3}", handshake()?);
    println!("{:.3}", check()?);
    Ok(())
}

fn handshake() -> Result<f64, Box<dyn std::error::Error>> {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = signed.cert.der().clone();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der())?;
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let server = Arc::new(server);
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519];
    let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let client = Arc::new(client);
    let visitor = std::thread::spawn(move || (0..=HANDSHAKES).try_for_each(|_| visit(address, &client)));
    // The first one warms up.
    receive(&listener, &server)?;
    let begun = cpu()?;
    for _ in 0..HANDSHAKES {
        receive(&listener, &server)?;
    }
    let each = (cpu()? - begun) / f64::from(HANDSHAKES);
    visitor.join().map_err(|_| "the client panicked")??;
    Ok(each)
}

fn visit(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<()> {
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    let mut socket = TcpStream::connect(address)?;
    let mut end = [0; 1];
    // Until the server has closed.
    drop(Stream::new(&mut connection, &mut socket).read(&mut end));
    Ok(())
}

fn receive(listener: &TcpListener, config: &Arc<ServerConfig>) -> Result<(), Box<dyn std::error::Error>> {
    let (mut socket, _) = listener.accept()?;
    let mut connection = ServerConnection::new(Arc::clone(config))?;
    connection.complete_io(&mut socket)?;
    connection.send_close_notify();
    connection.complete_io(&mut socket)?;
    Ok(())
}

fn check() -> Result<f64, Box<dyn std::error::Error>> {
    let argon2 = Argon2::default();
    let hash = argon2.hash_password(b"correct horse")?;
    let begun = cpu()?;
    for _ in 0..CHECKS {
        argon2.verify_password(b"correct horse", &hash)?;
    }
    Ok((cpu()? - begun) / f64::from(CHECKS))
}

/// CPU time of this thread, user and system, in milliseconds.
fn cpu() -> nix::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(microseconds as f64 / 1000.0)
}
