//! A machine: what can be done in it and to it.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::address::Address;
use crate::base::BaseTree;
use crate::boot::{Boot, Booted};
use crate::cgroup::Cgroup;
use crate::command::{Output, Run};
use crate::disk::Disk;
use crate::error::HarnessError;
use crate::network::{Fate, Namespace};
use crate::ssh::SshIdentity;
use crate::wait::{NotYet, wait_for};

/// The TCP port of the API on each machine of a cluster.
pub(crate) const API_PORT: u16 = 54728;

/// A file that is put on a machine's disk before it boots.
#[derive(Debug, Clone)]
pub(crate) enum DiskFile {
    /// Path, content and mode.
    Text(String, String, u32),
    /// Path and target of a symbolic link.
    Link(String, String),
}

/// A machine with a systemd, D-Bus and sshd of its own.
#[derive(Debug)]
pub struct Machine {
    name: String,
    address: Address,
    folder: PathBuf,
    programs: PathBuf,
    disk: Disk,
    files: Vec<DiskFile>,
    network: Namespace,
    cgroup: Cgroup,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    id: String,
    booted: Option<Booted>,
    frozen: bool,
}

/// What a machine is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) slot: u8,
    pub(crate) number: u8,
    pub(crate) slot_folder: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) base: BaseTree,
    pub(crate) files: Vec<DiskFile>,
}

impl Machine {
    /// Makes a machine; it is off.
    pub(crate) async fn make(parts: Parts) -> Result<Self, HarnessError> {
        let Parts { slot, number, slot_folder, programs, base, files } = parts;
        let name = format!("m{number}");
        let address = Address::machine(slot, number);
        let folder = slot_folder.join(&name);
        let machine = Self {
            disk: Disk::new(folder.clone(), base),
            network: Namespace::new(slot, &name, address),
            cgroup: Cgroup::make(slot, &name)?,
            state: Mutex::default(),
            name,
            address,
            folder,
            programs,
            files,
        };
        machine.install().await?;
        Ok(machine)
    }

    /// A new disk with a new machine id and new host keys.
    async fn install(&self) -> Result<(), HarnessError> {
        self.disk.format().await?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.disk.write("/etc/machine-id", &format!("{id}\n"), 0o444)?;
        self.disk.write("/etc/hostname", &format!("{}\n", self.name), 0o644)?;
        let hosts = format!("127.0.0.1 localhost\n{} {}\n", self.address, self.name);
        self.disk.write("/etc/hosts", &hosts, 0o644)?;
        let keys = SshIdentity::generate(&self.folder.join("host-key")).await?;
        self.disk.write("/etc/ssh/ssh_host_ed25519_key", &keys.private()?, 0o600)?;
        for file in &self.files {
            match file {
                DiskFile::Text(path, text, mode) => self.disk.write(path, text, *mode)?,
                DiskFile::Link(path, target) => self.disk.link(path, target)?,
            }
        }
        self.state().id = id;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its host name: `m1`, `m2` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine id that it was installed with.
    pub fn id(&self) -> String {
        self.state().id.clone()
    }

    /// Its address on the bridge.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The API of its `fleetd` over TCP, as `fleetctl --endpoint` takes it.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{API_PORT}", self.address)
    }

    /// Whether it was booted and has not been ended since.
    pub fn is_up(&self) -> bool {
        self.state().booted.is_some()
    }

    /// Switches it on and waits until its systemd has started everything.
    ///
    /// # Errors
    /// When it does not come up within 90 s, with the end of its console.
    pub async fn boot(&self) -> Result<(), HarnessError> {
        self.network.make().await?;
        let boot = Boot {
            name: &self.name,
            root: &self.disk.root(),
            folder: &self.folder,
            network: &self.network.path(),
            enter: self.cgroup.enter(),
            programs: &self.programs,
        };
        let booted = boot.run().await?;
        self.state().booted = Some(booted);
        Ok(())
    }

    /// Pulls the plug: nobody hears of it, no file is flushed, no connection is closed.
    ///
    /// # Errors
    /// When it is off.
    pub async fn kill(&self) -> Result<(), HarnessError> {
        let leader = self.leader()?;
        // First the cable: the kernel would close the connections of what dies.
        self.network.cut().await?;
        if self.state().frozen {
            self.resume().await?;
        }
        Run::new(["kill", "-KILL", &leader.to_string()]).output().await?.success()?;
        self.ended().await
    }

    /// Shuts it down in order and boots it again, with its disk.
    ///
    /// # Errors
    /// When it does not end or does not come back.
    pub async fn reboot(&self) -> Result<(), HarnessError> {
        self.shut_down("reboot").await?;
        self.boot().await
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When it does not end within two minutes.
    pub async fn power_off(&self) -> Result<(), HarnessError> {
        self.shut_down("poweroff").await
    }

    async fn shut_down(&self, verb: &str) -> Result<(), HarnessError> {
        // The machine may be gone before the answer is here.
        self.exec(["systemctl", verb]).await?;
        self.ended().await
    }

    /// Makes another machine of it: same address, new disk, machine id and host keys. Boots it.
    ///
    /// # Errors
    /// When the new machine does not come up.
    pub async fn replace(&self) -> Result<(), HarnessError> {
        if self.is_up() {
            self.power_off().await?;
        }
        self.install().await?;
        self.boot().await
    }

    async fn ended(&self) -> Result<(), HarnessError> {
        let what = format!("machine {} ends", self.name);
        wait_for(what, Duration::from_mins(2), async || {
            match self.state().booted.as_mut().map(|booted| booted.supervisor.try_wait()) {
                Some(Ok(None)) => Err(NotYet::saw("systemd-nspawn still runs")),
                Some(Err(error)) => Err(NotYet::saw(error.to_string())),
                Some(Ok(Some(_))) | None => Ok(()),
            }
        })
        .await?;
        self.state().booted = None;
        Ok(())
    }

    /// Stops every process in it where it stands, until [`resume`](Self::resume).
    ///
    /// # Errors
    /// When the kernel does not freeze it within 10 s.
    pub async fn pause(&self) -> Result<(), HarnessError> {
        self.cgroup.freeze(true).await?;
        self.state().frozen = true;
        Ok(())
    }

    /// Lets it go on after a [`pause`](Self::pause).
    ///
    /// # Errors
    /// When the kernel does not thaw it within 10 s.
    pub async fn resume(&self) -> Result<(), HarnessError> {
        self.cgroup.freeze(false).await?;
        self.state().frozen = false;
        Ok(())
    }

    /// Pulls its network cable out.
    ///
    /// # Errors
    /// When the host refuses.
    pub async fn cut(&self) -> Result<(), HarnessError> {
        self.network.cut().await
    }

    /// Puts its network cable back.
    ///
    /// # Errors
    /// When the host refuses.
    pub async fn join(&self) -> Result<(), HarnessError> {
        self.network.join().await
    }

    /// Stops what it sends to a TCP port, on any host, as a firewall on it would.
    ///
    /// # Errors
    /// When the host refuses.
    pub async fn block(&self, port: u16, fate: Fate) -> Result<(), HarnessError> {
        self.network.block(port, fate).await
    }

    /// Takes every [`block`](Self::block) back.
    ///
    /// # Errors
    /// When the host refuses.
    pub async fn unblock(&self) -> Result<(), HarnessError> {
        self.network.unblock().await
    }

    /// Runs a program in it as root, to its end (60 s at most).
    ///
    /// # Errors
    /// When the machine is off or the program takes too long. A non-zero exit is not an error here: see
    /// [`Output::success`].
    pub async fn exec<I>(&self, argv: I) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        self.exec_with_input(argv, Vec::new()).await
    }

    /// [`exec`](Self::exec) with text for the program's standard input.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn exec_with_input<I>(&self, argv: I, input: impl Into<Vec<u8>>) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut command: Vec<String> =
            ["nsenter", "--target", &self.leader()?.to_string(), "--all", "--"].map(str::to_owned).to_vec();
        command.extend(argv.into_iter().map(|word| word.as_ref().to_owned()));
        let mut output = Run::new(&command).input(input).output().await?;
        output.command = format!("{}$ {}", self.name, command[5..].join(" "));
        Ok(output)
    }

    /// Runs a shell line in it as root.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn shell(&self, line: &str) -> Result<Output, HarnessError> {
        self.exec(["bash", "-c", line]).await
    }

    /// Runs a program in it as `core`, who is not root and has a systemd of their own.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn exec_as_core<I>(&self, argv: I) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        self.exec(["systemctl", "start", "user@1000.service"]).await?.success()?;
        let prefix =
            ["runuser", "-u", "core", "--", "env", "HOME=/home/core", "XDG_RUNTIME_DIR=/run/user/1000"];
        let argv = argv.into_iter().map(|word| word.as_ref().to_owned());
        self.exec(prefix.iter().map(|word| (*word).to_owned()).chain(argv)).await
    }

    /// Runs its own `fleetctl`, which speaks to its own socket.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn fleetctl<I>(&self, args: I) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let args = args.into_iter().map(|word| word.as_ref().to_owned());
        self.exec(std::iter::once("fleetctl".to_owned()).chain(args)).await
    }

    /// The whole journal of a unit.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn journal(&self, unit: &str) -> Result<String, HarnessError> {
        self.exec(["journalctl", "--sync"]).await?;
        // Merged: a test may have given the machine another id since.
        Ok(self.exec(["journalctl", "--no-pager", "--merge", "--unit", unit]).await?.success()?.stdout)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// When it cannot be read, with the reason.
    pub async fn read_file(&self, path: &str) -> Result<String, HarnessError> {
        Ok(self.exec(["cat", "--", path]).await?.success()?.stdout)
    }

    /// Writes a file, with the folders above it.
    ///
    /// # Errors
    /// When it cannot be written, with the reason.
    pub async fn write_file(&self, path: &str, text: &str) -> Result<(), HarnessError> {
        let script = "mkdir -p \"$(dirname \"$1\")\" && cat >\"$1\"";
        self.exec_with_input(["sh", "-c", script, "sh", path], text).await?.success().map(drop)
    }

    /// A property of a unit, as the machine's systemd has it.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn property(&self, unit: &str, name: &str) -> Result<String, HarnessError> {
        let argv = ["systemctl", "show", "--value", "--property", name, "--", unit];
        Ok(self.exec(argv).await?.success()?.stdout.trim().to_owned())
    }

    /// The process on this host that is process 1 in the machine.
    ///
    /// # Errors
    /// [`HarnessError::NotRunning`] when the machine is off.
    pub fn leader(&self) -> Result<u32, HarnessError> {
        let state = self.state();
        let leader = state.booted.as_ref().map(|booted| booted.leader);
        leader.ok_or_else(|| HarnessError::NotRunning { machine: self.name.clone() })
    }

    /// Its file tree as the host sees it, for what is looked at while the machine is off.
    pub fn root(&self) -> PathBuf {
        self.disk.root()
    }

    /// The folder that the machine sees, read-only, at `/opt/fleet`: a program put there is an upgrade.
    pub fn programs(&self) -> &Path {
        &self.programs
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The slot has ended it already, or it outlives this process on purpose; only the exit status is left.
        if let Some(booted) = &mut self.state().booted {
            let supervisor: &mut Child = &mut booted.supervisor;
            supervisor.try_wait().ok();
        }
    }
}
