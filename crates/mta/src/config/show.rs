//! The resolved configuration as text: every setting, and whether it was set or is a default.

use super::Config;
use super::value::quoted;

/// A setting with its value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The header of its section as TOML writes it, such as `[log]` or `[[listener]]`; empty at the top.
    pub header: String,
    /// Which section of that header it is, counted from 0.
    pub section: usize,
    /// The key.
    pub key: String,
    /// The value as a TOML literal; `None` when there is none, and what happens then stands in `note`.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// What it means that there is no value.
    pub note: &'static str,
}

/// Where a setting's value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file, at this line.
    Set(usize),
    /// The file, in the section whose settings this one inherits.
    Inherited(usize),
    /// Nobody said anything.
    Default,
}

/// The configuration as TOML that resolves to the same, each line marked `set` or `default`. It holds no secret: passwords
/// are in files of their own, and those are not opened.
pub fn render(config: &Config) -> String {
    let mut text = String::new();
    let mut before = (String::new(), 0);
    for setting in &config.settings {
        let here = (setting.header.clone(), setting.section);
        if here != before {
            text.push('\n');
            text.push_str(&setting.header);
            text.push('\n');
            before = here;
        }
        text.push_str(&line(setting));
    }
    text
}

/// A text as a TOML literal, quotation marks included.
pub fn literal(text: &str) -> String {
    quoted(text)
}

fn line(setting: &Setting) -> String {
    let origin = match setting.origin {
        Origin::Set(line) => format!("set in line {line}"),
        Origin::Inherited(line) => format!("inherited from line {line}"),
        Origin::Default => "default".to_owned(),
    };
    match &setting.value {
        Some(value) => format!("{:<56} # {origin}\n", format!("{} = {value}", setting.key)),
        None => format!("{:<56} # {}\n", format!("# {}", setting.key), setting.note),
    }
}
