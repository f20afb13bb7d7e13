//! The mailboxes in a `From`, `Sender` or `Reply-To` field (RFC 5322 §3.4, RFC 6532, RFC 6854).
//!
//! Comments, display names and encoded words are stepped over, groups are opened, obsolete routes dropped
//! (RFC 5322 §4.4); what is left are the addresses. A field that cannot be read for certain is an error, never a guess:
//! who owns the address is decided by what is found here.

use postern_smtp::address::Mailbox;

/// The most mailboxes in one field.
pub const MAX_MAILBOXES: usize = 1_000;

/// How deep comments may nest.
const MAX_DEPTH: usize = 20;

/// Why a field's addresses could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressListError {
    /// There is no mailbox in the field.
    #[error("there is no address")]
    Empty,
    /// A comment, quoted string, literal, angle bracket or group is not closed.
    #[error("a bracket, quotation mark, comment or group is not closed")]
    Unclosed,
    /// Something stands where it has no business.
    #[error("{0:?} stands in the wrong place")]
    Unexpected(char),
    /// A name without `@` and domain.
    #[error("an address has no domain")]
    NoDomain,
    /// The address has the right shape but is not one that SMTP could carry.
    #[error("{0:?} is not a mail address")]
    BadAddress(String),
    /// The octets are not UTF-8 (RFC 6532 §3.1).
    #[error("the field is not UTF-8")]
    NotUtf8,
    /// More than one mailbox where there may be one.
    #[error("there is more than one address")]
    Several,
    /// More than [`MAX_MAILBOXES`], or comments nested too deep.
    #[error("the field has too many addresses or nested comments")]
    TooMuch,
}

/// The mailboxes in a field's raw value, folding and all, in order. Never empty.
///
/// # Errors
/// The sender's fault: see the variants.
pub fn parse(value: &[u8]) -> Result<Vec<Mailbox>, AddressListError> {
    let text = std::str::from_utf8(value).map_err(|_| AddressListError::NotUtf8)?;
    // RFC 5322 §2.2.3: unfolding takes the CRLF away and leaves the white space.
    let tokens = tokens(&text.replace("\r\n", ""))?;
    let mut parser = Parser { tokens: &tokens, found: Vec::new() };
    parser.list()?;
    if parser.found.is_empty() { Err(AddressListError::Empty) } else { Ok(parser.found) }
}

/// The lexical tokens of RFC 5322 §3.2; white space and comments are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Letters, digits and the like.
    Atom(String),
    /// A quoted string, quotation marks included.
    Quoted(String),
    /// A domain literal, brackets included.
    Literal(String),
    /// One of `<>@,;:.`.
    Special(char),
}

struct Parser<'a> {
    tokens: &'a [Token],
    found: Vec<Mailbox>,
}

impl<'a> Parser<'a> {
    /// `address-list`, with the empty elements of RFC 5322 §4.4.
    fn list(&mut self) -> Result<(), AddressListError> {
        loop {
            self.address(Groups::Allowed)?;
            match self.next() {
                None => return Ok(()),
                Some(Token::Special(',')) => {}
                Some(other) => return Err(unexpected(other)),
            }
        }
    }

    /// A mailbox, a group, or nothing at all.
    fn address(&mut self, groups: Groups) -> Result<(), AddressListError> {
        let words = self.words();
        match self.tokens.first() {
            Some(Token::Special('<')) => self.angle_address(),
            Some(Token::Special('@')) => self.mailbox(words),
            Some(Token::Special(':')) if groups == Groups::Allowed && !words.is_empty() => self.group(),
            Some(Token::Special(',' | ';')) | None if words.is_empty() => Ok(()),
            Some(Token::Special(',' | ';')) | None => Err(AddressListError::NoDomain),
            Some(other) => Err(unexpected(other)),
        }
    }

    /// `display-name ":" [group-list] ";"`. Groups do not nest.
    fn group(&mut self) -> Result<(), AddressListError> {
        self.expect(':')?;
        loop {
            self.address(Groups::Refused)?;
            match self.next() {
                None => return Err(AddressListError::Unclosed),
                Some(Token::Special(';')) => return Ok(()),
                Some(Token::Special(',')) => {}
                Some(other) => return Err(unexpected(other)),
            }
        }
    }

    /// `"<" [obs-route] addr-spec ">"`.
    fn angle_address(&mut self) -> Result<(), AddressListError> {
        self.expect('<')?;
        self.route()?;
        let words = self.words();
        self.mailbox(words)?;
        self.expect('>')
    }

    /// `@a,@b:`, which RFC 5322 §4.4 wants ignored.
    fn route(&mut self) -> Result<(), AddressListError> {
        if !matches!(self.tokens.first(), Some(Token::Special('@' | ','))) {
            return Ok(());
        }
        while let Some(Token::Special('@' | ',')) = self.tokens.first() {
            if self.next() == Some(&Token::Special('@')) {
                self.domain()?;
            }
        }
        self.expect(':')
    }

    /// The rest of an `addr-spec` whose local part was already read.
    fn mailbox(&mut self, words: &[Token]) -> Result<(), AddressListError> {
        if words.is_empty() {
            return Err(self.next().map_or(AddressListError::Unclosed, unexpected));
        }
        let local = local_part(words)?;
        if self.tokens.first() != Some(&Token::Special('@')) {
            return Err(AddressListError::NoDomain);
        }
        self.expect('@')?;
        let address = format!("{local}@{}", self.domain()?);
        if self.found.len() == MAX_MAILBOXES {
            return Err(AddressListError::TooMuch);
        }
        let mailbox =
            address.parse().map_err(|_| AddressListError::BadAddress(address.chars().take(100).collect()))?;
        self.found.push(mailbox);
        Ok(())
    }

    /// Atoms with dots between them, or a literal.
    fn domain(&mut self) -> Result<String, AddressListError> {
        if let Some(Token::Literal(literal)) = self.tokens.first() {
            self.next();
            return Ok(literal.clone());
        }
        let mut domain = String::new();
        loop {
            match self.next() {
                Some(Token::Atom(label)) => domain.push_str(label),
                Some(other) => return Err(unexpected(other)),
                None => return Err(AddressListError::NoDomain),
            }
            if self.tokens.first() != Some(&Token::Special('.')) {
                return Ok(domain);
            }
            self.next();
            domain.push('.');
        }
    }

    /// Atoms, quoted strings and dots: a display name or a local part.
    fn words(&mut self) -> &'a [Token] {
        let is_word =
            |token: &&Token| matches!(token, Token::Atom(_) | Token::Quoted(_) | Token::Special('.'));
        let count = self.tokens.iter().take_while(is_word).count();
        let (words, rest) = self.tokens.split_at(count);
        self.tokens = rest;
        words
    }

    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn expect(&mut self, special: char) -> Result<(), AddressListError> {
        match self.next() {
            Some(Token::Special(found)) if *found == special => Ok(()),
            Some(other) => Err(unexpected(other)),
            None => Err(AddressListError::Unclosed),
        }
    }
}

/// Whether a group may stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Groups {
    Allowed,
    Refused,
}

/// Words with dots between them. A mixture of atoms and quoted strings (RFC 5322 §4.4) becomes one quoted string.
fn local_part(words: &[Token]) -> Result<String, AddressListError> {
    let mut parts = Vec::new();
    for (index, word) in words.iter().enumerate() {
        match (index % 2, word) {
            (0, Token::Atom(part) | Token::Quoted(part)) => parts.push(part.as_str()),
            (1, Token::Special('.')) => {}
            (_, other) => return Err(unexpected(other)),
        }
    }
    if words.len().is_multiple_of(2) {
        return Err(AddressListError::Unexpected('.'));
    }
    let quoted = parts.iter().any(|part| part.starts_with('"'));
    match parts.as_slice() {
        [only] => Ok((*only).to_owned()),
        _ if !quoted => Ok(parts.join(".")),
        _ => Ok(format!(
            "\"{}\"",
            parts.iter().map(|part| part.trim_matches('"')).collect::<Vec<_>>().join(".")
        )),
    }
}

fn unexpected(token: &Token) -> AddressListError {
    let text = match token {
        Token::Atom(text) | Token::Quoted(text) | Token::Literal(text) => text.chars().next(),
        Token::Special(special) => Some(*special),
    };
    AddressListError::Unexpected(text.unwrap_or(' '))
}

fn tokens(text: &str) -> Result<Vec<Token>, AddressListError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' => comment(rest)?,
            '"' => delimited(rest, '"')?,
            '[' => delimited(rest, ']')?,
            ' ' | '\t' | '<' | '>' | '@' | ',' | ';' | ':' | '.' => 1,
            _ => atom(rest),
        };
        if length == 0 {
            return Err(AddressListError::Unexpected(first));
        }
        let (token, behind) = rest.split_at(length);
        match first {
            ' ' | '\t' | '(' => {}
            '"' => tokens.push(Token::Quoted(token.to_owned())),
            '[' => tokens.push(Token::Literal(token.to_owned())),
            '<' | '>' | '@' | ',' | ';' | ':' | '.' => tokens.push(Token::Special(first)),
            _ => tokens.push(Token::Atom(token.to_owned())),
        }
        rest = behind;
    }
    Ok(tokens)
}

/// The length of the atom at the beginning; 0 when there is none (RFC 5322 §3.2.3, RFC 6532 §3.2).
fn atom(text: &str) -> usize {
    let is_atext = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !(c.is_ascii() || c.is_control())
    };
    text.find(|c| !is_atext(c)).unwrap_or(text.len())
}

/// The length of the quoted string or literal at the beginning, both delimiters included.
fn delimited(text: &str, end: char) -> Result<usize, AddressListError> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if c.is_control() && c != '\t' => return Err(AddressListError::Unexpected(c)),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == end => return Ok(at + c.len_utf8()),
            _ => {}
        }
    }
    Err(AddressListError::Unclosed)
}

/// The length of the comment at the beginning; comments nest (RFC 5322 §3.2.2).
fn comment(text: &str) -> Result<usize, AddressListError> {
    let mut depth = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if c.is_control() && c != '\t' => return Err(AddressListError::Unexpected(c)),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' if depth == MAX_DEPTH => return Err(AddressListError::TooMuch),
            '(' => depth += 1,
            ')' if depth == 1 => return Ok(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    Err(AddressListError::Unclosed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(value: &str) -> Vec<String> {
        let found = parse(value.as_bytes()).unwrap_or_else(|error| panic!("{value:?}: {error}"));
        found.iter().map(ToString::to_string).collect()
    }

    fn error(value: &str) -> AddressListError {
        parse(value.as_bytes()).expect_err(value)
    }

    #[test]
    fn the_usual_forms_give_their_addresses() {
        for value in [
            " ann@example.org",
            " Ann <ann@example.org>\r\n",
            " \"Ann (not a comment), Ltd. <x@y>\" <ann@example.org>",
            " =?utf-8?q?Ann_=40_home?= <ann@example.org>",
            " Ann J. Doe <ann@example.org> (at \\) work (really))",
            "\r\n Ann\r\n <ann@example.org>",
            " (a@b.example) ann (x) @ (y) example . org",
            " Änne <ann@example.org>",
            " Ann <@relay.example,@other.example:ann@example.org>",
            " , ann@example.org ,,",
            " Team: Ann <ann@example.org>;",
        ] {
            assert_eq!(found(value), ["ann@example.org"], "{value:?}");
        }
    }

    #[test]
    fn several_mailboxes_and_groups_keep_their_order() {
        assert_eq!(found("a@x.example, B <b@x.example>, G: c@x.example, d@x.example;, e@x.example").len(), 5);
        assert_eq!(found("a@x.example,b@x.example"), ["a@x.example", "b@x.example"]);
    }

    #[test]
    fn quoted_local_parts_literals_and_utf8_addresses_survive() {
        assert_eq!(found("<\"a b\"@example.org>"), ["\"a b\"@example.org"]);
        assert_eq!(found("<ann@[192.0.2.1]>"), ["ann@[192.0.2.1]"]);
        assert_eq!(found("<änne@example.org>"), ["änne@example.org"]);
        assert_eq!(found("<a.\"b c\"@example.org>"), ["\"a.b c\"@example.org"]);
    }

    #[test]
    fn a_second_address_hidden_in_the_field_is_an_error_and_never_dropped() {
        for value in [
            "a@x.example <b@x.example>",
            "<a@x.example> <b@x.example>",
            "<a@x.example>b@x.example",
            "a@x.example b@x.example",
            "a@x.example@y.example",
            "a@x.example; b@x.example",
        ] {
            assert!(parse(value.as_bytes()).is_err(), "{value:?}: {:?}", parse(value.as_bytes()));
        }
    }

    #[test]
    fn malformed_fields_say_what_is_wrong() {
        assert_eq!(error(""), AddressListError::Empty);
        assert_eq!(error(" ,, "), AddressListError::Empty);
        assert_eq!(error("Nobody: ;"), AddressListError::Empty);
        assert_eq!(error("ann"), AddressListError::NoDomain);
        assert_eq!(error("<ann>"), AddressListError::NoDomain);
        assert_eq!(error("<ann@example.org"), AddressListError::Unclosed);
        assert_eq!(error("\"ann@example.org"), AddressListError::Unclosed);
        assert_eq!(error("(ann@example.org"), AddressListError::Unclosed);
        assert_eq!(error("Team: ann@example.org"), AddressListError::Unclosed);
        assert_eq!(error("<>"), AddressListError::Unexpected('>'));
        assert_eq!(error("a b@example.org"), AddressListError::Unexpected('b'));
        assert_eq!(error("ann@-.example"), AddressListError::BadAddress("ann@-.example".into()));
        assert_eq!(error(&"(".repeat(100)), AddressListError::TooMuch);
        assert_eq!(error(&"a@b.example,".repeat(MAX_MAILBOXES + 1)), AddressListError::TooMuch);
        assert_eq!(parse(b"\xff <ann@example.org>"), Err(AddressListError::NotUtf8));
    }

    #[test]
    fn bare_line_ends_and_nul_are_refused() {
        for value in
            ["a@b.example\n", "a@b.example\r", "a\0@b.example", "\"a\nb\" <a@b.example>", "(\n) a@b.example"]
        {
            assert!(matches!(error(value), AddressListError::Unexpected(_)), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_the_parser_panic(value in proptest::collection::vec(prop_oneof![
            Just(b'<'), Just(b'>'), Just(b'@'), Just(b'"'), Just(b'('), Just(b')'), Just(b'.'), Just(b','), Just(b':'),
            Just(b';'), Just(b'['), Just(b'\\'), Just(b'a'), Just(b' '), any::<u8>()], 0..60)) {
            if let Ok(found) = parse(&value) {
                prop_assert!(!found.is_empty());
            }
        }

        #[test]
        fn any_display_name_before_an_address_changes_nothing(name in "[a-zA-Z0-9 ._=?-]{0,30}") {
            prop_assert_eq!(found(&format!("{name} <ann@example.org>")), ["ann@example.org"]);
        }
    }
}
