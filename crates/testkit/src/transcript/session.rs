//! The server of a transcript without I/O: a [`ServerSession`], a scripted policy and a clock that is told the time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_smtp::sasl::{Binding, ChannelBindings};
use postern_smtp::server::{Beginning, Dialogue, Input, Output, ServerSession, TlsMode};
use postern_smtp::tls::{PeerProof, TlsFacts};

use super::{ClientCertificate, SEED, Scenario, Script, Server};

/// Drives a session as the daemon would, but at once and in memory.
pub struct SessionServer {
    script: Script,
    session: ServerSession,
    certificate: ClientCertificate,
    now: Instant,
    said: Vec<u8>,
    lines: VecDeque<String>,
    handshakes: usize,
    closed: Option<String>,
}

impl SessionServer {
    /// A server in this scenario, with a client that has just connected.
    pub fn new(scenario: &Scenario) -> Self {
        let now = Instant::now();
        let tls = (scenario.settings.tls == TlsMode::Implicit).then(|| facts(scenario.certificate));
        let beginning = Beginning { tls, seed: SEED, front_end: scenario.front_end };
        let session = ServerSession::new(Arc::new(scenario.settings.clone()), beginning, now);
        let mut server = Self {
            script: Script::new(scenario),
            session,
            certificate: scenario.certificate,
            now,
            said: Vec::new(),
            lines: VecDeque::new(),
            handshakes: 0,
            closed: None,
        };
        server.perform();
        server
    }

    /// What the session has kept of what was said.
    pub fn dialogue(&self) -> &Dialogue {
        self.session.dialogue()
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(Input::Time(self.now));
        self.perform();
        self.session.handle(input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.session.poll() {
            assert!(self.closed.is_none(), "an output after Close: {output:?}");
            match output {
                Output::Send(bytes) => self.hear(&bytes),
                Output::Ask(question) => {
                    assert!(!self.session.wants_input(), "more input is wanted while a question is open");
                    let verdict = self.script.answer(&question);
                    self.session.handle(Input::Time(self.now));
                    self.session.handle(Input::Verdict(verdict));
                }
                Output::Body(bytes) => self.script.content(&bytes),
                Output::Discard => self.script.discard(),
                Output::Introduce(introduction) => self.script.introduce(introduction),
                Output::StartTls => self.handshakes += 1,
                Output::Wait { .. } => {}
                Output::Close(reason) => {
                    self.script.assert_nothing_is_left();
                    self.closed = Some(format!("{reason:?}").to_lowercase());
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        assert!(bytes.ends_with(b"\r\n"), "half a line is sent");
        self.said.extend_from_slice(bytes);
        let text = String::from_utf8(std::mem::take(&mut self.said)).expect("replies are UTF-8");
        self.lines.extend(text.split_terminator("\r\n").map(str::to_owned));
    }
}

impl Server for SessionServer {
    fn send(&mut self, octets: &[u8]) {
        self.handle(Input::Bytes(octets));
    }

    fn line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    fn is_quiet(&mut self) -> bool {
        self.lines.is_empty()
    }

    fn start_tls(&mut self) -> Result<(), String> {
        if self.handshakes == 0 {
            return Err("the server did not ask for a handshake".to_owned());
        }
        self.handshakes = 0;
        self.script.start_over();
        self.handle(Input::TlsStarted(facts(self.certificate)));
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.session.handle(Input::Time(self.now));
        self.perform();
    }

    fn drain(&mut self) {
        self.handle(Input::Drain);
    }

    fn hang_up(&mut self) {
        self.handle(Input::Closed);
    }

    fn closed(&mut self) -> Option<String> {
        self.closed.clone()
    }

    fn asked(&mut self) -> Option<String> {
        self.script.asked()
    }

    fn body(&mut self) -> Option<Vec<u8>> {
        self.script.take_body()
    }

    fn discarded(&mut self) -> bool {
        self.script.holds_nothing()
    }
}

fn facts(certificate: ClientCertificate) -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3".to_owned(),
        cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        group: None,
        server_name: None,
        channel_bindings: ChannelBindings {
            exporter: Some(Binding::tls_exporter([3; 32])),
            server_end_point: Some(Binding::tls_server_end_point([4; 32])),
        },
        peer: match certificate {
            ClientCertificate::Absent => PeerProof::anonymous(),
            ClientCertificate::Unproved => PeerProof::unverified("its issuer is not trusted"),
            ClientCertificate::Verified => PeerProof::verified(),
        },
    }
}
