//! What a client has left of everything that it can repeat.

use super::settings::Limits;

/// Counters of one session. They outlive STARTTLS: a client cannot buy new ones.
#[derive(Debug, Default)]
pub(super) struct Budget {
    idle_commands: usize,
    errors: usize,
    auth_attempts: usize,
    transactions: usize,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    Commands,
    Errors,
    SignIns,
}

impl Budget {
    /// A command that does not advance a transaction. The last one that is allowed is still answered.
    pub(super) fn idle_command(&mut self, limits: &Limits) -> Result<(), Spent> {
        self.idle_commands += 1;
        if self.idle_commands > limits.idle_commands { Err(Spent::Commands) } else { Ok(()) }
    }

    /// A command that was refused. The last one that is allowed gets its reply, and then the session ends.
    pub(super) fn error(&mut self, limits: &Limits) -> Result<(), Spent> {
        self.errors += 1;
        if self.errors >= limits.errors { Err(Spent::Errors) } else { Ok(()) }
    }

    /// An attempt to sign in that failed.
    pub(super) fn failed_sign_in(&mut self, limits: &Limits) -> Result<(), Spent> {
        self.auth_attempts += 1;
        if self.auth_attempts >= limits.auth_attempts { Err(Spent::SignIns) } else { Ok(()) }
    }

    /// Whether another transaction may begin.
    pub(super) fn allows_transaction(&self, limits: &Limits) -> bool {
        self.transactions < limits.transactions
    }

    pub(super) fn transaction(&mut self) {
        self.transactions += 1;
    }

    /// A message was accepted: whoever brings mail may also idle a little between.
    pub(super) fn message(&mut self) {
        self.idle_commands = 0;
    }
}
