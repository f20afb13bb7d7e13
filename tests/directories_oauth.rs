//! People who sign in with an access token of their identity provider.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_testkit::oauth::{
    Algorithm, Behaviour, CLIENT, Key, Provider, SECRET, sign_with_shared, unsigned,
};
use serde_json::json;

use crate::support::directory::{REFUSED, dial};
use crate::support::postern::ANNA;
use crate::support::programs::{fail, program, python, succeed, text};
use crate::support::{Peer, Postern, Reply, Setup, content};

const AUDIENCE: &str = "postern";

fn signed(provider: &Provider) -> Setup {
    Setup::new().without_user().tables(&format!(
        "[[directory]]\nname = \"login\"\ntimeout = \"4s\"\n[directory.oauth]\nissuer = {:?}\ndiscover = true\n\
         audience = [{AUDIENCE:?}]\nscopes = [\"smtp\"]\n",
        provider.issuer()
    ))
}

fn introspected(provider: &Provider) -> Setup {
    let setup = Setup::new().without_user();
    let secret = setup.folder().join("secret");
    fs::write(&secret, SECRET).unwrap();
    setup.tables(&format!(
        "[[directory]]\nname = \"login\"\ntimeout = \"4s\"\n[directory.oauth]\nintrospection_url = {:?}\n\
         audience = [{AUDIENCE:?}]\nclient_id = {CLIENT:?}\nclient_secret_file = {secret:?}\n",
        provider.introspection_url()
    ))
}

/// Signs in by XOAUTH2; the challenge that tells why not (RFC 7628 §3.2.3) is answered with nothing.
#[track_caller]
fn attempt(postern: &Postern, login: &str, token: &str) -> Reply {
    let mut client = dial(postern);
    client.say("AUTH XOAUTH2").expect(334);
    let message = format!("user={login}\u{1}auth=Bearer {token}\u{1}\u{1}");
    let reply = client.say(&STANDARD.encode(message));
    if reply.code == 334 { client.say("") } else { reply }
}

#[test]
fn a_token_signs_its_owner_in_and_nobody_else() {
    let provider = Provider::start();
    let postern = signed(&provider).start();
    let token = provider.token(ANNA, AUDIENCE);
    assert_eq!(attempt(&postern, ANNA, &token).code, 235, "{}", postern.log());
    postern.wait_for_log(&format!("signed in by access token: {ANNA}"));
    assert_eq!(attempt(&postern, "ben@home.test", &token).text(), REFUSED);
    postern.wait_for_log("the mail program claims to be ben@home.test");
    assert!(!postern.log().contains(&token), "a token is in the log");
}

#[test]
fn what_only_looks_like_a_token_is_refused_and_the_log_says_why() {
    let key = Key::new("k", Algorithm::Rs256);
    let provider = Provider::start_with(key.clone());
    let postern = signed(&provider).start();
    let claims = provider.claims(ANNA, AUDIENCE, &json!({}));
    let with = |change| provider.token_with(ANNA, AUDIENCE, &change);
    let shared = sign_with_shared(&key.public_der(), &json!({ "alg": "HS256", "kid": "k" }), &claims);
    for (token, why) in [
        (with(json!({ "exp": 1_700_000_000 })), "it ended at "),
        (with(json!({ "aud": "webmail" })), "it is for somebody else"),
        (with(json!({ "scope": "openid" })), "it does not hold for smtp"),
        (format!("{}.", unsigned(&json!({ "alg": "none" }), &claims)), "it is not signed"),
        (shared, "shared key"),
        (Key::new("k", Algorithm::Rs256).sign(&key.header(), &claims), "its signature is wrong"),
        ("x".repeat(7000), "introspection_url"),
    ] {
        assert_eq!(attempt(&postern, ANNA, &token).text(), REFUSED, "{token}");
        postern.wait_for_log(why);
    }
}

#[test]
fn a_revoked_token_is_refused_and_nobody_is_while_the_provider_is_down() {
    let provider = Provider::start();
    let postern = introspected(&provider).start();
    provider.opaque_token("opaque", &provider.claims(ANNA, AUDIENCE, &json!({})));
    assert_eq!(attempt(&postern, ANNA, "opaque").code, 235, "{}", postern.log());
    for behaviour in
        [Behaviour::Stalls, Behaviour::Says(503, String::new()), Behaviour::Says(200, "[".into())]
    {
        provider.behave(behaviour);
        let reply = attempt(&postern, ANNA, "opaque");
        assert!(reply.text().starts_with("454 4.7.0 "), "{reply:?}");
    }
    provider.behave(Behaviour::Well);
    provider.revoke("opaque");
    assert_eq!(attempt(&postern, ANNA, "opaque").text(), REFUSED);
    drop(provider);
    let reply = attempt(&postern, ANNA, "opaque");
    assert!(reply.text().ends_with("(directory-down)"), "{reply:?}");
}

struct Job<'a> {
    postern: &'a Postern,
    token: &'a str,
    file: PathBuf,
}

impl Job<'_> {
    fn port(&self) -> u16 {
        self.postern.at("submissions").port()
    }
}

#[test]
fn mail_programs_send_with_a_token() {
    let (provider, peer) = (Provider::start(), Peer::start());
    let postern = signed(&provider).next_hop(peer.address()).start();
    let (good, bad) = (provider.token(ANNA, AUDIENCE), provider.token(ANNA, "webmail"));
    let file = postern.folder().join("message");
    fs::write(&file, content::unix_lines(&content::plain(ANNA, "ben@elsewhere.test", "token"))).unwrap();
    for (number, sends) in [curl, msmtp, smtplib].into_iter().enumerate() {
        let job = |token| Job { postern: &postern, token, file: file.clone() };
        succeed(&mut sends(&job(&good)));
        assert_eq!(peer.wait_for(number + 1).len(), number + 1);
        fail(&mut sends(&job(&bad)));
    }
}

fn curl(job: &Job) -> Command {
    let mut command = program("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--crlf",
        "--cacert",
        text(&job.postern.root()),
    ]);
    command.args(["--url", &format!("smtps://localhost:{}/client.test", job.port()), "--user", ANNA]);
    command.args(["--oauth2-bearer", job.token, "--mail-from", ANNA, "--mail-rcpt", "ben@elsewhere.test"]);
    command.args(["--upload-file", text(&job.file)]);
    command
}

fn msmtp(job: &Job) -> Command {
    let settings = job.file.with_extension("settings");
    let lines = format!(
        "account default\nhost localhost\nport {}\ntls on\ntls_starttls off\ntls_trust_file {}\nauth oauthbearer\nuser {ANNA}\n\
         passwordeval cat {}\nfrom {ANNA}\n",
        job.port(),
        text(&job.postern.root()),
        text(&settings.with_extension("token"))
    );
    fs::write(&settings, lines).unwrap();
    fs::write(settings.with_extension("token"), format!("{}\n", job.token)).unwrap();
    let mut command = program("msmtp");
    command.args(["--file", text(&settings), "--timeout=20", "--", "ben@elsewhere.test"]);
    command.stdin(fs::File::open(&job.file).unwrap());
    command
}

fn smtplib(job: &Job) -> Command {
    let mut command = python(
        "
import smtplib, ssl, sys
port, root, token, file = sys.argv[1:]
client = smtplib.SMTP_SSL('localhost', int(port), context=ssl.create_default_context(cafile=root), timeout=20)
client.ehlo()
message = f'user=anna@home.test\\x01auth=Bearer {token}\\x01\\x01'
client.auth('XOAUTH2', lambda challenge=None: message if challenge is None else '')
refused = client.sendmail('anna@home.test', ['ben@elsewhere.test'], open(file).read())
assert not refused, refused
client.quit()
",
    );
    command.args([&job.port().to_string(), text(&job.postern.root()), job.token, text(&job.file)]);
    command
}
