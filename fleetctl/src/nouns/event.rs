//! `fleetctl event`

use std::time::Duration;

use serde_json::Value;

use super::print;
use super::session::Session;
use crate::cli::nouns::{EventFilter, EventFollow, EventList, EventVerb, Output};
use crate::context::{Failure, Outcome};
use crate::management::{ApiError, EVENT, EventStream, List, POLICY, Query, ServerEvent, list};
use crate::output::printable;
use crate::yaml::to_text;

/// A stream that ended goes on after this pause, or what the server says is an error.
const PAUSE: Duration = Duration::from_secs(2);
/// So often in a row a stream may end without an event before the user is told.
const MOST_ENDS: usize = 5;

pub(super) async fn run(session: &Session, verb: &EventVerb) -> Outcome {
    match verb {
        EventVerb::List(flags) => list_events(session, flags).await,
        EventVerb::Follow(flags) => follow(session, flags).await,
    }
}

async fn query_of(session: &Session, filter: &EventFilter) -> Result<Query, Failure> {
    let mut query = Query::default();
    for kind in &filter.kind {
        query = query.with("kinds", kind.as_str());
    }
    for policy in &filter.policy {
        query = query.with("policy_id", session.id(&POLICY, policy).await?);
    }
    Ok(match &filter.agent {
        Some(agent) => query.with("agent_id", session.id(&crate::management::AGENT, agent).await?),
        None => query,
    })
}

async fn list_events(session: &Session, flags: &EventList) -> Outcome {
    let mut query = query_of(session, &flags.filter).await?;
    if let Some(from) = &flags.from {
        query = query.with("from", from.as_str());
    }
    let events = list(&session.client, &EVENT, &query, flags.limit).await?;
    print::list(&session.console, &EVENT, &events, flags.output, flags.no_legend);
    Ok(0)
}

/// Prints events as they happen, over interruptions: it goes on after the last one that came.
async fn follow(session: &Session, flags: &EventFollow) -> Outcome {
    let path = format!("events{}", query_of(session, &flags.filter).await?.text());
    let (mut last, mut count, mut ends) = (flags.after.clone(), 0, 0);
    loop {
        let outcome = read(session, flags, &path, &mut last, &mut count).await;
        if flags.count > 0 && count >= flags.count || session.console.is_closed() {
            return Ok(0);
        }
        ends = if outcome.came { 0 } else { ends + 1 };
        if let Some(error) = outcome.error {
            // What the server refuses, it refuses again.
            let is_refused =
                error.status().is_some_and(|status| (400..500).contains(&status) && status != 429);
            if is_refused || ends >= MOST_ENDS {
                return Err(error.into());
            }
            session.console.warn(format_args!("{error}: going on after what came last"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What became of one stream.
struct Ended {
    /// Whether any event came.
    came: bool,
    error: Option<ApiError>,
}

async fn read(
    session: &Session,
    flags: &EventFollow,
    path: &str,
    last: &mut Option<String>,
    count: &mut usize,
) -> Ended {
    let mut came = false;
    let mut stream = match EventStream::open(&session.client, path, last.as_deref()).await {
        Ok(stream) => stream,
        Err(error) => return Ended { came, error: Some(error) },
    };
    loop {
        let event = match stream.next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ended { came, error: None },
            Err(error) => return Ended { came, error: Some(error) },
        };
        came = true;
        show(session, &event, flags.output);
        if event.id.is_some() {
            *last = event.id;
            *count += 1;
        }
        if flags.count > 0 && *count >= flags.count || session.console.is_closed() {
            return Ended { came, error: None };
        }
    }
}

fn show(session: &Session, event: &ServerEvent, output: Output) {
    let console = &session.console;
    if event.id.is_none() {
        let data = printable(&event.data.to_string());
        return console.warn(format_args!("{}: the server has forgotten some events: {data}", event.name));
    }
    match output {
        Output::Table => {
            let shown = List { items: vec![event.data.clone()], ..List::default() };
            print::list(console, &EVENT, &shown, Output::Table, true);
        }
        // One a line, so that a program can read them as they come.
        Output::Json => console.line(&event.data),
        Output::Yaml => console.data(format!("---\n{}", to_text(&event.data)).as_bytes()),
        Output::Id => console.line(event.data.get("id").and_then(Value::as_str).unwrap_or_default()),
    }
}
