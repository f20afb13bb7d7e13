//! `[[send_as]]`: who may write as addresses that are not his own.
//!
//! [`rules`] reads them all; a [`SendAs`] comes out of each. A rule that is for nobody, that names no address, or that speaks
//! of a directory that there is none of, is a problem; one that lets everybody write as everybody is a warning.
//!
//! What it deliberately does not do: ask a directory whether names and groups exist: they come and go there.

use super::Unique;
use super::connector::address_space;
use crate::config::model::{AddressPattern, AddressSpace, DirectoryConfig, Form, People, SendAs};
use crate::config::reader::{Reader, Section};
use crate::directory::{OWN, key_of};

pub(super) fn rules<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    directories: Option<&[DirectoryConfig]>,
) -> Option<Vec<SendAs>> {
    let sections = reader.sections(top, "send_as");
    let mut names = Unique::new("a rule");
    let mut rules = Vec::new();
    for at in &sections {
        rules.push(rule(reader, at, directories));
        names.check(reader, at, None);
    }
    rules.into_iter().collect()
}

fn rule<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    directories: Option<&[DirectoryConfig]>,
) -> Option<SendAs> {
    let name = reader.name(at, "name");
    let (addresses, sound) =
        reader.list_and_items(at, "addresses", |text| AddressPattern::parse(text, address_space));
    if addresses.as_ref().is_some_and(Vec::is_empty) {
        let remedy = "write addresses = [\"info@example.org\"] or the like";
        reader.complain(at, "addresses", "the list is empty, so the rule allows nothing", remedy);
    }
    let people = people(reader, at, directories);
    let form = if reader.switch(at, "on_behalf", None)? { Form::OnBehalf } else { Form::As };
    if let Some(people) = &people
        && people.everybody
        && form == Form::As
    {
        sound.iter().filter_map(AddressPattern::whole).for_each(|space| warn_of_anybody(reader, at, space));
    }
    Some(SendAs { name: name?, addresses: addresses?, people: people?, form })
}

fn people<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    directories: Option<&[DirectoryConfig]>,
) -> Option<People> {
    let users = reader.list(at, "users", |name| usable(name).map(key_of));
    let groups = reader.list(at, "groups", |name| usable(name).map(str::to_lowercase));
    let directory = directory(reader, at, directories);
    let (users, groups) = (users?, groups?);
    if users.is_empty() && groups.is_empty() {
        let remedy = "write users or groups; users = [\"*\"] is everybody who has signed in";
        reader.complain(at, "", "it names neither users nor groups, so it is for nobody", remedy);
    }
    let everybody = users.iter().any(|name| name == "*");
    Some(People { directory, everybody, users, groups })
}

/// The directory that is named; `None`: all of them, or a problem was noted.
fn directory<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    directories: Option<&[DirectoryConfig]>,
) -> Option<String> {
    let name = reader.name(at, "directory")?;
    let known = |directories: &[DirectoryConfig]| directories.iter().any(|known| known.name == name);
    if name != OWN && directories.is_some_and(|directories| !known(directories)) {
        let what = format!("there is no directory named \"{name}\"");
        reader.complain(at, "directory", what, "name a [[directory]], or \"users\" for Postern's own");
    }
    Some(name)
}

fn warn_of_anybody(reader: &mut Reader<'_>, at: &Section<'_>, space: &AddressSpace) {
    let whose = match space {
        AddressSpace::Any => "everybody in the world".to_owned(),
        space => format!("everybody in {space}"),
    };
    let what = format!(
        "everybody who has signed in may write as {whose}: one stolen password is enough to forge them all"
    );
    reader.warn(at, "users", what, "name the users or the groups that need it, or write on_behalf = true");
}

fn usable(name: &str) -> Result<&str, String> {
    if name.trim() != name || name.is_empty() || name.chars().any(char::is_control) {
        return Err(format!("\"{name}\" cannot be anybody's name"));
    }
    Ok(name)
}
