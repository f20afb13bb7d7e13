//! A scripted next hop: an SMTP server that does as it is told, and remembers what it was sent, octet for octet.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::tls_server::{ServerTls, TlsTrick};
use super::wire::Wire;
use super::{PATIENCE, wait_for};

/// What the script is asked before each step of a session. Steps are `CONNECT`, each command line as it came, `CONTENT` (354
/// was said, nothing read yet) and `.` (the whole content is here and remembered, no reply said yet).
pub struct Step<'a> {
    /// The session's number, from 0, in the order of connecting.
    pub session: usize,
    /// How often a step that begins with the same word was there before, in all sessions.
    pub before: usize,
    /// The step.
    pub line: &'a str,
}

impl Step<'_> {
    /// Whether this is that command.
    pub fn is(&self, verb: &str) -> bool {
        self.line.get(..verb.len()).is_some_and(|start| start.eq_ignore_ascii_case(verb))
    }
}

/// What the peer does then.
pub enum Do {
    /// What a good server does.
    Usual,
    /// Say this line instead.
    Say(&'static str),
    /// Hang up.
    Close,
    /// Wait until the gate is open, then do what a good server does.
    Wait(Arc<Gate>),
    /// At STARTTLS: say `220` and play this trick. Elsewhere what a good server does.
    Tls(TlsTrick),
}

/// Holds a session of a peer until the test opens it.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    arrived: AtomicUsize,
    changed: Condvar,
}

impl Gate {
    pub fn new() -> Arc<Gate> {
        Arc::default()
    }

    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until a session stands at the gate.
    pub fn wait_for_arrival(&self) {
        wait_for("a session at the gate", || (self.arrived.load(Ordering::SeqCst) > 0).then_some(()));
    }

    fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
    }
}

/// A transaction that the peer took to its end.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// The arguments of MAIL and of each RCPT, after the colon.
    pub from: String,
    pub to: Vec<String>,
    /// The content, dots unstuffed.
    pub content: Vec<u8>,
    /// Whether it came encrypted.
    pub tls: bool,
    /// In which session.
    pub session: usize,
}

const GO_AHEAD: &str = "220 2.0.0 Go ahead";

type Script = dyn Fn(&Step) -> Do + Send + Sync;

/// How the peer is set up.
pub struct Setup {
    script: Box<Script>,
    tls: Option<ServerTls>,
    begins_with_tls: bool,
    extensions: Vec<&'static str>,
}

/// A running peer; stops when dropped.
pub struct Peer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    setup: Setup,
    sessions: AtomicUsize,
    stopped: AtomicBool,
    taken: Mutex<Vec<Taken>>,
    said: Mutex<Vec<String>>,
    steps: Mutex<HashMap<String, usize>>,
}

impl Setup {
    /// STARTTLS, by rustls with this configuration or by OpenSSL.
    pub fn tls(mut self, tls: impl Into<ServerTls>) -> Setup {
        self.tls = Some(tls.into());
        self
    }

    /// TLS from the first octet on, as on port 465.
    pub fn implicit_tls(mut self, tls: impl Into<ServerTls>) -> Setup {
        self.begins_with_tls = true;
        self.tls(tls)
    }

    /// Offers an extension, whether or not the peer knows what it means (STARTTLS among them).
    pub fn offering(mut self, keyword: &'static str) -> Setup {
        self.extensions.push(keyword);
        self
    }

    /// Starts on a port of the system's choice.
    pub fn start(self) -> Peer {
        self.start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts at an address.
    pub fn start_at(self, address: SocketAddr) -> Peer {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            setup: self,
            sessions: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            taken: Mutex::default(),
            said: Mutex::default(),
            steps: Mutex::default(),
        });
        let acceptor = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &acceptor));
        Peer { address, shared }
    }
}

impl Peer {
    /// A peer that takes everything.
    pub fn start() -> Peer {
        Peer::scripted(|_| Do::Usual).start()
    }

    /// A peer with a script, to be started.
    pub fn scripted(script: impl Fn(&Step) -> Do + Send + Sync + 'static) -> Setup {
        Setup {
            script: Box::new(script),
            tls: None,
            begins_with_tls: false,
            extensions: vec!["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN"],
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Waits until at least so many messages were taken.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Taken> {
        wait_for(&format!("{count} messages at the scripted peer"), || {
            Some(self.taken()).filter(|taken| taken.len() >= count)
        })
    }

    /// Every command line of every session.
    pub fn said(&self) -> Vec<String> {
        self.shared.said.lock().unwrap().clone()
    }

    /// Whether any session said this command.
    pub fn heard(&self, verb: &str) -> bool {
        self.said().iter().any(|line| line.to_ascii_uppercase().starts_with(verb))
    }

    /// How often a command was said, in all sessions.
    pub fn count(&self, verb: &str) -> usize {
        self.said().iter().filter(|line| line.starts_with(verb)).count()
    }

    /// How many sessions there were.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    /// Waits until at least so many sessions were opened.
    #[track_caller]
    pub fn wait_for_sessions(&self, count: usize) {
        wait_for(&format!("{count} sessions at the scripted peer"), || {
            (self.sessions() >= count).then_some(())
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    /// How often this step was there before.
    fn count(&self, line: &str) -> usize {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let mut steps = self.steps.lock().unwrap();
        let count = steps.entry(word).or_default();
        *count += 1;
        *count - 1
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.sessions.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let session = Session { wire: Wire::new(stream), number, shared, transaction: Taken::default() };
            // The other side may break off at any point: that is what some of the tests are about.
            drop(session.run());
        });
    }
}

struct Session {
    wire: Wire,
    number: usize,
    shared: Arc<Shared>,
    transaction: Taken,
}

impl Session {
    fn run(mut self) -> std::io::Result<()> {
        if let (true, Some(tls)) = (self.shared.setup.begins_with_tls, self.shared.setup.tls.clone()) {
            self.accept_tls(tls)?;
        }
        if !self.step("CONNECT", "220 peer.test ESMTP")? {
            return Ok(());
        }
        while let Some(line) = self.wire.read_line()? {
            let line = String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned();
            self.shared.said.lock().unwrap().push(line.clone());
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let going_on = match verb.as_str() {
                "EHLO" | "LHLO" => self.hello(&line)?,
                "STARTTLS" => self.starttls(&line)?,
                "DATA" => self.data(&line)?,
                "QUIT" => {
                    self.step(&line, "221 2.0.0 Bye")?;
                    false
                }
                _ => self.note_and_step(&line)?,
            };
            if !going_on {
                break;
            }
        }
        Ok(())
    }

    /// Does what the script says; `usual` is what a good server replies. False when the session is over.
    fn step(&mut self, line: &str, usual: &str) -> std::io::Result<bool> {
        Ok(self.say(line, usual)?.is_some_and(|reply| !reply.starts_with("421")))
    }

    /// As [`step`](Session::step), but tells what was said; `None` when it hung up.
    fn say(&mut self, line: &str, usual: &str) -> std::io::Result<Option<String>> {
        let what = self.ask(line);
        self.act(what, usual)
    }

    fn ask(&self, line: &str) -> Do {
        let before = self.shared.count(line);
        (self.shared.setup.script)(&Step { session: self.number, before, line })
    }

    fn act(&mut self, what: Do, usual: &str) -> std::io::Result<Option<String>> {
        let reply = match what {
            Do::Usual | Do::Tls(_) => usual,
            Do::Say(reply) => reply,
            Do::Close => return Ok(None),
            Do::Wait(gate) => {
                gate.pass();
                usual
            }
        };
        if !reply.is_empty() {
            self.wire.write(format!("{reply}\r\n").as_bytes())?;
        }
        Ok(Some(reply.to_owned()))
    }

    fn hello(&mut self, line: &str) -> std::io::Result<bool> {
        let mut keywords = self.shared.setup.extensions.clone();
        if self.shared.setup.tls.is_some() && !self.wire.is_tls() {
            keywords.push("STARTTLS");
        }
        self.step(
            line,
            &format!("250-peer.test\r\n250-{}\r\n250 ENHANCEDSTATUSCODES", keywords.join("\r\n250-")),
        )
    }

    fn starttls(&mut self, line: &str) -> std::io::Result<bool> {
        let what = self.ask(line);
        if let Do::Tls(trick) = what {
            return self.play(trick);
        }
        match self.act(what, GO_AHEAD)? {
            Some(reply) if reply.starts_with("220") => {}
            refusal => return Ok(refusal.is_some()),
        }
        match self.shared.setup.tls.clone() {
            Some(tls) => self.accept_tls(tls),
            // STARTTLS was offered without an identity: the handshake shall fail once the other side has begun it.
            None => self.answer_with_garbage(),
        }
    }

    fn accept_tls(&mut self, tls: ServerTls) -> std::io::Result<bool> {
        match tls {
            ServerTls::Rustls(config) => self.wire.accept_tls(config)?,
            ServerTls::OpenSsl(openssl) => self.wire.accept_tls_by(&openssl),
        }
        Ok(true)
    }

    /// Says `220` and does what the trick says; false when the session is over.
    fn play(&mut self, trick: TlsTrick) -> std::io::Result<bool> {
        let injected =
            if let TlsTrick::Inject(lines) = trick { format!("{lines}\r\n") } else { String::new() };
        self.wire.write(format!("{GO_AHEAD}\r\n{injected}").as_bytes())?;
        match trick {
            TlsTrick::Garbage => return self.answer_with_garbage(),
            TlsTrick::Stall => while self.wire.wait_for_something()? {},
            TlsTrick::Close => drop(self.wire.read_hello()?),
            TlsTrick::Reset => {
                self.wire.read_hello()?;
                self.wire.reset()?;
            }
            TlsTrick::Inject(_) => return self.accept_tls(self.tls()),
            TlsTrick::SmallHello(limit) => {
                let ServerTls::Rustls(config) = self.tls() else {
                    panic!("OpenSSL reads the ClientHello itself: this trick needs rustls");
                };
                self.wire.accept_small_hello(config, limit)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tls(&self) -> ServerTls {
        self.shared.setup.tls.clone().expect("this trick needs a peer that can do TLS")
    }

    fn answer_with_garbage(&mut self) -> std::io::Result<bool> {
        self.wire.read_hello()?;
        self.wire.write(b"this is no TLS\r\n")?;
        Ok(false)
    }

    fn note_and_step(&mut self, line: &str) -> std::io::Result<bool> {
        let argument = line.split_once(':').map(|(_, argument)| argument.to_owned()).unwrap_or_default();
        if line.starts_with("MAIL") {
            let (tls, session) = (self.wire.is_tls(), self.number);
            self.transaction = Taken { from: argument, tls, session, ..Taken::default() };
        } else if line.starts_with("RCPT") {
            self.transaction.to.push(argument);
        }
        self.step(line, "250 2.0.0 Ok")
    }

    fn data(&mut self, line: &str) -> std::io::Result<bool> {
        match self.say(line, "354 Go on")? {
            Some(reply) if reply.starts_with("354") => {}
            refusal => return Ok(refusal.is_some()),
        }
        if !self.step("CONTENT", "")? {
            return Ok(false);
        }
        let Some(content) = self.wire.read_content()? else {
            return Ok(false);
        };
        let transaction = std::mem::take(&mut self.transaction);
        self.shared.taken.lock().unwrap().push(Taken { content, ..transaction });
        self.step(".", "250 2.0.0 Taken")
    }
}
