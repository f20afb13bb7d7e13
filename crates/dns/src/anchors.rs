//! What validation starts from: the keys of the root, or of the zones that a file names.
//!
//! The types to know: `Anchors`, what was read; and [`AnchorError`], why a file is of no use. [`check_anchors`] says the same
//! before anything runs. A file takes the place of the built-in keys and is not added to them; it is read once, when
//! the resolver is made.
//!
//! What it deliberately does not do: follow a change of the root's key by itself (RFC 5011), or fetch anchors.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use domain::base::iana::Class;
use domain::base::name::ToName;
use domain::base::{Name, Rtype};
use domain::dnssec::validator::anchor::TrustAnchors;
use domain::zonefile::inplace::{Entry, Zonefile};

use crate::message::WireName;

/// The root's keys of 2017 and 2024 (IANA, <https://data.iana.org/root-anchors/root-anchors.xml>). A file overrides
/// them, and is what to use when the root's key has changed since this was built.
const ROOT: &str = "\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";

/// The longest anchor file that is read, in octets.
const MAX_FILE: u64 = 65_536;

/// Trust anchors, and a zone that they speak for.
pub(crate) struct Anchors {
    pub(crate) trusted: TrustAnchors,
    /// The first zone named; validation is tried on it.
    pub(crate) zone: WireName,
}

/// An anchor file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// It cannot be read.
    #[error(
        "{path}: {source}; name a readable file of DS or DNSKEY records, or none to use the root's own keys"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error(
        "{path}: {what}; it must hold DS or DNSKEY records as in a zone file, such as \". IN DS 20326 8 2 E06D…\""
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Whether a file holds trust anchors that can be used.
///
/// # Errors
/// [`AnchorError`].
pub fn check_anchors(path: &Path) -> Result<(), AnchorError> {
    Anchors::load(Some(path)).map(drop)
}

impl Anchors {
    /// The anchors of a file, or those of the root that are built in.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, AnchorError> {
        let (path, text) = match file {
            Some(path) => (path, read_file(path)?),
            None => (Path::new("built-in root keys"), ROOT.as_bytes().to_vec()),
        };
        Self::parse(&text).map_err(|what| AnchorError::Malformed { path: path.to_owned(), what })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut zonefile = Zonefile::new();
        zonefile.set_default_class(Class::IN);
        // Anchor files of other programs write no time to live.
        zonefile.set_origin(Name::root());
        zonefile.extend_from_slice(text);
        zonefile.extend_from_slice(b"\n");
        let mut zone = None;
        for entry in zonefile {
            let Entry::Record(record) = entry.map_err(|error| error.to_string())? else {
                return Err("it includes another file".to_owned());
            };
            if !matches!(record.rtype(), Rtype::DS | Rtype::DNSKEY) {
                return Err(format!("it holds a record of type {}", record.rtype()));
            }
            zone.get_or_insert_with(|| record.owner().to_name());
        }
        let zone = zone.ok_or("it holds no record")?;
        let trusted = TrustAnchors::from_u8(text).map_err(|error| error.to_string())?;
        Ok(Self { trusted, zone })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, AnchorError> {
    let unreadable = |source| AnchorError::Unreadable { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        let what = format!("it has more than {MAX_FILE} octets");
        return Err(AnchorError::Malformed { path: path.to_owned(), what });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_s_own_keys_are_built_in() {
        let anchors = Anchors::load(None).expect("anchors");
        assert!(anchors.zone.is_root());
    }

    #[test]
    fn a_file_as_other_programs_write_it_is_read() {
        for text in [
            "; a comment\nexample. DS 29343 13 2 336f9371bce3beddfb3726c9114203f9926f21589f219f951618b07fc4e4a8bb",
            "example.\t172800\tIN\tDNSKEY 257 3 13 e3Z5cwrF+a8rgXXmOJ+LPgdnSdJ2UYLqYrZ9cQx4Dr2OWpwUFmPC8ijf1jSKIUmlcIV19XJGeq6ejX0qiOF7cQ== ;{id = 1}\n",
        ] {
            let anchors = Anchors::parse(text.as_bytes()).expect("anchors");
            assert_eq!(anchors.zone.to_string(), "example");
        }
    }

    #[test]
    fn what_is_no_anchor_is_refused() {
        for (text, what) in [
            ("", "it holds no record"),
            ("; nothing\n", "it holds no record"),
            (". IN A 192.0.2.1", "it holds a record of type A"),
            ("$INCLUDE /etc/passwd", "it includes another file"),
        ] {
            assert_eq!(Anchors::parse(text.as_bytes()).err().as_deref(), Some(what), "{text}");
        }
        assert!(Anchors::parse(b"<xml>").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Anchors::load(Some(Path::new("/nonexistent/root.key"))).err().expect("an error");
        assert!(error.to_string().starts_with("/nonexistent/root.key: "), "{error}");
    }
}
