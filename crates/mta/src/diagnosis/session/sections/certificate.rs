//! Certificates: ours, which a program rejects, and the program's own.

use super::steps::{SERVER_NAME, TRUST};
use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const UNKNOWN_AUTHORITY: Section = Section {
    title: "The program does not trust the certificate's authority",
    meaning: "The program said unknown_ca: it knows no authority that vouches for the certificate. The certificate comes from a private authority whose root is not installed there; or the chain that the server sends lacks an intermediate; or the program's list of authorities is too old; or a virus scanner shows a certificate of its own.",
    user: "Your mail program does not know the authority that vouches for {host}. Install the root certificate that your administrator gives you; do not tell the program to accept any certificate.",
    remedy: "With the private CA: `postern ca root` shows the root and how programs come to trust it. With a public authority: `postern cert check` says whether the chain is whole. A certificate from a public authority (`[[acme]]`) is trusted without installing anything.",
    programs: TRUST,
    symptoms: &[
        "The certificate chain was issued by an authority that is not trusted",
        "untrusted root",
        "unable to get local issuer certificate",
        "self-signed certificate in certificate chain",
        "SEC_ERROR_UNKNOWN_ISSUER",
        "Cannot Verify Server Identity",
        "0x800B0109",
        "0x80090325",
    ],
    gravity: Gravity::Person,
};

pub(crate) const BAD_CERTIFICATE: Section = Section {
    title: "The program finds the certificate bad",
    meaning: "The program said bad_certificate. Most programs say so for whatever displeases them: a name that does not fit, an authority that they do not know, a signature that they cannot check.",
    user: "Your mail program rejects the certificate of {host}. Check that the server's name is entered exactly as {host}, and that the date of your computer is right.",
    remedy: "`postern cert check` says whether the certificate, its chain and its names are right. Compare the name that the program asked for with those in the certificate, and have the root installed if the authority is private (`postern ca root`).",
    programs: SERVER_NAME,
    symptoms: &[
        "alert bad certificate",
        "SSL_ERROR_BAD_CERT_DOMAIN",
        "hostname mismatch",
        "The server you are connected to is using a security certificate that cannot be verified",
    ],
    gravity: Gravity::Person,
};

pub(crate) const CERTIFICATE_EXPIRED: Section = Section {
    title: "The program takes the certificate for expired",
    meaning: "The program said certificate_expired: the certificate, or one above it in the chain, is no longer valid, or not yet, by the clock of the computer that the program runs on.",
    user: "Your mail program says that the certificate of {host} has expired. Check the date and time of your computer or device; if they are right, tell your administrator.",
    remedy: "`postern cert list` says until when certificates are good, and which are being served; `postern cert renew` renews one. If ours is good, the clock there is wrong, or its list of authorities is so old that an expired root stands in it.",
    programs: &[(
        Program::Printer,
        "Set date, time and time zone, or an NTP server: a device without a clock stands in 1970 after a power failure.",
    )],
    symptoms: &[
        "certificate has expired",
        "certificate is not yet valid",
        "SEC_ERROR_EXPIRED_CERTIFICATE",
        "0x800B0101",
    ],
    gravity: Gravity::Person,
};

pub(crate) const CERTIFICATE_UNKNOWN: Section = Section {
    title: "The program rejects the certificate without saying why",
    meaning: "The program said certificate_unknown, which stands for any other reason. Java, Android, Apple's and Windows' TLS say so when they do not trust the authority or the name does not fit; so does a program whose user has just said no.",
    user: "Your mail program rejects the certificate of {host}. Check that the server's name is entered exactly as {host}; if it asks whether to trust the certificate, ask your administrator first.",
    remedy: "As with unknown-authority and wrong-server-name: `postern cert check`, the name that the program asked for, and the root that it has to know (`postern ca root`). Apple's systems also reject certificates that run for too long: 825 days from a private authority, 398 from a public one.",
    programs: TRUST,
    symptoms: &[
        "alert certificate unknown",
        "PKIX path building failed",
        "Trust anchor for certification path not found",
        "Cannot Verify Server Identity",
    ],
    gravity: Gravity::Person,
};

pub(crate) const UNSUPPORTED_CERTIFICATE: Section = Section {
    title: "The program does not take certificates of this kind",
    meaning: "The program said unsupported_certificate: the certificate is not marked for servers (extended key usage), or its kind of key or signature is unknown there.",
    user: "Your mail program cannot use the certificate of {host}. Install its updates, and tell your administrator.",
    remedy: "`postern cert show` says what a certificate is for: it must say server authentication. For old programs have an identity with an RSA key besides: `key_type = \"rsa-2048\"` in [[tls.identity]].",
    programs: &[],
    symptoms: &[
        "alert unsupported certificate",
        "unsuitable certificate purpose",
        "SEC_ERROR_INADEQUATE_KEY_USAGE",
    ],
    gravity: Gravity::Person,
};

pub(crate) const CERTIFICATE_REVOKED: Section = Section {
    title: "The program takes the certificate for revoked",
    meaning: "The program said certificate_revoked: it has asked the authority, or looked into its list, and the certificate stands there as withdrawn.",
    user: "Your mail program says that the certificate of {host} was withdrawn. Do not go round it; tell your administrator.",
    remedy: "`postern cert list` names what is being served. If it was revoked, request a new one (`postern cert request`) and install it; with the private CA, `postern ca list` says when and why.",
    programs: &[],
    symptoms: &["certificate revoked", "SEC_ERROR_REVOKED_CERTIFICATE"],
    gravity: Gravity::Person,
};

pub(crate) const WRONG_SERVER_NAME: Section = Section {
    title: "The server's name is not in the certificate",
    meaning: "The program asked for a server name that the certificate does not bear, and went away or said so. The person has entered another name for the same server: an address, an alias, an old name, or the domain alone.",
    user: "The name of the outgoing server in your mail program does not fit its certificate. Enter exactly {host}.",
    remedy: "Tell the person the right name; or have the certificate bear that one, too: `names` in [[tls.identity]], or `postern cert request` with all names.",
    programs: SERVER_NAME,
    symptoms: &[
        "The target principal name is incorrect",
        "0x80090322",
        "0x800B010F",
        "SSL_ERROR_BAD_CERT_DOMAIN",
        "certificate subject name does not match target host name",
        "hostname mismatch",
        "The name on the security certificate is invalid",
    ],
    gravity: Gravity::Person,
};

pub(crate) const LEFT_AFTER_HANDSHAKE: Section = Section {
    title: "The program left as soon as it had seen the certificate",
    meaning: "TLS came about, and the program closed without a command, as many do that look at the certificate only afterwards and do not like it. A monitor that only looks whether the port is alive does the same.",
    user: "Your mail program does not like the certificate of {host}. Check that the server's name is entered exactly as {host}, and look whether it shows a question about the certificate.",
    remedy: "Compare the name that the program asked for with those in the certificate (`postern cert list`), and have the root installed there if the authority is private (`postern ca root`).",
    programs: TRUST,
    symptoms: &["The certificate hostname does not match", "The certificate is NOT trusted"],
    gravity: Gravity::Program,
};

pub(crate) const CLIENT_CERTIFICATE_NEEDED: Section = Section {
    title: "A client certificate is needed, and none was shown",
    meaning: "The listener, or a policy for this sender or network, takes mail only from clients that prove who they are with a certificate of their own.",
    user: "{host} wants a certificate from your mail program. Install the one that your administrator has made for you, and choose it in the settings of the account.",
    remedy: "Make one with `postern ca issue`, or loosen what demands it: `client_certificates` on the [[listener]], or the [[inbound.policy]] that the log names.",
    programs: &[
        (Program::Msmtp, "`tls_cert_file` and `tls_key_file`."),
        (Program::Curl, "`--cert` and `--key`."),
        (Program::Swaks, "`--tls-cert` and `--tls-key`."),
        (Program::Smtplib, "`context.load_cert_chain(certfile, keyfile)`."),
        (Program::OpensslClient, "`-cert` and `-key`."),
        (
            Program::MailServer,
            "In Postfix `smtp_tls_cert_file` and `smtp_tls_key_file`, in Exim `tls_certificate` and `tls_privatekey` of the transport.",
        ),
    ],
    symptoms: &["alert certificate required"],
    gravity: Gravity::Program,
};

pub(crate) const CLIENT_CERTIFICATE_UNPROVED: Section = Section {
    title: "The client's certificate does not verify",
    meaning: "The client showed a certificate, but it has expired, or comes from an authority that is not trusted for this.",
    user: "The certificate that your mail program shows to {host} is no longer good. Ask your administrator for a new one.",
    remedy: "The explanation says what is wrong with it. Issue a new one (`postern ca issue`), or have the listener's `client_ca` hold the authority that the client's comes from.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};
