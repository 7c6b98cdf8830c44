//! What every command has at hand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fleet_protocol::fleet_v1::{Machine, Unit};
use futures_util::StreamExt;
use tokio::sync::OnceCell;

use crate::client::{ClientError, Cluster};
use crate::names::unit_name;
use crate::output::Console;
use crate::settings::Settings;

/// More units than this are fetched by a list instead of one by one.
pub(crate) const FEW: usize = 8;

/// The cluster, the console, and the settings of this run.
pub(crate) struct Context {
    pub(crate) console: Arc<Console>,
    pub(crate) settings: Settings,
    pub(crate) cluster: Box<dyn Cluster>,
    /// The file that says which machine this is.
    pub(crate) machine_id_file: PathBuf,
    machines: OnceCell<BTreeMap<String, Machine>>,
}

/// A command that failed: what to tell the user, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1 }
    }
}

/// The exit code of a command.
pub(crate) type Outcome = Result<u8, Failure>;

impl Context {
    /// A context over `cluster`.
    pub(crate) fn new(
        console: Arc<Console>,
        settings: Settings,
        cluster: Box<dyn Cluster>,
        machine_id_file: PathBuf,
    ) -> Context {
        Context { console, settings, cluster, machine_id_file, machines: OnceCell::new() }
    }

    /// A machine, from a list that is fetched once. Without one the machine is unknown: its name is only
    /// decoration.
    pub(crate) async fn machine(&self, id: &str) -> Option<&Machine> {
        let machines = self.machines.get_or_init(|| async {
            let machines = self.cluster.machines().await.unwrap_or_else(|error| {
                tracing::debug!(error = crate::error::report(&error), "machines are unknown");
                Vec::new()
            });
            machines.into_iter().map(|machine| (machine.id.clone(), machine)).collect()
        });
        machines.await.get(id)
    }

    /// `ID.../IP`, with the whole ID if `full`; without an address that is not known.
    pub(crate) async fn machine_legend(&self, id: &str, full: bool) -> String {
        let legend = id_legend(id, full);
        match self.machine(id).await {
            Some(machine) if !machine.primary_ip.is_empty() => format!("{legend}/{}", machine.primary_ip),
            _ => legend,
        }
    }

    /// The units that `arguments` name, in their order. The others are told.
    pub(crate) async fn find_units(&self, arguments: &[String]) -> Result<Vec<Unit>, ClientError> {
        let names: Vec<String> = arguments.iter().map(|argument| unit_name(argument)).collect();
        let mut found = Vec::new();
        if names.len() > FEW {
            let all = self.cluster.units().await?;
            let by_name: BTreeMap<&str, &Unit> = all.iter().map(|unit| (unit.name.as_str(), unit)).collect();
            found.extend(names.iter().map(|name| by_name.get(name.as_str()).map(|unit| (*unit).clone())));
        } else {
            let mut answers = futures_util::stream::iter(&names)
                .map(|name| self.cluster.unit(name))
                .buffered(self.cluster.concurrency());
            while let Some(answer) = answers.next().await {
                found.push(answer?);
            }
        }
        if found.iter().any(Option::is_some) {
            for (name, _) in names.iter().zip(&found).filter(|(_, unit)| unit.is_none()) {
                self.console.note(format_args!("Unit {name} not found in registry"));
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}

/// The first eight characters of an ID with dots, or the whole.
pub(crate) fn id_legend(id: &str, full: bool) -> String {
    if full { id.to_owned() } else { format!("{}...", id.chars().take(8).collect::<String>()) }
}
