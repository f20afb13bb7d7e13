//! SCRAM with GNU SASL as the client: a second opinion on the exchange and on channel binding.

use std::process::Output;

use crate::support::programs::{both, program, run};
use crate::support::{Postern, Setup, wait_for};

const PASSWORD: &str = "correct horse, battery";

fn house() -> Postern {
    let postern = Setup::new().without_user().start();
    postern.add_user("carl", PASSWORD, "carl@home.test");
    // Whether SCRAM is announced follows from who has keys, which is looked at now and then.
    wait_for("SCRAM to be announced", || {
        both(&gsasl(&postern, "SCRAM-SHA-256", PASSWORD, &["--no-cb"]))
            .contains("SCRAM-SHA-256-PLUS")
            .then_some(())
    });
    postern
}

fn gsasl(postern: &Postern, mechanism: &str, password: &str, more: &[&str]) -> Output {
    let mut command = program("gsasl");
    command.args(["--smtp", "--connect", &postern.at("submission").to_string()]);
    command.args(["--mechanism", mechanism, "--authentication-id", "carl", "--password", password]);
    command.arg("--x509-ca-file").arg(postern.root()).args(more);
    run(&mut command)
}

#[test]
fn gnu_sasl_proves_the_password_and_believes_the_server() {
    let postern = house();
    for (mechanism, more) in [("SCRAM-SHA-256-PLUS", &[][..]), ("SCRAM-SHA-256", &["--no-cb"])] {
        let said = both(&gsasl(&postern, mechanism, PASSWORD, more));
        assert!(said.contains("235 2.7.0 "), "{mechanism}: {said}");
        assert!(said.contains("server trusted"), "the server has to prove itself: {said}");
        assert!(!postern.log().contains(PASSWORD));
    }
    postern.wait_for_log("signed in by SCRAM: carl");
}

#[test]
fn gnu_sasl_with_a_wrong_password_is_refused_like_anybody() {
    let postern = house();
    for (mechanism, more) in [("SCRAM-SHA-256-PLUS", &[][..]), ("SCRAM-SHA-256", &["--no-cb"])] {
        let said = both(&gsasl(&postern, mechanism, "wrong", more));
        assert!(said.contains("535 5.7.8 Authentication failed (bad-credentials)"), "{mechanism}: {said}");
        assert!(!said.contains("235 "), "{said}");
    }
}
