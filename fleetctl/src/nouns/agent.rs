//! `fleetctl agent`

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::input::set_fields;
use super::print::counted;
use super::session::Session;
use super::watch;
use super::{edit, generic};
use crate::cli::nouns::{
    AgentList, AgentVerb, Choice, Diagnostics, Migrate, Privilege, Reassign, RollBackAgents, TagAgents,
    Unenroll, UpgradeAgents,
};
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::management::{AGENT, Body, POLICY, Query, list, quoted};
use crate::profile::read_secret;

/// How often it is looked whether an archive has come.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(session: &Session, verb: &AgentVerb) -> Outcome {
    match verb {
        AgentVerb::List(flags) => list_agents(session, flags).await,
        AgentVerb::Show(show) => generic::show(session, &AGENT, show).await,
        AgentVerb::Edit(flags) => edit::run(session, &AGENT, flags).await,
        AgentVerb::Delete(delete) => generic::delete(session, &AGENT, delete).await,
        AgentVerb::Reassign(flags) => reassign(session, flags).await,
        AgentVerb::Unenroll(flags) => unenroll(session, flags).await,
        AgentVerb::Upgrade(flags) => upgrade(session, flags).await,
        AgentVerb::Rollback(flags) => roll_back(session, flags).await,
        AgentVerb::Migrate(flags) => migrate(session, flags).await,
        AgentVerb::Privilege(flags) => change_privileges(session, flags).await,
        AgentVerb::Tag(flags) => tag(session, flags).await,
        AgentVerb::Diagnostics(flags) => diagnostics(session, flags).await,
        AgentVerb::Watch(flags) => watch::run(session, flags).await,
    }
}

async fn list_agents(session: &Session, flags: &AgentList) -> Outcome {
    let mut terms = Vec::new();
    if let Some(policy) = &flags.policy {
        terms.push(format!("policy_id:{}", quoted(&session.id(&POLICY, policy).await?)));
    }
    if let Some(status) = &flags.status {
        terms.push(format!("status:{}", quoted(status)));
    }
    if let Some(tag) = &flags.tag {
        terms.push(format!("tags:{}", quoted(tag)));
    }
    if let Some(kuery) = &flags.list.kuery {
        terms.push(format!("({kuery})"));
    }
    let mut list = flags.list.clone();
    list.kuery = (!terms.is_empty()).then(|| terms.join(" and "));
    let query = Query::default().with("showInactive", if flags.show_inactive { "true" } else { "false" });
    generic::list(session, &AGENT, query, &list).await
}

/// Those that are asked for something: as the API takes them, and how many they are.
struct Chosen {
    agents: Value,
    count: u64,
}

/// Finds those who are meant, and asks whether all of them are.
async fn choose(session: &Session, choice: &Choice, what: &str) -> Result<Chosen, Failure> {
    let Some(kuery) = &choice.kuery else {
        if choice.agents.is_empty() {
            return Err(Failure { message: "Error: name agents, or give --kuery".to_owned(), code: 2 });
        }
        let ids = session.ids(&AGENT, &choice.agents).await?;
        return Ok(Chosen { count: ids.len() as u64, agents: json!(ids) });
    };
    // A query may be about more agents than one thinks: the user is told how many before anything is done.
    let found = list(&session.client, &AGENT, &Query::default().with("kuery", kuery.as_str()), 1).await?;
    let count = found.total.unwrap_or(found.items.len() as u64);
    if count == 0 {
        return Err(Failure::new(format!("no agent is what --kuery {kuery:?} asks for")));
    }
    let agents = counted(usize::try_from(count).unwrap_or(usize::MAX), "agent");
    session.confirm(choice.yes, &format!("{what} {agents}?")).await?;
    Ok(Chosen { agents: kuery.as_str().into(), count })
}

/// Asks for something in bulk, and tells what came of it.
async fn ask(
    session: &Session,
    path: &str,
    chosen: Chosen,
    mut body: Map<String, Value>,
    what: &str,
) -> Result<Option<String>, Failure> {
    body.insert("agents".to_owned(), chosen.agents);
    let answer = session.client.post(path, &Value::Object(body)).await?;
    let action = answer.get("actionId").and_then(Value::as_str).map(str::to_owned);
    // Agents that go different ways have an action for each.
    let several =
        answer.get("actionIds").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let several: Vec<&str> = several.collect();
    let agents = counted(usize::try_from(chosen.count).unwrap_or(usize::MAX), "agent");
    match &action {
        Some(id) => session.console.line(format_args!("{what} for {agents}: action {id}")),
        None if !several.is_empty() => {
            session.console.line(format_args!("{what} for {agents}: actions {}", several.join(", ")));
        }
        None => session.console.line(format_args!("{what} for {agents}")),
    }
    Ok(action)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

async fn reassign(session: &Session, flags: &Reassign) -> Outcome {
    let policy = session.id(&POLICY, &flags.policy).await?;
    let chosen = choose(session, &flags.choice, &format!("Give the policy {policy} to")).await?;
    let body = fields(json!({"policy_id": policy}));
    ask(session, "agents/bulk_reassign", chosen, body, &format!("Policy {policy}")).await?;
    Ok(0)
}

async fn unenroll(session: &Session, flags: &Unenroll) -> Outcome {
    let chosen = choose(session, &flags.choice, "Unenrol").await?;
    let mut body = Map::new();
    for (field, is_set) in [("force", flags.force), ("revoke", flags.revoke)] {
        if is_set {
            body.insert(field.to_owned(), true.into());
        }
    }
    ask(session, "agents/bulk_unenroll", chosen, body, "Unenrolment").await?;
    Ok(0)
}

async fn upgrade(session: &Session, flags: &UpgradeAgents) -> Outcome {
    let chosen = choose(session, &flags.choice, &format!("Bring to version {}", flags.to)).await?;
    let mut body = fields(json!({"version": flags.to}));
    let optional = [
        ("source_uri", flags.source_uri.as_deref().map(Value::from)),
        ("start_time", flags.start_time.as_deref().map(Value::from)),
        ("rollout_duration_seconds", flags.rollout_seconds.map(Value::from)),
        ("force", flags.force.then_some(Value::Bool(true))),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            body.insert(field.to_owned(), value);
        }
    }
    let what = format!("Upgrade to {}", flags.to);
    let action = ask(session, "agents/bulk_upgrade", chosen, body, &what).await?;
    match action.filter(|_| flags.watch) {
        Some(action) => watch::action(session, &action, &watch::Pace::default()).await,
        None => Ok(0),
    }
}

async fn roll_back(session: &Session, flags: &RollBackAgents) -> Outcome {
    let chosen = choose(session, &flags.choice, "Take back to the version before").await?;
    ask(session, "agents/bulk_rollback", chosen, Map::new(), "Rollback").await?;
    Ok(0)
}

async fn migrate(session: &Session, flags: &Migrate) -> Outcome {
    let token = read_secret("--token-file", &flags.token_file)?;
    let mut settings = Map::new();
    set_fields(&mut settings, &flags.settings)?;
    let chosen = choose(session, &flags.choice, &format!("Let enrol with {}", flags.to)).await?;
    let mut body = fields(json!({"uri": flags.to, "enrollment_token": token.reveal()}));
    if !settings.is_empty() {
        body.insert("settings".to_owned(), settings.into());
    }
    ask(session, "agents/bulk_migrate", chosen, body, &format!("Migration to {}", flags.to)).await?;
    Ok(0)
}

async fn change_privileges(session: &Session, flags: &Privilege) -> Outcome {
    let mut user = Map::new();
    for (field, value) in [("username", &flags.run_as), ("groupname", &flags.group)] {
        if let Some(value) = value {
            user.insert(field.to_owned(), value.as_str().into());
        }
    }
    if let Some(path) = &flags.run_as_password_file {
        user.insert("password".to_owned(), read_secret("--run-as-password-file", path)?.reveal().into());
    }
    let chosen = choose(session, &flags.choice, "Take the privileges of").await?;
    let body = if user.is_empty() { Map::new() } else { fields(json!({"user_info": user})) };
    ask(session, "agents/bulk_privilege_level_change", chosen, body, "Change of privileges").await?;
    Ok(0)
}

async fn tag(session: &Session, flags: &TagAgents) -> Outcome {
    if flags.add.is_empty() && flags.remove.is_empty() {
        return Err(Failure { message: "Error: give --add or --remove".to_owned(), code: 2 });
    }
    let chosen = choose(session, &flags.choice, "Change the tags of").await?;
    let body = fields(json!({"tagsToAdd": flags.add, "tagsToRemove": flags.remove}));
    ask(session, "agents/bulk_update_agent_tags", chosen, body, "Tags").await?;
    Ok(0)
}

async fn diagnostics(session: &Session, flags: &Diagnostics) -> Outcome {
    let agent = session.id(&AGENT, &flags.agent).await?;
    let mut body = json!({"additional_metrics": flags.additional_metric});
    if flags.exclude_events_log {
        body["exclude_events_log"] = true.into();
    }
    let path = format!("agents/{}/request_diagnostics", percent_encode(&agent));
    let answer = session.client.post(&path, &body).await?;
    let action = answer.get("actionId").and_then(Value::as_str).unwrap_or_default().to_owned();
    if flags.no_wait {
        session.console.line(format_args!("Diagnostics of agent {agent}: action {action}"));
        return Ok(0);
    }
    let limit = Duration::from_secs(flags.timeout);
    let upload =
        tokio::time::timeout(limit, uploaded(session, &agent, &action)).await.map_err(|_| Failure {
            message: format!(
                "agent {agent} has sent no diagnostics within {} s: action {action}",
                flags.timeout
            ),
            code: watch::TIMED_OUT,
        })??;
    download(session, flags, &upload).await
}

/// Waits until what the agent was asked for has come.
async fn uploaded(session: &Session, agent: &str, action: &str) -> Result<Value, Failure> {
    let path = format!("agents/{}/uploads", percent_encode(agent));
    loop {
        let mut answer = session.client.get(&path).await?;
        let items = answer.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        let text = |item: &Value, field: &str| {
            item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let own = items.unwrap_or_default().into_iter().find(|item| text(item, "actionId") == action);
        if let Some(upload) = own {
            let status = text(&upload, "status");
            match status.as_str() {
                "READY" => return Ok(upload),
                "FAILED" | "EXPIRED" | "DELETED" => {
                    let why = text(&upload, "error");
                    return Err(Failure::new(format!("the upload of agent {agent} is {status}: {why}")));
                }
                _ => session.console.progress(format_args!("{status}")),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn download(session: &Session, flags: &Diagnostics, upload: &Value) -> Outcome {
    let text = |field: &str| upload.get(field).and_then(Value::as_str).unwrap_or_default();
    let place = text("filePath").trim_start_matches('/');
    if !place.starts_with("api/fleet/agents/files/") {
        return Err(Failure::new(format!("the server names no file of its own but {place:?}")));
    }
    let reply = session.client.raw(hyper::Method::GET, place, Body::Nothing).await?;
    // The agent chose the name: it must not choose the directory.
    let name =
        text("name").rsplit(['/', '\\']).next().filter(|name| !name.is_empty() && !name.starts_with('.'));
    let path = flags.file.clone().unwrap_or_else(|| name.unwrap_or("diagnostics.zip").into());
    std::fs::write(&path, &reply.body)
        .map_err(|error| Failure::new(format!("Cannot write {}: {}", path.display(), io_words(&error))))?;
    session.console.line(format_args!("Wrote {} ({} bytes)", path.display(), reply.body.len()));
    Ok(0)
}
