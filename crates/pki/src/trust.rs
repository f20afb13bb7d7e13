//! Making mail programs trust a private CA: its root in the forms that they import, and what to press.
//!
//! - [`profile`]: the root as a configuration profile for Apple's systems. PEM and DER lie in the CA's folder.
//! - [`INSTRUCTIONS`]: for each program, the file to take and the steps to follow.
//!
//! What it deliberately does not do: install anything.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::certificate::Certificate;
use crate::identity::{fingerprint, hexadecimal, sha256};
use crate::request::RequestDetails;

/// The form of a root certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text that begins with `-----BEGIN CERTIFICATE-----`.
    Pem,
    /// Octets.
    Der,
    /// A configuration profile for Apple's systems.
    Profile,
}

/// How a program is made to trust a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions {
    /// How the program is called on a command line.
    pub token: &'static str,
    /// The program and the systems it is meant on.
    pub program: &'static str,
    /// The form that it imports.
    pub format: Format,
    /// What to do, one step each.
    pub steps: &'static [&'static str],
}

impl Format {
    /// The file's name.
    pub fn file(self) -> &'static str {
        match self {
            Self::Pem => "root.pem",
            Self::Der => "root.crt",
            Self::Profile => "root.mobileconfig",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            // RFC 8555 §9.1
            Self::Pem => "application/pem-certificate-chain",
            // RFC 2585 §4.1
            Self::Der => "application/pkix-cert",
            Self::Profile => "application/x-apple-aspen-config",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pem => "PEM",
            Self::Der => "DER",
            Self::Profile => "Apple profile",
        })
    }
}

/// What to do in each program.
pub const INSTRUCTIONS: &[Instructions] = &[
    Instructions {
        token: "thunderbird",
        program: "Thunderbird (Windows, macOS, Linux)",
        format: Format::Pem,
        steps: &[
            "Open Settings, Privacy & Security, and there under Certificates: Manage Certificates.",
            "On the tab Authorities press Import and choose root.pem.",
            "Tick \"Trust this CA to identify websites\" (mail servers are meant too) and press OK.",
            "For many computers: put root.pem where the policy Certificates/Install of policies.json points to.",
        ],
    },
    Instructions {
        token: "outlook",
        program: "Outlook and Windows Mail (Windows)",
        format: Format::Der,
        steps: &[
            "Open root.crt with a double click and press Install Certificate.",
            "Choose Local Machine (needs an administrator) or Current User.",
            "Choose \"Place all certificates in the following store\", Browse, Trusted Root Certification Authorities.",
            "Finish, confirm the warning after comparing the fingerprint, and start Outlook again.",
            "For a domain: group policy, Computer Configuration, Windows Settings, Security Settings, Public Key Policies, \
             Trusted Root Certification Authorities, Import. By command: certutil -addstore -f Root root.crt",
        ],
    },
    Instructions {
        token: "apple-mail-macos",
        program: "Apple Mail (macOS)",
        format: Format::Profile,
        steps: &[
            "Open root.mobileconfig; System Settings says that a profile was downloaded.",
            "Open System Settings, General, Device Management (older: Privacy & Security, Profiles), and install it.",
            "Without the profile: open root.crt in Keychain Access (System), open the certificate, and choose Always Trust \
             under Trust.",
            "Quit Mail and open it again.",
        ],
    },
    Instructions {
        token: "apple-mail-ios",
        program: "Apple Mail (iOS, iPadOS)",
        format: Format::Profile,
        steps: &[
            "Open root.mobileconfig in Safari, or send it to yourself and open it; allow the download.",
            "Open Settings, Profile Downloaded, and press Install.",
            "Open Settings, General, About, Certificate Trust Settings, and switch the root on. Without this step it is not \
             trusted.",
        ],
    },
    Instructions {
        token: "android",
        program: "Android (Gmail, Outlook and others that ask the system)",
        format: Format::Der,
        steps: &[
            "Copy root.crt to the device.",
            "Open Settings, Security & privacy, More security settings, Encryption & credentials, Install a certificate, CA \
             certificate (the words differ from maker to maker).",
            "Confirm the warning and choose root.crt. The device needs a screen lock.",
            "Some apps trust only the system's own authorities, whatever is installed; they need a certificate of a public \
             CA on the server.",
        ],
    },
    Instructions {
        token: "k-9",
        program: "K-9 Mail and Thunderbird for Android",
        format: Format::Der,
        steps: &[
            "Install root.crt as for Android: these programs trust what the user installed.",
            "Without it they ask at the first connection: compare the fingerprint before accepting, and know that they ask \
             again each time the server's certificate is renewed.",
        ],
    },
    Instructions {
        token: "evolution",
        program: "Evolution (GNOME)",
        format: Format::Pem,
        steps: &[
            "Open Edit, Preferences, Certificates, and there the tab Authorities.",
            "Press Import, choose root.pem, and tick \"Trust this CA to identify websites\".",
            "Or install the root for the whole system (see Debian and RHEL), which Evolution asks too.",
        ],
    },
    Instructions {
        token: "kmail",
        program: "KMail (KDE)",
        format: Format::Pem,
        steps: &[
            "Open System Settings, Security & Privacy (older: SSL Preferences), and there SSL Signers.",
            "Press Add, choose root.pem, and press Apply.",
            "Where this page is missing, install the root for the whole system (see Debian and RHEL).",
        ],
    },
    Instructions {
        token: "mutt",
        program: "mutt and neomutt",
        format: Format::Pem,
        steps: &[
            "Copy root.pem to ~/.mutt/root.pem.",
            "With OpenSSL and GnuTLS alike, write into the muttrc: set certificate_file = ~/.mutt/root.pem",
            "With GnuTLS alone, this one adds to what the system trusts: set ssl_ca_certificates_file = ~/.mutt/root.pem",
            "Keep: set ssl_force_tls = yes, set ssl_verify_host = yes",
        ],
    },
    Instructions {
        token: "msmtp",
        program: "msmtp",
        format: Format::Pem,
        steps: &[
            "Copy root.pem to a place that all who send can read, such as /etc/ssl/postern-root.pem.",
            "Write into the account's section of msmtprc: tls on, tls_trust_file /etc/ssl/postern-root.pem",
            "Leave tls_certcheck on.",
        ],
    },
    Instructions {
        token: "curl",
        program: "curl and swaks",
        format: Format::Pem,
        steps: &[
            "curl --ssl-reqd --cacert root.pem smtp://mail.example.org:587 …",
            "swaks --tls --tls-verify --tls-ca-path root.pem --server mail.example.org …",
        ],
    },
    Instructions {
        token: "java",
        program: "Java (Jakarta Mail, Jenkins, Jira and others)",
        format: Format::Der,
        steps: &[
            "keytool -importcert -cacerts -alias postern -file root.crt (the store's password is changeit unless it was \
             changed)",
            "Compare the fingerprint that keytool shows, answer yes, and start the program again.",
            "Programs that bring a Java of their own have a cacerts file of their own: use its keytool.",
        ],
    },
    Instructions {
        token: "debian",
        program: "Debian and Ubuntu, for all programs that ask the system",
        format: Format::Pem,
        steps: &[
            "Copy root.pem to /usr/local/share/ca-certificates/postern.crt; the ending has to be .crt.",
            "Run, as root: update-ca-certificates",
            "Programs read the list when they start: start them again.",
        ],
    },
    Instructions {
        token: "rhel",
        program: "RHEL, Fedora and their kin, for all programs that ask the system",
        format: Format::Pem,
        steps: &[
            "Copy root.pem to /etc/pki/ca-trust/source/anchors/postern.pem",
            "Run, as root: update-ca-trust",
            "Programs read the list when they start: start them again.",
        ],
    },
];

/// What to do in the program of this name, whichever way it is written.
pub fn instructions(name: &str) -> Option<&'static Instructions> {
    let wanted = name.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    INSTRUCTIONS.iter().find(|instructions| instructions.token == wanted)
}

/// The root as a configuration profile for macOS and iOS. The same root always makes the same profile, so that
/// installing it again replaces it.
pub fn profile(root: &[u8]) -> String {
    let label = escaped(&label(root));
    let digest = fingerprint(root);
    let id = digest.get(..16).unwrap_or_default();
    let (whole, part) = (uuid("profile", root), uuid("certificate", root));
    let data = STANDARD.encode(root);
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>PayloadType</key><string>Configuration</string>
  <key>PayloadVersion</key><integer>1</integer>
  <key>PayloadIdentifier</key><string>postern.ca.{id}</string>
  <key>PayloadUUID</key><string>{whole}</string>
  <key>PayloadDisplayName</key><string>{label}</string>
  <key>PayloadDescription</key><string>Lets this device trust servers with certificates of {label}. SHA-256: {digest}</string>
  <key>PayloadContent</key>
  <array>
    <dict>
      <key>PayloadType</key><string>com.apple.security.root</string>
      <key>PayloadVersion</key><integer>1</integer>
      <key>PayloadIdentifier</key><string>postern.ca.{id}.root</string>
      <key>PayloadUUID</key><string>{part}</string>
      <key>PayloadDisplayName</key><string>{label}</string>
      <key>PayloadCertificateFileName</key><string>root.crt</string>
      <key>PayloadContent</key><data>{data}</data>
    </dict>
  </array>
</dict>
</plist>
"#
    )
}

/// What people call a root: its common name alone, where it has one.
fn label(root: &[u8]) -> String {
    let subject = RequestDetails::of_certificate(root).ok().map(|details| details.subject);
    let named = subject.and_then(|subject| subject.common_name);
    named.unwrap_or_else(|| Certificate::new(root).subject())
}

/// A UUID that follows from the root (RFC 9562 §5.8).
fn uuid(what: &str, root: &[u8]) -> String {
    let mut octets = sha256(&[what.as_bytes(), root].concat());
    octets[6] = octets[6] & 0x0f | 0x80;
    octets[8] = octets[8] & 0x3f | 0x80;
    let digits = hexadecimal(&octets[..16]).to_ascii_uppercase();
    let group = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32))
}

/// Text as XML holds it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            // XML 1.0 §2.2 has no place for these at all.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('?'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_program_is_found_by_its_name_once() {
        let tokens: BTreeSet<_> = INSTRUCTIONS.iter().map(|instructions| instructions.token).collect();
        assert_eq!(tokens.len(), INSTRUCTIONS.len());
        assert_eq!(instructions("Apple Mail iOS").map(|found| found.format), Some(Format::Profile));
        assert_eq!(instructions("pine"), None);
    }

    #[test]
    fn steps_name_the_file_that_they_are_for() {
        for Instructions { token, format, steps, .. } in INSTRUCTIONS {
            assert!(steps.iter().any(|step| step.contains(format.file())), "{token}");
        }
    }

    #[test]
    fn a_uuid_is_well_formed_and_follows_from_the_root() {
        let made = uuid("profile", b"root");
        let lengths: Vec<_> = made.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(made, uuid("profile", b"root"));
        assert_ne!(made, uuid("profile", b"another"));
        assert_ne!(made, uuid("certificate", b"root"));
        assert_eq!(made.as_bytes()[14], b'8');
    }

    #[test]
    fn what_xml_reads_otherwise_is_written_otherwise() {
        assert_eq!(escaped("A&B <\"O'Neil\">\u{0}"), "A&amp;B &lt;&quot;O&apos;Neil&quot;&gt;?");
    }
}
