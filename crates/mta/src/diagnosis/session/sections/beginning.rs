//! How TLS begins, and why it does not come about.

use super::steps::ENCRYPTION;
use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const TLS_ON_STARTTLS_PORT: Section = Section {
    title: "SSL/TLS chosen on the STARTTLS port",
    meaning: "The program begins TLS with its first octet, on a port where the server speaks first and in clear. Each waits for the other's next move, and the program gives up. It is the most common mistake of all: \"SSL/TLS\" was chosen where \"STARTTLS\" belongs, or the port is the wrong one.",
    user: "Your mail program is set to SSL/TLS on a port that needs STARTTLS. In its settings for the outgoing server {host} choose STARTTLS with port {starttls_port}, or SSL/TLS with port {tls_port}.",
    remedy: "With `tls = \"auto\"` on the [[listener]] such programs are served from their second try on. Otherwise tell the person the pair of port and encryption.",
    programs: ENCRYPTION,
    symptoms: &[
        "0x800CCC1A",
        "SSL routines: wrong version number",
        "Connection reset by peer",
        "The server does not support a secure connection",
    ],
    gravity: Gravity::Person,
};

pub(crate) const STARTTLS_ON_TLS_PORT: Section = Section {
    title: "STARTTLS, or no encryption, chosen on the SSL/TLS port",
    meaning: "The program waits for the server's greeting in clear, or says EHLO in clear, on a port where TLS is expected at once (RFC 8314). Nothing is said there before TLS, so the program waits until its time is over; with `tls = \"auto\"` it is greeted after ten seconds of silence, and sooner at its next try.",
    user: "Your mail program is set to STARTTLS, or to no encryption, on port {tls_port}, which needs SSL/TLS. In its settings for the outgoing server {host} choose SSL/TLS with port {tls_port}, or STARTTLS with port {starttls_port}.",
    remedy: "With `tls = \"auto\"` on the [[listener]] a program that waited in vain gets the greeting at its next try, and must then use STARTTLS. Otherwise tell the person the pair of port and encryption.",
    programs: ENCRYPTION,
    symptoms: &[
        "Connection timed out",
        "The server did not respond",
        "No greeting from the server",
        "Outlook error 0x8004210B",
    ],
    gravity: Gravity::Person,
};

pub(crate) const STARTTLS_NOT_USED: Section = Section {
    title: "STARTTLS is offered and not used",
    meaning: "The server offers STARTTLS and takes neither passwords nor mail before it. The program goes on without it: no encryption is chosen in it, or something between the two has hidden the offer from it.",
    user: "Your mail program is set to no encryption. In its settings for the outgoing server {host} choose STARTTLS with port {starttls_port}, or SSL/TLS with port {tls_port}.",
    remedy: "Tell the person the pair of port and encryption. If STARTTLS is chosen there already, something on the way hides it: see starttls-hidden. For a device that cannot encrypt at all there is [[device]] with `tls = \"offered\"`.",
    programs: ENCRYPTION,
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const STARTTLS_HIDDEN: Section = Section {
    title: "The program leaves after EHLO, as if STARTTLS were missing",
    meaning: "The server offered STARTTLS, and the program left at once without asking for it. A program that insists on STARTTLS does so when the offer does not reach it: some firewalls, virus scanners and mobile networks remove it from the list. A program that only looks what a server can do leaves in the same way; then nothing is wrong.",
    user: "Something between your computer and {host} seems to remove the encryption from the connection. Choose SSL/TLS with port {tls_port}: there it cannot be removed. If that helps, tell your administrator which network and which virus scanner you use.",
    remedy: "Run `postern check-server {host}` where the program runs: it shows whether STARTTLS arrives there. Port {tls_port} gets round it.",
    programs: ENCRYPTION,
    symptoms: &[
        "Server does not support STARTTLS",
        "STARTTLS is not available",
        "the server does not support TLS via the STARTTLS command",
    ],
    gravity: Gravity::Program,
};

pub(crate) const COMMANDS_GARBLED: Section = Section {
    title: "A firewall overwrites commands with X",
    meaning: "Commands arrive as XXXX. Some firewalls inspect SMTP and overwrite what they do not know, in both directions, with letters of the same number: Cisco PIX and ASA (`fixup protocol smtp`, `inspect esmtp`) are known for it. The program then sees no STARTTLS and no AUTH.",
    user: "A firewall between your computer and {host} damages the connection. Choose SSL/TLS with port {tls_port}, which it cannot touch, and tell your administrator from which network you came.",
    remedy: "On the firewall turn the inspection of SMTP off (`no inspect esmtp`, `no fixup protocol smtp 25`), or have its policy allow TLS (`allow-tls`). Or use port {tls_port}.",
    programs: &[],
    symptoms: &["250-XXXXXXXA", "220 ***********************", "500 5.5.1 Command not recognised"],
    gravity: Gravity::Program,
};

pub(crate) const ANTIVIRUS_PROXY: Section = Section {
    title: "A virus scanner on the computer stands in between",
    meaning: "The way the program greets and the way TLS is begun do not fit: another program on the same computer makes the connection in its place. Virus scanners that check outgoing mail do so; the mail program then sees the scanner's certificate instead of the server's, and may refuse it.",
    user: "A virus scanner on your computer seems to stand between your mail program and {host}. Turn its check of outgoing mail off, or at least its check of encrypted connections, and try again.",
    remedy: "Look for \"Mail Shield\", \"email scanning\" or \"scan SSL connections\" in the scanner's settings and turn it off for outgoing mail, or import the scanner's own root certificate into the mail program. What is sent is checked again on the server's way, and the password stays between program and server.",
    programs: &[(
        Program::Thunderbird,
        "It trusts only its own list of authorities: a scanner that works in Windows programs can still break it. Turn the scanner's check of encrypted mail connections off.",
    )],
    symptoms: &[
        "The certificate is not trusted because the issuer is a virus scanner",
        "Sending fails since the virus scanner was installed",
    ],
    gravity: Gravity::Person,
};

pub(crate) const CLEAR_AFTER_STARTTLS: Section = Section {
    title: "Text in clear behind STARTTLS",
    meaning: "The program said STARTTLS and then, instead of a handshake, more words in clear; or it sent them in the same packet. An attacker in between does that to have his words taken for the program's (CVE-2011-0411), and so do broken programs. The session is ended.",
    user: "Your mail program begins encryption in a broken way. Update it, or choose SSL/TLS with port {tls_port} for the outgoing server {host}.",
    remedy: "If it happens to one person in one network only, suspect somebody in between. Otherwise update the program, or use port {tls_port}.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const OLD_TLS_ONLY: Section = Section {
    title: "Only SSLv3, TLS 1.0 or TLS 1.1",
    meaning: "The program knows only versions of TLS that have been broken and withdrawn (RFC 7568, RFC 8996). It is old, or an option holds it back.",
    user: "Your mail program or its system is too old to encrypt safely. Install its updates; it needs TLS 1.2 or newer.",
    remedy: "Windows 7 and 8 need update KB3140245 and TLS 1.2 turned on; Android before 5, OS X before 10.9 and Java before 8 have to go. A printer may need new firmware. For one that cannot be updated there is [[device]] with `tls = \"offered\"`, in a network of its own. If the listener demands TLS 1.3 (`tls_minimum`, or `minimum` in [tls]), \"1.2\" lets more programs in and is still safe.",
    programs: &[
        (Program::OutlookClassic, "Windows decides: in Internet Options > Advanced tick \"Use TLS 1.2\"."),
        (Program::Printer, "Update the firmware; in the web page, under security or SSL/TLS, allow TLS 1.2."),
        (Program::OpensslClient, "Leave out -tls1 and -tls1_1."),
        (Program::Smtplib, "Use ssl.create_default_context(), not PROTOCOL_TLSv1."),
    ],
    symptoms: &["alert protocol version", "unsupported protocol", "no protocols available"],
    gravity: Gravity::Person,
};

pub(crate) const NO_COMMON_CIPHER: Section = Section {
    title: "No cipher suite in common",
    meaning: "The program speaks a good version of TLS but none of the cipher suites that are taken here: all of them encrypt and authenticate in one (AEAD) and make new keys for each session (ECDHE). Programs fail with them when they are old, or when somebody has set a list of ciphers.",
    user: "Your mail program cannot agree with {host} on a cipher. Install its updates; if you have chosen ciphers in its settings, go back to the default.",
    remedy: "Look at the suites that the explanation names: without any of ECDHE with AES-GCM or ChaCha20 the program must be updated. A list of ciphers in its configuration must go.",
    programs: &[
        (
            Program::Printer,
            "Update the firmware; in the web page, under security or SSL/TLS, choose the strongest encryption.",
        ),
        (Program::Msmtp, "Remove `tls_priorities`."),
        (Program::Curl, "Remove `--ciphers`."),
        (Program::OpensslClient, "Leave out -cipher and -ciphersuites."),
    ],
    symptoms: &["alert handshake failure", "no shared cipher", "SSL_ERROR_NO_CYPHER_OVERLAP"],
    gravity: Gravity::Person,
};

pub(crate) const NO_COMMON_GROUP: Section = Section {
    title: "No key exchange group in common",
    meaning: "Program and server have no group (curve) for the exchange of keys in common. Here X25519, P-256, P-384 and their post-quantum companions are taken.",
    user: "Your mail program cannot agree with {host} on how to exchange keys. Install its updates; if you have chosen curves or groups in its settings, go back to the default.",
    remedy: "Remove a list of groups or curves from the program's configuration, or update it: P-256 has been everywhere for more than ten years.",
    programs: &[
        (Program::OpensslClient, "Leave out -groups and -curves."),
        (Program::Curl, "Remove `--curves`."),
        (Program::Printer, "Update the firmware."),
    ],
    symptoms: &["alert handshake failure", "no suitable key share", "wrong curve"],
    gravity: Gravity::Person,
};

pub(crate) const NO_COMMON_SIGNATURE: Section = Section {
    title: "The certificate's kind of key is unknown to the program",
    meaning: "The program takes no signature that the certificate's key can make: mostly a program that knows only RSA, while the certificate's key is ECDSA.",
    user: "Your mail program is too old for the certificate of {host}. Install its updates, or ask your administrator.",
    remedy: "Have an identity with an RSA key besides: `key_type = \"rsa-2048\"` in [[tls.identity]], or a new request by `postern cert request`; programs get the one that they understand.",
    programs: &[(Program::Printer, "Update the firmware.")],
    symptoms: &["alert handshake failure", "no suitable signature algorithm"],
    gravity: Gravity::Person,
};

pub(crate) const HANDSHAKE_FAILED: Section = Section {
    title: "The handshake failed",
    meaning: "Encryption did not come about, for a reason that says nothing of certificates: one side broke the rules of TLS, or gave up with a general alert.",
    user: "Your mail program could not begin an encrypted connection with {host}. Install its updates, turn a virus scanner's check of encrypted connections off, and try again.",
    remedy: "The explanation names the alert. Compare with another program from the same network (`postern check-server {host}`): if that works, it is the program; if not, something in between.",
    programs: &[],
    symptoms: &["alert handshake failure", "TLS negotiation failed", "SSL handshake error"],
    gravity: Gravity::Program,
};

pub(crate) const CLOSED_IN_HANDSHAKE: Section = Section {
    title: "The program closed during the handshake, without a word",
    meaning: "The connection was closed between the program's first message of TLS and its last. Some programs do so when they do not like the certificate, instead of saying why; a firewall that breaks encrypted connections looks the same, and so does a port scanner.",
    user: "Your mail program broke the encrypted connection with {host} off while it was being made. Look whether it shows a question about a certificate, and check that the server's name is entered as {host}.",
    remedy: "Check that the certificate's chain and names are right (`postern cert check`), and that the program trusts its authority. If several programs of one network do so, a firewall there breaks TLS.",
    programs: &[],
    symptoms: &["The connection was interrupted", "unexpected eof while reading"],
    gravity: Gravity::Program,
};

pub(crate) const HANDSHAKE_STALLED: Section = Section {
    title: "The handshake began and did not go on",
    meaning: "The program began TLS, the server answered, and then nothing came. Mostly the answer does not arrive: packets of full size are dropped on the way (a tunnel or DSL line with a smaller MTU, and a firewall that drops ICMP). A program that asks its user about the certificate waits, too. On a port that serves either beginning (`tls = \"auto\"`), a first message that is held back on the way for long meets the banner for those who wait for one, and comes to nothing.",
    user: "The encrypted connection with {host} was begun and then nothing came. If your mail program asks about a certificate, answer it; otherwise try another network, such as a mobile phone's.",
    remedy: "Test with large packets from there (`ping -M do -s 1472 {host}`), let ICMP \"fragmentation needed\" through, or clamp the MSS on the router.",
    programs: &[],
    symptoms: &["Connection timed out during the TLS handshake", "The server did not respond"],
    gravity: Gravity::Program,
};
