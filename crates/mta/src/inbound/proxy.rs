//! The PROXY protocol, versions 1 and 2, from front ends that the configuration names.
//!
//! Exactly the header's bytes are read, so that whatever follows (a ClientHello, or nothing yet) stays in the socket.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, CRLF included.
const V1_MOST: usize = 107;
/// More than any header of version 2 with the usual TLVs needs.
const V2_MOST: usize = 4096;

/// Reads the header that a trusted front end must send first. `None` when the front end speaks for itself (a health
/// check: `LOCAL` or `UNKNOWN`).
///
/// # Errors
/// `InvalidData` when what came is not a PROXY header: the connection must be closed.
pub(super) async fn read_header<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        read_rest_of_v2(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        read_rest_of_v1(stream, &mut header).await?;
    } else {
        return Err(invalid("no PROXY header came from an address that must send one"));
    }
    let (parsed, length) =
        ProxyHeader::parse(&header, ParseConfig::default()).map_err(|error| invalid(&error.to_string()))?;
    if length != header.len() {
        return Err(invalid("the PROXY header's length is wrong"));
    }
    Ok(parsed.proxied_address().map(|address| address.source))
}

async fn read_rest_of_v2<R: AsyncRead + Unpin>(stream: &mut R, header: &mut Vec<u8>) -> io::Result<()> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > V2_MOST {
        return Err(invalid("the PROXY header is too long"));
    }
    header.extend_from_slice(&fixed);
    let start = header.len();
    header.resize(start + length, 0);
    stream.read_exact(&mut header[start..]).await?;
    Ok(())
}

async fn read_rest_of_v1<R: AsyncRead + Unpin>(stream: &mut R, header: &mut Vec<u8>) -> io::Result<()> {
    while !header.ends_with(b"\r\n") {
        if header.len() == V1_MOST {
            return Err(invalid("the PROXY line is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let result = read_header(&mut bytes).await;
        (result, bytes.len())
    }

    #[tokio::test]
    async fn version_1_leaves_what_follows_in_the_socket() {
        let (address, left) = read(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 25\r\nEHLO x\r\n").await;
        assert_eq!(address.unwrap(), Some("192.0.2.7:5555".parse().unwrap()));
        assert_eq!(left, b"EHLO x\r\n".len());
    }

    #[tokio::test]
    async fn version_2_leaves_what_follows_in_the_socket() {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend([0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1, 0x15, 0xb3, 0, 25]);
        header.extend(b"rest");
        let (address, left) = read(&header).await;
        assert_eq!(address.unwrap(), Some("192.0.2.7:5555".parse().unwrap()));
        assert_eq!(left, 4);
    }

    #[tokio::test]
    async fn a_session_without_the_header_is_refused() {
        assert!(read(b"EHLO mail.example.org\r\n").await.0.is_err());
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_after_its_bound() {
        let mut endless = b"PROXY TCP4 ".to_vec();
        endless.resize(100_000, b'1');
        let (result, left) = read(&endless).await;
        assert!(result.is_err());
        assert_eq!(left, endless.len() - V1_MOST);
    }
}
