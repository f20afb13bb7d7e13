//! PKCS #12 (RFC 7292): a key and its chain in one file behind a password, for backups and for other programs.
//!
//! [`write()`] makes such a file; [`Bundle`](crate::Bundle) reads them. What it deliberately does not do: write a file
//! without a password.

use p12_keystore::{
    Certificate as ChainCertificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm,
    PrivateKey as ChainKey, PrivateKeyChain,
};
use zeroize::Zeroizing;

use crate::identity::sha256;
use crate::{Chain, Error, Passphrase, PrivateKey};

/// Rounds of key derivation for programs of today: what a guess costs.
const ROUNDS: u32 = 100_000;
/// Old programs, and telephones, are slow.
const OLD_ROUNDS: u32 = 2_048;
/// The longest name that programs show.
const LONGEST_NAME: usize = 64;

/// Who is to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compatibility {
    /// Programs of today: AES-256 and SHA-256.
    #[default]
    Modern,
    /// Windows before Server 2019, macOS before 15, and old telephones: triple DES and SHA-1. Who gets such a file can guess
    /// its password much faster.
    Legacy,
}

/// Puts a key and its chain into one file that the passphrase opens. The name is what programs show.
///
/// # Errors
/// The passphrase is empty, or holds a character that programs treat differently.
pub fn write(
    key: &PrivateKey,
    chain: &Chain,
    passphrase: &Passphrase,
    name: &str,
    compatibility: Compatibility,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let text = passphrase.expose();
    if text.is_empty() {
        return Err(Error::BadPassphrase { reason: "is empty: whoever finds the file has the key" });
    }
    if !text.chars().all(is_basic) {
        return Err(Error::BadPassphrase {
            reason: "holds a character (such as an emoji) that programs treat differently in PKCS #12 files",
        });
    }
    let (encryption, mac, rounds) = match compatibility {
        Compatibility::Modern => {
            (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256, ROUNDS)
        }
        Compatibility::Legacy => {
            (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1, OLD_ROUNDS)
        }
    };
    let writer = store(key, chain, name)?;
    let writer = writer.writer(text).encryption_algorithm(encryption).encryption_iterations(rounds);
    writer
        .mac_algorithm(mac)
        .mac_iterations(rounds)
        .write()
        .map(Zeroizing::new)
        .map_err(|error| crypto(&error))
}

fn store(key: &PrivateKey, chain: &Chain, name: &str) -> Result<KeyStore, Error> {
    let key = ChainKey::from_der(key.pkcs8()).map_err(|error| crypto(&error))?;
    let certificates = chain.certificates().iter().chain(chain.root().filter(|root| *root != chain.leaf()));
    let certificates: Vec<ChainCertificate> = certificates
        .map(|der| ChainCertificate::from_der(der))
        .collect::<Result<_, _>>()
        .map_err(|error| crypto(&error))?;
    let mark = sha256(chain.leaf());
    let entry = PrivateKeyChain::new(&mark[..20], key, certificates);
    let name: String = name.chars().filter(|c| is_basic(*c) && !c.is_control()).take(LONGEST_NAME).collect();
    let mut store = KeyStore::new();
    store.add_entry(&name, KeyStoreEntry::PrivateKeyChain(entry));
    Ok(store)
}

/// Whether every program writes the character in the same two octets (RFC 7292 Appendix B.1).
fn is_basic(c: char) -> bool {
    u32::from(c) <= 0xffff
}

fn crypto(error: &p12_keystore::error::Error) -> Error {
    Error::Crypto(error.to_string())
}
