//! Where the CA's files are.
//!
//! ```text
//! ca/root.pem, root.der       what people import
//! ca/intermediate.pem         what signs daily, if there is one
//! ca/crl.pem, crl.der         the last revocation list
//! ca/responder.pem            the certificate that answers about revocation (OCSP) are signed with
//! ca/records.db               everything that was asked for, issued and revoked
//! ca/private/*.key            the keys of these
//! ```

use std::path::{Path, PathBuf};

use super::records::Past;

/// The CA's folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn private(&self) -> PathBuf {
        self.0.join("private")
    }

    pub(super) fn root_pem(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    pub(super) fn root_der(&self) -> PathBuf {
        self.0.join("root.der")
    }

    pub(super) fn root_key(&self) -> PathBuf {
        self.private().join("root.key")
    }

    pub(super) fn intermediate_pem(&self) -> PathBuf {
        self.0.join("intermediate.pem")
    }

    pub(super) fn intermediate_key(&self) -> PathBuf {
        self.private().join("intermediate.key")
    }

    pub(super) fn responder_pem(&self) -> PathBuf {
        self.0.join("responder.pem")
    }

    pub(super) fn responder_key(&self) -> PathBuf {
        self.private().join("responder.key")
    }

    /// Whether something here was made by a CA that kept records. What cannot be looked at may be.
    pub(super) fn past(&self) -> Past {
        let signs = [self.crl_der(), self.crl_pem(), self.responder_pem(), self.intermediate_pem()];
        let is_new = signs.iter().all(|sign| matches!(sign.try_exists(), Ok(false)));
        if is_new { Past::None } else { Past::Recorded }
    }

    pub(super) fn records(&self) -> PathBuf {
        self.0.join(super::records::FILE)
    }

    pub(super) fn crl_pem(&self) -> PathBuf {
        self.0.join("crl.pem")
    }

    pub(super) fn crl_der(&self) -> PathBuf {
        self.0.join("crl.der")
    }
}
