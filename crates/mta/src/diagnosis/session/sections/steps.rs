//! Steps in programs that several causes share.

use crate::diagnosis::session::Program;

type Steps = &'static [(Program, &'static str)];

/// To choose the encryption that fits the port.
pub(super) const ENCRYPTION: Steps = &[
    (
        Program::OutlookClassic,
        "File > Account Settings > Server Settings > Outgoing mail: port {starttls_port} with the encryption method STARTTLS, or port {tls_port} with SSL/TLS. In older versions: File > Account Settings > Account Settings, Change, More Settings, the tab Advanced.",
    ),
    (
        Program::OutlookNew,
        "The server settings of the account, part SMTP (outgoing): port {starttls_port} with the secure connection type STARTTLS, or port {tls_port} with SSL/TLS. Where they cannot be changed, remove the account and add it again.",
    ),
    (
        Program::Thunderbird,
        "Account Settings > Outgoing Server (SMTP) > Edit: port {starttls_port} with the connection security STARTTLS, or port {tls_port} with SSL/TLS.",
    ),
    (
        Program::AppleMail,
        "Mail > Settings > Accounts > Server Settings, Outgoing Mail Server: untick \"Automatically manage connection settings\", enter port {starttls_port} or {tls_port} and tick \"Use TLS/SSL\".",
    ),
    (
        Program::IosMail,
        "Settings > Mail > Accounts (newer versions: Settings > Apps > Mail > Mail Accounts) > the account > SMTP > the primary server: turn \"Use SSL\" on, server port {starttls_port} or {tls_port}.",
    ),
    (
        Program::GmailApp,
        "Settings > the account > Outgoing settings: port {starttls_port} with the security type STARTTLS, or port {tls_port} with SSL/TLS.",
    ),
    (
        Program::ThunderbirdAndroid,
        "Settings > the account > Sending mail > Outgoing server: security STARTTLS with port {starttls_port}, or SSL/TLS with port {tls_port}.",
    ),
    (
        Program::Printer,
        "In the device's web page, where the mail or SMTP server is set: port {starttls_port} and STARTTLS (sometimes called TLS), or port {tls_port} and SSL (sometimes called SSL/TLS or SMTPS). \"Auto\" is not enough on many devices.",
    ),
    (
        Program::Msmtp,
        "`tls on`, and either `port {starttls_port}` with `tls_starttls on`, or `port {tls_port}` with `tls_starttls off`.",
    ),
    (
        Program::Mutt,
        "`set smtp_url=\"smtp://{user}@{host}:{starttls_port}/\"` with `set ssl_starttls=yes` and `set ssl_force_tls=yes`, or `set smtp_url=\"smtps://{user}@{host}:{tls_port}/\"`.",
    ),
    (
        Program::SNail,
        "`set mta=smtp://{host}:{starttls_port} smtp-use-starttls`, or `set mta=smtps://{host}:{tls_port}`.",
    ),
    (
        Program::Swaks,
        "`--server {host} --port {starttls_port} --tls`, or `--server {host} --port {tls_port} --tls-on-connect`.",
    ),
    (Program::Curl, "`smtp://{host}:{starttls_port} --ssl-reqd`, or `smtps://{host}:{tls_port}`."),
    (
        Program::Smtplib,
        "`smtplib.SMTP(\"{host}\", {starttls_port})` and then `starttls(context=ssl.create_default_context())`, or `smtplib.SMTP_SSL(\"{host}\", {tls_port})`.",
    ),
    (
        Program::NetSmtp,
        "`Net::SMTP->new(\"{host}\", Port => {starttls_port})` and then `starttls`, or `Port => {tls_port}, SSL => 1`.",
    ),
    (
        Program::Nodemailer,
        "`port: {starttls_port}, secure: false, requireTLS: true`, or `port: {tls_port}, secure: true`.",
    ),
    (
        Program::PhpMailer,
        "`$mail->Port = {starttls_port}` with `$mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS`, or `$mail->Port = {tls_port}` with `PHPMailer::ENCRYPTION_SMTPS`.",
    ),
    (
        Program::WordPress,
        "WP Mail SMTP > Settings, Other SMTP: encryption TLS with port {starttls_port}, or SSL with port {tls_port}.",
    ),
    (
        Program::OpensslClient,
        "`openssl s_client -starttls smtp -connect {host}:{starttls_port}`, or `openssl s_client -connect {host}:{tls_port}`.",
    ),
];

/// To sign in at all.
pub(super) const SIGN_IN: Steps = &[
    (
        Program::OutlookClassic,
        "File > Account Settings > Server Settings > Outgoing mail: tick \"My outgoing (SMTP) server requires authentication\" and \"Use same settings as my incoming mail server\". In older versions: More Settings, the tab Outgoing Server.",
    ),
    (
        Program::Thunderbird,
        "Account Settings > Outgoing Server (SMTP) > Edit: authentication method \"Normal password\", {login}.",
    ),
    (
        Program::AppleMail,
        "Mail > Settings > Accounts > Server Settings, Outgoing Mail Server: authentication \"Password\", {login}.",
    ),
    (
        Program::IosMail,
        "Settings > Mail > Accounts (newer versions: Settings > Apps > Mail > Mail Accounts) > the account > SMTP > the primary server: {login}, the password, authentication \"Password\".",
    ),
    (
        Program::GmailApp,
        "Settings > the account > Outgoing settings: tick \"Require sign-in\" and enter {login} and the password.",
    ),
    (
        Program::ThunderbirdAndroid,
        "Settings > the account > Sending mail > Outgoing server: tick \"Require sign-in\", {login}, authentication \"Normal password\".",
    ),
    (
        Program::Printer,
        "In the device's web page, where the mail or SMTP server is set: turn SMTP authentication on and enter {login} and the password. Do not choose \"POP before SMTP\".",
    ),
    (Program::Msmtp, "`auth on`, `user {user}`, and `passwordeval` with a command that prints the password."),
    (Program::Mutt, "Put the name into `smtp_url`, as in `smtp://{user}@{host}`, and set `smtp_pass`."),
    (Program::Swaks, "`--auth PLAIN --auth-user {user}`; it asks for the password."),
    (Program::Curl, "`--user {user}`; it asks for the password."),
    (Program::Smtplib, "Call `login(\"{user}\", password)` after `starttls()` and before `send_message()`."),
    (Program::NetSmtp, "Call `auth(\"{user}\", $password)` after `starttls` and before `mail`."),
    (Program::Nodemailer, "`auth: { user: \"{user}\", pass: … }`."),
    (Program::PhpMailer, "`$mail->SMTPAuth = true`, `$mail->Username = \"{user}\"` and `$mail->Password`."),
    (
        Program::WordPress,
        "WP Mail SMTP > Settings, Other SMTP: turn Authentication on, enter {login} and the password.",
    ),
];

/// To enter another name or password.
pub(super) const CREDENTIALS: Steps = &[
    (
        Program::OutlookClassic,
        "File > Account Settings > Account Settings, select the account, Change: {login} and the password. Where the outgoing server has a name of its own: More Settings, the tab Outgoing Server, \"Log on using\".",
    ),
    (
        Program::Thunderbird,
        "Account Settings > Outgoing Server (SMTP) > Edit: {login}. A wrong password that is stored: Settings > Privacy & Security > Saved Passwords, remove the entry that begins with smtp://.",
    ),
    (
        Program::AppleMail,
        "Mail > Settings > Accounts > Server Settings, Outgoing Mail Server: {login} and the password.",
    ),
    (
        Program::IosMail,
        "Settings > Mail > Accounts (newer versions: Settings > Apps > Mail > Mail Accounts) > the account > SMTP > the primary server: {login} and the password. It is kept apart from the one for incoming mail.",
    ),
    (Program::GmailApp, "Settings > the account > Outgoing settings: {login} and the password."),
    (
        Program::ThunderbirdAndroid,
        "Settings > the account > Sending mail > Outgoing server: {login} and the password.",
    ),
    (
        Program::Printer,
        "In the device's web page, under SMTP authentication: {login} and the password. Some devices cut long passwords off, and some take only ASCII letters and digits.",
    ),
    (Program::Msmtp, "`user {user}`, and what `password` or `passwordeval` gives."),
    (Program::Curl, "`--user '{user}'`: in a URL, an @ in the name must be written %40."),
    (Program::Mutt, "In `smtp_url` an @ in the name must be written %40; the password is `smtp_pass`."),
];

/// To trust the authority that the certificate comes from.
pub(super) const TRUST: Steps = &[
    (
        Program::OutlookClassic,
        "Windows decides: import the root certificate by certlm.msc (or by group policy) into \"Trusted Root Certification Authorities\".",
    ),
    (
        Program::OutlookNew,
        "Windows decides: import the root certificate by certlm.msc (or by group policy) into \"Trusted Root Certification Authorities\".",
    ),
    (
        Program::Thunderbird,
        "Settings > Privacy & Security > Certificates > Manage Certificates > Authorities > Import, and tick that it may identify websites. It has a list of its own, besides the system's.",
    ),
    (
        Program::AppleMail,
        "Open the root certificate with Keychain Access, keychain System, and set it to \"Always Trust\".",
    ),
    (
        Program::IosMail,
        "Open the root certificate as a profile and install it in Settings > General > VPN & Device Management; then turn it on in Settings > General > About > Certificate Trust Settings. Without the second step it does not count.",
    ),
    (
        Program::Printer,
        "In the device's web page, under security or certificates: import the root certificate (often as \"CA certificate\", in PEM or DER).",
    ),
    (Program::Msmtp, "`tls_trust_file /path/to/root.pem`; `system` stands for what the system trusts."),
    (
        Program::Mutt,
        "`set certificate_file=…` or, with GnuTLS, `set ssl_ca_certificates_file=/path/to/root.pem`.",
    ),
    (Program::SNail, "`set tls-ca-file=/path/to/root.pem`."),
    (Program::Swaks, "`--tls-verify --tls-ca-path /path/to/root.pem`."),
    (Program::Curl, "`--cacert /path/to/root.pem`."),
    (Program::Smtplib, "`ssl.create_default_context(cafile=\"/path/to/root.pem\")`."),
    (Program::NetSmtp, "`SSL_ca_file => \"/path/to/root.pem\"`."),
    (
        Program::Nodemailer,
        "`tls: { ca: fs.readFileSync(\"/path/to/root.pem\") }`, or NODE_EXTRA_CA_CERTS in the environment.",
    ),
    (
        Program::PhpMailer,
        "`openssl.cafile` in php.ini, or `$mail->SMTPOptions = [\"ssl\" => [\"cafile\" => \"/path/to/root.pem\"]]`.",
    ),
    (Program::OpensslClient, "`-CAfile /path/to/root.pem -verify_return_error`."),
];

/// To enter the server's name.
pub(super) const SERVER_NAME: Steps = &[
    (Program::OutlookClassic, "File > Account Settings > Server Settings > Outgoing mail: server {host}."),
    (Program::Thunderbird, "Account Settings > Outgoing Server (SMTP) > Edit: server name {host}."),
    (
        Program::AppleMail,
        "Mail > Settings > Accounts > Server Settings, Outgoing Mail Server: host name {host}.",
    ),
    (
        Program::IosMail,
        "Settings > Mail > Accounts (newer versions: Settings > Apps > Mail > Mail Accounts) > the account > SMTP > the primary server: host name {host}.",
    ),
    (Program::GmailApp, "Settings > the account > Outgoing settings: SMTP server {host}."),
    (
        Program::ThunderbirdAndroid,
        "Settings > the account > Sending mail > Outgoing server: SMTP server {host}.",
    ),
    (Program::Printer, "In the device's web page, as the SMTP server: the name {host}, not an address."),
    (Program::Msmtp, "`host {host}`. An alias for it must be said with `tls_host_override {host}`."),
];
