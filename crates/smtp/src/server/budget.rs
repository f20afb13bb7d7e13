//! What a client has left of everything that it can repeat.
//!
//! Refused recipients are a case of their own. Whoever only guesses addresses makes errors like any other; but an
//! honest client with a long list has dead addresses in it, and one that is told `452` because a transaction is full
//! has made no mistake at all (RFC 5321 §4.5.3.1.10): it must get through to DATA, or it will never get through.

use super::settings::Limits;

/// How many times more recipients may be refused than errors made, once a recipient of the transaction was accepted.
const DEAD_ADDRESSES: usize = 10;
/// How many recipients may be put off with 4yz: more than any honest client sends at once, and still an end.
const MOST_PUT_OFF: usize = 10_000;

/// Counters of one session. They outlive STARTTLS: a client cannot buy new ones.
#[derive(Debug, Default)]
pub(super) struct Budget {
    idle_commands: usize,
    errors: usize,
    dead_addresses: usize,
    put_off: usize,
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

    /// A recipient that was refused beside one of the same transaction that was accepted: most likely a dead address
    /// in a list.
    pub(super) fn dead_address(&mut self, limits: &Limits) -> Result<(), Spent> {
        self.dead_addresses += 1;
        if self.dead_addresses >= limits.errors.saturating_mul(DEAD_ADDRESSES) {
            Err(Spent::Errors)
        } else {
            Ok(())
        }
    }

    /// A recipient that was answered 4yz. That is no mistake of the client's: it is to try again later.
    pub(super) fn put_off(&mut self) -> Result<(), Spent> {
        self.put_off += 1;
        if self.put_off > MOST_PUT_OFF { Err(Spent::Errors) } else { Ok(()) }
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

    /// A message was accepted: whoever brings mail may also idle a little between, and err now and then. Attempts to
    /// sign in and transactions are bounded for the whole session.
    pub(super) fn message(&mut self) {
        self.idle_commands = 0;
        self.errors = 0;
        self.dead_addresses = 0;
        self.put_off = 0;
    }
}
