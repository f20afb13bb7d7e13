//! `[directory.ldap]`: LDAP and Active Directory.
//!
//! What is read here can be asked: filters and names are parsed, and what belongs together is there together. What it
//! deliberately does not do: reach a server, or judge whether a filter finds the right people.

use crate::config::model::{Ldap, LdapFlavour, LdapGroups, LdapPeople, LdapService, LdapTls};
use crate::config::reader::{Reader, Section};
use crate::directory::ldap::{Filter, LdapUrl, NameTemplate, Scope};

const PERSON: &str = "(uid={local})";
const ACCOUNT: &str =
    "(&(objectCategory=person)(objectClass=user)(|(sAMAccountName={local})(userPrincipalName={login})))";
const GROUPS: &str = "(|(member={dn})(uniqueMember={dn})(memberUid={name}))";
const ACCOUNT_GROUPS: &str = "(member={dn})";
/// LDAP_MATCHING_RULE_IN_CHAIN ([MS-ADTS] §3.1.1.3.4.4.3).
const NESTED_GROUPS: &str = "(member:1.2.840.113556.1.4.1941:={dn})";

pub(super) fn ldap<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Ldap> {
    let urls = reader.list(at, "urls", str::parse::<LdapUrl>);
    let flavours = [("ldap", LdapFlavour::Ldap), ("active-directory", LdapFlavour::ActiveDirectory)];
    let flavour = reader.choice(at, "flavour", None, &flavours);
    let tls = reader.choice(at, "tls", None, &[("verified", LdapTls::Verified), ("off", LdapTls::Off)]);
    let trust = reader.trust(at, "trust");
    let step = reader.duration(at, "step_timeout");
    let service = service(reader, at);
    let people = people(reader, at, flavour.unwrap_or(LdapFlavour::Ldap));
    let groups = groups(reader, at, flavour.unwrap_or(LdapFlavour::Ldap));
    judge_urls(reader, at, urls.as_deref(), tls);
    Some(Ldap {
        urls: urls?,
        flavour: flavour?,
        tls: tls?,
        trust,
        step: step?,
        service: service?,
        people: people?,
        groups: groups?,
    })
}

fn judge_urls(reader: &mut Reader<'_>, at: &Section<'_>, urls: Option<&[LdapUrl]>, tls: Option<LdapTls>) {
    let Some(urls) = urls else { return };
    if urls.is_empty() {
        reader.complain(at, "urls", "no server is named", at.advice("urls"));
    }
    let Some(LdapTls::Off) = tls else { return };
    if let Some(far) = urls.iter().find(|url| !url.may_be_clear()) {
        let what = format!("passwords would go to {far} in clear, or TLS is begun there all the same");
        let remedy = "remove the key, or name a server on this machine alone, such as \"ldap://localhost\"";
        reader.complain(at, "tls", what, remedy);
    } else if at.writes("trust") {
        reader.complain(
            at,
            "trust",
            "nobody proves anything without TLS",
            "remove the key, or tls = \"off\"",
        );
    }
}

/// The account and its password, or neither.
#[allow(clippy::option_option, reason = "the outer one is of the reader: a problem was noted")]
fn service<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Option<LdapService>> {
    let dn = reader.name(at, "bind_dn");
    let password_file = reader.secret(at, "bind_password_file");
    match (at.writes("bind_dn"), at.writes("bind_password_file")) {
        (true, true) => Some(Some(LdapService { dn: dn?, password_file: password_file? })),
        (false, false) => Some(None),
        (written, _) => {
            let (one, other) =
                if written { ("bind_dn", "bind_password_file") } else { ("bind_password_file", "bind_dn") };
            let remedy = format!("write {other} too, or remove {one}");
            reader.complain(at, one, format!("{other} is missing beside it"), remedy);
            None
        }
    }
}

fn people<'a>(reader: &mut Reader<'a>, at: &Section<'a>, flavour: LdapFlavour) -> Option<LdapPeople> {
    let base = reader.name(at, "base");
    let scopes = [("subtree", Scope::Subtree), ("one-level", Scope::OneLevel), ("base", Scope::Base)];
    let scope = reader.choice(at, "scope", None, &scopes);
    let (usual, called) = match flavour {
        LdapFlavour::Ldap => (PERSON, "uid"),
        LdapFlavour::ActiveDirectory => (ACCOUNT, "sAMAccountName"),
    };
    let filter = reader.name_or(at, "filter", Some(usual.to_owned()));
    let filter = parsed(reader, at, "filter", filter, Filter::of_person);
    let bind_as = reader.name(at, "bind_as");
    let bind_as = parsed(reader, at, "bind_as", bind_as, NameTemplate::parse);
    let name = reader.name_or(at, "name", Some(called.to_owned()));
    let mail = reader.list(at, "mail", attribute);
    let finds = bind_as.as_ref().is_some_and(NameTemplate::is_dn);
    if !at.writes("base") && !finds && (bind_as.is_some() || !at.writes("bind_as")) {
        let what = "base is missing, so it is not known where people are";
        reader.complain(at, "base", what, at.advice("base"));
        return None;
    }
    if at.writes("bind_as") && bind_as.is_none() {
        return None;
    }
    Some(LdapPeople { base, scope: scope?, filter: filter?, bind_as, name: name?, mail: mail? })
}

fn groups<'a>(reader: &mut Reader<'a>, at: &Section<'a>, flavour: LdapFlavour) -> Option<LdapGroups> {
    let member_of = reader.text(at, "member_of");
    let base = reader.name(at, "group_base");
    let nested = reader.switch(at, "nested_groups", None);
    let usual = match (flavour, nested) {
        (LdapFlavour::ActiveDirectory, Some(true)) => NESTED_GROUPS,
        (LdapFlavour::ActiveDirectory, _) => ACCOUNT_GROUPS,
        (LdapFlavour::Ldap, _) => GROUPS,
    };
    if nested == Some(true) && (at.writes("group_filter") || flavour == LdapFlavour::Ldap || base.is_none()) {
        let what =
            "groups in groups are found by Active Directory alone, with group_base and without group_filter";
        let remedy =
            "write flavour = \"active-directory\" and group_base, and remove group_filter, or remove the key";
        reader.complain(at, "nested_groups", what, remedy);
    }
    let filter = reader.name_or(at, "group_filter", Some(usual.to_owned()));
    let filter = parsed(reader, at, "group_filter", filter, Filter::of_groups);
    Some(LdapGroups { member_of: member_of?, base, filter: filter? })
}

/// What a text says; what is wrong with it is noted.
fn parsed<T>(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    key: &'static str,
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    match parse(&text?) {
        Ok(parsed) => Some(parsed),
        Err(what) => {
            reader.complain(at, key, what, at.advice(key));
            None
        }
    }
}

/// The name of an attribute (RFC 4512 §2.5).
fn attribute(name: &str) -> Result<String, String> {
    let sound = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.;".contains(c));
    if sound { Ok(name.to_owned()) } else { Err(format!("\"{name}\" is not the name of an attribute")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DirectoryKind, File, Problem, Surroundings};

    const BASE: &str = "urls = [\"ldap://ldap.example.org\"]\nbase = \"dc=x\"\n";

    fn judged(keys: &str) -> Result<Config, Vec<Problem>> {
        let text = format!(
            "hostname = \"mail.example.org\"\n[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"[::]:25\"]\n\
             [[directory]]\nname = \"corp\"\n[directory.ldap]\n{keys}"
        );
        File::parse(&text, "postern.toml").map_err(|problem| vec![problem])?.resolve(&Surroundings::default())
    }

    #[track_caller]
    fn ldap(keys: &str) -> Ldap {
        let config = judged(keys).unwrap();
        match config.directories.into_iter().next().map(|directory| directory.kind) {
            Some(DirectoryKind::Ldap(ldap)) => *ldap,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_written_follows_from_the_flavour() {
        let plain = ldap(BASE);
        assert_eq!((plain.tls, plain.service, plain.people.name.as_str()), (LdapTls::Verified, None, "uid"));
        assert_eq!(plain.people.filter, Filter::of_person(PERSON).unwrap());
        let corp = ldap(&format!(
            "{BASE}flavour = \"active-directory\"\ngroup_base = \"dc=x\"\nnested_groups = true\n"
        ));
        assert_eq!(corp.people.name, "sAMAccountName");
        assert_eq!(corp.people.filter, Filter::of_person(ACCOUNT).unwrap());
        assert_eq!(corp.groups.filter, Filter::of_groups(NESTED_GROUPS).unwrap());
        let direct = ldap("urls = [\"ldaps://ldap.example.org\"]\nbind_as = \"uid={local},dc=x\"\n");
        assert!(direct.people.base.is_none() && direct.people.bind_as.is_some());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_at_its_key() {
        let url = "urls = [\"ldap://ldap.example.org\"]\n";
        for (keys, key, says) in [
            ("base = \"dc=x\"\n".to_owned(), "urls", "missing"),
            ("urls = []\nbase = \"dc=x\"\n".into(), "urls", "no server"),
            ("urls = [\"ldap.example.org\"]\nbase = \"dc=x\"\n".into(), "urls", "ldaps://"),
            (url.into(), "base", "base is missing"),
            (format!("{url}bind_as = \"{{local}}@corp.example\"\n"), "base", "base is missing"),
            (format!("{url}bind_as = \"uid=anna,dc=x\"\n"), "bind_as", "{local}"),
            (format!("{BASE}tls = \"off\"\n"), "tls", "in clear"),
            (
                "urls = [\"ldap://localhost\"]\nbase = \"dc=x\"\ntls = \"off\"\ntrust = \"/ca\"\n".into(),
                "trust",
                "without TLS",
            ),
            (format!("{BASE}bind_dn = \"cn=a\"\n"), "bind_dn", "bind_password_file is missing"),
            (format!("{BASE}bind_password_file = \"/p\"\n"), "bind_password_file", "bind_dn is missing"),
            (format!("{BASE}filter = \"(uid=anna)\"\n"), "filter", "nobody in particular"),
            (format!("{BASE}filter = \"(uid={{local}}\"\n"), "filter", "missing at its end"),
            (format!("{BASE}group_filter = \"(member={{login}})\"\n"), "group_filter", "no field {login}"),
            (format!("{BASE}mail = [\"a b\"]\n"), "mail", "not the name of an attribute"),
            (format!("{BASE}nested_groups = true\n"), "nested_groups", "Active Directory alone"),
        ] {
            let problems = judged(&keys).unwrap_err();
            let [problem] = &problems[..] else { panic!("{keys}: {problems:?}") };
            assert_eq!(problem.key, format!("directory.corp.ldap.{key}"), "{keys}");
            assert!(problem.what.contains(says), "{keys}: {}", problem.what);
        }
    }
}
