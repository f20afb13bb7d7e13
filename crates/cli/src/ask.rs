//! Questions at the terminal, and what stands in for them in scripts.
//!
//! Every question has a flag that answers it. Where there is no terminal, nothing waits for an answer that cannot come: it is
//! an error that names the flag. Questions are written to standard error, so that standard output holds the result alone.
//! Passphrases come from the terminal or from a file ([`Passphrase::in_file`]), never from an argument or the environment, which other users of
//! the machine can read.

use std::error::Error;
use std::io::{self, IsTerminal as _};

use dialoguer::{Confirm, Password};
use postern_mta::admin::certificates::Passphrase;

/// What Enter alone answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usual {
    /// Going on does no harm.
    Yes,
    /// Going on takes something away.
    No,
}

/// Whether somebody is there to be asked.
pub(crate) fn at_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether to go on: because a flag said so, or because somebody says so now.
///
/// # Errors
/// Neither is possible.
pub(crate) fn go_on(question: &str, usual: Usual, yes: bool) -> Result<bool, Box<dyn Error>> {
    if yes {
        return Ok(true);
    }
    if !at_terminal() {
        return Err("there is no terminal to ask at, so nothing was changed: confirm with --yes".into());
    }
    Ok(Confirm::new().with_prompt(question).default(usual == Usual::Yes).interact()?)
}

/// A passphrase that there is already, asked for once.
///
/// # Errors
/// There is no terminal; `otherwise` is the flag to give.
pub(crate) fn passphrase(question: &str, otherwise: &str) -> Result<Passphrase, Box<dyn Error>> {
    refuse_without_terminal(otherwise)?;
    let prompt = Password::new().with_prompt(question).allow_empty_password(true);
    Ok(Passphrase::new(prompt.interact()?))
}

/// A new passphrase, asked for twice.
///
/// # Errors
/// There is no terminal; `otherwise` is the flag to give.
pub(crate) fn new_passphrase(question: &str, otherwise: &str) -> Result<Passphrase, Box<dyn Error>> {
    refuse_without_terminal(otherwise)?;
    let prompt = Password::new().with_prompt(question).with_confirmation("Once more", "The two differ");
    Ok(Passphrase::new(prompt.interact()?))
}

fn refuse_without_terminal(otherwise: &str) -> Result<(), String> {
    if at_terminal() {
        return Ok(());
    }
    Err(format!("there is no terminal to ask for the passphrase at: give {otherwise}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_nobody_can_answer_names_the_flag() {
        if at_terminal() {
            return;
        }
        assert!(go_on("Really?", Usual::No, false).unwrap_err().to_string().contains("--yes"));
        assert!(go_on("Really?", Usual::No, true).unwrap());
        let said = passphrase("Passphrase", "--passphrase-file FILE").unwrap_err().to_string();
        assert!(said.contains("--passphrase-file"), "{said}");
    }
}
