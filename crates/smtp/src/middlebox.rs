//! Devices that rewrite SMTP on the way, told by the marks that they leave.
//!
//! Firewalls with "SMTP inspection" overwrite what they do not know: a banner becomes asterisks, a keyword of EHLO becomes
//! `XXXXXXXA`, a command arrives as `XXXX` and is refused. All of it hides STARTTLS. [`sign`] finds such a mark and says which.
//!
//! What it deliberately does not do: compare servers with each other, or decide what follows.

use crate::reply::Reply;

/// A run of so many is nobody's own choice of words.
const RUN: usize = 4;

/// The mark that a device on the way has left, in words. `greeting` is the banner; `refused` the reply to an EHLO that was not
/// understood; `hello` the reply that lists the extensions.
pub fn sign(greeting: Option<&Reply>, refused: Option<&Reply>, hello: Option<&Reply>) -> Option<String> {
    let banner = greeting.and_then(|reply| reply.lines.iter().find(|line| has_run(line, '*')));
    if let Some(line) = banner {
        return Some(format!("the banner is masked: {line:?}"));
    }
    if let Some(reply) = refused.filter(|reply| reply.lines.iter().any(|line| is_garbled(line))) {
        return Some(format!("EHLO arrived there garbled: {:?}", reply.one_line()));
    }
    let keywords = hello.map(|reply| reply.lines.get(1..).unwrap_or_default()).unwrap_or_default();
    let masked = keywords.iter().find(|line| is_masked(line.split(' ').next().unwrap_or_default()))?;
    Some(format!("a keyword is masked: {masked:?}"))
}

fn is_garbled(line: &str) -> bool {
    has_run(line, '*') || has_run(line, 'X')
}

/// `XXXXXXXA`, `XXXX`, `********`: what is left of a keyword, of which the last letter may be another.
fn is_masked(keyword: &str) -> bool {
    let all_but_one = keyword.len().saturating_sub(1).max(RUN);
    ['X', '*'].iter().any(|mask| keyword.chars().take_while(|c| c == mask).count() >= all_but_one)
}

fn has_run(text: &str, of: char) -> bool {
    let mut run = 0;
    text.chars().any(|c| {
        run = if c == of { run + 1 } else { 0 };
        run >= RUN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ehlo(keywords: &[&str]) -> Reply {
        let lines = ["mx.example.net"].iter().chain(keywords).map(|line| (*line).to_owned()).collect();
        Reply { code: 250, enhanced: None, lines }
    }

    #[test]
    fn a_masked_banner_is_a_sign() {
        for masked in ["****************", "****0*2******200*"] {
            let banner = Reply::plain(220, masked);
            assert!(sign(Some(&banner), None, None).unwrap().contains("banner is masked"));
        }
        for honest in ["mx.example.net ESMTP", "*** no spam ***", "mx XXX"] {
            assert_eq!(sign(Some(&Reply::plain(220, honest)), None, None), None, "{honest}");
        }
    }

    #[test]
    fn a_masked_keyword_is_a_sign_and_an_unknown_one_is_not() {
        for masked in ["XXXXXXXA", "XXXXXXXX", "XXXXXXXB 1000", "********"] {
            assert!(sign(None, None, Some(&ehlo(&["SIZE 1000", masked]))).is_some(), "{masked}");
        }
        assert_eq!(sign(None, None, Some(&ehlo(&["STARTTLS", "X-EXPS GSSAPI", "XCLIENT", "XXX"]))), None);
    }

    #[test]
    fn an_ehlo_that_arrived_as_something_else_is_a_sign() {
        let echoed = Reply::plain(500, "5.5.1 Command unrecognized: \"XXXX mail.example.org\"");
        assert!(sign(None, Some(&echoed), None).unwrap().contains("garbled"));
        assert_eq!(sign(None, Some(&Reply::plain(502, "Not implemented")), None), None);
    }
}
