//! What a connector signs in with: a password, a token, a token that is fetched, or its certificate.
//!
//! What it deliberately does not do: read any of the files; that a secret goes to nobody but a peer that proved who it is
//! is judged with the requirement, in [`super`].

use postern_smtp::sasl::Mechanism;

use super::way::Target;
use crate::config::model::{CredentialFile, CredentialSource, OAuth};
use crate::config::reader::{Reader, Section};
use crate::https::HttpsUrl;

/// The keys that say what is sent, each excluding the others.
const SECRETS: [&str; 3] = ["password_file", "token_file", "oauth"];
const ONLY_SMTP: &str = "remove the keys for signing in, or let to name an \"smtp:\" host";

const MECHANISMS: [(&str, Mechanism); 9] = [
    ("scram-sha-256-plus", Mechanism::ScramSha256Plus),
    ("scram-sha-256", Mechanism::ScramSha256),
    ("scram-sha-1-plus", Mechanism::ScramSha1Plus),
    ("scram-sha-1", Mechanism::ScramSha1),
    ("plain", Mechanism::Plain),
    ("login", Mechanism::Login),
    ("oauthbearer", Mechanism::OauthBearer),
    ("xoauth2", Mechanism::Xoauth2),
    ("external", Mechanism::External),
];

/// How a connector signs in.
pub(super) struct SignIn {
    pub(super) credential: Option<CredentialSource>,
    pub(super) mechanism: Option<Mechanism>,
}

/// Whether the section says anything of signing in, sound or not.
pub(super) fn is_written(at: &Section<'_>) -> bool {
    written_keys(at).next().is_some()
}

/// To be read last: `[connector.oauth]` is a section of its own.
pub(super) fn sign_in<'a>(reader: &mut Reader<'a>, at: &Section<'a>, target: Option<&Target>) -> SignIn {
    let user = reader.name(at, "user");
    let mechanism = reader.choice(at, "mechanism", None, &MECHANISMS);
    let password_file = reader.secret(at, "password_file");
    let token_file = reader.secret(at, "token_file");
    if let Some(key) = written_keys(at).next()
        && target.is_some_and(|target| !matches!(target, Target::Smtp(_)))
    {
        reader.complain(at, key, "only an \"smtp:\" host can be signed in to", ONLY_SMTP);
    }
    judge_pairs(reader, at, mechanism);
    if let Some(mechanism) = mechanism {
        judge_mechanism(reader, at, mechanism);
    }
    let endpoint = reader.written_section(at, "oauth").and_then(|at| oauth(reader, &at));
    let credential = match (user, password_file, token_file, endpoint) {
        _ if mechanism == Some(Mechanism::External) => Some(CredentialSource::External),
        (Some(user), Some(password_file), None, None) => {
            Some(CredentialSource::Password(CredentialFile { user, password_file }))
        }
        (Some(user), None, Some(token_file), None) => Some(CredentialSource::Token { user, token_file }),
        (Some(user), None, None, Some(endpoint)) => Some(CredentialSource::OAuth { user, endpoint }),
        _ => None,
    };
    SignIn { credential, mechanism }
}

fn written_keys(at: &Section<'_>) -> impl Iterator<Item = &'static str> {
    let keys = ["user", SECRETS[0], SECRETS[1], SECRETS[2], "mechanism"];
    let written: Vec<_> = keys.into_iter().filter(|key| at.writes(key)).collect();
    written.into_iter()
}

/// A name and one secret, or neither.
fn judge_pairs(reader: &mut Reader<'_>, at: &Section<'_>, mechanism: Option<Mechanism>) {
    let secrets: Vec<_> = SECRETS.into_iter().filter(|key| at.writes(key)).collect();
    if let [first, second, ..] = secrets[..] {
        let what = format!("{first} is written as well, and only one of them can be sent");
        reader.complain(at, second, what, "remove all but one");
    }
    if mechanism == Some(Mechanism::External) {
        return;
    }
    match (at.writes("user"), secrets.first()) {
        (true, None) => {
            let remedy = "write password_file (or token_file, or oauth) too, or remove user";
            reader.complain(at, "user", "password_file is missing beside it", remedy);
        }
        (false, Some(secret)) => {
            let remedy = format!("write user too, or remove {secret}");
            reader.complain(at, secret, "user is missing beside it", remedy);
        }
        _ => {}
    }
}

fn judge_mechanism(reader: &mut Reader<'_>, at: &Section<'_>, mechanism: Mechanism) {
    let carries: &[&str] = match mechanism {
        Mechanism::External => return judge_external(reader, at),
        Mechanism::OauthBearer | Mechanism::Xoauth2 => &SECRETS[1..],
        Mechanism::ScramSha256Plus
        | Mechanism::ScramSha256
        | Mechanism::ScramSha1Plus
        | Mechanism::ScramSha1
        | Mechanism::Plain
        | Mechanism::Login => &SECRETS[..1],
    };
    let (what, other) = if carries.len() == 1 { ("a password", "token") } else { ("a token", "password") };
    match written_keys(at).find(|key| SECRETS.contains(key)) {
        Some(secret) if !carries.contains(&secret) => {
            let what = format!("it sends {what}, and {secret} is a {other}");
            let remedy = format!("write {}, or remove the key to take the best that is offered", or(carries));
            reader.complain(at, "mechanism", what, remedy);
        }
        // What is missing beside user has been said.
        None if !at.writes("user") => {
            let what = format!("it sends {what}, and there is none");
            reader.complain(at, "mechanism", what, format!("write user and {}, or remove it", or(carries)));
        }
        Some(_) | None => {}
    }
}

/// The certificate says it all.
fn judge_external(reader: &mut Reader<'_>, at: &Section<'_>) {
    if !at.writes("identity") {
        let what = "it signs in with a client certificate, and none is named";
        reader.complain(at, "mechanism", what, "write identity = the name of a [[tls.identity]]");
    }
    for key in written_keys(at).filter(|key| *key != "mechanism") {
        let what = "it is not sent: \"external\" signs in with the client certificate alone";
        reader.complain(at, key, what, "remove the key, or name another mechanism");
    }
}

fn or(keys: &[&str]) -> String {
    keys.join(" or ")
}

fn oauth<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<OAuth> {
    let token_url = reader.turned(at, "token_url", |text| match text.parse::<HttpsUrl>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    });
    let client_id = reader.name(at, "client_id");
    let client_secret_file = reader.secret(at, "client_secret_file");
    let refresh_token_file = reader.secret(at, "refresh_token_file");
    let scope = reader.name(at, "scope");
    if !at.writes("client_secret_file") && !at.writes("refresh_token_file") {
        let what = "neither refresh_token_file nor client_secret_file is written, so there is nothing to get a token for";
        let remedy = "write refresh_token_file for the access that a person granted, client_secret_file for that of a program";
        reader.complain(at, "", what, remedy);
    }
    Some(OAuth {
        token_url: token_url?,
        client_id: client_id?,
        client_secret_file,
        refresh_token_file,
        scope,
    })
}
