//! Whether a name that is nobody's would be somebody's with a domain, without one, or with another.
//!
//! It is asked when the session has ended, and of Postern's own users only: nobody waits for the answer, and nobody can tell
//! from the time that a reply took who exists.

use super::facts::Facts;
use crate::directory::SignInFault;

/// So many of our own domains are tried.
const TRIED: usize = 32;

impl Facts {
    /// Looks at the last name that was tried in vain.
    pub(crate) fn tell_names_apart<'a>(
        &mut self,
        domains: impl Iterator<Item = &'a str>,
        is_somebodys: impl Fn(&str) -> bool,
    ) {
        let unknown = |last: &&mut super::facts::SignIn| last.fault == Some(SignInFault::UnknownUser);
        let Some(last) = self.sign_ins.last_mut().filter(unknown) else { return };
        let (local, fault) = match last.user.rsplit_once('@') {
            None => (&*last.user, SignInFault::NameWithoutDomain),
            Some((local, _)) => (local, SignInFault::NameWithWrongDomain),
        };
        let others = domains.take(TRIED).map(|domain| format!("{local}@{domain}"));
        let without = Some(local.to_owned()).filter(|_| fault == SignInFault::NameWithWrongDomain);
        if let Some(right) = others.chain(without).find(|name| *name != last.user && is_somebodys(name)) {
            last.fault = Some(fault);
            last.why = Some(format!("the name would be {right}"));
            self.right_name = Some(right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Proof;
    use crate::session::SignIn;

    fn told(user: &str, somebody: &str) -> (SignInFault, Option<String>) {
        let recorded = include_str!("../diagnosis/session/recorded/unknown-account--plain.json");
        let mut facts: Facts = serde_json::from_str(recorded).unwrap();
        let fault = Some(SignInFault::UnknownUser);
        facts.sign_ins = vec![SignIn { user: user.to_owned(), by: Proof::Password, fault, why: None }];
        facts.tell_names_apart(["example.org", "example.net"].into_iter(), |name| name == somebody);
        let last = facts.sign_ins.pop().unwrap();
        (last.fault.unwrap(), last.why)
    }

    #[test]
    fn a_name_without_its_domain_or_with_a_wrong_one_is_told_from_one_that_is_nobodys() {
        assert_eq!(told("tim", "tim@example.net").0, SignInFault::NameWithoutDomain);
        assert_eq!(told("tim@example.com", "tim@example.org").0, SignInFault::NameWithWrongDomain);
        assert_eq!(told("tim@example.com", "tim").0, SignInFault::NameWithWrongDomain);
        assert_eq!(told("tim", "tom@example.org"), (SignInFault::UnknownUser, None));
        let why = told("tim", "tim@example.org").1.unwrap();
        assert!(why.contains("tim@example.org"), "{why}");
    }
}
