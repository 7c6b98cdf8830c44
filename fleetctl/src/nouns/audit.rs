//! `fleetctl audit`

use hyper::Method;

use super::print::{self, counted};
use super::session::Session;
use crate::cli::nouns::{AuditExport, AuditFilter, AuditList, AuditVerb};
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::management::{AUDIT, Body, Query, list};

pub(super) async fn run(session: &Session, verb: &AuditVerb) -> Outcome {
    match verb {
        AuditVerb::List(flags) => list_entries(session, flags).await,
        AuditVerb::Export(flags) => export(session, flags).await,
    }
}

fn query_of(filter: &AuditFilter) -> Query {
    let terms = [
        ("from", &filter.from),
        ("to", &filter.to),
        ("user", &filter.by),
        ("kind", &filter.kind),
        ("object", &filter.object),
    ];
    terms
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
        .fold(Query::default(), |query, (name, value)| query.with(name, value.as_str()))
}

async fn list_entries(session: &Session, flags: &AuditList) -> Outcome {
    let entries = list(&session.client, &AUDIT, &query_of(&flags.filter), flags.limit).await?;
    print::list(&session.console, &AUDIT, &entries, flags.output, flags.no_legend);
    Ok(0)
}

async fn export(session: &Session, flags: &AuditExport) -> Outcome {
    let path = format!("api/fleet/audit/export{}", query_of(&flags.filter).text());
    let reply = session.client.raw(Method::GET, &path, Body::Nothing).await?;
    match &flags.file {
        Some(path) => {
            std::fs::write(path, &reply.body).map_err(|error| {
                Failure::new(format!("Cannot write {}: {}", path.display(), io_words(&error)))
            })?;
            let count = reply.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            session.console.note(format_args!("Wrote {} to {}", counted(count, "line"), path.display()));
        }
        None => session.console.data(&reply.body),
    }
    Ok(0)
}
