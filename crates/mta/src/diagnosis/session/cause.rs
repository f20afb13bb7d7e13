//! Every trouble that has a name, its token, and the section that explains it.
//!
//! The types to know: [`Cause`]. What it deliberately does not do: recognise a trouble (see [`rows`](super::rows)), or say
//! anything about one (see [`sections`](super::sections)).

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::sections::{
    beginning, certificate, device, limits, message, network, ours, protocol, sender, signing_in,
};

/// Makes the enumeration, the tokens and the way to the sections from one table.
macro_rules! causes {
    ($($(#[doc = $what:literal])+ $variant:ident = $token:literal => $section:path;)*) => {
        /// Why a client could not send. Each has its own section in the page for administrators, and its own remedy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Cause {
            $($(#[doc = $what])+ #[serde(rename = $token)] $variant,)*
        }

        impl Cause {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, which `postern explain` takes.
            pub fn token(self) -> &'static str {
                match self {
                    $(Self::$variant => $token,)*
                }
            }

            /// What there is to say about it.
            pub fn section(self) -> &'static Section {
                match self {
                    $(Self::$variant => &$section,)*
                }
            }
        }
    };
}

causes! {
    /// The client starts TLS at once on a port that begins in clear.
    TlsOnStarttlsPort = "tls-on-starttls-port" => beginning::TLS_ON_STARTTLS_PORT;
    /// The client waits for a banner, or talks in clear, on a port that begins with TLS.
    StarttlsOnTlsPort = "starttls-on-tls-port" => beginning::STARTTLS_ON_TLS_PORT;
    /// The client goes on in clear where STARTTLS is offered and needed.
    StarttlsNotUsed = "starttls-not-used" => beginning::STARTTLS_NOT_USED;
    /// The client leaves after the list of extensions, as it does when STARTTLS is missing from it.
    StarttlsHidden = "starttls-hidden" => beginning::STARTTLS_HIDDEN;
    /// A box on the way overwrites commands with X.
    CommandsGarbled = "commands-garbled" => beginning::COMMANDS_GARBLED;
    /// A virus scanner on the client's machine speaks in its place.
    AntivirusProxy = "antivirus-proxy" => beginning::ANTIVIRUS_PROXY;
    /// Octets in clear came behind STARTTLS.
    ClearAfterStarttls = "clear-after-starttls" => beginning::CLEAR_AFTER_STARTTLS;
    /// The client knows only versions of TLS that are broken.
    OldTlsOnly = "old-tls-only" => beginning::OLD_TLS_ONLY;
    /// The client knows no cipher suite that is taken here.
    NoCommonCipher = "no-common-cipher" => beginning::NO_COMMON_CIPHER;
    /// The client knows no key exchange group that is taken here.
    NoCommonGroup = "no-common-group" => beginning::NO_COMMON_GROUP;
    /// The client knows no signature algorithm that the certificate's key can make.
    NoCommonSignature = "no-common-signature" => beginning::NO_COMMON_SIGNATURE;
    /// The handshake ended with an alert or an error that says nothing of certificates.
    HandshakeFailed = "handshake-failed" => beginning::HANDSHAKE_FAILED;
    /// The client closed during the handshake, without a word.
    ClosedInHandshake = "closed-in-handshake" => beginning::CLOSED_IN_HANDSHAKE;
    /// The handshake began, and then nothing came.
    HandshakeStalled = "handshake-stalled" => beginning::HANDSHAKE_STALLED;

    /// The client does not trust the authority of the certificate.
    UnknownAuthority = "unknown-authority" => certificate::UNKNOWN_AUTHORITY;
    /// The client finds the certificate bad.
    BadCertificate = "bad-certificate" => certificate::BAD_CERTIFICATE;
    /// The client takes the certificate for expired, or not valid yet.
    CertificateExpired = "certificate-expired" => certificate::CERTIFICATE_EXPIRED;
    /// The client rejects the certificate without saying why.
    CertificateUnknown = "certificate-unknown" => certificate::CERTIFICATE_UNKNOWN;
    /// The client does not take certificates of this kind.
    UnsupportedCertificate = "unsupported-certificate" => certificate::UNSUPPORTED_CERTIFICATE;
    /// The client takes the certificate for revoked.
    CertificateRevoked = "certificate-revoked" => certificate::CERTIFICATE_REVOKED;
    /// The client wants a server name that the certificate does not bear.
    WrongServerName = "wrong-server-name" => certificate::WRONG_SERVER_NAME;
    /// The client left as soon as it had seen the certificate.
    LeftAfterHandshake = "left-after-handshake" => certificate::LEFT_AFTER_HANDSHAKE;
    /// The client has to show a certificate of its own, and showed none.
    ClientCertificateNeeded = "client-certificate-needed" => certificate::CLIENT_CERTIFICATE_NEEDED;
    /// The certificate that the client showed does not verify.
    ClientCertificateUnproved = "client-certificate-unproved" => certificate::CLIENT_CERTIFICATE_UNPROVED;

    /// The client wants to sign in without TLS.
    AuthInClear = "auth-in-clear" => signing_in::AUTH_IN_CLEAR;
    /// The client knows no way to sign in that is offered.
    UnsupportedMechanism = "unsupported-mechanism" => signing_in::UNSUPPORTED_MECHANISM;
    /// The client tries to sign in where nobody can.
    NoSignInHere = "no-sign-in-here" => signing_in::NO_SIGN_IN_HERE;
    /// The client sends mail without signing in.
    SignInNotUsed = "sign-in-not-used" => signing_in::SIGN_IN_NOT_USED;
    /// Nobody has the name.
    UnknownAccount = "unknown-account" => signing_in::UNKNOWN_ACCOUNT;
    /// The name lacks its domain.
    NameWithoutDomain = "name-without-domain" => signing_in::NAME_WITHOUT_DOMAIN;
    /// The name has a domain that it should not have.
    NameWithWrongDomain = "name-with-wrong-domain" => signing_in::NAME_WITH_WRONG_DOMAIN;
    /// The name cannot be anybody's.
    UnusableName = "unusable-name" => signing_in::UNUSABLE_NAME;
    /// The password is wrong.
    WrongPassword = "wrong-password" => signing_in::WRONG_PASSWORD;
    /// The account may not be used.
    AccountDisabled = "account-disabled" => signing_in::ACCOUNT_DISABLED;
    /// Only app passwords count for the account.
    AppPasswordNeeded = "app-password-needed" => signing_in::APP_PASSWORD_NEEDED;
    /// The account is banned.
    AccountBanned = "account-banned" => signing_in::ACCOUNT_BANNED;
    /// The client's address is banned.
    ClientBanned = "client-banned" => signing_in::CLIENT_BANNED;
    /// The account is closed to strange networks after many wrong passwords.
    TooManyGuesses = "too-many-guesses" => signing_in::TOO_MANY_GUESSES;
    /// Failed sign-ins come faster than they are looked at.
    SignInsTooFast = "sign-ins-too-fast" => signing_in::SIGN_INS_TOO_FAST;
    /// The access token is no good.
    TokenRejected = "token-rejected" => signing_in::TOKEN_REJECTED;
    /// The proof is right, but not for acting as somebody else.
    ActingAsRefused = "acting-as-refused" => signing_in::ACTING_AS_REFUSED;
    /// The proof was given for another channel.
    OtherChannel = "other-channel" => signing_in::OTHER_CHANNEL;
    /// The client certificate is nobody's.
    CertificateOfNobody = "certificate-of-nobody" => signing_in::CERTIFICATE_OF_NOBODY;
    /// No directory judges such proofs.
    ProofNotJudged = "proof-not-judged" => signing_in::PROOF_NOT_JUDGED;
    /// What the client sent to sign in has the wrong form.
    SignInMalformed = "sign-in-malformed" => signing_in::SIGN_IN_MALFORMED;
    /// The client broke its own sign-in off.
    SignInCancelled = "sign-in-cancelled" => signing_in::SIGN_IN_CANCELLED;
    /// The directory is out of order.
    DirectoryDown = "directory-down" => signing_in::DIRECTORY_DOWN;

    /// The reverse-path is not the user's.
    SenderNotOwned = "sender-not-owned" => sender::SENDER_NOT_OWNED;
    /// The address in From: is not the user's.
    FromNotOwned = "from-not-owned" => sender::FROM_NOT_OWNED;
    /// The address in Sender: is not the user's.
    SenderHeaderNotOwned = "sender-header-not-owned" => sender::SENDER_HEADER_NOT_OWNED;
    /// From: is allowed only on behalf of somebody, with a Sender:.
    FromNeedsSender = "from-needs-sender" => sender::FROM_NEEDS_SENDER;
    /// The app password is bound to other addresses.
    OutsideAppPassword = "outside-app-password" => sender::OUTSIDE_APP_PASSWORD;
    /// A stranger wants to send to a foreign domain.
    RelayDenied = "relay-denied" => sender::RELAY_DENIED;
    /// The domain is ours, the address is nobody's.
    RecipientUnknown = "recipient-unknown" => sender::RECIPIENT_UNKNOWN;
    /// An address is malformed.
    BadAddress = "bad-address" => sender::BAD_ADDRESS;
    /// An address is internationalised, and SMTPUTF8 was not said.
    NeedsSmtputf8 = "needs-smtputf8" => sender::NEEDS_SMTPUTF8;
    /// A policy wants TLS, or better TLS, from this sender or network.
    BetterTlsDemanded = "better-tls-demanded" => sender::BETTER_TLS_DEMANDED;

    /// The message is too large.
    TooLarge = "too-large" => limits::TOO_LARGE;
    /// The message has too many recipients.
    TooManyRecipients = "too-many-recipients" => limits::TOO_MANY_RECIPIENTS;
    /// The session has brought too many messages.
    TooManyMessages = "too-many-messages" => limits::TOO_MANY_MESSAGES;
    /// The client's address has too many sessions open.
    TooManySessions = "too-many-sessions" => limits::TOO_MANY_SESSIONS;
    /// Sessions come too fast.
    SessionsTooFast = "sessions-too-fast" => limits::SESSIONS_TOO_FAST;
    /// Somebody sends too much in a short time.
    TooFast = "too-fast" => limits::TOO_FAST;
    /// The client made too many mistakes.
    TooManyErrors = "too-many-errors" => limits::TOO_MANY_ERRORS;
    /// The session lasted too long.
    SessionTooLong = "session-too-long" => limits::SESSION_TOO_LONG;

    /// A line does not end as lines must.
    BadLineEnding = "bad-line-ending" => message::BAD_LINE_ENDING;
    /// A command's line is too long.
    LineTooLong = "line-too-long" => message::LINE_TOO_LONG;
    /// A command holds octets that are not UTF-8, or control characters.
    BadCharacters = "bad-characters" => message::BAD_CHARACTERS;
    /// Binary content without BDAT.
    BinaryWithoutBdat = "binary-without-bdat" => message::BINARY_WITHOUT_BDAT;
    /// From: or Sender: is missing or cannot be understood.
    HeaderUnreadable = "header-unreadable" => message::HEADER_UNREADABLE;
    /// The message goes in circles.
    MailLoop = "mail-loop" => message::MAIL_LOOP;
    /// Mail to the address for TLS reports that is none.
    NoTlsReport = "no-tls-report" => message::NO_TLS_REPORT;

    /// The client's address is no device's.
    DeviceUnknown = "device-unknown" => device::DEVICE_UNKNOWN;
    /// The device sends as another address than its own.
    DeviceSender = "device-sender" => device::DEVICE_SENDER;
    /// The device may not send there.
    DeviceRecipient = "device-recipient" => device::DEVICE_RECIPIENT;
    /// The device sends too fast.
    DeviceTooFast = "device-too-fast" => device::DEVICE_TOO_FAST;

    /// The client speaks HTTP.
    HttpSpoken = "http-spoken" => protocol::HTTP_SPOKEN;
    /// The client speaks another protocol.
    OtherProtocol = "other-protocol" => protocol::OTHER_PROTOCOL;
    /// The client begins without EHLO.
    HelloMissing = "hello-missing" => protocol::HELLO_MISSING;
    /// Commands come in the wrong order, or make no sense.
    BadSequence = "bad-sequence" => protocol::BAD_SEQUENCE;
    /// A command or parameter is not known here.
    UnknownCommand = "unknown-command" => protocol::UNKNOWN_COMMAND;
    /// XCLIENT from somebody who is no front end.
    XclientRefused = "xclient-refused" => protocol::XCLIENT_REFUSED;

    /// Somebody looked whether the port is open.
    PortScan = "port-scan" => network::PORT_SCAN;
    /// The client said nothing until its time was over.
    SilentClient = "silent-client" => network::SILENT_CLIENT;
    /// The client stopped in the middle of its dialogue.
    StoppedMidway = "stopped-midway" => network::STOPPED_MIDWAY;
    /// The network broke the connection in the middle of content.
    LostInContent = "lost-in-content" => network::LOST_IN_CONTENT;
    /// The network broke the connection elsewhere.
    ConnectionLost = "connection-lost" => network::CONNECTION_LOST;

    /// No certificate of ours is usable.
    NoUsableCertificate = "no-usable-certificate" => ours::NO_USABLE_CERTIFICATE;
    /// Something went wrong here.
    LocalError = "local-error" => ours::LOCAL_ERROR;
    /// The disk is full.
    StorageFull = "storage-full" => ours::STORAGE_FULL;
    /// All sessions are taken.
    ServerBusy = "server-busy" => ours::SERVER_BUSY;
    /// We shut down meanwhile.
    ShuttingDown = "shutting-down" => ours::SHUTTING_DOWN;
}

impl Cause {
    /// The cause with this token.
    pub fn named(token: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| cause.token() == token)
    }

    /// The cause behind a refusal, by the help token of the reply, where the reply leaves no other. `None`: the reply follows
    /// from another one, or says all there is to say.
    pub fn behind(token: &str) -> Option<Self> {
        Some(match token {
            "starttls-first" => Self::StarttlsNotUsed,
            "auth-needs-tls" => Self::AuthInClear,
            "requiretls-in-clear" | "tls-demanded" | "tls-too-old" => Self::BetterTlsDemanded,
            "certificate-needed" => Self::ClientCertificateNeeded,
            "certificate-unproved" => Self::ClientCertificateUnproved,
            "sign-in-first" => Self::SignInNotUsed,
            "unknown-mechanism" => Self::UnsupportedMechanism,
            "bad-credentials" | "too-many-sign-ins" => Self::WrongPassword,
            "sign-in-busy" | "sign-ins-too-fast" => Self::SignInsTooFast,
            "banned" => Self::ClientBanned,
            "unknown-user" => Self::RecipientUnknown,
            "from-unreadable" | "sender-header-unreadable" => Self::HeaderUnreadable,
            "device-author" => Self::DeviceSender,
            "hello-first" => Self::HelloMissing,
            "mail-first" | "rcpt-first" | "nested-mail" | "chunking-begun" => Self::BadSequence,
            "binary-needs-bdat" => Self::BinaryWithoutBdat,
            "too-many-commands" => Self::TooManyErrors,
            "timed-out" => Self::StoppedMidway,
            "xclient-login-refused" => Self::XclientRefused,
            "tls-unavailable" => Self::NoUsableCertificate,
            "too-busy" => Self::ServerBusy,
            "no-valid-recipients" | "expn-refused" => return None,
            same => return Self::named(same),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use postern_smtp::reply::catalogue;

    use super::*;

    #[test]
    fn every_cause_is_found_by_its_token_and_no_two_share_one() {
        let tokens: HashSet<&str> = Cause::ALL.iter().map(|cause| cause.token()).collect();
        assert_eq!(tokens.len(), Cause::ALL.len());
        for &cause in Cause::ALL {
            assert_eq!(Cause::named(cause.token()), Some(cause));
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause.token()));
        }
    }

    #[test]
    fn every_help_token_of_a_reply_leads_to_a_cause_but_those_that_follow_from_others() {
        let alone: Vec<&str> = catalogue::ALL
            .iter()
            .filter_map(|entry| entry.token)
            .filter(|token| Cause::behind(token).is_none())
            .collect();
        assert_eq!(alone, ["no-valid-recipients", "expn-refused"]);
    }
}
