//! Putting a cluster together.

use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;

use crate::address::Address;
use crate::availability::why_not;
use crate::base::BaseTree;
use crate::binaries;
use crate::cluster::Cluster;
use crate::error::HarnessError;
use crate::etcd::{self, EtcdTls};
use crate::machine::{API_PORT, DiskFile, Machine, Parts};
use crate::network::make_bridge;
use crate::slot::Slot;
use crate::ssh::{Agent, SshIdentity};
use crate::tls::{Authority, Certificate};

/// What a cluster is to have.
#[derive(Debug, Clone)]
pub struct Builder {
    machines: usize,
    etcd_members: u8,
    tls: bool,
    password: Option<String>,
    fleet: bool,
    developer: bool,
    options: Vec<(Option<usize>, String, String)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            machines: 1,
            etcd_members: 1,
            tls: false,
            password: None,
            fleet: true,
            developer: false,
            options: Vec::new(),
        }
    }
}

impl Builder {
    /// How many machines; 1 without this.
    #[must_use]
    pub fn machines(mut self, count: usize) -> Self {
        self.machines = count;
        self
    }

    /// How many etcd members; 1 without this.
    #[must_use]
    pub fn etcd_members(mut self, count: u8) -> Self {
        self.etcd_members = count;
        self
    }

    /// etcd speaks TLS only and asks clients for a certificate; `fleetd` is given one.
    #[must_use]
    pub fn etcd_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// etcd asks for the user `root` with this password; `fleetd` is given both.
    #[must_use]
    pub fn etcd_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Machines without `fleetd`: for what only needs machines or etcd.
    #[must_use]
    pub fn without_fleet(mut self) -> Self {
        self.fleet = false;
        self
    }

    /// An option of `fleet.conf` on every machine, in place of the harness's own.
    #[must_use]
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.options.push((None, key.to_owned(), value.to_owned()));
        self
    }

    /// An option of `fleet.conf` on the nth machine, counted from 0.
    #[must_use]
    pub fn machine_option(mut self, machine: usize, key: &str, value: &str) -> Self {
        self.options.push((Some(machine), key.to_owned(), value.to_owned()));
        self
    }

    /// The developer's cluster: in the slot that outlives this process.
    #[must_use]
    pub fn for_developer(mut self) -> Self {
        self.developer = true;
        self
    }

    /// Boots all of it: etcd first, then the machines at once. With `fleetd`, waits until every machine is listed.
    ///
    /// # Errors
    /// [`HarnessError::Unavailable`] when machines cannot run on this host; otherwise when a part does not come up.
    pub async fn boot(self) -> Result<Cluster, HarnessError> {
        if let Some(reason) = why_not() {
            return Err(HarnessError::Unavailable(reason));
        }
        let base = BaseTree::get().await?;
        let programs = if self.fleet { Some(binaries::folder().await?) } else { None };
        let slot = if self.developer { Slot::developer()? } else { Slot::acquire().await? };
        let (number, folder) = (slot.number(), slot.directory());
        for name in ["home", "programs"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).map_err(HarnessError::file("create", &path))?;
        }
        if let Some(programs) = programs {
            binaries::copy(&programs, &folder.join("programs"))?;
        }
        make_bridge(number).await?;
        let tls = self.tls.then(etcd_tls).transpose()?;
        let identity = SshIdentity::generate(&folder.join("id_ed25519")).await?;
        let agent = Agent::start(number, &folder, &identity).await?;
        let etcd = etcd::start(number, &folder, self.etcd_members, tls.as_ref()).await?;
        if let Some(password) = &self.password {
            etcd::demand_password(&etcd[0], password).await?;
        }
        let endpoints: Vec<_> = etcd.iter().map(|member| member.endpoint()).collect();
        let count = self.machines;
        let fleet = self.fleet;
        let public_key = identity.public()?;
        let provision = Provision { slot: number, folder, base, public_key, endpoints, tls, builder: self };
        let machines = try_join_all((0..count).map(async |index| {
            let machine = provision.machine(index).await?;
            machine.boot().await?;
            Ok::<_, HarnessError>(machine)
        }))
        .await?;
        let cluster = Cluster { slot, machines, etcd, identity, agent, provision };
        if fleet {
            for machine in cluster.machines() {
                cluster.wait_for_machines(machine, count).await?;
            }
        }
        Ok(cluster)
    }
}

fn etcd_tls() -> Result<EtcdTls, HarnessError> {
    let authority = Authority::new("fleet-tests")?;
    let client = authority.client("root")?;
    Ok(EtcdTls { authority, client })
}

/// What every machine of a cluster is made from.
#[derive(Debug)]
pub(crate) struct Provision {
    slot: u8,
    folder: PathBuf,
    base: BaseTree,
    public_key: String,
    endpoints: Vec<String>,
    tls: Option<EtcdTls>,
    builder: Builder,
}

impl Provision {
    /// Makes the nth machine, counted from 0; it is off.
    pub(crate) async fn machine(&self, index: usize) -> Result<Machine, HarnessError> {
        let too_many =
            |_| HarnessError::Unexpected(format!("a bridge has no room for {} machines", index + 1));
        let number = u8::try_from(index + 1).map_err(too_many)?;
        Machine::make(Parts {
            slot: self.slot,
            number,
            slot_folder: self.folder.clone(),
            programs: self.folder.join("programs"),
            base: self.base.clone(),
            files: self.files(index, number)?,
        })
        .await
    }

    /// The authority that etcd's certificates are from.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.tls.as_ref().map(|tls| &tls.authority)
    }

    fn files(&self, index: usize, number: u8) -> Result<Vec<DiskFile>, HarnessError> {
        let mut files = Vec::new();
        let mut text =
            |path: &str, text: String, mode| files.push(DiskFile::Text(path.to_owned(), text, mode));
        // sshd takes a file that belongs to root as well as one of the user.
        text("/root/.ssh/authorized_keys", self.public_key.clone(), 0o644);
        text("/home/core/.ssh/authorized_keys", self.public_key.clone(), 0o644);
        if !self.builder.fleet {
            return Ok(files);
        }
        text("/etc/fleet/fleet.conf", self.configuration(index, number), 0o644);
        if let Some(EtcdTls { authority, client: Certificate { certificate, key } }) = &self.tls {
            text("/etc/fleet/ca.pem", authority.pem(), 0o644);
            text("/etc/fleet/client.pem", certificate.clone(), 0o644);
            text("/etc/fleet/client-key.pem", key.clone(), 0o600);
        }
        let port = format!("[Socket]\nListenStream={API_PORT}\n");
        text("/etc/systemd/system/fleet.socket.d/30-tcp.conf", port, 0o644);
        let deploy = binaries::workspace().join("deploy/systemd");
        for (unit, wanted_by) in [("fleet.service", "multi-user"), ("fleet.socket", "sockets")] {
            let path = format!("/usr/lib/systemd/system/{unit}");
            files.push(DiskFile::Text(path.clone(), read_text(&deploy.join(unit))?, 0o644));
            let wants = format!("/etc/systemd/system/{wanted_by}.target.wants/{unit}");
            files.push(DiskFile::Link(wants, path));
        }
        let group = "fleet.socket.d/20-group.conf";
        let path = format!("/etc/systemd/system/{group}");
        files.push(DiskFile::Text(path, read_text(&deploy.join(group))?, 0o644));
        for program in ["fleetd", "fleetctl"] {
            let (path, target) = (format!("/usr/bin/{program}"), format!("/opt/fleet/{program}"));
            files.push(DiskFile::Link(path, target));
        }
        Ok(files)
    }

    /// The machine's `fleet.conf`. `agent_ttl` is short so that a lost machine is noticed while a test waits.
    fn configuration(&self, index: usize, number: u8) -> String {
        let mut options = vec![
            ("etcd_servers", self.endpoints.join(",")),
            ("public_ip", Address::machine(self.slot, number).to_string()),
            ("metadata", format!("hostname=m{number}")),
            ("agent_ttl", "3s".to_owned()),
        ];
        if self.tls.is_some() {
            options.push(("etcd_cafile", "/etc/fleet/ca.pem".to_owned()));
            options.push(("etcd_certfile", "/etc/fleet/client.pem".to_owned()));
            options.push(("etcd_keyfile", "/etc/fleet/client-key.pem".to_owned()));
        }
        if let Some(password) = &self.builder.password {
            options.push(("etcd_username", "root".to_owned()));
            options.push(("etcd_password", password.clone()));
        }
        for (machine, key, value) in &self.builder.options {
            if machine.is_none_or(|machine| machine == index) {
                options.retain(|(name, _)| name != key);
                options.push((key, value.clone()));
            }
        }
        options.iter().map(|(key, value)| format!("{key}=\"{value}\"\n")).collect()
    }
}

fn read_text(path: &Path) -> Result<String, HarnessError> {
    std::fs::read_to_string(path).map_err(HarnessError::file("read", path))
}
