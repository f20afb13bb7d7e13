//! Mail programs as people set them up: each can be told the port, how TLS begins, whom to trust, who signs in and what to send.
//!
//! A [`Job`] is that; a [`MailProgram`] makes a command of it. All connect to `localhost`, check the certificate as they do by
//! default, and end with a failure when the message was not taken.
//!
//! To add a program: a variant, a function that makes its command, its Debian package in `./test`, and its name in
//! `tests/matrix.rs`, whose table then says what becomes of each setting with it. [`super::thunderbird`] is one that is no command.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::content;
use super::programs::{program, python, text};

/// One message, and how the program is set up that sends it.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub port: u16,
    pub begins: Begins,
    /// The only root that is trusted.
    pub trust: &'a Path,
    /// Name and password, when "my server requires authentication" is ticked.
    pub sign_in: Option<(&'a str, &'a str)>,
    pub from: &'a str,
    pub to: &'a str,
    pub subject: &'a str,
    /// With CRLF at the ends of its lines.
    pub body: &'a [u8],
    /// Nobody else's folder, for settings and the message.
    pub folder: &'a Path,
}

/// How a program begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// In clear, and insists on STARTTLS.
    StartTls,
    /// With TLS from the first octet.
    AtOnce,
    /// In clear, and stays there.
    Clear,
}

/// A program that sends one message and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailProgram {
    Swaks,
    Curl,
    Msmtp,
    Mutt,
    Neomutt,
    SNail,
    Smtplib,
    NetSmtp,
    Nodemailer,
}

/// What they call themselves, where they can be told.
const NAME: &str = "client.test";
/// How long they wait for a server.
const SECONDS: &str = "25";

impl MailProgram {
    /// The program, told to do it.
    pub fn command(self, job: &Job<'_>) -> Command {
        match self {
            MailProgram::Swaks => swaks(job),
            MailProgram::Curl => curl(job),
            MailProgram::Msmtp => msmtp(job),
            MailProgram::Mutt => mutt("mutt", job),
            MailProgram::Neomutt => mutt("neomutt", job),
            MailProgram::SNail => s_nail(job),
            MailProgram::Smtplib => smtplib(job),
            MailProgram::NetSmtp => net_smtp(job),
            MailProgram::Nodemailer => nodemailer(job),
        }
    }
}

impl Job<'_> {
    /// A file with the message, its lines ended as programs on Unix expect them.
    fn message(&self) -> String {
        let message = content::with_body(self.from, self.to, self.subject, self.body);
        self.file("message", &content::unix_lines(&message))
    }

    /// The same with the ends of lines that it has on the wire.
    fn message_as_sent(&self) -> String {
        self.file("message", &content::with_body(self.from, self.to, self.subject, self.body))
    }

    /// A file with the body alone, for programs that write the header themselves.
    fn body_file(&self) -> String {
        self.file("body", &content::unix_lines(self.body))
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.join(name);
        fs::write(&path, content).unwrap();
        // msmtp refuses to read a password from a file that others can read.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        text(&path).to_owned()
    }

    /// How Debug names it, for scripts: `StartTls`, `AtOnce`, `Clear`.
    fn begins_word(&self) -> String {
        format!("{:?}", self.begins)
    }

    /// What the scripts in other languages are called with: how, port, root, user, password, from, to.
    fn arguments(&self) -> Vec<String> {
        let (user, password) = self.sign_in.unwrap_or_default();
        let (port, root) = (self.port.to_string(), text(self.trust));
        let words = [&self.begins_word(), &port, root, user, password, self.from, self.to];
        words.map(str::to_owned).into()
    }

    fn url(&self, user: &str) -> String {
        let scheme = if self.begins == Begins::AtOnce { "smtps" } else { "smtp" };
        format!("{scheme}://{user}localhost:{}", self.port)
    }
}

fn swaks(job: &Job<'_>) -> Command {
    let mut command = program("swaks");
    command.args(["--server", "localhost", "--port", &job.port.to_string(), "--ehlo", NAME]);
    command.args(["--from", job.from, "--to", job.to, "--data", &format!("@{}", job.message())]);
    command.args(["--timeout", &format!("{SECONDS}s")]);
    if let Some((user, password)) = job.sign_in {
        command.args(["--auth", "PLAIN", "--auth-user", user, "--auth-password", password]);
    }
    match job.begins {
        Begins::StartTls => command.args(["--tls", "--tls-verify", "--tls-ca-path", text(job.trust)]),
        Begins::AtOnce => {
            command.args(["--tls-on-connect", "--tls-verify", "--tls-ca-path", text(job.trust)])
        }
        Begins::Clear => &mut command,
    };
    command
}

fn curl(job: &Job<'_>) -> Command {
    let mut command = program("curl");
    command.args(["--silent", "--show-error", "--cacert", text(job.trust), "--max-time", SECONDS]);
    if job.begins != Begins::Clear {
        command.arg("--ssl-reqd");
    }
    command.args(["--url", &format!("{}/{NAME}", job.url(""))]);
    if let Some((user, password)) = job.sign_in {
        command.args(["--user", &format!("{user}:{password}")]);
    }
    command.args(["--mail-from", job.from, "--mail-rcpt", job.to, "--upload-file", &job.message_as_sent()]);
    command
}

fn msmtp(job: &Job<'_>) -> Command {
    let switch = |on: bool| if on { "on" } else { "off" };
    let mut settings = format!(
        "account default\nhost localhost\nport {}\ndomain {NAME}\ntls {}\ntls_starttls {}\ntls_trust_file {}\nfrom {}\n",
        job.port,
        switch(job.begins != Begins::Clear),
        switch(job.begins == Begins::StartTls),
        text(job.trust),
        job.from,
    );
    if let Some((user, password)) = job.sign_in {
        settings += &format!("auth plain\nuser {user}\npassword {password}\n");
    }
    let mut command = program("msmtp");
    command.args(["--file", &job.file("msmtprc", settings.as_bytes())]);
    command.args([&format!("--timeout={SECONDS}"), "--", job.to]);
    command.stdin(fs::File::open(job.message()).unwrap());
    command
}

/// mutt, and the one that descends from it.
fn mutt(name: &str, job: &Job<'_>) -> Command {
    let switch = |on: bool| if on { "yes" } else { "no" };
    let (user, password) = job.sign_in.unwrap_or_default();
    let user = if user.is_empty() { String::new() } else { format!("{}@", percent_encoded(user)) };
    let settings = format!(
        "set smtp_url = \"{}\"\nset smtp_pass = \"{password}\"\nset smtp_authenticators = \"plain\"\n\
         set ssl_force_tls = {}\nset ssl_starttls = {}\nset ssl_ca_certificates_file = \"{root}\"\n\
         set certificate_file = \"{root}\"\nset from = \"{from}\"\nset use_from = yes\n\
         set envelope_from_address = \"{from}\"\nset use_envelope_from = yes\nset copy = no\nset record = \"\"\n\
         set hostname = {NAME}\nset connect_timeout = {SECONDS}\n",
        job.url(&user),
        switch(job.begins != Begins::Clear),
        switch(job.begins == Begins::StartTls),
        from = job.from,
        root = text(job.trust),
    );
    let mut command = program(name);
    command.args(["-n", "-F", &job.file("muttrc", settings.as_bytes()), "-s", job.subject, "--", job.to]);
    command.env("HOME", job.folder).env("TERM", "dumb");
    command.stdin(fs::File::open(job.body_file()).unwrap());
    command
}

fn s_nail(job: &Job<'_>) -> Command {
    let sign_in = |(user, password)| format!("{}:{}@", percent_encoded(user), percent_encoded(password));
    let mut command = program("s-nail");
    let mut set = |what: &str| {
        command.args(["-S", what]);
    };
    set("v15-compat");
    set(&format!("hostname={NAME}"));
    set(if job.sign_in.is_some() { "smtp-auth=plain" } else { "smtp-auth=none" });
    set("tls-verify=strict");
    set(&format!("tls-ca-file={}", text(job.trust)));
    set("tls-ca-no-defaults");
    set(&format!("socket-connect-timeout={SECONDS}"));
    set(&format!("mta={}", job.url(&job.sign_in.map(sign_in).unwrap_or_default())));
    if job.begins == Begins::StartTls {
        set("smtp-use-starttls");
    }
    command.args(["-:/", "-r", job.from, "-s", job.subject, "-S", "sendwait", "-S", "nosave", job.to]);
    command.env("HOME", job.folder).stdin(fs::File::open(job.body_file()).unwrap());
    command
}

fn smtplib(job: &Job<'_>) -> Command {
    let mut command = python(
        "
import base64, smtplib, ssl, sys
seconds, name, file, begins, port, root, user, password, sender, to = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
if begins == 'AtOnce':
    client = smtplib.SMTP_SSL('localhost', int(port), name, context=context, timeout=int(seconds))
else:
    client = smtplib.SMTP('localhost', int(port), name, timeout=int(seconds))
if begins == 'StartTls':
    client.starttls(context=context)
client.ehlo()
if user:
    # smtplib's own login() takes ASCII passwords only.
    code, said = client.docmd('AUTH', 'PLAIN ' + base64.b64encode(f'\\0{user}\\0{password}'.encode()).decode())
    assert code == 235, (code, said)
refused = client.sendmail(sender, [to], open(file).read())
assert not refused, refused
client.quit()
",
    );
    command.args([SECONDS, NAME, &job.message()]).args(job.arguments());
    command
}

fn net_smtp(job: &Job<'_>) -> Command {
    let mut command = program("perl");
    command.args([
        "-e",
        r#"
use strict; use warnings; use Net::SMTP; use Authen::SASL;
my ($seconds, $name, $file, $begins, $port, $root, $user, $password, $from, $to) = @ARGV;
my $smtp = Net::SMTP->new("localhost", Port => $port, Hello => $name, Timeout => $seconds,
    SSL => $begins eq "AtOnce", SSL_ca_file => $root) or die "connecting: $@";
my $check = sub { my ($step, $went_well) = @_; $went_well or die "$step: " . $smtp->code . " " . $smtp->message };
if ($begins eq "StartTls") { $check->("STARTTLS: $@", $smtp->starttls(SSL_ca_file => $root)) }
if ($user ne "") {
    my $sasl = Authen::SASL->new(mechanism => "PLAIN", callback => { user => $user, authname => "", pass => $password });
    $check->("signing in", $smtp->auth($sasl));
}
$check->("MAIL", $smtp->mail($from));
$check->("RCPT", $smtp->recipient($to));
open(my $message, "<", $file) or die $!;
$check->("DATA", $smtp->data(<$message>));
$smtp->quit;
"#,
    ]);
    command.args([SECONDS, NAME, &job.message()]).args(job.arguments());
    command
}

fn nodemailer(job: &Job<'_>) -> Command {
    let mut command = program("node");
    command.args([
        "-e",
        r#"
const [seconds, name, file, begins, port, root, user, password, from, to] = process.argv.slice(1);
const patience = 1000 * seconds;
const sender = require("/usr/share/nodejs/nodemailer").createTransport({
  host: "localhost", port, name, secure: begins == "AtOnce", requireTLS: begins == "StartTls", ignoreTLS: begins == "Clear",
  auth: user ? { user, pass: password } : undefined, authMethod: "PLAIN", tls: { ca: require("fs").readFileSync(root) },
  connectionTimeout: patience, greetingTimeout: patience, socketTimeout: patience,
});
sender.sendMail({ envelope: { from, to: [to] }, raw: { path: file } })
  .then(sent => console.log(sent.response), error => { console.error(error); process.exitCode = 1; });
"#,
        "--",
    ]);
    command.args([SECONDS, NAME, &job.message()]).args(job.arguments());
    command.stdin(Stdio::null());
    command
}

/// For URLs (RFC 3986 §2.1). s-nail refuses what is encoded without need.
fn percent_encoded(text: &str) -> String {
    let encode = |octet: u8| match octet {
        b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        _ if octet.is_ascii_alphanumeric() => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(encode).collect()
}
