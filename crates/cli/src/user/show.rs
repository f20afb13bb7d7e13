//! `postern user show`: one person, whichever directory knows him, and what he did lately.

use clap::Args;
use postern_mta::admin::Admin;
use postern_mta::directory::{AppPassword, MainPassword, Person, Principal, ScramState, Standing, User};
use postern_mta::event::clean;
use serde_json::{Value, json};

use super::past::Past;
use super::{Failure, app_password, texts};
use crate::in_json;
use crate::table::facts;

/// Arguments of `postern user show`.
#[derive(Args)]
pub(crate) struct Show {
    /// Whom: a name, or an address
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Show, admin: &Admin) -> Result<String, Failure> {
    let people = admin.people()?;
    let person = people.find(&arguments.name).await?;
    let passwords = people.app_passwords(person.name()).await?;
    let past = Past::of(admin, person.name()).await;
    if arguments.json {
        let mut shown = as_json(&person, &passwords)?;
        past.add_to(&mut shown);
        return Ok(in_json(&shown)?);
    }
    let shown = match &person {
        Person::Own(user) => facts(of_user(user, &passwords)),
        Person::Other(principal) => facts(of_other(principal, &passwords)),
    };
    Ok(shown + &past.render())
}

fn as_json(person: &Person, passwords: &[AppPassword]) -> Result<Value, Failure> {
    let mut shown = match person {
        Person::Own(user) => {
            let mut shown = serde_json::to_value(user)?;
            shown["directory"] = json!("users");
            shown
        }
        Person::Other(principal) => json!({
            "name": principal.name,
            "directory": principal.directory,
            "addresses": texts(&principal.addresses),
            "groups": principal.groups,
        }),
    };
    shown["app_passwords"] = serde_json::to_value(passwords)?;
    Ok(shown)
}

fn of_user(user: &User, passwords: &[AppPassword]) -> Vec<(&'static str, String)> {
    let main = match (user.main_password, user.scram) {
        (MainPassword::Barred, _) => "barred: only app passwords count".to_owned(),
        (MainPassword::Allowed, ScramState::Ready) => String::new(),
        (MainPassword::Allowed, ScramState::AtNextSignIn) => {
            "cannot be used with SCRAM before he has signed in with PLAIN or LOGIN once more".to_owned()
        }
    };
    vec![
        ("name", user.name.clone()),
        ("may sign in", if user.standing == Standing::Disabled { "no: disabled" } else { "yes" }.to_owned()),
        ("may send as", addresses(&texts(&user.addresses))),
        ("groups", user.groups.join(", ")),
        ("main password", main),
        ("app passwords", summary(passwords)),
        ("created", user.created.to_string()),
        ("password set", user.password_set.to_string()),
        ("last sign-in", user.last_sign_in.map(|time| time.to_string()).unwrap_or_default()),
    ]
}

fn of_other(principal: &Principal, passwords: &[AppPassword]) -> Vec<(&'static str, String)> {
    let groups: Vec<String> = principal.groups.iter().map(|group| clean(group)).collect();
    vec![
        ("name", clean(&principal.name)),
        ("directory", principal.directory.clone()),
        ("may send as", addresses(&texts(&principal.addresses))),
        ("groups", groups.join("\n")),
        ("app passwords", summary(passwords)),
    ]
}

fn addresses(addresses: &[String]) -> String {
    match addresses {
        [] => "none of his own: unless `[[send_as]]` lets him, he cannot send".to_owned(),
        some => some.join("\n"),
    }
}

fn summary(passwords: &[AppPassword]) -> String {
    let line = |password: &AppPassword| format!("{}: {}", password.name, app_password::last_use(password));
    passwords.iter().map(line).collect::<Vec<_>>().join("\n")
}
