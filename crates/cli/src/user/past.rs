//! What somebody did lately, for `postern user show`: his last sign-ins, those that failed, and his last messages.
//!
//! It is taken from the events that are kept, as `postern why` tells them. Where they cannot be read, the reason stands in
//! their place: the rest of what is known of him is shown all the same.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use postern_mta::admin::Admin;
use postern_mta::admin::history::Story;
use postern_mta::event::clean;
use postern_mta::history::{Kept, What};
use serde_json::{Value, json};

/// So many of each kind are shown, the last ones.
const SHOWN: usize = 5;
/// So many events are looked through for them.
const LOOKED_THROUGH: usize = 500;

/// What he did, or why that is not known.
pub(super) struct Past(Result<Told, String>);

struct Told {
    story: Story,
    name: String,
}

impl Past {
    /// Of the person with this name.
    pub(super) async fn of(admin: &Admin, name: &str) -> Self {
        let answer = admin.what_happened(name, None, LOOKED_THROUGH).await;
        Self(match answer {
            Ok(answer) if !answer.kept => Err("nothing is kept: [history] keep is \"never\"".to_owned()),
            Ok(answer) => Ok(Told { story: answer.story, name: name.to_owned() }),
            Err(error) => Err(error.to_string()),
        })
    }

    /// For people, below the rest.
    pub(super) fn render(&self) -> String {
        let told = match &self.0 {
            Ok(told) => told,
            Err(why) => return format!("\nlast sign-ins and messages are not known: {}\n", clean(why)),
        };
        let mut text = String::new();
        part(&mut text, "last sign-ins", &told.sign_ins());
        part(&mut text, &told.of_failures(), &told.failures());
        part(&mut text, "last messages", &told.messages());
        if text.is_empty() {
            let since = told.story.oldest.map_or("yet".to_owned(), |oldest| format!("since {oldest:.0}"));
            return format!("\nno sign-ins and no messages {since}\n");
        }
        let more = if told.story.more { "there is more than was looked through" } else { "more" };
        let _ = writeln!(text, "\n{more}: postern why {}", clean(&told.name));
        text
    }

    /// For programs, beside the rest.
    pub(super) fn add_to(&self, shown: &mut Value) {
        match &self.0 {
            Ok(told) => {
                shown["sign_ins"] = as_json(&told.sign_ins());
                shown["failed_sign_ins"] = as_json(&told.failures());
                let (failed, more) = told.failed();
                shown["failed_sign_ins_known"] = json!(failed);
                shown["more_failed_sign_ins"] = json!(more);
                shown["more"] = json!(told.story.more);
                shown["messages"] = as_json(&told.messages());
            }
            Err(why) => shown["history_trouble"] = json!(why),
        }
    }
}

/// One thing that he did.
struct Line {
    time: Timestamp,
    words: String,
}

impl Told {
    fn sign_ins(&self) -> Vec<Line> {
        let programs = self.programs();
        self.lines(|kept| match &kept.what {
            What::SignedIn { .. } => {
                let program = programs.get(kept.id.as_str());
                Some(format!("{kept}{}", program.map(|program| format!(", {program}")).unwrap_or_default()))
            }
            _ => None,
        })
    }

    fn failures(&self) -> Vec<Line> {
        self.lines(|kept| matches!(kept.what, What::SignInFailed { .. }).then(|| kept.to_string()))
    }

    /// So many failures are known of, and whether there may be more.
    fn failed(&self) -> (usize, bool) {
        let failed = |kept: &&Kept| matches!(kept.what, What::SignInFailed { .. });
        (self.story.events.iter().filter(failed).count(), self.story.more_of_strangers > 0)
    }

    fn of_failures(&self) -> String {
        let title = "sign-ins that failed";
        match self.failed() {
            (failed, true) => format!("{title}, the last of {failed} or more"),
            (failed, false) if failed > SHOWN => format!("{title}, the last of {failed}"),
            _ => title.to_owned(),
        }
    }

    /// With what became of each, as far as that is known.
    fn messages(&self) -> Vec<Line> {
        self.lines(|kept| match &kept.what {
            What::Accepted { user: Some(user), from, to, .. } if *user == self.name => {
                Some(format!("{} from {from} for {}: {}", kept.id, some(to), self.fate(&kept.id)))
            }
            _ => None,
        })
    }

    fn lines(&self, words: impl Fn(&Kept) -> Option<String>) -> Vec<Line> {
        let line = |kept: &Kept| Some(Line { time: kept.time, words: words(kept)? });
        let mut last: Vec<Line> = self.story.events.iter().rev().filter_map(line).take(SHOWN).collect();
        last.reverse();
        last
    }

    /// What wrote the messages of a session, or what its client called itself.
    fn programs(&self) -> HashMap<&str, String> {
        let mut programs = HashMap::new();
        for kept in &self.story.events {
            if let What::Accepted { session, program, hello, .. } = &kept.what {
                let words = match (program, hello) {
                    (Some(program), _) => format!("program {program}"),
                    (None, Some(hello)) => format!("which calls itself {hello}"),
                    (None, None) => continue,
                };
                programs.insert(session.as_str(), clean(&words));
            }
        }
        programs
    }

    fn fate(&self, id: &str) -> String {
        let (mut delivered, mut failed, mut waits) = (0, 0, None);
        for kept in self.story.events.iter().filter(|kept| kept.id == id) {
            match &kept.what {
                What::Delivered { .. } => delivered += 1,
                What::Failed { .. } => failed += 1,
                What::Deferred { cause, .. } => waits = Some(cause.clone()),
                What::Held { reason } => waits = Some(reason.clone()),
                _ => {}
            }
        }
        match (delivered, failed, waits) {
            (0, 0, Some(cause)) => format!("waits ({cause})"),
            (0, 0, None) => "not tried yet".to_owned(),
            (delivered, 0, _) => format!("{delivered} delivered"),
            (0, failed, _) => format!("{failed} failed"),
            (delivered, failed, _) => format!("{delivered} delivered, {failed} failed"),
        }
    }
}

fn some(to: &[String]) -> String {
    match to {
        [] => "nobody".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

fn part(text: &mut String, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    for line in lines {
        let _ = writeln!(text, "  {:.0}  {}", line.time, clean(&line.words));
    }
}

fn as_json(lines: &[Line]) -> Value {
    lines.iter().map(|line| json!({ "time": line.time, "words": line.words })).collect()
}
