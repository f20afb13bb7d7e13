//! The directory against a provider on a loopback port: tokens that count, and everything that looks like one.

use jiff::SignedDuration;
use postern_testkit::dns::{ScriptedResolver, Zone};
use postern_testkit::oauth::{
    Algorithm, Behaviour, CLIENT, Key, Provider, SECRET, sign_with_shared, unsigned,
};
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, DirectoryKind, Surroundings};
use crate::https::scripted;

const ANNA: &str = "anna@home.test";
const AUDIENCE: &str = "postern";

/// The directory that this table describes, below what every test has.
fn directory(table: &str) -> OAuth {
    let text = format!(
        "hostname = \"mail.home.test\"\n[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:465\"]\ntls = \"implicit\"\n[[directory]]\nname = \"corp\"\nremember = \"1h\"\nbridge = \"2h\"\n\
         domains = [\"home.test\"]\naddresses = [\"{{user}}@rule.test\", \"{{login}}\"]\n[directory.oauth]\n{table}"
    );
    let config = Config::parse(&text, "test", &Surroundings::default()).unwrap();
    let [directory] = &config.directories[..] else { panic!("there is one") };
    let DirectoryKind::OAuth(oauth) = &directory.kind else { panic!("it is this kind") };
    let folder = tempfile::tempdir().unwrap();
    let users = crate::directory::Users::open_for_reading(folder.path()).unwrap();
    let zone = Zone::new().address("login.test", [127, 0, 0, 1]);
    let resolver: Arc<dyn postern_dns::Resolver> = Arc::new(ScriptedResolver::new(zone));
    OAuth::new(oauth, directory, &Means { users: &users, resolver: Some(&resolver), observer: None }).unwrap()
}

fn signed(provider: &Provider, more: &str) -> OAuth {
    let (issuer, keys) = (provider.issuer(), provider.keys_url());
    directory(&format!("issuer = {issuer:?}\njwks_url = {keys:?}\naudience = [\"x\", {AUDIENCE:?}]\n{more}"))
}

fn introspected(provider: &Provider, secret: &std::path::Path) -> OAuth {
    let url = provider.introspection_url();
    directory(&format!(
        "introspection_url = {url:?}\naudience = [{AUDIENCE:?}]\nclient_id = {CLIENT:?}\nclient_secret_file = {secret:?}"
    ))
}

fn secret_file(folder: &tempfile::TempDir, secret: &str) -> std::path::PathBuf {
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    path
}

async fn says(directory: &OAuth, login: &str, token: &str) -> Result<Principal, Denied> {
    directory.by_token(Some(&Login::new(login).unwrap()), &Secret::new(token)).await
}

fn now() -> Now {
    Now { wall: Timestamp::now(), clock: Instant::now() }
}

fn later(now: Now, time: Duration) -> Now {
    Now { wall: now.wall + SignedDuration::try_from(time).unwrap(), clock: now.clock + time }
}

/// Why it was refused; it must be that.
#[track_caller]
fn why(answer: Result<Principal, Denied>) -> String {
    match answer {
        Err(Denied::Refused(Why::BadToken(why))) => why,
        other => panic!("{other:?} is no refusal of a token"),
    }
}

#[track_caller]
fn is_down(answer: Result<Principal, Denied>) -> String {
    match answer {
        Err(Denied::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_signs_its_owner_in_with_every_kind_of_key() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa] {
        let provider = Provider::start_with(Key::new("k", algorithm));
        let directory = signed(&provider, "scopes = [\"smtp\"]\ngroup_claim = \"groups\"");
        let more = json!({ "groups": ["staff", "board"] });
        let token = provider.token_with("Anna@Home.test", AUDIENCE, &more);
        let principal = says(&directory, ANNA, &token).await.unwrap();
        assert_eq!(principal.name, ANNA);
        assert_eq!(principal.groups, ["staff", "board"]);
        assert!(principal.owns(&ANNA.parse().unwrap(), None));
        says(&directory, ANNA, &token).await.unwrap();
        assert_eq!(provider.requests(), ["GET /keys"], "the keys are kept");
    }
}

#[tokio::test]
async fn only_its_owner_signs_in_with_a_token_whatever_rules_make_of_a_claimed_name() {
    let provider = Provider::start();
    let directory = signed(&provider, "user_claim = \"name\"\naddress_claims = [\"email\", \"more\"]");
    let more = json!({ "name": "Anna", "more": ["office@home.test", "no address", 7] });
    let token = provider.token_with(ANNA, AUDIENCE, &more);
    for login in ["anna", "ANNA", ANNA, "office@home.test", "anna@rule.test"] {
        assert_eq!(says(&directory, login, &token).await.unwrap().name, "anna", "{login}");
    }
    let unclaimed = directory.by_token(None, &Secret::new(&*token)).await;
    assert_eq!(unclaimed.unwrap().name, "anna", "the token says it");
    for login in ["ben", "ben@home.test", "anna@home.test.evil", "ben@rule.test", "anna@", "no address"] {
        let why = why(says(&directory, login, &token).await);
        assert!(why.contains("it is anna's"), "{why}");
    }
}

#[tokio::test]
async fn a_token_that_says_the_wrong_thing_is_refused_and_the_log_says_which() {
    let provider = Provider::start();
    let directory = signed(&provider, "scopes = [\"smtp\"]");
    let now = Timestamp::now().as_second();
    for (change, expected) in [
        (json!({ "exp": now - 61 }), "it ended at "),
        (json!({ "exp": null }), "it never ends"),
        (json!({ "exp": "tomorrow" }), "its exp is no point in time"),
        (json!({ "exp": 1e300 }), "its exp is no point in time"),
        (json!({ "nbf": now + 600 }), "it begins only at "),
        (json!({ "iss": "https://evil.example" }), "it is of another issuer"),
        (json!({ "iss": null }), "it does not say who issued it"),
        (json!({ "iss": [provider.issuer()] }), "it does not say who issued it"),
        (json!({ "aud": "webmail" }), "it is for somebody else"),
        (json!({ "aud": ["webmail", "Postern"] }), "it is for somebody else"),
        (json!({ "aud": null }), "it does not say whom it is for"),
        (json!({ "scope": "smtpx openid" }), "it does not hold for smtp"),
        (json!({ "scope": null }), "it does not hold for smtp"),
        (json!({ "cnf": { "jkt": "x" } }), "bound to a key"),
        (json!({ "email": null }), "no claim email"),
        (json!({ "email": 7 }), "no claim email"),
        (json!({ "email_verified": false }), "that its provider has verified"),
        (json!({ "email": "an\nna" }), "cannot be a user name"),
    ] {
        let why = why(says(&directory, ANNA, &provider.token_with(ANNA, AUDIENCE, &change)).await);
        assert!(why.contains(expected) && !why.contains('\n'), "{change}: {why}");
    }
    for change in [
        json!({ "exp": now - 30 }),
        json!({ "exp": now + 30, "nbf": now + 30 }),
        json!({ "exp": 4_102_444_800.5 }),
        json!({ "aud": ["webmail", AUDIENCE] }),
        json!({ "scope": null, "scp": ["smtp"] }),
        json!({ "email_verified": true }),
    ] {
        let token = provider.token_with(ANNA, AUDIENCE, &change);
        says(&directory, ANNA, &token).await.unwrap_or_else(|why| panic!("{change}: {why}"));
    }
}

/// Header and claims as they stand, with whatever signature.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    use base64::Engine as _;
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature);
    format!("{}.{signature}", unsigned(header, claims))
}

#[tokio::test]
async fn a_token_that_nobody_signed_is_refused() {
    let key = Key::new("k", Algorithm::Rs256);
    let provider = Provider::start_with(key.clone());
    let directory = signed(&provider, "");
    let claims = provider.claims(ANNA, AUDIENCE, &json!({}));
    let good = provider.token(ANNA, AUDIENCE);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let other = provider.claims("ben@home.test", AUDIENCE, &json!({}));
    let shared = |header: Value| sign_with_shared(&key.public_der(), &header, &claims);
    let none = |alg: &str| forged(&json!({ "alg": alg, "kid": "k" }), &claims, b"");
    let signed_by = |name: &str, signer: &Key, header: Value| {
        let mut header = header;
        header["kid"] = name.into();
        signer.sign(&header, &claims)
    };
    let stranger = Key::new("k", Algorithm::Rs256);
    let with = |name: &str, value: Value| {
        let mut header = key.header();
        header[name] = value;
        key.sign(&header, &claims)
    };
    let other_padding = Key::new("k", Algorithm::Es256);
    for (token, expected) in [
        (none("none"), "not signed"),
        (none("None"), "not signed"),
        (none(""), "algorithms does not list"),
        (shared(json!({ "alg": "HS256", "kid": "k" })), "shared key"),
        (shared(json!({ "alg": "RS256", "kid": "k" })), "signature is wrong"),
        (signed_by("k", &stranger, stranger.header()), "signature is wrong"),
        (signed_by("other", &stranger, stranger.header()), "none of the provider's"),
        (signed_by("k", &other_padding, other_padding.header()), "none of the provider's"),
        (format!("{}.{signature}", unsigned(&key.header(), &other)), "signature is wrong"),
        (format!("{head}."), "signature is wrong"),
        (format!("{head}.{signature}A"), "signature is wrong"),
        (format!("{head}.{signature}="), "signature is wrong"),
        (with("crit", json!(["exp"])), "conditions"),
        (with("b64", json!(false)), "conditions"),
        (with("cty", json!("JWT")), "wrapped"),
        (with("typ", json!("logout+jwt")), "no access token"),
        (with("alg", json!("RS1")), "algorithms does not list"),
        (with("jwk", stranger.public()).replacen(signature, "", 1), ""),
        (format!("{head}.{signature}.x"), "no signed token"),
        ("a.b.c.d.e".into(), "encrypted"),
        ("opaque".into(), "introspection_url"),
        ("..".into(), "header cannot be read"),
        ("e30.e30.".into(), "header cannot be read"),
        ("bnVsbA.e30.".into(), "header cannot be read"),
        ("eyJhbGciOiJub25lIiwiYWxnIjoiUlMyNTYifQ.e30.".into(), "duplicate"),
        ("\u{e9}.\u{e9}.\u{e9}".into(), "not encoded"),
        ("x".repeat(8193), "octets"),
    ] {
        let why = match says(&directory, ANNA, &token).await {
            Ok(_) if expected.is_empty() => continue,
            answer => why(answer),
        };
        assert!(why.contains(expected), "{token}: {why}");
        assert!(!why.contains(signature), "nothing of a token is in the log");
    }
    says(&directory, ANNA, &good).await.unwrap();
    says(&directory, ANNA, &with("typ", json!("JWT"))).await.unwrap();
}

#[tokio::test]
async fn a_new_key_counts_at_once_and_invented_ones_do_not_have_the_keys_fetched_without_end() {
    let provider = Provider::start();
    let directory = signed(&provider, "");
    let start = now();
    directory.owner(&provider.token(ANNA, AUDIENCE), start).await.unwrap();
    provider.rotate(Key::new("second", Algorithm::Rs256));
    let token = provider.token(ANNA, AUDIENCE);
    let why = why(directory.owner(&token, later(start, Duration::from_secs(59))).await);
    assert!(why.contains("none of the provider's"), "{why}");
    let soon = later(start, Duration::from_mins(1));
    directory.owner(&token, soon).await.unwrap();
    let invented = Key::new("invented", Algorithm::Rs256);
    let claims = provider.claims(ANNA, AUDIENCE, &json!({}));
    let before = provider.requests().len();
    for second in 0..180 {
        let moment = later(soon, Duration::from_secs(second));
        drop(directory.owner(&invented.sign(&invented.header(), &claims), moment).await);
    }
    assert_eq!(provider.requests().len() - before, 2, "once a minute at most");
}

#[tokio::test]
async fn old_keys_serve_for_a_day_while_the_provider_is_down_and_what_is_not_known_is_no_refusal() {
    let provider = Provider::start();
    let directory = signed(&provider, "");
    let start = now();
    let lasting = json!({ "exp": start.wall.as_second() + 300_000 });
    let token = provider.token_with(ANNA, AUDIENCE, &lasting);
    provider.behave(Behaviour::Says(503, "away".into()));
    let why = is_down(directory.owner(&token, start).await);
    assert!(why.contains("status 503") && why.contains(&provider.keys_url()), "{why}");
    provider.behave(Behaviour::Well);
    assert!(directory.owner(&token, later(start, Duration::from_secs(4))).await.is_err(), "not yet again");
    let begin = later(start, Duration::from_secs(5));
    directory.owner(&token, begin).await.unwrap();
    for lie in [
        "",
        "[]",
        "{\"keys\": []}",
        "{\"keys\": [{\"kty\": \"oct\", \"k\": \"AAAA\", \"kid\": \"first\"}]}",
        "\0",
    ] {
        provider.behave(Behaviour::Says(200, lie.into()));
        for hours in [2, 12, 23] {
            directory.owner(&token, later(begin, Duration::from_hours(hours))).await.unwrap();
        }
    }
    let unknown = Key::new("unknown", Algorithm::Es256);
    let claims = provider.claims(ANNA, AUDIENCE, &lasting);
    let strange = unknown.sign(&unknown.header(), &claims);
    is_down(directory.owner(&strange, later(begin, Duration::from_hours(23))).await);
    is_down(directory.owner(&token, later(begin, Duration::from_hours(25))).await);
}

#[tokio::test]
async fn the_keys_are_found_by_the_issuers_own_metadata_only() {
    let provider = Provider::start();
    let issuer = provider.issuer();
    let table = |issuer: &str| format!("issuer = {issuer:?}\ndiscover = true\naudience = [{AUDIENCE:?}]\n");
    let found = directory(&table(&issuer));
    says(&found, ANNA, &provider.token(ANNA, AUDIENCE)).await.unwrap();
    assert_eq!(provider.requests(), ["GET /.well-known/openid-configuration", "GET /keys"]);
    let almost = directory(&table(&format!("{issuer}/")));
    let why = is_down(says(&almost, ANNA, &provider.token(ANNA, AUDIENCE)).await);
    assert!(why.contains("another issuer"), "{why}");
}

#[tokio::test]
async fn keys_on_disk_need_no_provider() {
    let (provider, folder) = (Provider::start(), tempfile::tempdir().unwrap());
    let path = folder.path().join("keys.json");
    let table =
        format!("issuer = {:?}\njwks_file = {path:?}\naudience = [{AUDIENCE:?}]\n", provider.issuer());
    let directory = directory(&table);
    let token = provider.token(ANNA, AUDIENCE);
    let why = is_down(says(&directory, ANNA, &token).await);
    assert!(why.contains("keys.json cannot be read"), "{why}");
    let key = Key::new("on-disk", Algorithm::EdDsa);
    std::fs::write(&path, json!({ "keys": [{ "kty": "new" }, key.public()] }).to_string()).unwrap();
    let token = key.sign(&key.header(), &provider.claims(ANNA, AUDIENCE, &json!({})));
    directory.owner(&token, later(now(), Duration::from_secs(6))).await.unwrap();
    assert!(provider.requests().is_empty());
}

#[tokio::test]
async fn a_provider_is_asked_over_https_only_where_it_proves_its_name() {
    let (authority, key) = (scripted::Authority::new(), Key::new("k", Algorithm::Es256));
    let keys = json!({ "keys": [key.public()] }).to_string();
    let host =
        scripted::Host::start(authority.host(&["login.test"]), scripted::Script::reply("200 OK", "", &keys))
            .await;
    let url = format!("https://login.test:{}/keys", host.port);
    let table = format!("issuer = \"https://login.test\"\njwks_url = {url:?}\naudience = [{AUDIENCE:?}]\n");
    let claims =
        json!({ "iss": "https://login.test", "aud": AUDIENCE, "email": ANNA, "exp": 4_102_444_800_u64 });
    let token = key.sign(&key.header(), &claims);
    let trusting = directory(&format!("{table}trust = {:?}\n", authority.root()));
    says(&trusting, ANNA, &token).await.unwrap();
    let why = is_down(says(&directory(&table), ANNA, &token).await);
    assert!(why.contains("does not prove who it is"), "{why}");
}

#[tokio::test]
async fn the_provider_says_what_an_opaque_token_is_good_for() {
    let (provider, folder) = (Provider::start(), tempfile::tempdir().unwrap());
    let directory = introspected(&provider, &secret_file(&folder, SECRET));
    let known = provider.claims(ANNA, AUDIENCE, &json!({ "iss": null }));
    provider.opaque_token("opa+que/&x=1", &known);
    assert_eq!(says(&directory, ANNA, "opa+que/&x=1").await.unwrap().name, ANNA);
    assert!(why(says(&directory, ANNA, "opa").await).contains("no longer"));
    provider.opaque_token("elsewhere", &provider.claims(ANNA, "webmail", &json!({})));
    assert!(why(says(&directory, ANNA, "elsewhere").await).contains("somebody else"));
    assert!(why(says(&directory, "ben", "opa+que/&x=1").await).contains("claims to be ben"));
}

#[tokio::test]
async fn what_was_said_of_a_token_is_kept_as_long_as_asked_and_never_beyond_its_end() {
    let (provider, folder) = (Provider::start(), tempfile::tempdir().unwrap());
    let directory = introspected(&provider, &secret_file(&folder, SECRET));
    let start = now();
    let short = json!({ "exp": start.wall.as_second() + 600 });
    provider.opaque_token("short", &provider.claims(ANNA, AUDIENCE, &short));
    provider.opaque_token("long", &provider.claims(ANNA, AUDIENCE, &json!({ "exp": null })));
    for token in ["short", "long"] {
        directory.owner(token, start).await.unwrap();
    }
    provider.behave(Behaviour::Says(500, String::new()));
    let at = |minutes| later(start, Duration::from_mins(minutes));
    for token in ["short", "long"] {
        directory.owner(token, at(9)).await.unwrap();
    }
    is_down(directory.owner("short", at(11)).await);
    assert_eq!(provider.requests().len(), 3, "nothing else was asked");
    directory.owner("long", at(119)).await.unwrap();
    assert_eq!(provider.requests().len(), 4, "behind remember it is asked, and bridged");
    is_down(directory.owner("long", at(121)).await);
    provider.behave(Behaviour::Well);
    provider.revoke("long");
    why(directory.owner("long", at(61)).await);
    provider.behave(Behaviour::Says(500, String::new()));
    is_down(directory.owner("long", at(62)).await);
}

#[tokio::test]
async fn a_provider_that_refuses_us_or_talks_nonsense_is_no_refusal_of_the_user() {
    let (provider, folder) = (Provider::start(), tempfile::tempdir().unwrap());
    let directory = introspected(&provider, &secret_file(&folder, "wrong"));
    let why = is_down(says(&directory, ANNA, "x").await);
    assert!(why.contains("client_secret_file") && !why.contains("wrong"), "{why}");
    for lie in ["", "[]", "{}", "{\"active\": \"true\"}", "{\"active\": 1}", "\u{0}"] {
        provider.behave(Behaviour::Says(200, lie.into()));
        is_down(says(&directory, ANNA, "x").await);
    }
    provider
        .behave(Behaviour::Says(200, format!("{{\"active\": true, \"x\": {:?}}}", "y".repeat(BODY_MOST))));
    assert!(is_down(says(&directory, ANNA, "x").await).contains("octets"));
    let address = provider.introspection_url();
    drop(provider);
    assert!(is_down(says(&directory, ANNA, "x").await).contains(&address));
}
