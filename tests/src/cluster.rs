//! A cluster: machines and etcd on one bridge.

use std::path::PathBuf;
use std::time::Duration;

use crate::builder::{Builder, Provision};
use crate::command::Output;
use crate::error::HarnessError;
use crate::etcd::EtcdMember;
use crate::fleetctl::Fleetctl;
use crate::listing::{Placement, UnitState, single, unit_states};
use crate::machine::Machine;
use crate::slot::Slot;
use crate::ssh::{Agent, SshIdentity};
use crate::tls::Authority;
use crate::wait::{NotYet, wait_for};

/// How long a change may take to show, unless a test says otherwise.
const USUAL: Duration = Duration::from_secs(15);

/// Machines and etcd members on a bridge of their own. All of it is gone when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    // First, so that it is dropped first: it ends the processes whose exit status the others collect.
    pub(crate) slot: Slot,
    pub(crate) machines: Vec<Machine>,
    pub(crate) etcd: Vec<EtcdMember>,
    pub(crate) identity: SshIdentity,
    pub(crate) agent: Agent,
    pub(crate) provision: Provision,
}

impl Cluster {
    /// A cluster of one machine and one etcd member, until the builder is told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its machines, `m1` first.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The nth machine, counted from 0.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn machine(&self, index: usize) -> Result<&Machine, HarnessError> {
        let missing = || HarnessError::Unexpected(format!("the cluster has no machine number {index}"));
        self.machines.get(index).ok_or_else(missing)
    }

    /// The machine with this id.
    ///
    /// # Errors
    /// When there is none.
    pub fn machine_with_id(&self, id: &str) -> Result<&Machine, HarnessError> {
        let missing = || HarnessError::Unexpected(format!("no machine has the id {id}"));
        self.machines.iter().find(|machine| machine.id() == id).ok_or_else(missing)
    }

    /// A machine that is up and is not `other`.
    ///
    /// # Errors
    /// When there is none.
    pub fn another(&self, other: &Machine) -> Result<&Machine, HarnessError> {
        let fits = |machine: &&Machine| machine.is_up() && machine.name() != other.name();
        let missing = || HarnessError::Unexpected(format!("no other machine than {} is up", other.name()));
        self.machines.iter().find(fits).ok_or_else(missing)
    }

    /// Its etcd members.
    pub fn etcd(&self) -> &[EtcdMember] {
        &self.etcd
    }

    /// The authority that etcd's certificates are from; `None` without TLS.
    pub fn etcd_authority(&self) -> Option<&Authority> {
        self.provision.authority()
    }

    /// The key that every machine lets in, as `core` and as `root`.
    pub fn ssh_identity(&self) -> &SshIdentity {
        &self.identity
    }

    /// A folder of its own on this host, gone with it.
    pub fn folder(&self) -> PathBuf {
        self.slot.directory()
    }

    /// The folder with `fleetd` and `fleetctl` that its machines see at `/opt/fleet`.
    pub fn programs(&self) -> PathBuf {
        self.slot.directory().join("programs")
    }

    /// Adds a machine and boots it. Its number is one more than the last one's.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn add_machine(&mut self) -> Result<&Machine, HarnessError> {
        let machine = self.provision.machine(self.machines.len()).await?;
        machine.boot().await?;
        self.machines.push(machine);
        self.machine(self.machines.len() - 1)
    }

    /// Lets it live on after this process: for the developer's slot, which nothing guards.
    pub fn leave_running(self) {
        drop(self);
    }

    /// `fleetctl` on this host, against the API of one machine.
    pub fn fleetctl_at(&self, machine: &Machine) -> Fleetctl {
        let program = self.programs().join("fleetctl");
        let home = self.slot.directory().join("home");
        Fleetctl::new(program, home, self.agent.socket().to_owned(), machine.endpoint())
    }

    /// Runs `fleetctl` on this host against the first machine that is up.
    ///
    /// # Errors
    /// When it cannot be run. A non-zero exit is not an error here.
    pub async fn fleetctl<I>(&self, args: I) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        self.fleetctl_at(self.first_up()?).run(args).await
    }

    fn first_up(&self) -> Result<&Machine, HarnessError> {
        let none = || HarnessError::Unexpected("no machine is up".to_owned());
        self.machines.iter().find(|machine| machine.is_up()).ok_or_else(none)
    }

    /// The ids of the machines that one machine's API lists.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn listed_machines(&self, at: &Machine) -> Result<Vec<String>, HarnessError> {
        let args = ["list-machines", "--no-legend", "--full", "--fields", "machine"];
        let output = self.fleetctl_at(at).run(args).await?.success()?;
        Ok(output.stdout.split_whitespace().map(str::to_owned).collect())
    }

    /// Waits until one machine's API lists this many machines: within 10 s.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_for_machines(&self, at: &Machine, count: usize) -> Result<Vec<String>, HarnessError> {
        let what = format!("{} lists {count} machines", at.name());
        wait_for(what, Duration::from_secs(10), async || {
            let machines = self.listed_machines(at).await?;
            if machines.len() == count { Ok(machines) } else { Err(NotYet::saw(machines.join(", "))) }
        })
        .await
    }

    /// The rows of `list-units`, asked at one machine.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn unit_states(&self, at: &Machine) -> Result<Vec<UnitState>, HarnessError> {
        let args = ["list-units", "--no-legend", "--full", "--fields", "unit,active,machine"];
        Ok(unit_states(&self.fleetctl_at(at).run(args).await?.success()?.stdout))
    }

    /// Waits until `list-units` has this many rows: within 15 s.
    ///
    /// # Errors
    /// When it has not.
    pub async fn wait_for_units(&self, at: &Machine, count: usize) -> Result<Vec<UnitState>, HarnessError> {
        self.wait_for_rows(at, count, "units", |_| true).await
    }

    /// Waits until this many rows of `list-units` are active: within 15 s.
    ///
    /// # Errors
    /// When they are not.
    pub async fn wait_for_active(&self, at: &Machine, count: usize) -> Result<Vec<UnitState>, HarnessError> {
        self.wait_for_rows(at, count, "active units", |state| state.active == "active").await
    }

    async fn wait_for_rows(
        &self,
        at: &Machine,
        count: usize,
        of: &str,
        wanted: impl Fn(&UnitState) -> bool,
    ) -> Result<Vec<UnitState>, HarnessError> {
        wait_for(format!("{} lists {count} {of}", at.name()), USUAL, async || {
            let all = self.unit_states(at).await?;
            let rows: Vec<_> = all.iter().filter(|state| wanted(state)).cloned().collect();
            if rows.len() == count { Ok(rows) } else { Err(NotYet::saw(format!("{all:?}"))) }
        })
        .await
    }

    /// Waits until each active unit runs on one machine only and they lie as wanted: within 15 s.
    ///
    /// # Errors
    /// When they do not.
    pub async fn wait_for_placement(
        &self,
        at: &Machine,
        what: &str,
        wanted: impl Fn(&Placement) -> bool,
    ) -> Result<Placement, HarnessError> {
        wait_for(what, USUAL, async || {
            let all = self.unit_states(at).await?;
            let active: Vec<_> = all.iter().filter(|state| state.active == "active").cloned().collect();
            let placement = single(&active)?;
            if wanted(&placement) { Ok(placement) } else { Err(NotYet::saw(format!("{all:?}"))) }
        })
        .await
    }

    /// The names that `list-unit-files` has.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn unit_files(&self, at: &Machine) -> Result<Vec<String>, HarnessError> {
        let args = ["list-unit-files", "--no-legend", "--full", "--fields", "unit"];
        let output = self.fleetctl_at(at).run(args).await?.success()?;
        Ok(output.stdout.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect())
    }

    /// Waits until `list-unit-files` has this many rows: within 15 s.
    ///
    /// # Errors
    /// When it has not.
    pub async fn wait_for_unit_files(&self, at: &Machine, count: usize) -> Result<Vec<String>, HarnessError> {
        wait_for(format!("{} lists {count} unit files", at.name()), USUAL, async || {
            let names = self.unit_files(at).await?;
            if names.len() == count { Ok(names) } else { Err(NotYet::saw(names.join(", "))) }
        })
        .await
    }
}
