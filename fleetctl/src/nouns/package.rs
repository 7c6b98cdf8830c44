//! `fleetctl package`

use std::io::Read;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::print;
use super::session::Session;
use crate::cli::nouns::{Install, ListPackages, PackageVerb, Remove, Show, Upload};
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::management::{Body, PACKAGE, Query, list};

/// The largest package that is sent, in bytes. The largest real ones have some 10 MiB.
const LARGEST: u64 = 100 * 1024 * 1024;

pub(super) async fn run(session: &Session, verb: &PackageVerb) -> Outcome {
    match verb {
        PackageVerb::List(flags) => list_packages(session, flags).await,
        PackageVerb::Show(flags) => show(session, flags).await,
        PackageVerb::Install(flags) => install(session, flags).await,
        PackageVerb::Upload(flags) => upload(session, flags).await,
        PackageVerb::Remove(flags) => remove(session, flags).await,
    }
}

async fn list_packages(session: &Session, flags: &ListPackages) -> Outcome {
    let mut query = Query::default();
    if let Some(category) = &flags.category {
        query = query.with("category", category.as_str());
    }
    if flags.prerelease {
        query = query.with("prerelease", "true");
    }
    let mut found = list(&session.client, &PACKAGE, &query, 0).await?;
    if flags.installed {
        found.items.retain(|item| item.get("status").and_then(Value::as_str) == Some("installed"));
    }
    if flags.list.limit > 0 && found.items.len() > flags.list.limit {
        found.total = Some(found.items.len() as u64);
        found.items.truncate(flags.list.limit);
        found.is_cut = true;
    }
    print::list(&session.console, &PACKAGE, &found, flags.list.output, flags.list.no_legend);
    Ok(0)
}

/// The path of `name` or `name@version`.
fn path_of(package: &str) -> String {
    match package.split_once('@') {
        Some((name, version)) => {
            format!("epm/packages/{}/{}", percent_encode(name), percent_encode(version))
        }
        None => format!("epm/packages/{}", percent_encode(package)),
    }
}

async fn show(session: &Session, flags: &Show) -> Outcome {
    let mut answer = session.client.get(&path_of(&flags.name)).await?;
    let package = answer.get_mut("item").map(Value::take).unwrap_or(answer);
    print::object(&session.console, &PACKAGE, &package, flags.output);
    Ok(0)
}

async fn install(session: &Session, flags: &Install) -> Outcome {
    for package in &flags.packages {
        let body = if flags.force { json!({"force": true, "ignore_constraints": true}) } else { json!({}) };
        session.client.post(&path_of(package), &body).await?;
        session.console.line(format_args!("Installed package {package}"));
    }
    Ok(0)
}

async fn upload(session: &Session, flags: &Upload) -> Outcome {
    let failed = |error: std::io::Error| {
        Failure::new(format!("Cannot read {}: {}", flags.file.display(), io_words(&error)))
    };
    let file = std::fs::File::open(&flags.file).map_err(failed)?;
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LARGEST {
        let text = format!("{} is larger than {LARGEST} bytes", flags.file.display());
        return Err(Failure::new(text));
    }
    // By what it is, not what it is called: RFC 1952, 2.3.1, and the local header of a zip.
    let content_type = match content.as_slice() {
        [0x1f, 0x8b, ..] => "application/gzip",
        [b'P', b'K', ..] => "application/zip",
        _ => {
            let text = format!("{} is no package: a .zip or .tar.gz is needed", flags.file.display());
            return Err(Failure::new(text));
        }
    };
    let bytes = Bytes::from(content);
    let body = Body::Bytes { content_type, bytes: &bytes };
    let answer = session.client.send(Method::POST, "epm/packages", body).await?;
    let name = answer.pointer("/_meta/name").and_then(Value::as_str);
    match name {
        Some(name) => session.console.line(format_args!("Installed package {name}")),
        None => session.console.line(format_args!("Installed the package of {}", flags.file.display())),
    }
    Ok(0)
}

async fn remove(session: &Session, flags: &Remove) -> Outcome {
    if session.console.is_interactive() {
        session.confirm(flags.yes, &format!("Remove package {}?", flags.package)).await?;
    }
    let path = match flags.package.split_once('@') {
        Some(_) => path_of(&flags.package),
        None => {
            let answer = session.client.get(&path_of(&flags.package)).await?;
            let version = answer.pointer("/item/version").and_then(Value::as_str).unwrap_or_default();
            path_of(&format!("{}@{version}", flags.package))
        }
    };
    let force = if flags.force { "?force=true" } else { "" };
    session.client.delete(&format!("{path}{force}")).await?;
    session.console.line(format_args!("Removed package {}", flags.package));
    Ok(0)
}
