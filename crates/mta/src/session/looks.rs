//! Sessions that this machine holds with itself to look whether all is well: `postern doctor` and `postern doctor relay`.
//!
//! They are refused on purpose, so nobody is in trouble, and no case is made of them. What it deliberately does not do: keep
//! them out of the log, or off the limits.

use std::net::IpAddr;

use super::Facts;
use crate::outbound::interface_addresses;

/// What `postern doctor` calls itself: nobody's name (RFC 2606 §2).
pub(crate) const DOCTOR: &str = "doctor.invalid";
/// What `postern doctor relay` calls itself.
pub(crate) const RELAY_TEST: &str = "relay-test.invalid";

impl Facts {
    /// Whether it is such a session: by its name, from an address of this machine, without anybody who signed in. Strangers
    /// cannot come from there, and who says the name without being it hides nobody else's trouble.
    pub(crate) fn is_look(&self) -> bool {
        let named = self.hello.as_deref().is_some_and(|hello| [DOCTOR, RELAY_TEST].contains(&hello));
        named && self.user.is_none() && self.sign_ins.is_empty() && is_own(self.client.ip().to_canonical())
    }
}

fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || interface_addresses().contains(&address)
}

#[cfg(test)]
mod tests {
    use super::super::tests::facts;
    use super::*;

    #[test]
    fn only_this_machine_itself_looks_and_nobody_signs_in_for_it() {
        let of = |hello: &str, client: &str| Facts {
            hello: Some(hello.to_owned()),
            ..facts("s", &format!("{client}:4321"))
        };
        assert!(of(DOCTOR, "127.0.0.1").is_look() && of(RELAY_TEST, "[::ffff:127.8.0.2]").is_look());
        assert!(!of(DOCTOR, "192.0.2.9").is_look(), "a stranger borrows the name");
        assert!(!of("pc.home.test", "127.0.0.1").is_look());
        let signed_in = Facts { user: Some("anna".into()), ..of(DOCTOR, "127.0.0.1") };
        assert!(!signed_in.is_look());
    }
}
