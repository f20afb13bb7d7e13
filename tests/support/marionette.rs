//! The remote control of Mozilla's programs: Marionette, which is JSON over TCP.
//!
//! Each message is its length in octets, a colon, and an array: `[0, number, command, parameters]` from us, `[1, number, error,
//! result]` from the program. [`Marionette`] is one connection; scripts run in the program's own context, not in a page's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::PATIENCE;

/// No answer is longer.
const MOST: usize = 16 * 1024 * 1024;

/// A connection to a program that listens to us.
pub struct Marionette {
    stream: BufReader<TcpStream>,
    number: u64,
}

impl Marionette {
    /// Connects and begins a session.
    #[track_caller]
    pub fn connect(port: u16) -> Marionette {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut marionette = Marionette { stream: BufReader::new(stream), number: 0 };
        let hello = marionette.read();
        assert_eq!(hello["marionetteProtocol"], 3, "{hello}");
        marionette.ask("WebDriver:NewSession", &json!({ "capabilities": {} }));
        marionette.ask("Marionette:SetContext", &json!({ "value": "chrome" }));
        marionette.ask("WebDriver:SetTimeouts", &json!({ "script": PATIENCE.as_millis() }));
        marionette
    }

    /// Runs a script that is given these arguments and, behind them, a function to call with its result.
    #[track_caller]
    pub fn run(&mut self, script: &str, arguments: &Value) -> Value {
        let parameters = json!({ "script": script, "args": arguments });
        self.ask("WebDriver:ExecuteAsyncScript", &parameters)["value"].take()
    }

    #[track_caller]
    fn ask(&mut self, command: &str, parameters: &Value) -> Value {
        self.number += 1;
        let message = json!([0, self.number, command, parameters]).to_string();
        let message = format!("{}:{message}", message.len());
        self.stream.get_mut().write_all(message.as_bytes()).unwrap();
        let mut answer = self.read();
        assert_eq!(answer[1], self.number, "an answer to something else: {answer}");
        assert!(answer[2].is_null(), "{command}: {:#}", answer[2]);
        answer[3].take()
    }

    #[track_caller]
    fn read(&mut self) -> Value {
        let mut length = Vec::new();
        (&mut self.stream).take(20).read_until(b':', &mut length).unwrap();
        let length = String::from_utf8_lossy(&length);
        let length = length.strip_suffix(':').and_then(|digits| digits.parse().ok());
        let length = length.filter(|length| *length < MOST).expect("a length, then a colon");
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).unwrap();
        serde_json::from_slice(&message).unwrap()
    }
}
