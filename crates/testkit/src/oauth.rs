//! An identity provider: it signs access tokens, publishes its keys and metadata, and tells what a token is good for.
//!
//! [`Provider::start`] runs it on a loopback port, in clear. [`Provider::token`] makes a token with the [`Key`] of the moment,
//! [`Provider::rotate`] takes another key, [`Provider::revoke`] ends a token, and [`Provider::behave`] has it stall or lie. What
//! it deliberately does not do: let anybody log in.

use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// How Postern is known to it.
pub const CLIENT: &str = "postern";
/// The secret that goes with it; both have letters that forms and URLs spell otherwise.
pub const SECRET: &str = "s3cret:+/ %ä";
/// A request has no more octets than this.
const REQUEST_MOST: u64 = 64 * 1024;
/// How long a connection may take before the test has failed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running provider; it stops when dropped.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// A key that signs.
#[derive(Clone)]
pub struct Key {
    name: String,
    pair: Arc<Pair>,
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA as most providers use it.
    Rs256,
    /// RSA with the other padding.
    Ps256,
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// What it does with requests.
#[derive(Debug, Clone, Default)]
pub enum Behaviour {
    /// As the standards say.
    #[default]
    Well,
    /// Reads them, and says nothing.
    Stalls,
    /// Answers all with this status and body.
    Says(u16, String),
}

enum Pair {
    Rsa(Algorithm, RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

struct Shared {
    state: Mutex<State>,
    stopped: AtomicBool,
}

struct State {
    issuer: String,
    keys: Vec<Key>,
    opaque: Vec<(String, Value)>,
    revoked: HashSet<String>,
    behaviour: Behaviour,
    requests: Vec<String>,
}

impl Key {
    /// A new one.
    ///
    /// # Panics
    /// When the system has no randomness.
    pub fn new(name: &str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => {
                Pair::Rsa(algorithm, RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
            }
            Algorithm::Es256 => {
                Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
            }
            Algorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")),
        };
        Self { name: name.to_owned(), pair: Arc::new(pair) }
    }

    /// What it is called in the header of a token.
    pub fn algorithm(&self) -> &'static str {
        match &*self.pair {
            Pair::Rsa(Algorithm::Ps256, _) => "PS256",
            Pair::Rsa(..) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// A token with this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// The header that its tokens have.
    pub fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": self.algorithm(), "kid": self.name })
    }

    /// Its public half as a JSON Web Key.
    pub fn public(&self) -> Value {
        let encode = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
        let mut key = match &*self.pair {
            Pair::Rsa(_, pair) => {
                let public = pair.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero();
                let exponent = public.exponent().big_endian_without_leading_zero();
                json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) })
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
        };
        key["kid"] = self.name.clone().into();
        key["use"] = "sig".into();
        key["alg"] = self.algorithm().into();
        key
    }

    /// Its public half as a forger would use it for a shared key.
    ///
    /// # Panics
    /// It is no RSA key.
    pub fn public_der(&self) -> Vec<u8> {
        match &*self.pair {
            Pair::Rsa(_, pair) => pair.public_key().as_der().expect("a key").as_ref().to_vec(),
            Pair::P256(_) | Pair::Ed25519(_) => panic!("only an RSA key is forged with"),
        }
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |pair: &RsaKeyPair, padding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, message, &mut signature).expect("a signature");
            signature
        };
        match &*self.pair {
            Pair::Rsa(Algorithm::Ps256, pair) => rsa(pair, &RSA_PSS_SHA256),
            Pair::Rsa(_, pair) => rsa(pair, &RSA_PKCS1_SHA256),
            Pair::P256(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// Header and claims of a token, encoded.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// A token that is signed by HMAC-SHA-256 with a secret that both sides would have to know.
pub fn sign_with_shared(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = unsigned(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

impl Provider {
    /// On a port of its own, with an ES256 key.
    ///
    /// # Panics
    /// No port is to be had.
    pub fn start() -> Self {
        Self::start_with(Key::new("first", Algorithm::Es256))
    }

    /// On a port of its own, with this key.
    ///
    /// # Panics
    /// No port is to be had.
    pub fn start_with(key: Key) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State {
            issuer: format!("http://{address}"),
            keys: vec![key],
            opaque: Vec::new(),
            revoked: HashSet::new(),
            behaviour: Behaviour::Well,
            requests: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), stopped: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Its name, and the beginning of all its addresses.
    pub fn issuer(&self) -> String {
        self.shared.state().issuer.clone()
    }

    /// Where its keys are.
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.issuer())
    }

    /// Where it tells about tokens.
    pub fn introspection_url(&self) -> String {
        format!("{}/introspect", self.issuer())
    }

    /// A token of somebody with this mail address, good for this audience and an hour from now.
    pub fn token(&self, address: &str, audience: &str) -> String {
        self.token_with(address, audience, &json!({}))
    }

    /// The same with other members: null takes one away.
    ///
    /// # Panics
    /// It has no key.
    pub fn token_with(&self, address: &str, audience: &str, other: &Value) -> String {
        let claims = self.claims(address, audience, other);
        let key = self.shared.state().keys.last().cloned().expect("a key");
        key.sign(&key.header(), &claims)
    }

    /// What the tokens say.
    pub fn claims(&self, address: &str, audience: &str, other: &Value) -> Value {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.issuer(), "aud": audience, "sub": format!("id-of-{address}"), "email": address,
            "iat": now, "exp": now + 3600, "scope": "openid smtp", "client_id": "mail-program",
        });
        for (name, value) in other.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        if let Some(members) = claims.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        claims
    }

    /// A token that says nothing, of which the provider knows this.
    pub fn opaque_token(&self, token: &str, known: &Value) {
        self.shared.state().opaque.push((token.to_owned(), known.clone()));
    }

    /// From now on the token is good for nothing.
    pub fn revoke(&self, token: &str) {
        self.shared.state().revoked.insert(token.to_owned());
    }

    /// Signs with another key from now on. The old ones are published no longer.
    pub fn rotate(&self, key: Key) {
        self.shared.state().keys = vec![key];
    }

    /// From now on it does so.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.state().behaviour = behaviour;
    }

    /// The first lines of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.acceptor.take().map(JoinHandle::join));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream.take(REQUEST_MOST));
        let (mut first, mut length, mut authorization) = (String::new(), 0, String::new());
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => value.trim().clone_into(&mut authorization),
                _ => {}
            }
        }
        let mut body = String::new();
        reader.take(length).read_to_string(&mut body)?;
        let what = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut state = self.state();
        state.requests.push(what.clone());
        let (status, body) = match state.behaviour.clone() {
            Behaviour::Well => state.answer(&what, &authorization, &body),
            Behaviour::Says(status, body) => (status, body),
            Behaviour::Stalls => {
                drop(state);
                // Until the other side goes away.
                return io::copy(&mut &*stream, &mut io::sink()).map(drop);
            }
        };
        drop(state);
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status} so\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

impl State {
    fn answer(&self, what: &str, authorization: &str, body: &str) -> (u16, String) {
        match what {
            "GET /keys" => {
                let keys: Vec<Value> = self.keys.iter().map(Key::public).collect();
                (200, json!({ "keys": keys }).to_string())
            }
            "GET /.well-known/openid-configuration" => {
                let issuer = &self.issuer;
                (200, json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }).to_string())
            }
            "POST /introspect" if !is_ours(authorization) => (401, "{}".to_owned()),
            "POST /introspect" => (200, self.introspected(body).to_string()),
            _ => (404, "{}".to_owned()),
        }
    }

    /// RFC 7662 §2.2
    fn introspected(&self, form: &str) -> Value {
        let token = form.split('&').find_map(|field| field.strip_prefix("token=")).map(decoded);
        let Some(token) = token.filter(|token| !self.revoked.contains(token)) else {
            return json!({ "active": false });
        };
        let known = self.opaque.iter().find(|(opaque, _)| *opaque == token);
        let Some((_, known)) = known else { return json!({ "active": false }) };
        let mut answer = known.clone();
        answer["active"] = true.into();
        answer
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        // A peer that goes away in the middle is none of ours.
        std::thread::spawn(move || drop(shared.serve(&stream)));
    }
}

/// Whether name and secret are Postern's, each encoded as in a form (RFC 6749 §2.3.1).
fn is_ours(authorization: &str) -> bool {
    let pair = authorization.strip_prefix("Basic ").and_then(|pair| STANDARD.decode(pair).ok());
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok()).unwrap_or_default();
    let (name, secret) = pair.split_once(':').unwrap_or_default();
    decoded(name) == CLIENT && decoded(secret) == SECRET
}

/// A value of a form.
fn decoded(value: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        match octet {
            b'+' => octets.push(b' '),
            b'%' => {
                let number = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                octets.extend(number.and_then(|number| u8::try_from(number).ok()));
            }
            octet => octets.push(octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}
