//! OpenSSL's and GnuTLS's programs.

use std::ffi::OsStr;
use std::process::Command;

/// What a program said, and whether it was content.
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) content: bool,
}

pub(crate) fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Said {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    let text = [output.stdout, output.stderr].concat();
    Said { text: String::from_utf8_lossy(&text).into_owned(), content: output.status.success() }
}

/// Runs openssl, which must be content; says what it said. Words are divided at spaces.
pub(crate) fn openssl(line: &str) -> String {
    let said = tries(line);
    assert!(said.content, "openssl {line}: {}", said.text);
    said.text
}

/// As [`openssl`], content or not.
pub(crate) fn tries(line: &str) -> Said {
    run("openssl", &line.split_whitespace().collect::<Vec<_>>())
}

pub(crate) fn certtool(line: &str) -> String {
    let said = run("certtool", &line.split_whitespace().collect::<Vec<_>>());
    assert!(said.content, "certtool {line}: {}", said.text);
    said.text
}
