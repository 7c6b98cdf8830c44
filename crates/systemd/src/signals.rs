//! The signals that are followed.

use std::collections::HashMap;

use zbus::MatchRule;
use zbus::ObjectPath;
use zbus::Variant;
use zbus::message::Message;
use zbus::names::{OwnedUniqueName, UniqueName};

use crate::bus::{BUS, MANAGER, MANAGER_PATH, SYSTEMD, UNIT, UNIT_PATHS, job_id, unit_path};

/// What a signal says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Another systemd, or none, has the name on the bus.
    Owner(Option<OwnedUniqueName>),
    /// A unit's active and sub state, as far as it tells them.
    Changed {
        /// The path of the unit's object.
        path: String,
        /// `ActiveState`
        active: Option<String>,
        /// `SubState`
        sub: Option<String>,
    },
    /// A unit was loaded. Holds the path of its object.
    Loaded(String),
    /// A unit was unloaded. Holds the path of its object.
    Unloaded(String),
    /// A job has ended.
    JobEnded {
        /// The job's number.
        job: u32,
        /// The path of its unit's object.
        path: String,
        /// systemd's word for how.
        result: String,
    },
    /// A reload begins (`true`) or has ended.
    Reloading(bool),
}

/// What to ask the bus for. The first one is about who systemd is.
pub(crate) fn rules() -> zbus::Result<Vec<String>> {
    let signals = || MatchRule::builder().msg_type(zbus::message::Type::Signal);
    let owner = signals().sender(BUS).interface(BUS).member("NameOwnerChanged").arg(0, SYSTEMD).build()?;
    let states = signals()
        .sender(SYSTEMD)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .path_namespace(UNIT_PATHS)
        .arg(0, UNIT)
        .build()?;
    let mut rules = vec![owner.to_string(), states.to_string()];
    for member in ["JobRemoved", "UnitNew", "UnitRemoved", "Reloading"] {
        let rule = signals().sender(SYSTEMD).interface(MANAGER).path(MANAGER_PATH).member(member).build()?;
        rules.push(rule.to_string());
    }
    Ok(rules)
}

/// Reads a signal. `None` for what is not ours to know: other signals, other senders (on a bus everyone may
/// send a signal), and changes of units that `follows` does not want.
pub(crate) fn read(
    message: &Message,
    systemd: Option<&OwnedUniqueName>,
    follows: impl Fn(&str) -> bool,
) -> zbus::Result<Option<Signal>> {
    let header = message.header();
    let (Some(sender), Some(member)) = (header.sender(), header.member()) else { return Ok(None) };
    let body = message.body();
    if sender.as_str() == BUS {
        return if member.as_str() == "NameOwnerChanged" { owner(&body).map(Some) } else { Ok(None) };
    }
    if systemd.is_none_or(|systemd| systemd.as_str() != sender.as_str()) {
        return Ok(None);
    }
    let signal = match member.as_str() {
        "PropertiesChanged" => match header.path() {
            Some(path) if follows(path.as_str()) => changed(path, &body)?,
            _ => return Ok(None),
        },
        "UnitNew" => Signal::Loaded(unit_path(body.deserialize::<(&str, ObjectPath<'_>)>()?.0)),
        "UnitRemoved" => Signal::Unloaded(unit_path(body.deserialize::<(&str, ObjectPath<'_>)>()?.0)),
        "JobRemoved" => {
            let (number, job, unit, result): (u32, ObjectPath<'_>, &str, &str) = body.deserialize()?;
            let job = job_id(job.as_str()).unwrap_or(number);
            Signal::JobEnded { job, path: unit_path(unit), result: result.to_owned() }
        }
        "Reloading" => Signal::Reloading(body.deserialize()?),
        _ => return Ok(None),
    };
    Ok(Some(signal))
}

fn owner(body: &zbus::message::Body) -> zbus::Result<Signal> {
    let (name, _, new): (&str, &str, &str) = body.deserialize()?;
    debug_assert_eq!(name, SYSTEMD, "nothing else was asked for");
    if new.is_empty() {
        return Ok(Signal::Owner(None));
    }
    Ok(Signal::Owner(Some(UniqueName::try_from(new)?.to_owned().into())))
}

fn changed(path: &ObjectPath<'_>, body: &zbus::message::Body) -> zbus::Result<Signal> {
    let (_, values, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize()?;
    let text = |name| match values.get(name) {
        Some(Variant::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    Ok(Signal::Changed { path: path.to_string(), active: text("ActiveState"), sub: text("SubState") })
}
