//! PAM and whatever else saslauthd asks, through its socket.
//!
//! A [`Saslauthd`] hands a name and a password to Cyrus' daemon and gets a yes or a no. PAM stays in that process, so that
//! neither root nor its modules enter Postern. The protocol is four texts, each behind its length in two octets, and an
//! answer in the same form that begins with `OK` or `NO`; one connection carries one question.
//!
//! What it deliberately does not do: tell who exists without a password. A name that is only looked up is taken as it
//! stands, for nothing else can be known of it here.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use postern_smtp::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::{Abilities, Denied, Directory, Login, Names, Principal, Why};

/// The longest of the four texts, and of the answer, in octets.
const LONGEST: usize = 1024;

/// The daemon behind a socket.
#[derive(Debug)]
pub(super) struct Saslauthd {
    socket: PathBuf,
    service: String,
    realm: String,
}

impl Saslauthd {
    pub(super) fn new(config: &crate::config::Saslauthd) -> Self {
        let crate::config::Saslauthd { socket, service, realm } = config.clone();
        Self { socket, service, realm }
    }

    async fn ask(&self, login: &Login, password: &Secret) -> io::Result<Vec<u8>> {
        let texts = [
            login.as_written().as_bytes(),
            password.expose(),
            self.service.as_bytes(),
            self.realm.as_bytes(),
        ];
        let question =
            counted(&texts).ok_or_else(|| io::Error::other("the password is too long for saslauthd"))?;
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(&question).await?;
        let length = usize::from(stream.read_u16().await?);
        if !(2..=LONGEST).contains(&length) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "saslauthd's answer has a senseless length",
            ));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

#[async_trait]
impl Directory for Saslauthd {
    fn abilities(&self) -> Abilities {
        Abilities { passwords: true, names: Names::Taken, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        if password.expose().len() > LONGEST {
            return Err(Denied::Refused(Why::WrongOrUnknown));
        }
        let answer = self.ask(login, password).await.map_err(|error| {
            Denied::Unavailable(format!("saslauthd at {}: {error}", self.socket.display()))
        })?;
        match answer.get(..2) {
            Some(b"OK") => Ok(Principal::as_called(login)),
            // Whether the name or the password is wrong, saslauthd does not say.
            Some(b"NO") => Err(Denied::Refused(Why::WrongOrUnknown)),
            _ => Err(Denied::Unavailable("saslauthd answers neither OK nor NO".to_owned())),
        }
    }
}

/// Each text behind its length; `None`: one is too long.
fn counted(texts: &[&[u8]]) -> Option<Zeroizing<Vec<u8>>> {
    let mut message = Zeroizing::new(Vec::with_capacity(texts.iter().map(|text| text.len() + 2).sum()));
    for text in texts {
        let length = u16::try_from(text.len()).ok().filter(|_| text.len() <= LONGEST)?;
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(text);
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// What a daemon that answers so makes of `anna` and her password, and what it was asked.
    async fn asked(answer: &'static [u8]) -> (Result<Principal, Denied>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("mux");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; 2 + 4 + 2 + 2 + 2 + 4 + 2];
            stream.read_exact(&mut question).await.unwrap();
            stream.write_all(answer).await.unwrap();
            question
        };
        let directory = Saslauthd { socket, service: "smtp".into(), realm: String::new() };
        let login = Login::new("anna").unwrap();
        let password = Secret::new("pw");
        tokio::join!(directory.by_password(&login, &password), daemon)
    }

    #[tokio::test]
    async fn the_four_texts_are_counted_and_ok_is_the_only_yes() {
        let (answer, question) = asked(b"\0\x02OK").await;
        assert_eq!(answer.unwrap(), Principal::named("anna", Vec::new()));
        assert_eq!(question, b"\0\x04anna\0\x02pw\0\x04smtp\0\0");
        assert_eq!(asked(b"\0\x09NO failed").await.0, Err(Denied::Refused(Why::WrongOrUnknown)));
        for broken in [&b"\0\x02ok"[..], b"\0\0", b"\xff\xffOK", b"\0", b""] {
            let (answer, _) = asked(broken).await;
            assert!(matches!(answer, Err(Denied::Unavailable(_))), "{broken:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_no_wrong_password() {
        let directory =
            Saslauthd { socket: "/nowhere/mux".into(), service: "smtp".into(), realm: String::new() };
        let answer = directory.by_password(&Login::new("anna").unwrap(), &Secret::new("pw")).await;
        assert!(matches!(answer, Err(Denied::Unavailable(why)) if why.contains("/nowhere/mux")));
    }
}
