//! `fleetctl user`

use std::path::Path;

use fleet_service::config::value::Secret;
use serde_json::{Map, Value, json};

use super::session::Session;
use super::{edit, generic, print};
use crate::cli::nouns::{CreateUser, SetPassword, UserVerb};
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::management::{POLICY, Query, USER};
use crate::profile::read_secret;
use crate::terminal;

pub(super) async fn run(session: &Session, verb: &UserVerb) -> Outcome {
    match verb {
        UserVerb::List(flags) => generic::list(session, &USER, Query::default(), flags).await,
        UserVerb::Show(show) => generic::show(session, &USER, show).await,
        UserVerb::Create(flags) => create(session, flags).await,
        UserVerb::Edit(flags) => edit::run(session, &USER, flags).await,
        UserVerb::Password(flags) => set_password(session, flags).await,
        UserVerb::Delete(flags) => generic::delete(session, &USER, flags).await,
    }
}

async fn create(session: &Session, flags: &CreateUser) -> Outcome {
    let mut body = Map::new();
    body.insert("username".to_owned(), flags.name.as_str().into());
    with_roles(&mut body, &flags.role, grants_of(session, &flags.grant).await?);
    let password = new_password(session, flags.new_password_file.as_deref(), &flags.name).await?;
    body.insert("password".to_owned(), password.reveal().into());
    let user = generic::post(session, &USER, Value::Object(body)).await?;
    generic::created(session, &USER, &user, None);
    Ok(0)
}

async fn set_password(session: &Session, flags: &SetPassword) -> Outcome {
    let user = session.object(&USER, &flags.name).await?;
    let password = new_password(session, flags.new_password_file.as_deref(), &flags.name).await?;
    let mut body = json!({"password": password.reveal()});
    // Who may not manage others proves once more who they are.
    if let Some(current) = session.client.password_of(&flags.name) {
        body["current_password"] = current.reveal().into();
    }
    session.client.put(&format!("users/{}", percent_encode(&flags.name)), &body).await?;
    session.console.line(format_args!("Set the password of {}", print::called(&USER, &user)));
    Ok(0)
}

/// A new password: from a file, or asked for twice.
async fn new_password(session: &Session, file: Option<&Path>, user: &str) -> Result<Secret, Failure> {
    if let Some(path) = file {
        return Ok(read_secret("--new-password-file", path)?);
    }
    if !session.console.is_interactive() {
        return Err(Failure::new("Nobody can be asked for the new password: give --new-password-file"));
    }
    let first = terminal::ask_secret(&session.console, &format!("New password of {user}: ")).await?;
    let second = terminal::ask_secret(&session.console, "Once more: ").await?;
    if first != second {
        return Err(Failure::new("The two passwords differ. Nothing was done."));
    }
    Ok(first)
}

/// Adds roles and grants to a body, where there are some.
pub(super) fn with_roles(body: &mut Map<String, Value>, roles: &[String], grants: Vec<Value>) {
    if !roles.is_empty() {
        body.insert("roles".to_owned(), json!(roles));
    }
    if !grants.is_empty() {
        body.insert("grants".to_owned(), Value::Array(grants));
    }
}

/// Reads `POLICY=ROLE` words.
pub(super) async fn grants_of(session: &Session, words: &[String]) -> Result<Vec<Value>, Failure> {
    let mut grants = Vec::with_capacity(words.len());
    for word in words {
        let (policy, role) = word.rsplit_once('=').ok_or_else(|| Failure {
            message: format!("Error: --grant {word}: POLICY=ROLE is needed"),
            code: 2,
        })?;
        let policy_id = session.id(&POLICY, policy).await?;
        grants.push(json!({"policy_id": policy_id, "role": role}));
    }
    Ok(grants)
}
