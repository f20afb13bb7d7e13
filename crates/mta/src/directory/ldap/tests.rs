//! An LDAP server that says what a test wants: what Active Directory does, and what no server should.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_smtp::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::ber::{ENUMERATED, Elements, INTEGER, OCTETS, SEQUENCE, SET, frame, put, put_number};
use super::*;
use crate::config::{Ldap as Config, LdapService, LdapTls};

const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;
/// What Active Directory says to a password that is wrong, with a number that says more.
const DATA: &str = "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data ";

/// What the server does about a request.
enum Reply {
    /// Messages with the number of the request: tag and content.
    Say(Vec<(u8, Vec<u8>)>),
    /// These octets, then nothing more.
    Raw(Vec<u8>),
    Silence,
}

/// Each operation that a server was asked for, with its content.
type Heard = Arc<Mutex<Vec<(u8, Vec<u8>)>>>;

/// A server, and what it was asked.
struct Server {
    url: LdapUrl,
    heard: Heard,
}

impl Server {
    async fn start(reply: impl Fn(u8, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ldap://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (heard, reply) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(reply));
        let noted = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&reply), Arc::clone(&noted)));
            }
        });
        Self { url, heard }
    }

    /// The names that were bound as.
    fn bound(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let name = |content: &[u8]| {
            let mut content = Elements(content);
            content.number(INTEGER).unwrap();
            content.text(OCTETS).unwrap().to_owned()
        };
        heard.iter().filter(|(tag, _)| *tag == BIND).map(|(_, content)| name(content)).collect()
    }

    fn count(&self, operation: u8) -> usize {
        self.heard.lock().unwrap().iter().filter(|(tag, _)| *tag == operation).count()
    }
}

async fn serve(mut stream: TcpStream, reply: Arc<impl Fn(u8, &[u8]) -> Reply>, heard: Heard) {
    let mut octets = Vec::new();
    loop {
        while let Some(end) = frame(&octets).unwrap() {
            let message: Vec<u8> = octets.drain(..end).collect();
            let mut message = Elements(Elements(&message).expect(SEQUENCE).unwrap());
            let id = message.number(INTEGER).unwrap();
            let (tag, content) = message.next().unwrap();
            heard.lock().unwrap().push((tag, content.to_vec()));
            let answer = match reply(tag, content) {
                Reply::Say(answers) => answers.iter().flat_map(|answer| enveloped(id, answer)).collect(),
                Reply::Raw(octets) => {
                    stream.write_all(&octets).await.unwrap();
                    return;
                }
                Reply::Silence => Vec::new(),
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut octets).await, Ok(1..)) {
            return;
        }
    }
}

fn enveloped(id: u32, (tag, content): &(u8, Vec<u8>)) -> Vec<u8> {
    let (mut body, mut message) = (Vec::new(), Vec::new());
    put_number(&mut body, INTEGER, id);
    put(&mut body, *tag, content);
    put(&mut message, SEQUENCE, &body);
    message
}

fn outcome(tag: u8, code: u32, text: &str) -> (u8, Vec<u8>) {
    let mut content = Vec::new();
    put_number(&mut content, ENUMERATED, code);
    put(&mut content, OCTETS, b"");
    put(&mut content, OCTETS, text.as_bytes());
    (tag, content)
}

fn bound(code: u32, text: &str) -> Reply {
    Reply::Say(vec![outcome(0x61, code, text)])
}

fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> (u8, Vec<u8>) {
    let (mut content, mut list) = (Vec::new(), Vec::new());
    for (name, values) in attributes {
        let (mut attribute, mut set) = (Vec::new(), Vec::new());
        put(&mut attribute, OCTETS, name.as_bytes());
        for value in *values {
            put(&mut set, OCTETS, value.as_bytes());
        }
        put(&mut attribute, SET, &set);
        put(&mut list, SEQUENCE, &attribute);
    }
    put(&mut content, OCTETS, dn.as_bytes());
    put(&mut content, SEQUENCE, &list);
    (0x64, content)
}

fn found(entries: Vec<(u8, Vec<u8>)>) -> Reply {
    let done = outcome(0x65, 0, "");
    Reply::Say(entries.into_iter().chain([done]).collect())
}

/// Whether a request has these octets in it.
fn says(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

const ANNA: &str = "CN=Anna Muster,OU=Staff,DC=corp,DC=example";

/// Anna as Active Directory has her, with these flags.
fn anna(flags: &str) -> (u8, Vec<u8>) {
    entry(
        ANNA,
        &[
            ("sAMAccountName", &["Anna"]),
            ("mail", &["anna@corp.example"]),
            ("proxyAddresses", &["SMTP:anna@corp.example", "smtp:a.m@corp.example", "X500:/o=Corp"]),
            ("memberOf", &["CN=Sales,OU=Groups,DC=corp,DC=example"]),
            ("userAccountControl", &[flags]),
            ("accountExpires", &["9223372036854775807"]),
        ],
    )
}

fn active_directory(server: &Server) -> Config {
    Config {
        urls: vec![server.url.clone()],
        flavour: LdapFlavour::ActiveDirectory,
        tls: LdapTls::Off,
        trust: None,
        step: Duration::from_secs(5),
        service: None,
        people: LdapPeople {
            base: Some("DC=corp,DC=example".into()),
            scope: Scope::Subtree,
            filter: Filter::of_person("(|(sAMAccountName={local})(userPrincipalName={login}))").unwrap(),
            bind_as: None,
            name: "sAMAccountName".into(),
            mail: vec!["mail".into(), "proxyAddresses".into()],
        },
        groups: LdapGroups {
            member_of: "memberOf".into(),
            base: None,
            filter: Filter::of_groups("(member:1.2.840.113556.1.4.1941:={dn})").unwrap(),
        },
    }
}

async fn asked(config: &Config, login: &str, password: &str) -> Result<Principal, Denied> {
    let ldap = Ldap::new(config);
    ldap.by_password(&Login::new(login).unwrap(), &Secret::new(password)).await
}

/// A domain in which Anna has the password `pw`.
async fn domain(flags: &'static str) -> Server {
    Server::start(move |operation, content| match operation {
        BIND if says(content, ANNA) && says(content, "pw") => bound(0, ""),
        BIND => bound(49, &format!("{DATA}52e, v4563\0")),
        SEARCH if says(content, "1.2.840.113556.1.4.1941") && says(content, ANNA) => found(vec![
            entry("CN=Everybody,DC=corp", &[("cn", &["Everybody"])]),
            entry("CN=Sales,DC=corp", &[]),
        ]),
        SEARCH if says(content, "anna") => found(vec![anna(flags), (0x73, Vec::new())]),
        SEARCH => found(vec![]),
        _ => Reply::Silence,
    })
    .await
}

#[tokio::test]
async fn active_directory_knows_names_addresses_and_groups_in_groups() {
    let server = domain("512").await;
    let mut config = active_directory(&server);
    config.groups.base = Some("DC=corp,DC=example".into());
    for login in ["anna", "ANNA@corp.example", "CORP\\anna"] {
        let found = asked(&config, login, "pw").await.unwrap();
        let addresses = ["anna@corp.example", "a.m@corp.example"].map(|address| address.parse().unwrap());
        assert_eq!((found.name.as_str(), found.addresses), ("anna", addresses.to_vec()), "{login}");
        assert_eq!(found.groups, ["Everybody", "Sales"]);
    }
    assert_eq!(asked(&config, "anna", "other").await, Err(Denied::Refused(Why::WrongPassword)));
}

#[tokio::test]
async fn an_account_that_is_switched_off_does_not_sign_in_and_cannot_be_looked_up() {
    let server = domain("514").await;
    let config = active_directory(&server);
    assert_eq!(asked(&config, "anna", "pw").await, Err(Denied::Refused(Why::Disabled)));
    let login = Login::new("anna").unwrap();
    assert_eq!(Ldap::new(&config).look_up(&login).await, Ok(None));
    let sound = active_directory(&domain("512").await);
    assert_eq!(Ldap::new(&sound).look_up(&login).await.unwrap().unwrap().name, "anna");
}

#[tokio::test]
async fn nobody_costs_as_many_questions_as_a_wrong_password() {
    let wrong = domain("512").await;
    assert_eq!(asked(&active_directory(&wrong), "anna", "x").await, Err(Denied::Refused(Why::WrongPassword)));
    let nobody = domain("512").await;
    assert_eq!(asked(&active_directory(&nobody), "otto", "x").await, Err(Denied::Refused(Why::UnknownUser)));
    for operation in [BIND, SEARCH] {
        assert_eq!(wrong.count(operation), nobody.count(operation));
    }
    assert_eq!(nobody.bound(), ["cn=postern-nobody,DC=corp,DC=example"]);
}

#[tokio::test]
async fn an_empty_password_is_never_sent() {
    let server = Server::start(|_, _| bound(0, "")).await;
    assert_eq!(
        asked(&active_directory(&server), "anna", "").await,
        Err(Denied::Refused(Why::WrongOrUnknown))
    );
    assert_eq!(server.count(BIND) + server.count(SEARCH), 0);
}

#[tokio::test]
async fn an_entry_without_a_name_is_never_bound_as() {
    let server = Server::start(|operation, _| match operation {
        SEARCH => found(vec![entry("", &[("sAMAccountName", &["anna"])])]),
        _ => bound(0, ""),
    })
    .await;
    let denied = asked(&active_directory(&server), "anna", "pw").await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(_)), "{denied:?}");
    assert_eq!(server.bound(), [""; 0]);
}

#[tokio::test]
async fn who_binds_by_account_name_is_who_the_server_says() {
    let server = Server::start(|operation, content| match operation {
        BIND if says(content, "anna@corp.example") && says(content, "pw") => bound(0, ""),
        BIND => bound(49, &format!("{DATA}775, v4563")),
        EXTENDED => {
            let (tag, mut content) = outcome(0x78, 0, "");
            put(&mut content, 0x8b, b"u:CORP\\anna");
            Reply::Say(vec![(tag, content)])
        }
        // Only a question for the account itself finds her.
        SEARCH if says(content, "sAMAccountName") && !says(content, "userPrincipalName") => {
            found(vec![anna("512")])
        }
        _ => found(vec![anna("512"), anna("512")]),
    })
    .await;
    let mut config = active_directory(&server);
    config.people.bind_as = Some(NameTemplate::parse("{local}@corp.example").unwrap());
    assert_eq!(asked(&config, "anna", "pw").await.unwrap().name, "anna");
    assert_eq!(asked(&config, "anna", "x").await, Err(Denied::Refused(Why::Account("it is locked"))));
    assert_eq!(server.bound(), ["anna@corp.example", "anna@corp.example"]);
}

#[tokio::test]
async fn a_server_that_is_busy_or_points_elsewhere_says_nothing_about_a_password() {
    for code in [1, 10, 32, 50, 51, 52, 53, 80] {
        let server = Server::start(move |_, _| Reply::Say(vec![outcome(0x65, code, "")])).await;
        let denied = asked(&active_directory(&server), "anna", "pw").await.unwrap_err();
        let Denied::Unavailable(why) = denied else { panic!("{code}: {denied:?}") };
        assert!(why.contains(&server.url.to_string()), "{code}: {why}");
    }
}

#[tokio::test]
async fn a_busy_server_is_left_for_another() {
    let busy = Server::start(|_, _| Reply::Say(vec![outcome(0x65, 51, "")])).await;
    let well = domain("512").await;
    let mut config = active_directory(&well);
    config.urls.insert(0, busy.url.clone());
    let ldap = Ldap::new(&config);
    for _ in 0..3 {
        let login = Login::new("anna").unwrap();
        assert_eq!(ldap.by_password(&login, &Secret::new("pw")).await.unwrap().name, "anna");
    }
    assert_eq!(busy.count(SEARCH), 1, "it rests");
}

#[tokio::test]
async fn whatever_a_server_says_is_survived() {
    let mut nested = vec![0x30; 4000];
    nested.extend([0x84, 0, 0, 0, 0]);
    let deep: Vec<u8> = [0x30, 0x82, 0x0f, 0xa0].into_iter().chain(nested).collect();
    let mut strange = vec![
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        vec![0x30, 0x80],
        vec![0x30, 0],
        vec![0; 100],
        vec![],
        deep,
        enveloped(999, &outcome(0x65, 0, "")),
        enveloped(0, &outcome(0x78, 52, "going down")),
        enveloped(1, &(0x64, vec![0x04, 1, 0xff, 0x30, 0])),
        enveloped(1, &(0x65, vec![])),
        enveloped(1, &(0x79, vec![])),
    ];
    strange.push(enveloped(1, &anna("512")).repeat(3));
    for octets in strange {
        let shown = format!("{:?}", &octets[..octets.len().min(20)]);
        let server = Server::start(move |_, _| Reply::Raw(octets.clone())).await;
        let denied = asked(&active_directory(&server), "anna", "pw").await.unwrap_err();
        assert!(matches!(denied, Denied::Unavailable(_)), "{shown}: {denied:?}");
    }
}

#[tokio::test]
async fn more_than_one_entry_is_nobody() {
    let server = Server::start(|operation, _| match operation {
        SEARCH => found(vec![anna("512"), anna("512")]),
        _ => bound(0, ""),
    })
    .await;
    let denied = asked(&active_directory(&server), "anna", "pw").await;
    assert_eq!(denied, Err(Denied::Refused(Why::SeveralEntries)));
    assert_eq!(server.bound(), ["cn=postern-nobody,DC=corp,DC=example"]);
}

#[tokio::test]
async fn a_question_that_is_dropped_takes_its_connection_with_it() {
    let silent = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let quiet = Arc::clone(&silent);
    let (asked, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |operation, _| {
        let _ = asked.send(());
        match operation {
            _ if quiet.load(std::sync::atomic::Ordering::SeqCst) => Reply::Silence,
            SEARCH => found(vec![anna("512")]),
            _ => bound(0, ""),
        }
    })
    .await;
    let ldap = Ldap::new(&active_directory(&server));
    let (login, password) = (Login::new("anna").unwrap(), Secret::new("pw"));
    tokio::select! {
        answer = ldap.by_password(&login, &password) => panic!("{answer:?}"),
        _ = waiting.recv() => {}
    }
    silent.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(ldap.by_password(&login, &password).await.unwrap().name, "anna");
}

#[tokio::test]
async fn nothing_is_said_before_tls_and_nothing_may_stand_behind_it() {
    let refused = Server::start(|_, _| Reply::Say(vec![outcome(0x78, 52, "no TLS here")])).await;
    let injected = Server::start(|_, _| Reply::Say(vec![outcome(0x78, 0, ""), outcome(0x61, 0, "")])).await;
    for (server, why) in [(&refused, "no TLS here"), (&injected, "somebody on the way")] {
        let mut config = active_directory(server);
        config.tls = LdapTls::Verified;
        config.service = Some(LdapService { dn: "cn=postern".into(), password_file: "/nowhere".into() });
        let denied = asked(&config, "anna", "pw").await.unwrap_err();
        assert!(matches!(&denied, Denied::Unavailable(said) if said.contains(why)), "{denied:?}");
        assert_eq!((server.count(EXTENDED), server.count(BIND), server.count(SEARCH)), (1, 0, 0));
    }
}
