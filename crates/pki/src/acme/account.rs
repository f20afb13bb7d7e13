//! The account at a CA: made once, kept in a file, found again at each order.
//!
//! The file holds the account's key and address, and what they were made for; only its owner can read it. An account for
//! another directory, and one that the CA does not know any more, is set aside (`….previous`), never overwritten; a file
//! that cannot be understood is left alone.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, HttpClient, NewAccount};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::transport::{Carrier, Seen};
use super::{AcmeError, Step, Tell, Transport, Window, with_fresh_nonce};
use crate::Error;
use crate::files::{self, Existing, PRIVATE_FILE, PRIVATE_FOLDER};

/// A CA, and who we are there.
#[derive(Debug, Clone)]
pub struct Ca {
    /// The address of its directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// Where it may write to: `mailto:` addresses.
    pub contact: Vec<String>,
    /// The account with it that ours is to be bound to (RFC 8555 §7.3.4).
    pub external: Option<ExternalAccount>,
    /// Where our account is kept.
    pub account_file: PathBuf,
}

/// An account that the CA knows from elsewhere.
#[derive(Clone)]
pub struct ExternalAccount {
    /// The key id that the CA gave.
    pub key_id: String,
    /// The MAC key that it gave, decoded.
    pub key: Zeroizing<Vec<u8>>,
}

/// What is in the account's file.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    contact: BTreeSet<String>,
    account: AccountCredentials,
}

/// Our account at a CA, ready for orders. Make one for each order: it fetches the CA's directory anew.
pub struct Client<'a> {
    ca: &'a Ca,
    transport: Arc<dyn Transport>,
    pub(super) seen: Seen,
    pub(super) tell: &'a Tell,
    pub(super) account: Account,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl<'a> Client<'a> {
    /// Takes the account from its file, or makes one: whoever calls it has agreed to the CA's terms of service.
    ///
    /// Two at once for the same file would make two accounts: the caller lets one wait.
    ///
    /// # Errors
    /// The CA cannot be reached or refuses; the file cannot be read or written.
    pub async fn open(ca: &'a Ca, transport: Arc<dyn Transport>, tell: &'a Tell) -> Result<Self, AcmeError> {
        let seen = Seen::default();
        let (account, news) = match read(&ca.account_file)? {
            Some(kept) if kept.directory == ca.directory => {
                let news = kept.contact != contacts(ca);
                let builder = Account::builder_with_http(carrier(&transport, &seen));
                let account = builder.from_credentials(kept.account).await;
                (
                    account
                        .map_err(|error| AcmeError::of("the CA's directory", error, seen.retry_after()))?,
                    news,
                )
            }
            other => {
                if let Some(kept) = other {
                    lose(ca, tell, format!("it is one at {}", kept.directory))?;
                }
                (make(ca, &transport, &seen, tell).await?, false)
            }
        };
        let mut client = Self { ca, transport, seen, tell, account };
        if news {
            client.change_contact().await?;
        }
        Ok(client)
    }

    /// When the CA wants this certificate to be renewed (RFC 9773 §4); `None` when it does not say such things.
    ///
    /// # Errors
    /// The CA cannot be reached or does not know the certificate.
    pub async fn renewal_window(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<Option<Window>, AcmeError> {
        // A certificate without an authority key identifier has no name there (RFC 9773 §4.1).
        let Ok(id) = instant_acme::CertificateIdentifier::try_from(certificate) else {
            return Ok(None);
        };
        let (info, ask_again) = match self.account.renewal_info(&id).await {
            Ok(answer) => answer,
            Err(instant_acme::Error::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(self.failed("renewal information", error)),
        };
        let window = info.suggested_window;
        let moment = |seconds| {
            jiff::Timestamp::from_second(seconds).map_err(|error| AcmeError::Protocol(error.to_string()))
        };
        Ok(Some(Window {
            start: moment(window.start.unix_timestamp())?,
            end: moment(window.end.unix_timestamp())?,
            explanation: info.explanation_url.map(|url| postern_smtp::text::clean(url, 300)),
            ask_again,
        }))
    }

    /// Makes a new account if it is for the account's sake that the CA refuses an order.
    ///
    /// # Errors
    /// The account is sound, so that the refusal stands; or there is no new one to be had.
    pub(super) async fn replace_account(&mut self, refusal: AcmeError) -> Result<(), AcmeError> {
        if !refusal.is_of_account() {
            return Err(refusal);
        }
        // A sound account may be forbidden a name as well: only what the CA says of the account itself counts.
        match self.tell_contact().await {
            Err(error) if error.is_of_account() => self.renew_account(&refusal).await,
            _ => Err(refusal),
        }
    }

    /// Makes a new account in place of one that the CA does not accept any more.
    async fn renew_account(&mut self, why: &AcmeError) -> Result<(), AcmeError> {
        lose(self.ca, self.tell, why.to_string())?;
        self.account = make(self.ca, &self.transport, &self.seen, self.tell).await?;
        Ok(())
    }

    pub(super) fn failed(&self, doing: &'static str, error: instant_acme::Error) -> AcmeError {
        AcmeError::of(doing, error, self.seen.retry_after())
    }

    async fn change_contact(&mut self) -> Result<(), AcmeError> {
        match self.tell_contact().await {
            Ok(()) => {}
            Err(error) if error.is_of_account() => return self.renew_account(&error).await,
            Err(error) => return Err(error),
        }
        let Some(kept) = read(&self.ca.account_file)? else {
            return Err(AcmeError::AccountFile {
                path: self.ca.account_file.clone(),
                reason: "it is gone".to_owned(),
            });
        };
        keep(self.ca, kept.account)?;
        (self.tell)(Step::ContactChanged);
        Ok(())
    }
    /// Tells the CA our contact addresses (RFC 8555 §7.3.2). It answers so only for an account that is in force.
    async fn tell_contact(&self) -> Result<(), AcmeError> {
        let contact: Vec<_> = self.ca.contact.iter().map(String::as_str).collect();
        let told = with_fresh_nonce!(self.account.update_contacts(&contact).await);
        told.map_err(|error| self.failed("changing the contact addresses", error))
    }
}

fn carrier(transport: &Arc<dyn Transport>, seen: &Seen) -> Box<dyn HttpClient> {
    Box::new(Carrier { transport: Arc::clone(transport), seen: seen.clone() })
}

async fn make(
    ca: &Ca,
    transport: &Arc<dyn Transport>,
    seen: &Seen,
    tell: &Tell,
) -> Result<Account, AcmeError> {
    let contact: Vec<_> = ca.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external =
        ca.external.as_ref().map(|external| ExternalAccountKey::new(external.key_id.clone(), &external.key));
    let made = with_fresh_nonce!({
        let builder = Account::builder_with_http(carrier(transport, seen));
        builder.create(&wanted, ca.directory.clone(), external.as_ref()).await
    });
    let (account, credentials) =
        made.map_err(|error| AcmeError::of("making an account", error, seen.retry_after()))?;
    keep(ca, credentials)?;
    tell(Step::AccountMade { url: postern_smtp::text::clean(account.id(), 300) });
    Ok(account)
}

fn contacts(ca: &Ca) -> BTreeSet<String> {
    ca.contact.iter().cloned().collect()
}

/// The account that there is. A file that is broken is an error: the account in it may be the one that matters.
fn read(path: &Path) -> Result<Option<Kept>, AcmeError> {
    let content = match files::read(path) {
        Ok(content) => Zeroizing::new(content),
        Err(Error::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let broken = |error: serde_json::Error| AcmeError::AccountFile {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    serde_json::from_slice(&content).map(Some).map_err(broken)
}

fn keep(ca: &Ca, account: AccountCredentials) -> Result<(), AcmeError> {
    let path = &ca.account_file;
    let kept = Kept { directory: ca.directory.clone(), contact: contacts(ca), account };
    let content = serde_json::to_vec_pretty(&kept)
        .map_err(|error| AcmeError::AccountFile { path: path.clone(), reason: error.to_string() })?;
    let content = Zeroizing::new(content);
    files::make_folder(path.parent().unwrap_or(Path::new(".")), PRIVATE_FOLDER)?;
    Ok(files::write(path, &content, PRIVATE_FILE, Existing::Replace)?)
}

/// Sets the account's file aside: only the last one is kept there.
fn lose(ca: &Ca, tell: &Tell, why: String) -> Result<(), AcmeError> {
    let path = &ca.account_file;
    let aside = path.with_extension("json.previous");
    std::fs::rename(path, &aside).map_err(|source| Error::Unwritable { path: aside, source })?;
    tell(Step::AccountLost { why });
    Ok(())
}
