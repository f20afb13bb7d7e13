//! `[directory.passwd_file]`: people in a file.

use super::clear_passwords;
use crate::config::files::Named;
use crate::config::model::{NamePart, PasswdFile, PasswdFormat, Rehash};
use crate::config::reader::{Reader, Section};

pub(super) fn passwd_file<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<PasswdFile> {
    let path = reader.path(at, "path");
    let words = [("dovecot", PasswdFormat::Dovecot), ("shadow", PasswdFormat::Shadow)];
    let format = reader.choice(at, "format", None, &words);
    let names = reader.choice(at, "names", None, &[("login", NamePart::Whole), ("local", NamePart::Local)]);
    let clear = clear_passwords(reader, at);
    let rehash = reader.switch(at, "rehash", None);
    if rehash == Some(true) && format == Some(PasswdFormat::Shadow) {
        let what = "the system itself could not read what would be written: crypt(3) does not know argon2id";
        reader.complain(
            at,
            "rehash",
            what,
            "remove the key; passwd(1) stores passwords anew in the system's own way",
        );
    }
    let file = PasswdFile {
        path: path?,
        format: format?,
        names: names?,
        clear: clear?,
        rehash: if rehash? { Rehash::WhenRight } else { Rehash::Never },
    };
    let place = reader.place(at, "path", Some(&file.path));
    reader.named.extend(place.map(|place| Named::People(place, file.clone())));
    Some(file)
}
