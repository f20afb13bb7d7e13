//! Takes values out of the file, section by section, with the reference at hand.
//!
//! Every accessor looks the key up in the [reference], falls back to the default that stands there, notes what is wrong
//! and carries on, and notes what was settled, for [`show`](super::show). `None` means: either there is no value, or a
//! problem was noted.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::files::{Named, Place};
use super::reference::{self, Kind, Preset};
use super::show::{Origin, Setting};
use super::value::{Placed, Table, Value, bare_or_quoted, quoted};
use super::{File, Problem, units};

/// Reads one file and gathers what it finds.
pub(super) struct Reader<'a> {
    pub(super) file: &'a File,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) settings: Vec<Setting>,
    /// What the file names outside of itself, whether or not the rest of the section is sound.
    pub(super) named: Vec<Named>,
    seen: HashMap<&'static str, usize>,
}

/// A section of the file while it is read; an absent one is empty.
#[derive(Clone)]
pub(super) struct Section<'a> {
    schema: &'static reference::Section,
    /// The path for people, such as `listener.submission`.
    shown: String,
    /// Which one of its kind it is.
    number: usize,
    table: &'a Table,
    span: Option<Range<usize>>,
    inherits: Option<&'a Table>,
    presence: Presence,
}

/// Whether a section's table is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    InFile,
    Implicit,
}

/// Why a value will not do.
pub(super) struct Wrong {
    what: String,
    remedy: Option<String>,
    span: Option<Range<usize>>,
}

/// A value that a key has, and where from.
struct Found {
    placed: Placed,
    origin: Origin,
}

static EMPTY: Table = Table(Vec::new());

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self {
            file,
            problems: Vec::new(),
            warnings: Vec::new(),
            settings: Vec::new(),
            named: Vec::new(),
            seen: HashMap::new(),
        }
    }

    /// The top of the file.
    pub(super) fn top(&mut self) -> Section<'a> {
        self.open("", String::new(), self.file.root(), None)
    }

    /// The section `[name]` below `parent`.
    pub(super) fn section(&mut self, parent: &Section<'a>, name: &str) -> Section<'a> {
        if let Some(section) = self.written_section(parent, name) {
            return section;
        }
        let span = parent.table.entry(name).map(|entry| entry.key_span.clone());
        self.open(&parent.schema_path(name), parent.path(name), &EMPTY, span.or_else(|| parent.span.clone()))
    }

    /// The same if it is in the file; what stands in its place is noted.
    pub(super) fn written_section(&mut self, parent: &Section<'a>, name: &str) -> Option<Section<'a>> {
        let (path, shown) = (parent.schema_path(name), parent.path(name));
        let entry = parent.table.entry(name)?;
        let span = Some(entry.key_span.clone());
        if let Value::Table(table) = &entry.value.value {
            return Some(self.open(&path, shown, table, span));
        }
        let what = format!("a section is expected, not {}", entry.value.value.kind());
        self.note(span, shown, what, format!("write [{path}] on a line of its own and its keys below"));
        None
    }

    /// The sections `[[name]]` below `parent`, in order.
    pub(super) fn sections(&mut self, parent: &Section<'a>, name: &str) -> Vec<Section<'a>> {
        let (path, shown) = (parent.schema_path(name), parent.path(name));
        let Some(entry) = parent.table.entry(name) else {
            return Vec::new();
        };
        let Value::List(items) = &entry.value.value else {
            let what = format!("a list of sections is expected, not {}", entry.value.value.kind());
            let remedy = format!("write [[{path}]] with double brackets, once for each");
            self.note(Some(entry.key_span.clone()), shown, what, remedy);
            return Vec::new();
        };
        items.iter().enumerate().filter_map(|(index, item)| self.item(&path, &shown, index, item)).collect()
    }

    /// A section that is not in the file and holds all the same.
    pub(super) fn implicit(&mut self, path: &str, table: &'static Table) -> Section<'a> {
        Section { presence: Presence::Implicit, ..self.open(path, path.to_owned(), table, None) }
    }

    /// A section below `parent` whose defaults are the values of `defaults`.
    pub(super) fn heir(&mut self, parent: &Section<'a>, name: &str, defaults: &Section<'a>) -> Section<'a> {
        Section { inherits: Some(defaults.table), ..self.section(parent, name) }
    }

    pub(super) fn text(&mut self, at: &Section<'a>, key: &'static str) -> Option<String> {
        self.value(at, key, None, as_text)
    }

    /// A text that is more than nothing.
    pub(super) fn name(&mut self, at: &Section<'a>, key: &'static str) -> Option<String> {
        self.name_or(at, key, None)
    }

    /// The same with a default that depends.
    pub(super) fn name_or(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        default: Option<String>,
    ) -> Option<String> {
        self.value(at, key, default.map(|text| quoted(&text)), as_name)
    }

    /// What parses, such as a domain or a mailbox; `example` is the default where the reference has none.
    pub(super) fn parsed<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        default: Option<String>,
    ) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        self.value(at, key, default.map(|text| quoted(&text)), |placed| {
            let text = as_text(placed)?;
            text.parse().map_err(|error| vec![Wrong::new(format!("{} will not do: {error}", quoted(&text)))])
        })
    }

    /// A path, made absolute from the file's folder.
    pub(super) fn path(&mut self, at: &Section<'a>, key: &'static str) -> Option<PathBuf> {
        let folder = self.file.folder();
        let found = self.find(at, key, None)?;
        let path = match as_text(&found.placed) {
            Ok(text) if text.is_empty() => Err(vec![Wrong::new("it is empty")]),
            Ok(text) => Ok(folder.join(text)),
            Err(wrongs) => Err(wrongs),
        };
        let literal = |path: &PathBuf| quoted(&path.display().to_string());
        self.settle(at, key, &found, path, literal)
    }

    /// The path of a file that holds a secret.
    pub(super) fn secret(&mut self, at: &Section<'a>, key: &'static str) -> Option<PathBuf> {
        let path = self.path(at, key);
        let place = self.place(at, key, path.as_ref());
        self.named.extend(place.map(Named::Secret));
        path
    }

    /// The path of a file with authorities to trust.
    pub(super) fn trust(&mut self, at: &Section<'a>, key: &'static str) -> Option<PathBuf> {
        let path = self.path(at, key);
        let place = self.place(at, key, path.as_ref());
        self.named.extend(place.map(Named::Trust));
        path
    }

    /// Where a path that was read stands in the file.
    pub(super) fn place(&self, at: &Section<'_>, key: &str, path: Option<&PathBuf>) -> Option<Place> {
        let blank = self.file.problem(at.place(key), at.path(key), String::new(), String::new());
        path.map(|path| Place { path: path.clone(), blank })
    }

    pub(super) fn duration(&mut self, at: &Section<'a>, key: &'static str) -> Option<Duration> {
        self.value(at, key, None, as_positive_duration)
    }

    /// A duration; zero stands for never.
    pub(super) fn duration_or_never(&mut self, at: &Section<'a>, key: &'static str) -> Option<Duration> {
        self.value(at, key, None, |placed| match &placed.value {
            Value::Text(text) if text == "never" => Ok(Duration::ZERO),
            _ => as_duration(placed),
        })
    }

    pub(super) fn size(&mut self, at: &Section<'a>, key: &'static str) -> Option<u64> {
        let least = match at.key(key).map(|key| key.kind) {
            Some(Kind::Size { least }) => least,
            _ => 0,
        };
        self.value(at, key, None, |placed| {
            let size = as_size(placed)?;
            let small = || vec![Wrong::new(format!("{size} octets are too few: the least is {least}"))];
            if size < least { Err(small()) } else { Ok(size) }
        })
    }

    /// A whole number within the bounds that the reference names.
    pub(super) fn count<T: TryFrom<i64>>(&mut self, at: &Section<'a>, key: &'static str) -> Option<T> {
        self.count_or(at, key, None)
    }

    /// The same where the default depends.
    pub(super) fn count_or<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        default: Option<String>,
    ) -> Option<T>
    where
        T: TryFrom<i64>,
    {
        let bounds = match at.key(key).map(|key| key.kind) {
            Some(Kind::Count { least, most, .. }) => i64::from(least)..=i64::from(most),
            _ => 0..=i64::from(u32::MAX),
        };
        self.value(at, key, default, |placed| {
            let Value::Integer(number) = placed.value else {
                return Err(mismatch("a whole number", placed));
            };
            let outside = || {
                let (least, most) = (bounds.start(), bounds.end());
                let what = format!("{number} is not within {least} to {most}");
                let remedy = Some(format!("{}. {}", at.advice(key), at.reason(key)));
                vec![Wrong { what, remedy, span: None }]
            };
            T::try_from(number).ok().filter(|_| bounds.contains(&number)).ok_or_else(outside)
        })
    }

    /// A number from 0 to 0.5.
    pub(super) fn share(&mut self, at: &Section<'a>, key: &'static str) -> Option<f64> {
        self.value(at, key, None, |placed| {
            let share = match placed.value {
                Value::Float(share) => share,
                Value::Integer(0) => 0.0,
                Value::Integer(_) => 1.0,
                _ => return Err(mismatch("a number", placed)),
            };
            let outside = || vec![Wrong::new("it is not within 0 and 0.5")];
            if (0.0..=0.5).contains(&share) { Ok(share) } else { Err(outside()) }
        })
    }

    /// `true` or `false`; `default` where the reference says that it depends.
    pub(super) fn switch(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        default: Option<bool>,
    ) -> Option<bool> {
        self.value(at, key, default.map(|on| on.to_string()), |placed| match placed.value {
            Value::Switch(on) => Ok(on),
            _ => Err(mismatch("true or false", placed)),
        })
    }

    /// One of the words that the reference names, by its place in `values`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        default: Option<&str>,
        values: &[(&str, T)],
    ) -> Option<T> {
        self.value(at, key, default.map(quoted), |placed| {
            let text = as_text(placed)?;
            let chosen = values.iter().find(|(word, _)| *word == text);
            chosen
                .map(|(_, value)| *value)
                .ok_or_else(|| vec![not_among(&text, values.iter().map(|(word, _)| *word))])
        })
    }

    /// A list of texts that each are turned into something.
    pub(super) fn list<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.value(at, key, None, |placed| as_list(placed, &item))
    }

    /// The same with the items apart that are as they should be: a malformed one does not keep its neighbours from being
    /// judged.
    pub(super) fn list_and_items<T: Clone>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> (Option<Vec<T>>, Vec<T>) {
        let items = RefCell::new(Vec::new());
        let list = self.list(at, key, |text| {
            let turned = item(text)?;
            items.borrow_mut().push(turned.clone());
            Ok(turned)
        });
        (list, items.into_inner())
    }

    /// A list, or one text that stands for a list of it alone.
    pub(super) fn one_or_list<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.value(at, key, None, |placed| match &placed.value {
            Value::List(_) => as_list(placed, &item),
            _ => Ok(vec![item(&as_text(placed)?).map_err(|what| vec![Wrong::new(what)])?]),
        })
    }

    /// A text that is turned into something.
    pub(super) fn turned<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value(at, key, None, |placed| item(&as_text(placed)?).map_err(|what| vec![Wrong::new(what)]))
    }

    /// A table whose keys are free: key → list of texts, each turned into something.
    pub(super) fn map<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<(String, Vec<T>)>> {
        self.value(at, key, None, |placed| {
            let Value::Table(table) = &placed.value else {
                return Err(mismatch("a table", placed));
            };
            let lists = table.0.iter().map(|entry| (entry.key.clone(), as_list(&entry.value, &item)));
            gather(lists.map(|(key, list)| list.map(|list| (key, list))))
        })
    }

    /// Notes what is wrong with a key's value.
    pub(super) fn complain(
        &mut self,
        at: &Section<'_>,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(at.place(key), at.path(key), what.into(), remedy.into());
    }

    /// Notes what is allowed but probably not meant.
    pub(super) fn warn(
        &mut self,
        at: &Section<'_>,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let warning = self.file.problem(at.place(key), at.path(key), what.into(), remedy.into());
        self.warnings.push(warning);
    }

    fn item(&mut self, path: &str, shown: &str, index: usize, item: &'a Placed) -> Option<Section<'a>> {
        let Value::Table(table) = &item.value else {
            let what = format!("a section is expected, not {}", item.value.kind());
            let remedy = format!("write [[{path}]] and its keys below");
            self.note(Some(item.span.clone()), format!("{shown}[{}]", index + 1), what, remedy);
            return None;
        };
        let shown = match table.entry("name").map(|entry| &entry.value.value) {
            Some(Value::Text(name)) if !name.is_empty() => format!("{shown}.{}", bare_or_quoted(name)),
            _ => format!("{shown}[{}]", index + 1),
        };
        Some(self.open(path, shown, table, Some(item.span.clone())))
    }

    fn open(
        &mut self,
        path: &str,
        shown: String,
        table: &'a Table,
        span: Option<Range<usize>>,
    ) -> Section<'a> {
        let schema = reference::section(path).unwrap_or(&reference::SECTIONS[0]);
        let seen = self.seen.entry(schema.path).or_default();
        let number = *seen;
        *seen += 1;
        let section =
            Section { schema, shown, number, table, span, inherits: None, presence: Presence::InFile };
        self.refuse_unknown_keys(&section);
        section
    }

    fn refuse_unknown_keys(&mut self, at: &Section<'a>) {
        let known =
            |name: &str| at.schema.key(name).is_some() || at.schema.subsections().any(|below| below == name);
        for entry in at.table.0.iter().filter(|entry| !known(&entry.key)) {
            let what = if at.schema.path.is_empty() {
                format!("there is no key \"{}\" at the top of the file", entry.key)
            } else {
                format!("there is no key \"{}\" in {}", entry.key, at.schema.header())
            };
            self.note(Some(entry.key_span.clone()), at.path(&entry.key), what, at.suggestion(&entry.key));
        }
    }

    fn value<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        default: Option<String>,
        parse: impl FnOnce(&Placed) -> Result<T, Vec<Wrong>>,
    ) -> Option<T> {
        let found = self.find(at, key, default)?;
        let parsed = parse(&found.placed);
        let literal = found.placed.value.to_string();
        self.settle(at, key, &found, parsed, |_| literal)
    }

    /// What was written, else what is inherited, else `default`, else what the reference says.
    fn find(&mut self, at: &Section<'a>, key: &'static str, default: Option<String>) -> Option<Found> {
        if let Some(entry) = at.table.entry(key) {
            let origin = match at.presence {
                Presence::InFile => Origin::Set(self.file.line(&entry.key_span)),
                Presence::Implicit => Origin::Default,
            };
            return Some(Found { placed: entry.value.clone(), origin });
        }
        if let Some(entry) = at.inherits.and_then(|table| table.entry(key)) {
            let origin = Origin::Inherited(self.file.line(&entry.key_span));
            return Some(Found { placed: entry.value.clone(), origin });
        }
        let literal = match (default, at.key(key)?.default) {
            (Some(literal), _) => literal,
            (None, Preset::Value(literal)) => literal.to_owned(),
            (None, Preset::Absent(note) | Preset::Depends(note)) => {
                self.push(at, key, None, Origin::Default, note);
                return None;
            }
            (None, Preset::Required) => {
                self.complain(at, key, "it is missing", at.advice(key));
                return None;
            }
        };
        let value = Value::from_literal(&literal)?;
        Some(Found { placed: Placed { value, span: 0..0 }, origin: Origin::Default })
    }

    fn settle<T>(
        &mut self,
        at: &Section<'a>,
        key: &'static str,
        found: &Found,
        parsed: Result<T, Vec<Wrong>>,
        literal: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match parsed {
            Ok(value) => {
                self.push(at, key, Some(literal(&value)), found.origin, "");
                Some(value)
            }
            // What is wrong with an inherited value was noted where it was written.
            Err(_) if matches!(found.origin, Origin::Inherited(_)) => None,
            Err(wrongs) => {
                for wrong in wrongs {
                    let span = wrong.span.or_else(|| at.place(key));
                    let remedy = wrong.remedy.unwrap_or_else(|| at.advice(key));
                    self.note(span, at.path(key), wrong.what, remedy);
                }
                None
            }
        }
    }

    fn push(
        &mut self,
        at: &Section<'_>,
        key: &str,
        value: Option<String>,
        origin: Origin,
        note: &'static str,
    ) {
        let (header, section) = (at.schema.header(), at.number);
        self.settings.push(Setting { header, section, key: key.to_owned(), value, origin, note });
    }

    fn note(&mut self, span: Option<Range<usize>>, key: String, what: String, remedy: String) {
        let problem = self.file.problem(span, key, what, remedy);
        self.problems.push(problem);
    }
}

impl<'a> Section<'a> {
    /// Whether the file says anything about this key here.
    pub(super) fn writes(&self, key: &str) -> bool {
        self.table.entry(key).is_some()
    }

    /// The name that the section gives itself, whether or not the rest of it is sound: what others refer to.
    pub(super) fn given_name(&self) -> Option<&str> {
        self.table.text("name")
    }

    /// The names that the sections `[[kind]]` below this one give themselves.
    pub(super) fn given_names(&self, kind: &str) -> Vec<&'a str> {
        let Some(Value::List(items)) = self.table.entry(kind).map(|entry| &entry.value.value) else {
            return Vec::new();
        };
        let tables = items.iter().filter_map(|item| match &item.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        tables.filter_map(|table| table.text("name")).collect()
    }

    /// The path of a key for people.
    pub(super) fn path(&self, key: &str) -> String {
        match (self.shown.is_empty(), key.is_empty()) {
            (true, _) => bare_or_quoted(key),
            (false, true) => self.shown.clone(),
            (false, false) => format!("{}.{}", self.shown, bare_or_quoted(key)),
        }
    }

    fn schema_path(&self, name: &str) -> String {
        if self.schema.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.schema.path) }
    }

    fn key(&self, name: &str) -> Option<&'static reference::Key> {
        self.schema.key(name)
    }

    /// Where a key's value is, else where the section is.
    fn place(&self, key: &str) -> Option<Range<usize>> {
        let here = self.table.entry(key).map(|entry| entry.value.span.clone());
        here.or_else(|| self.span.clone())
    }

    /// What to write for a key.
    pub(super) fn advice(&self, key: &str) -> String {
        let Some(row) = self.key(key) else {
            return String::new();
        };
        format!("write for example {key} = {} ({})", row.example, row.kind.describe())
    }

    fn reason(&self, key: &str) -> &'static str {
        self.key(key).map_or("", |row| row.reason)
    }

    /// What to do about a key that does not exist.
    fn suggestion(&self, key: &str) -> String {
        let siblings = self.schema.keys().iter().map(|key| key.name).chain(self.schema.subsections());
        if let Some(meant) = reference::nearest(key, siblings) {
            return format!("did you mean {meant}?");
        }
        match reference::entries().find(|entry| entry.key.name == key) {
            Some(entry) if entry.section.path.is_empty() => {
                format!("\"{key}\" belongs at the top, above every section")
            }
            Some(entry) => format!("\"{key}\" belongs in {}", entry.section.header()),
            None => "remove it; docs/configuration.md and `postern config explain` know all keys".to_owned(),
        }
    }
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: None, span: None }
    }
}

/// The value of a text, turned into something; used for lists.
fn as_list<T>(placed: &Placed, item: &impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Vec<Wrong>> {
    let Value::List(items) = &placed.value else {
        return Err(mismatch("a list", placed));
    };
    gather(items.iter().map(|placed| {
        let turned = as_text(placed).and_then(|text| item(&text).map_err(|what| vec![Wrong::new(what)]));
        turned.map_err(|wrongs| at_span(wrongs, placed))
    }))
}

/// All the values, or all that is wrong.
fn gather<T>(results: impl Iterator<Item = Result<T, Vec<Wrong>>>) -> Result<Vec<T>, Vec<Wrong>> {
    let (mut values, mut wrongs) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(more) => wrongs.extend(more),
        }
    }
    if wrongs.is_empty() { Ok(values) } else { Err(wrongs) }
}

fn at_span(wrongs: Vec<Wrong>, placed: &Placed) -> Vec<Wrong> {
    let place =
        |wrong: Wrong| Wrong { span: Some(placed.span.clone()).filter(|span| !span.is_empty()), ..wrong };
    wrongs.into_iter().map(place).collect()
}

fn as_text(placed: &Placed) -> Result<String, Vec<Wrong>> {
    match &placed.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(mismatch("a text in quotation marks", placed)),
    }
}

fn as_name(placed: &Placed) -> Result<String, Vec<Wrong>> {
    let text = as_text(placed)?;
    if text.trim().is_empty() { Err(vec![Wrong::new("it is empty")]) } else { Ok(text) }
}

fn as_duration(placed: &Placed) -> Result<Duration, Vec<Wrong>> {
    let Value::Text(text) = &placed.value else {
        return Err(mismatch("a time span in quotation marks", placed));
    };
    units::duration(text).map_err(|what| vec![unreadable("time span", text, what)])
}

fn as_positive_duration(placed: &Placed) -> Result<Duration, Vec<Wrong>> {
    let duration = as_duration(placed)?;
    if duration.is_zero() { Err(vec![Wrong::new("no time at all is too short")]) } else { Ok(duration) }
}

fn as_size(placed: &Placed) -> Result<u64, Vec<Wrong>> {
    match &placed.value {
        Value::Integer(octets) => {
            u64::try_from(*octets).map_err(|_| vec![Wrong::new("it is less than nothing")])
        }
        Value::Text(text) => units::size(text).map_err(|what| vec![unreadable("size", text, what)]),
        _ => Err(mismatch("a size", placed)),
    }
}

fn unreadable(kind: &str, text: &str, remedy: String) -> Wrong {
    Wrong { what: format!("{} is not a {kind}", quoted(text)), remedy: Some(remedy), span: None }
}

fn mismatch(expected: &str, placed: &Placed) -> Vec<Wrong> {
    vec![Wrong::new(format!("{expected} is expected, not {}", placed.value.kind()))]
}

fn not_among<'w>(text: &str, words: impl Iterator<Item = &'w str> + Clone) -> Wrong {
    let meant = reference::nearest(text, words.clone());
    let all: Vec<_> = words.map(quoted).collect();
    let remedy = match meant {
        Some(word) => format!("did you mean {}?", quoted(word)),
        None => format!("write {}", all.join(" or ")),
    };
    Wrong {
        what: format!("{} is not one of {}", quoted(text), all.join(", ")),
        remedy: Some(remedy),
        span: None,
    }
}

/// The time span that a text says; for lists of them.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match units::duration(text) {
        Ok(duration) if duration.is_zero() => Err(format!("{} is no time at all", quoted(text))),
        Ok(duration) => Ok(duration),
        Err(remedy) => Err(format!("{} is not a time span: {remedy}", quoted(text))),
    }
}
