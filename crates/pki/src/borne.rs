//! The names that a certificate bears, as far as they can be read.
//!
//! [`BorneNames`] keeps every name that is one and tells the others. That is for looking at certificates of others, who put
//! all kinds of things beside the host names: the login name of an account, an address on the web. What is asked for is
//! taken strictly instead: see [`SigningRequest`](crate::SigningRequest).
//!
//! What it deliberately does not do: look at the common name, which no program of today takes for a host.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{BadName, Name};

/// What stands in a certificate as its names (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BorneNames {
    /// The host names, addresses and mail addresses.
    pub names: Vec<Name>,
    /// Those that are written as one of these and are none, with the reason.
    pub unsound: Vec<BadName>,
    /// How many are of another kind, which mail has no use for.
    pub others: usize,
}

impl BorneNames {
    /// Reads the names of a certificate in DER; `None` where their list is damaged, so that nobody knows them.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut borne = Self::default();
        let listed = parsed.subject_alternative_name().ok()?;
        for name in listed.iter().flat_map(|extension| &extension.value.general_names) {
            borne.take(name);
        }
        Some(borne)
    }

    fn take(&mut self, name: &GeneralName<'_>) {
        use GeneralName::{DNSName, IPAddress, Invalid, RFC822Name};
        match (Name::of(name), name) {
            (Ok(name), _) => self.names.push(name),
            (Err(bad), DNSName(_) | IPAddress(_) | RFC822Name(_) | Invalid(..)) => self.unsound.push(bad),
            (Err(_), _) => self.others += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType, string::Ia5String};

    use super::*;

    fn made(params: &CertificateParams) -> Vec<u8> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn an_odd_name_hides_none_of_the_others() {
        let mut params = CertificateParams::new(vec!["Mail.example.org".to_owned()]).unwrap();
        let login = (vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "mail@example.org".into());
        params.subject_alt_names.insert(0, SanType::OtherName(login));
        let odd = Ia5String::try_from("under_score.example.org").unwrap();
        params.subject_alt_names.push(SanType::DnsName(odd));
        params.subject_alt_names.push(SanType::IpAddress([192, 0, 2, 1].into()));
        let borne = BorneNames::of(&made(&params)).unwrap();
        let shown: Vec<String> = borne.names.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["mail.example.org", "192.0.2.1"]);
        assert_eq!(
            borne.unsound.iter().map(|bad| bad.shown.as_str()).collect::<Vec<_>>(),
            ["under_score.example.org"]
        );
        assert_eq!(borne.others, 1);
    }

    #[test]
    fn a_damaged_list_of_names_is_not_taken_for_an_empty_one() {
        let mut params = CertificateParams::default();
        assert_eq!(BorneNames::of(&made(&params)), Some(BorneNames::default()));
        let damaged = CustomExtension::from_oid_content(&[2, 5, 29, 17], b"\x30\x05\x82".to_vec());
        params.custom_extensions.push(damaged);
        assert_eq!(BorneNames::of(&made(&params)), None);
    }
}
