//! `postern queue`: what waits, why, and what to do about it.

pub(crate) mod why;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use postern_mta::admin::reroute::WayOut;
use postern_mta::admin::{Admin, Request, Response};
use postern_mta::config::units;
use postern_mta::event::clean;
use postern_queue::{Change, Cursor, Delivery, Filter, QueueId, RecipientState};

use crate::{Done, admin, block_on, in_json, say, unexpected};

/// As many deliveries are asked for at a time.
const PAGE: usize = 1000;
/// More rows than this are not printed to a terminal unasked, where they would only scroll by,
const ROWS_MOST: usize = 200;
/// but only so many, the oldest ones.
const ROWS_FIRST: usize = 100;
/// `show --content` prints at most so much of a message, in octets.
const CONTENT_MOST: usize = 256 * 1024;

/// Subcommands of `postern queue`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List deliveries, oldest message first
    List {
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show deliveries in full
    Show {
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long, conflicts_with = "content")]
        json: bool,
        /// Print the messages themselves, too
        #[arg(long)]
        content: bool,
    },
    /// Say what mail waits for, grouped by cause, and what to do about it
    Why(why::Arguments),
    /// Try now instead of later
    Retry(Which),
    /// Try now, by the connectors of today, and begin the retry schedule anew
    ///
    /// Mail is routed at each attempt, so that a changed connector counts for waiting mail from its next attempt on; this
    /// makes the next attempt now, after telling by which connectors it goes. When a message is given up is not changed,
    /// and what is held stays held.
    Reroute(Which),
    /// Do not try until released
    Hold(Which),
    /// Try held deliveries again
    Release(Which),
    /// End deliveries with a report to the sender
    Bounce(Which),
    /// End deliveries without a report
    Remove(Which),
}

/// Which deliveries: by message id, by filter, or both; all conditions must hold.
#[derive(Args)]
pub(crate) struct Which {
    /// Message ids
    ids: Vec<QueueId>,
    /// The recipients' domain, or *.example.org for all below it
    #[arg(long, value_name = "DOMAIN")]
    destination: Option<String>,
    /// The sender's address, @example.org for a domain, or <> for reports
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// A recipient's address
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// In the queue for longer than this, such as 2h
    #[arg(long, value_name = "AGE", value_parser = units::duration)]
    older_than: Option<std::time::Duration>,
    /// The last trouble's words hold this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only held ones
    #[arg(long)]
    held: bool,
    /// All deliveries (or, with --held, all held ones)
    #[arg(long)]
    all: bool,
}

/// Carries out a subcommand.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    let admin = admin(path)?;
    block_on(carry_out(command, &admin))?
}

async fn carry_out(command: Command, admin: &Admin) -> Done {
    match command {
        Command::List { which, json } => list(admin, &which, json).await,
        Command::Show { which, json, content } => {
            which.refuse_nothing()?;
            show(admin, which.filter()?, json, content).await
        }
        Command::Why(arguments) => why::run(admin, &arguments).await,
        Command::Reroute(which) => reroute(admin, &which).await,
        Command::Retry(which) => amend(admin, &which, Change::Retry, "due now").await,
        Command::Hold(which) => amend(admin, &which, Change::Hold, "held").await,
        Command::Release(which) => {
            amend(admin, &Which { held: true, ..which }, Change::Release, "released").await
        }
        Command::Bounce(which) => {
            amend(admin, &which, Change::Bounce, "ended, their senders get a report").await
        }
        Command::Remove(which) => amend(admin, &which, Change::Remove, "removed").await,
    }
}

impl Which {
    fn filter(&self) -> Result<Filter, Box<dyn std::error::Error>> {
        let before = |age: std::time::Duration| Timestamp::now().checked_sub(SignedDuration::try_from(age)?);
        Ok(Filter {
            ids: self.ids.clone(),
            destination: self.destination.clone(),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            accepted_before: self.older_than.map(before).transpose()?,
            reason: self.reason.clone(),
            held: self.held.then_some(true),
            ..Filter::default()
        })
    }

    /// A slip of the keyboard must not change the whole queue.
    fn refuse_nothing(&self) -> Result<(), String> {
        let filtered = self.destination.is_some()
            || self.sender.is_some()
            || self.recipient.is_some()
            || self.older_than.is_some()
            || self.reason.is_some();
        if self.ids.is_empty() && !filtered && !self.all {
            return Err("which deliveries? Give ids, a filter (see --help), or --all".into());
        }
        Ok(())
    }
}

async fn amend(admin: &Admin, which: &Which, change: Change, done: &str) -> Done {
    which.refuse_nothing()?;
    match admin.call(Request::Amend { filter: which.filter()?, change }).await? {
        Response::Changed(0) => Err("no delivery fits; postern queue list shows what there is".into()),
        Response::Changed(count) => {
            say(&format!("{} {done}\n", count_of(count, "delivery", "deliveries")))?;
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other).into()),
    }
}

async fn reroute(admin: &Admin, which: &Which) -> Done {
    which.refuse_nothing()?;
    let rerouted = match admin.call(Request::Reroute { filter: which.filter()? }).await? {
        Response::Rerouted(rerouted) => rerouted,
        other => return Err(unexpected(&other).into()),
    };
    if rerouted.deliveries == 0 {
        return Err("no delivery fits; postern queue list shows what there is".into());
    }
    let mut text: String = rerouted.ways.iter().map(way_out).collect();
    text += &format!(
        "{} due now, held ones when released\n",
        count_of(rerouted.deliveries, "delivery", "deliveries")
    );
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn way_out(way: &WayOut) -> String {
    let by = match &way.connector {
        Some(name) if way.enabled => format!("by connector \"{name}\""),
        Some(name) => format!("by connector \"{name}\", which is switched off"),
        None => "by no connector: it waits".to_owned(),
    };
    format!(
        "{} to {}: {by}\n",
        count_of(way.deliveries, "delivery", "deliveries"),
        clean(&way.destinations.to_string())
    )
}

/// `1 delivery`, `2 deliveries`.
pub(crate) fn count_of(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

async fn list(admin: &Admin, which: &Which, json: bool) -> Done {
    let found = find(admin, &which.filter()?).await?;
    if json {
        return say_json(&found);
    }
    let Response::Status(status) = admin.call(Request::Status).await? else { return Err("no status".into()) };
    let shown = rows_shown(found.len(), std::io::stdout().is_terminal() && !which.all);
    let mut text: String = found.iter().take(shown).map(|delivery| row(delivery) + "\n").collect();
    let noun = if status.deliveries == 1 { "delivery" } else { "deliveries" };
    text += &format!("{shown} of {} {noun} shown, {} held\n", status.deliveries, status.held);
    if shown < found.len() {
        text += &format!(
            "{} more fit: narrow them down with a filter (see --help), or see them with --all\n",
            found.len() - shown
        );
    }
    for (id, reason) in &status.quarantined {
        text += &format!("set aside: {id}: {}\n", clean(reason));
    }
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What goes into a pipe or a file is complete.
fn rows_shown(found: usize, bounded: bool) -> usize {
    if bounded && found > ROWS_MOST { ROWS_FIRST } else { found }
}

async fn show(admin: &Admin, filter: Filter, json: bool, content: bool) -> Done {
    let found = find(admin, &filter).await?;
    if found.is_empty() {
        return Err("no delivery fits; postern queue list shows what there is".into());
    }
    if json {
        return say_json(&found);
    }
    for delivery in &found {
        say(&details(delivery))?;
        if content {
            say(&format!("\n{}", read_content(admin, delivery.message.id).await?))?;
        }
        say("\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say_json(found: &[Delivery]) -> Done {
    say(&in_json(found)?)?;
    Ok(ExitCode::SUCCESS)
}

async fn find(admin: &Admin, filter: &Filter) -> Result<Vec<Delivery>, Box<dyn std::error::Error>> {
    let mut all = Vec::new();
    let mut cursor = Cursor::new(filter.clone(), PAGE);
    while let Some((filter, page)) = cursor.request() {
        let Response::Deliveries(found) = admin.call(Request::Find { filter, page }).await? else {
            return Err("no list".into());
        };
        cursor.pass(&found);
        all.extend(found);
    }
    Ok(all)
}

/// Content comes from outside: control characters other than line ends are shown as `?`.
async fn read_content(admin: &Admin, id: QueueId) -> Result<String, Box<dyn std::error::Error>> {
    match admin.call(Request::Content { id, most: CONTENT_MOST }).await? {
        Response::Content(content) => {
            let text = String::from_utf8_lossy(&content);
            Ok(text.lines().map(|line| clean(line) + "\n").collect())
        }
        other => Err(unexpected(&other).into()),
    }
}

fn row(delivery: &Delivery) -> String {
    let to: Vec<String> =
        delivery.recipients.iter().map(|state| state.recipient.address.to_string()).collect();
    let to = match to.as_slice() {
        [first, _, ..] => format!("{first} and {} more", to.len() - 1),
        _ => to.concat(),
    };
    let reason =
        trouble(delivery.recipients.first()).map(|reason| hint(&reason, delivery)).unwrap_or_default();
    format!(
        "{}  {:>6}  {:>9}  {} -> {to}  {}{reason}",
        delivery.message.id,
        age(delivery.message.accepted),
        size(delivery.message.size),
        clean(&delivery.message.from.to_string()),
        state(delivery),
    )
}

fn hint(reason: &str, delivery: &Delivery) -> String {
    format!("\n    {reason} (postern queue why {})", delivery.message.id)
}

fn details(delivery: &Delivery) -> String {
    let message = &delivery.message;
    let mut text = format!(
        "id           {}\naccepted     {:.0} ({} ago)\nsize         {}\nfrom         {}\n",
        message.id,
        message.accepted,
        age(message.accepted),
        size(message.size),
        clean(&message.from.to_string()),
    );
    let origin = &message.origin;
    let came = [
        origin.listener.as_ref().map(|name| format!("listener {name}")),
        origin.client.map(|client| format!("client {client}")),
        origin.user.as_ref().map(|user| format!("user {user}")),
        origin.session.as_ref().map(|session| format!("session {session}")),
    ];
    let came: Vec<String> = came.into_iter().flatten().collect();
    let came = if came.is_empty() { "Postern itself (a report)".to_owned() } else { came.join(", ") };
    text += &format!(
        "came by      {}\ndestination  {}\nstate        {}\n",
        clean(&came),
        delivery.destination,
        state(delivery)
    );
    if let Some(hold) = delivery.message.hold.as_ref().filter(|_| delivery.held) {
        text += &format!("             {}\n", clean(hold));
    }
    for recipient in &delivery.recipients {
        text += &format!("to           {}\n", recipient.recipient.address);
        if let Some(reason) = trouble(Some(recipient)) {
            text += &format!("             {reason}\n");
        }
    }
    text
}

pub(crate) fn state(delivery: &Delivery) -> String {
    let attempts = match delivery.attempts {
        0 => "not tried yet".to_owned(),
        1 => "tried once".to_owned(),
        count => format!("tried {count} times"),
    };
    match delivery.due {
        _ if delivery.held => format!("held, {attempts}"),
        _ if delivery.leased => format!("being tried, {attempts}"),
        Some(due) => format!("{attempts}, next {}", until(due)),
        None => attempts,
    }
}

fn trouble(state: Option<&RecipientState>) -> Option<String> {
    Some(clean(&state?.trouble.as_ref()?.to_string()))
}

pub(crate) fn age(since: Timestamp) -> String {
    short(Timestamp::now().duration_since(since))
}

pub(crate) fn until(due: Timestamp) -> String {
    let left = due.duration_since(Timestamp::now());
    if left.is_positive() { format!("in {}", short(left)) } else { "now".into() }
}

/// The largest unit that fits: `45s`, `12m`, `5h`, `3d`.
fn short(duration: SignedDuration) -> String {
    match duration.as_secs().max(0) {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn size(octets: u64) -> String {
    match octets {
        0..=9_999 => format!("{octets} B"),
        10_000..=10_239_999 => format!("{} KiB", octets / 1024),
        _ => format!("{} MiB", octets / 1024 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_only_where_it_would_scroll_by() {
        let both = |found| (rows_shown(found, true), rows_shown(found, false));
        assert_eq!([both(0), both(200), both(201)], [(0, 0), (200, 200), (100, 201)]);
    }

    #[test]
    fn ages_are_shown_in_the_largest_unit_that_fits() {
        let shown = |seconds| short(SignedDuration::from_secs(seconds));
        assert_eq!([shown(5), shown(120), shown(7200), shown(259_200)], ["5s", "2m", "2h", "3d"]);
    }
}
