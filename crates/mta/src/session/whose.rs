//! Whom a session concerns, of those who have an account.
//!
//! A name that a client claims says nothing by itself: anybody can make one up. It counts as somebody's where a directory has
//! looked it up and says that it is, where our own users know it, or where the account signed in before. A directory that
//! takes names as they stand shows nothing.
//!
//! What it deliberately does not do: ask a directory. All of it is known when the session ends, but for one question to our
//! own users.

use super::facts::{Claimant, ClaimedFrom, Facts, SignIn};
use crate::directory::{Login, SignInFault, key_of};
use crate::event::Proof;
use crate::limits::Home;

/// What stands for the name where a token came without one.
pub(crate) const NAMELESS_TOKEN: &str = "a token without a name";

impl Facts {
    /// Finds out who the last one is who tried to sign in and has an account: by where accounts signed in, whom our own users
    /// know, and which addresses are in domains of ours.
    pub(crate) fn tell_claimant(
        &mut self,
        home: impl Fn(&str) -> Home,
        is_own: impl Fn(&str) -> bool,
        is_ours: impl Fn(&str) -> bool,
    ) {
        let right_name = self.right_name.as_deref();
        let found = self.sign_ins.iter().rev().enumerate().find_map(|(before, tried)| {
            let is_own = |name: &str| before == 0 && is_own(name);
            claimant(tried, right_name, Known { home: &home, is_own: &is_own, is_ours: &is_ours })
        });
        self.claimant = found;
    }

    /// Keeps names that nobody is known to have in short: somebody may have typed his password there.
    pub(crate) fn shorten_names(&mut self, is_ours: impl Fn(&str) -> bool) {
        let account = self.claimant.as_ref().map(|claimant| &claimant.account);
        for tried in &mut self.sign_ins {
            let whole = tried.user == NAMELESS_TOKEN
                || tried.by == Proof::Certificate
                || tried.shows_an_account()
                || Some(&key_of(&tried.user)) == account
                || is_ours(&tried.user);
            if !whole {
                tried.user = shortened(&tried.user);
            }
        }
    }
}

impl SignIn {
    fn shows_an_account(&self) -> bool {
        match self.fault {
            None | Some(SignInFault::NameWithoutDomain | SignInFault::NameWithWrongDomain) => true,
            Some(fault) => fault.shows_an_account(),
        }
    }
}

/// A name in short: `hu… (13 characters)`.
pub(crate) fn shortened(name: &str) -> String {
    let first: String = name.chars().take(2).collect();
    format!("{first}… ({} characters)", name.chars().count())
}

/// What is known of names.
#[derive(Clone, Copy)]
struct Known<'a> {
    home: &'a dyn Fn(&str) -> Home,
    is_own: &'a dyn Fn(&str) -> bool,
    is_ours: &'a dyn Fn(&str) -> bool,
}

fn claimant(tried: &SignIn, right_name: Option<&str>, known: Known<'_>) -> Option<Claimant> {
    let login = Login::new(&tried.user)?;
    let (login, exists) = match tried.fault {
        // What he proved is right.
        None | Some(SignInFault::AppPasswordNeeded | SignInFault::ActingAs) => {
            return Some(Claimant { account: login.key().to_owned(), from: ClaimedFrom::Home });
        }
        Some(SignInFault::WrongPassword | SignInFault::Disabled) => (login, true),
        Some(SignInFault::NameWithoutDomain | SignInFault::NameWithWrongDomain) => {
            (Login::new(right_name?)?, true)
        }
        Some(
            SignInFault::WrongOrUnknown
            | SignInFault::TooManyGuesses
            | SignInFault::TooFast
            | SignInFault::Banned
            | SignInFault::BadToken
            | SignInFault::OtherChannel,
        ) => (login, false),
        Some(
            SignInFault::UnknownUser
            | SignInFault::UnusableName
            | SignInFault::CertificateOfNobody
            | SignInFault::NotJudgedHere
            | SignInFault::DirectoryDown,
        ) => return None,
    };
    let place = (known.home)(login.key());
    let is_known = place != Home::Nowhere || !exists && (known.is_own)(login.key());
    // Some directories look for what stands before the @ alone: domains that somebody invents would make as many people.
    let account = if is_known || (known.is_ours)(login.key()) { login.key() } else { login.local() };
    let from = if place == Home::Elsewhere { ClaimedFrom::Elsewhere } else { ClaimedFrom::Home };
    (exists || is_known).then(|| Claimant { account: account.to_owned(), from })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::facts;

    fn told(user: &str, fault: Option<SignInFault>, place: Home, own: &str) -> Option<(String, ClaimedFrom)> {
        let mut facts = facts("s", "192.0.2.7:1");
        facts.sign_ins = vec![SignIn { user: user.to_owned(), by: Proof::Scram, fault, why: None }];
        facts.right_name = Some("Tim@example.org".to_owned());
        facts.tell_claimant(|_| place, |name| name == own, |name| name.ends_with("@example.org"));
        facts.claimant.map(|claimant| (claimant.account, claimant.from))
    }

    #[test]
    fn a_name_counts_only_if_somebody_knows_it() {
        let unclear = [
            SignInFault::WrongOrUnknown,
            SignInFault::TooManyGuesses,
            SignInFault::TooFast,
            SignInFault::Banned,
            SignInFault::BadToken,
            SignInFault::OtherChannel,
        ];
        let anna = |from| Some(("anna".to_owned(), from));
        for fault in unclear.map(Some) {
            assert_eq!(told("madeup0", fault, Home::Nowhere, "anna"), None, "{fault:?}");
            assert_eq!(told("Anna", fault, Home::Nowhere, "anna"), anna(ClaimedFrom::Home));
            assert_eq!(told("Anna", fault, Home::Here, ""), anna(ClaimedFrom::Home));
            assert_eq!(told("Anna", fault, Home::Elsewhere, ""), anna(ClaimedFrom::Elsewhere));
        }
        assert_eq!(told("anna", Some(SignInFault::UnknownUser), Home::Nowhere, "anna"), None);
    }

    #[test]
    fn who_is_right_is_himself_wherever_he_comes_from_and_who_is_wrong_may_be_a_guesser() {
        for fault in [None, Some(SignInFault::AppPasswordNeeded), Some(SignInFault::ActingAs)] {
            assert_eq!(told("anna", fault, Home::Elsewhere, "").unwrap().1, ClaimedFrom::Home);
        }
        for fault in [SignInFault::WrongPassword, SignInFault::Disabled] {
            assert_eq!(told("anna", Some(fault), Home::Elsewhere, "").unwrap().1, ClaimedFrom::Elsewhere);
            assert_eq!(told("anna", Some(fault), Home::Nowhere, "").unwrap().1, ClaimedFrom::Home);
        }
    }

    #[test]
    fn a_password_in_the_place_of_a_name_is_not_kept() {
        let kept = |user: &str, by: Proof, fault: SignInFault| {
            let mut facts = facts("s", "192.0.2.7:1");
            facts.sign_ins = vec![SignIn { user: user.to_owned(), by, fault: Some(fault), why: None }];
            facts.tell_claimant(|_| Home::Nowhere, |name| name == "anna", |_| false);
            facts.shorten_names(|name| name.ends_with("@example.org"));
            let kept = serde_json::to_string(&facts).unwrap();
            (facts.sign_ins[0].user.clone(), kept.contains(user))
        };
        let secret = "hunter2-hunter2";
        for by in [Proof::Password, Proof::Scram, Proof::Token] {
            for fault in [
                SignInFault::UnknownUser,
                SignInFault::UnusableName,
                SignInFault::WrongOrUnknown,
                SignInFault::TooManyGuesses,
                SignInFault::TooFast,
                SignInFault::DirectoryDown,
                SignInFault::BadToken,
            ] {
                assert_eq!(kept(secret, by, fault), ("hu… (15 characters)".to_owned(), false), "{fault:?}");
                assert!(kept("tim@example.org", by, fault).1);
            }
            assert_eq!(kept("Anna", by, SignInFault::WrongOrUnknown).0, "Anna");
            assert_eq!(kept("berta", by, SignInFault::WrongPassword).0, "berta");
        }
    }

    #[test]
    fn a_name_with_a_wrong_domain_is_whose_it_would_be() {
        let fault = Some(SignInFault::NameWithWrongDomain);
        assert_eq!(told("tim@example.com", fault, Home::Here, "").unwrap().0, "tim@example.org");
    }

    #[test]
    fn invented_domains_make_no_people() {
        let whose = |user: &str, place| told(user, Some(SignInFault::WrongPassword), place, "").unwrap().0;
        assert_eq!(whose("anna@1.invalid", Home::Nowhere), "anna");
        assert_eq!(whose("anna@example.org", Home::Nowhere), "anna@example.org");
        assert_eq!(whose("anna@partner.example", Home::Elsewhere), "anna@partner.example");
    }
}
