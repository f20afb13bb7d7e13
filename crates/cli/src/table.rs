//! Tables for people: as plain as they can be, so that they survive a narrow terminal and a mail.
//!
//! [`table`] sets [`Line`]s in columns; [`facts`] sets one thing's properties below each other, [`facts_set_in`] with wrapped
//! values; [`set_in`] wraps a sentence. None of them cleans texts of others: whoever makes the cells does, long ones with
//! [`harmless`]. What this deliberately does not do: colours, frames, or anything for programs, which
//! read `--json`.

/// The width of running text.
const COLUMNS: usize = 100;

/// A line of a table: cells, or a remark across all of them.
pub(crate) enum Line {
    /// One cell for each column.
    Cells(Vec<String>),
    /// A text of its own, set in.
    Remark(String),
}

impl Line {
    pub(crate) fn cells<const N: usize>(cells: [&str; N]) -> Self {
        Self::Cells(cells.map(str::to_owned).into())
    }
}

/// A list as a table under its head; `empty` stands in its place when there is nothing.
pub(crate) fn listing<T, const N: usize>(
    items: &[T],
    empty: &str,
    head: [&str; N],
    line: impl Fn(&T) -> Line,
) -> String {
    if items.is_empty() {
        return format!("{empty}\n");
    }
    let lines: Vec<Line> = std::iter::once(Line::cells(head)).chain(items.iter().map(line)).collect();
    table(&lines)
}

/// Columns as wide as their widest cell; figures stand to the right.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        let Line::Cells(cells) = line else { continue };
        widths.resize(widths.len().max(cells.len()), 0);
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let cell = |(cell, width): (&String, &usize)| match cell.parse::<u64>() {
        Ok(_) => format!("{cell:>width$}"),
        Err(_) => format!("{cell:<width$}"),
    };
    let line = |line: &Line| match line {
        Line::Cells(cells) => {
            let row: Vec<String> = cells.iter().zip(&widths).map(cell).collect();
            format!("  {}\n", row.join("  ").trim_end())
        }
        Line::Remark(remark) => format!("      {remark}\n"),
    };
    lines.iter().map(line).collect()
}

/// What is known of one thing, a property a line; those without a value are left out, and further lines of a value stand
/// below its first.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let facts: Vec<_> = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let below = format!("\n  {:width$}  ", "");
    facts.iter().map(|(name, value)| format!("  {name:<width$}  {}\n", value.replace('\n', &below))).collect()
}

/// The same where values are sentences: they are wrapped below themselves in 100 columns.
pub(crate) fn facts_set_in<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let facts: Vec<_> = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    facts
        .iter()
        .map(|(name, value)| set_in(&format!("  {name:<width$}  "), &value.replace('\n', " ")))
        .collect()
}

/// A text of which parts are from others, fit for a terminal. It is as long as it is: who made it has bounded it.
pub(crate) fn harmless(text: &str) -> String {
    text.split('\n').map(|line| postern_smtp::text::clean(line, usize::MAX)).collect::<Vec<_>>().join("\n")
}

/// A text behind its lead, wrapped below itself in 100 columns.
pub(crate) fn set_in(lead: &str, text: &str) -> String {
    let width = COLUMNS.saturating_sub(lead.len()).max(20);
    let (mut out, mut line) = (String::new(), String::new());
    let mut lead = lead.to_owned();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            out += &format!("{lead}{line}\n");
            lead = " ".repeat(lead.len());
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    out + &format!("{lead}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_stand_below_each_other_and_absent_ones_not_at_all() {
        let text = facts([("name", "mail".into()), ("unit", String::new()), ("key made", "a\nb".into())]);
        assert_eq!(text, "  name      mail\n  key made  a\n            b\n");
    }
}
