//! An ACME CA in memory, for tests: it keeps to RFC 8555 as far as a client can see, and fails as it is told to.
//!
//! It believes every signature, and proves a name by the word of its script alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Method, Reply, Request, Transport, TransportError};

pub(super) const BASE: &str = "https://ca.example";

/// What the CA does, and what it saw.
#[derive(Default)]
pub(super) struct Script {
    /// So many nonces are refused.
    pub(super) bad_nonces: u32,
    /// Whether accounts have to be bound.
    pub(super) wants_binding: bool,
    /// Names that are not proved, by problem type.
    pub(super) unproved: BTreeMap<&'static str, &'static str>,
    /// New orders meet this problem; with a `Retry-After`.
    pub(super) no_orders: Option<(&'static str, &'static str)>,
    /// Orders that replace a certificate meet this one.
    pub(super) no_replacing: Option<&'static str>,
    /// The renewal window; `None`: the CA has none.
    pub(super) window: Option<(&'static str, &'static str)>,
    /// The only kind of challenge, if not all three.
    pub(super) only: Option<&'static str>,
    /// A name that is to be proved in place of the last one that was ordered.
    pub(super) smuggled: Option<&'static str>,
    /// So many times the first name is to be proved again.
    pub(super) repeats: usize,
    /// Requests for paths that begin so are never answered.
    pub(super) silent: Option<&'static str>,
    /// How many requests came for authorisations.
    pub(super) looked: usize,
    /// What is issued.
    pub(super) chain: String,
    /// The accounts that there are.
    pub(super) accounts: BTreeSet<String>,
    /// The account's contact addresses.
    pub(super) contact: Value,
    /// The external account that was named.
    pub(super) binding: Option<String>,
    /// The certificate that the last order replaces.
    pub(super) replaces: Option<String>,
    /// The profile of the last order.
    pub(super) profile: Option<String>,
    made: u32,
    names: Vec<String>,
    states: BTreeMap<String, &'static str>,
    finalised: bool,
}

/// The CA.
#[derive(Default)]
pub(super) struct ScriptedCa(Mutex<Script>);

impl ScriptedCa {
    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    pub(super) fn state_of(&self, name: &str) -> &'static str {
        self.script().states[name]
    }
}

#[async_trait]
impl Transport for ScriptedCa {
    async fn exchange(&self, request: Request) -> Result<Reply, TransportError> {
        let path = request.url.strip_prefix(BASE).unwrap();
        if self.script().silent.is_some_and(|silent| path.starts_with(silent)) {
            std::future::pending::<()>().await;
        }
        let mut reply = self.script().reply(&request);
        reply.nonce = Some("nonce".to_owned());
        Ok(reply)
    }
}

impl Script {
    fn reply(&mut self, request: &Request) -> Reply {
        let path = request.url.strip_prefix(BASE).unwrap();
        match (request.method, path) {
            (Method::Get, "/directory" | "/directory?other") => ok(&self.directory()),
            (Method::Get, path) if path.starts_with("/renewal/") => self.renewal(),
            (Method::Head, "/nonce") => Reply { status: 200, ..Reply::default() },
            (Method::Post, path) => self.post(path, &serde_json::from_slice(&request.body).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn directory(&self) -> Value {
        let mut directory = json!({
            "newNonce": format!("{BASE}/nonce"),
            "newAccount": format!("{BASE}/new-account"),
            "newOrder": format!("{BASE}/new-order"),
        });
        if self.window.is_some() {
            directory["renewalInfo"] = format!("{BASE}/renewal").into();
        }
        directory
    }

    fn renewal(&self) -> Reply {
        let (start, end) = self.window.unwrap();
        ok(&json!({"suggestedWindow": {"start": start, "end": end}}))
    }

    fn post(&mut self, path: &str, message: &Value) -> Reply {
        if self.bad_nonces > 0 {
            self.bad_nonces -= 1;
            return problem(400, "badNonce");
        }
        let (header, payload) = (part(&message["protected"]), part(&message["payload"]));
        if path == "/new-account" {
            return self.new_account(&payload);
        }
        if !header["kid"].as_str().is_some_and(|kid| self.accounts.contains(kid)) {
            return problem(400, "accountDoesNotExist");
        }
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "account", _] => {
                self.contact = payload["contact"].clone();
                ok(&json!({"status": "valid"}))
            }
            ["", "new-order"] => self.new_order(&payload),
            ["", "order"] => ok(&self.order()),
            ["", "finalise"] => {
                self.finalised = true;
                ok(&self.order())
            }
            ["", "certificate"] => {
                Reply { status: 200, body: Bytes::from(self.chain.clone()), ..Reply::default() }
            }
            ["", "authorisation", index] => self.authorisation(index, &payload),
            ["", "challenge", index] => self.look(index),
            other => panic!("{other:?}"),
        }
    }

    fn new_account(&mut self, payload: &Value) -> Reply {
        assert_eq!(payload["termsOfServiceAgreed"], true);
        let bound = &payload["externalAccountBinding"]["protected"];
        if bound.is_null() && self.wants_binding {
            return problem(403, "externalAccountRequired");
        }
        self.binding = (!bound.is_null()).then(|| part(bound)["kid"].as_str().unwrap().to_owned());
        self.made += 1;
        let url = format!("{BASE}/account/{}", self.made);
        self.accounts.insert(url.clone());
        self.contact = payload["contact"].clone();
        Reply { status: 201, location: Some(url), body: "{}".into(), ..Reply::default() }
    }

    fn new_order(&mut self, payload: &Value) -> Reply {
        if let Some((kind, after)) = self.no_orders {
            return Reply { retry_after: Some(after.to_owned()), ..problem(429, kind) };
        }
        self.replaces = payload["replaces"].as_str().map(str::to_owned);
        if let Some(kind) = self.no_replacing.filter(|_| self.replaces.is_some()) {
            return problem(409, kind);
        }
        self.profile = payload["profile"].as_str().map(str::to_owned);
        let identifiers = payload["identifiers"].as_array().unwrap();
        self.names = identifiers.iter().map(|one| one["value"].as_str().unwrap().to_owned()).collect();
        if let (Some(last), Some(smuggled)) = (self.names.last_mut(), self.smuggled) {
            smuggled.clone_into(last);
        }
        self.names.extend(vec![self.names[0].clone(); self.repeats]);
        self.states = self.names.iter().map(|name| (name.clone(), "pending")).collect();
        self.finalised = false;
        Reply { status: 201, location: Some(format!("{BASE}/order")), ..ok(&self.order()) }
    }

    fn order(&self) -> Value {
        let status = match () {
            () if self.finalised => "valid",
            () if self.states.values().any(|state| *state == "invalid") => "invalid",
            () if self.states.values().all(|state| *state == "valid") => "ready",
            () => "pending",
        };
        let mut order = json!({
            "status": status,
            "authorizations": (0..self.names.len()).map(|index| format!("{BASE}/authorisation/{index}")).collect::<Vec<_>>(),
            "finalize": format!("{BASE}/finalise"),
            "certificate": format!("{BASE}/certificate"),
        });
        if let Some(replaces) = &self.replaces {
            order["replaces"] = replaces.as_str().into();
        }
        order
    }

    fn authorisation(&mut self, index: &str, payload: &Value) -> Reply {
        self.looked += 1;
        let name = self.names[index.parse::<usize>().unwrap()].clone();
        if payload["status"] == "deactivated" {
            self.states.insert(name.clone(), "deactivated");
        }
        let error = self.unproved.get(name.as_str()).filter(|_| self.states[&name] == "invalid");
        let error = error.map(
            |kind| json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "the CA's words"}),
        );
        let challenges = ["http-01", "tls-alpn-01", "dns-01"]
            .into_iter()
            .filter(|kind| self.only.is_none_or(|only| only == *kind));
        let challenges: Vec<_> = challenges
            .map(|kind| {
                json!({"type": kind, "url": format!("{BASE}/challenge/{index}"), "token": "token",
                               "status": if error.is_some() { "invalid" } else { "pending" }, "error": error})
            })
            .collect();
        let (host, wildcard) = name.strip_prefix("*.").map_or((name.as_str(), false), |host| (host, true));
        ok(&json!({"identifier": {"type": "dns", "value": host}, "wildcard": wildcard,
                   "status": self.states[&name], "challenges": challenges}))
    }

    fn look(&mut self, index: &str) -> Reply {
        let name = self.names[index.parse::<usize>().unwrap()].clone();
        let state = if self.unproved.contains_key(name.as_str()) { "invalid" } else { "valid" };
        self.states.insert(name, state);
        ok(
            &json!({"type": "http-01", "url": format!("{BASE}/challenge/{index}"), "token": "token", "status": "processing"}),
        )
    }
}

fn part(encoded: &Value) -> Value {
    let octets = BASE64_URL_SAFE_NO_PAD.decode(encoded.as_str().unwrap()).unwrap();
    serde_json::from_slice(&octets).unwrap_or_default()
}

fn ok(value: &Value) -> Reply {
    Reply { status: 200, body: Bytes::from(value.to_string()), ..Reply::default() }
}

fn problem(status: u16, kind: &str) -> Reply {
    let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "the CA's words"});
    Reply { status, body: Bytes::from(body.to_string()), ..Reply::default() }
}
