//! Thunderbird without a screen, driven by Marionette: it composes and sends as it does when a person clicks "Send".
//!
//! [`Thunderbird::start`] runs it with a new profile; [`Thunderbird::send`] sets up an outgoing server as a [`Job`] says and
//! sends one message through it. What it would show in a window comes back as text, and each question is answered with "Cancel".

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tempfile::TempDir;

use super::clients::{Begins, Job};
use super::marionette::Marionette;
use super::wait_for;

/// The program itself: Debian's script of the same name looks for profiles of older versions first.
const PROGRAM: &str = "/usr/lib/thunderbird/thunderbird";

/// Nothing it asks of the Web leaves the machine (port 9 of loopback refuses), nothing greets a new user, and a server that does
/// not answer is given up soon. Mail does not pass an HTTP proxy.
const SETTINGS: &str = r#"
user_pref("marionette.port", 0);
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
user_pref("network.proxy.failover_direct", false);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mailnews.start_page.enabled", false);
user_pref("mailnews.tcptimeout", 25);
"#;

/// Sends one message. The result is what `onStopSending` is told, and what was shown.
const SEND: &str = r#"
const [job, done] = arguments;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const shown = [];
const show = (...texts) => { shown.push(texts.filter(text => typeof text == "string").join(": ")); };
const cancel = (...texts) => { show(...texts); return 1; };
const no = (...texts) => { show(...texts); return false; };
Services.prompt = {
  QueryInterface: ChromeUtils.generateQI(["nsIPromptService"]),
  alert: show, alertCheck: show, alertBC: show, asyncAlert: async (...texts) => show(...texts),
  confirmEx: cancel, confirmExBC: cancel, confirm: no, promptPassword: no, promptUsernameAndPassword: no,
};
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(job.trust, "C,,");
const server = MailServices.outgoingServer.createServer("smtp");
const smtp = server.QueryInterface(Ci.nsISmtpServer);
smtp.hostname = "localhost";
smtp.port = job.port;
smtp.socketType = { StartTls: Ci.nsMsgSocketType.alwaysSTARTTLS, AtOnce: Ci.nsMsgSocketType.SSL, Clear: Ci.nsMsgSocketType.plain }[job.begins];
smtp.authMethod = job.user ? Ci.nsMsgAuthMethod.passwordCleartext : Ci.nsMsgAuthMethod.none;
smtp.username = job.user;
server.password = job.password;
if (!MailServices.accounts.accounts.length) MailServices.accounts.createLocalMailAccount();
const account = MailServices.accounts.accounts[0];
const identity = account.defaultIdentity ?? MailServices.accounts.createIdentity();
if (!account.defaultIdentity) account.addIdentity(identity);
identity.email = job.from;
identity.smtpServerKey = server.key;
identity.doFcc = false;
identity.composeHtml = false;
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.from = job.from;
fields.to = job.to;
fields.subject = job.subject;
let security = "";
const ends = result => {
  server.closeCachedConnections();
  MailServices.outgoingServer.deleteServer(server);
  done({ ...result, shown, security });
};
const listener = {
  QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener"]),
  onStartSending() {}, onSendProgress() {}, onStatus() {}, onGetDraftFolderURI() {},
  onSendNotPerformed() { ends({ status: "not performed" }); },
  onTransportSecurityError(id, status, information) { security = information?.errorCodeString ?? "unknown"; },
  onStopSending(id, status) { ends({ status }); },
};
Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend).createAndSendMessage(
  null, identity, account.key, fields, false, false, Ci.nsIMsgSend.nsMsgDeliverNow, null, "text/plain", job.body, null, null,
  listener, "", "", Ci.nsIMsgCompType.New
).catch(error => ends({ status: String(error) }));
"#;

/// A running Thunderbird; killed when dropped.
pub struct Thunderbird {
    marionette: Marionette,
    program: Child,
    _profile: TempDir,
}

impl Thunderbird {
    /// Starts it and waits until it can be driven.
    #[track_caller]
    pub fn start() -> Thunderbird {
        assert!(Path::new(PROGRAM).exists(), "thunderbird is not installed: run ./test packages");
        let profile = tempfile::Builder::new().prefix("thunderbird").tempdir().unwrap();
        fs::write(profile.path().join("prefs.js"), SETTINGS).unwrap();
        let mut program = spawn(profile.path());
        let port = wait_for("Thunderbird to listen to Marionette", || {
            let ended = program.try_wait().unwrap();
            assert!(ended.is_none(), "thunderbird ended with {ended:?}: {}", log(profile.path()));
            fs::read_to_string(profile.path().join("MarionetteActivePort")).ok()?.trim().parse().ok()
        });
        Thunderbird { marionette: Marionette::connect(port), program, _profile: profile }
    }

    /// Sends one message; an error is what it showed.
    ///
    /// The job's root is trusted from now on, besides those it has already.
    #[track_caller]
    pub fn send(&mut self, job: &Job<'_>) -> Result<(), String> {
        let (user, password) = job.sign_in.unwrap_or_default();
        let result = self.marionette.run(
            SEND,
            &json!([{
                "port": job.port,
                "begins": match job.begins {
                    Begins::StartTls => "StartTls",
                    Begins::AtOnce => "AtOnce",
                    Begins::Clear => "Clear",
                },
                "trust": STANDARD.encode(CertificateDer::from_pem_file(job.trust).unwrap()),
                "user": user,
                "password": password,
                "from": job.from,
                "to": job.to,
                "subject": job.subject,
                "body": String::from_utf8_lossy(job.body),
            }]),
        );
        if result["status"] == 0 { Ok(()) } else { Err(result.to_string()) }
    }
}

impl Drop for Thunderbird {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

fn spawn(profile: &Path) -> Child {
    let log = fs::File::create(profile.join("log")).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile"]);
    command.arg(profile).env("HOME", profile).env("MOZ_HEADLESS", "1").env("MOZ_CRASHREPORTER_DISABLE", "1");
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn log(profile: &Path) -> String {
    fs::read_to_string(profile.join("log")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Peer;
    use crate::support::certificates::Authority;

    #[test]
    fn a_message_arrives_and_what_goes_wrong_is_told() {
        let (peer, folder) = (Peer::start(), tempfile::tempdir().unwrap());
        let root = Authority::new(folder.path()).root();
        let mut thunderbird = Thunderbird::start();
        let job = Job {
            port: peer.port(),
            begins: Begins::Clear,
            trust: &root,
            sign_in: None,
            from: "anna@home.test",
            to: "ben@elsewhere.test",
            subject: "From a window",
            body: b"Good morning.\r\n",
            folder: folder.path(),
        };
        thunderbird.send(&job).unwrap();
        assert!(String::from_utf8_lossy(&peer.wait_for(1)[0].content).contains("Subject: From a window"));
        let error = thunderbird.send(&Job { begins: Begins::StartTls, ..job }).unwrap_err();
        assert!(error.contains("doesn't advertise that feature"), "{error}");
    }
}
