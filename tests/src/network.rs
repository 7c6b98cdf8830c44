//! The bridge of a cluster and the network namespaces of who is on it.

use crate::address::Address;
use crate::command::Run;
use crate::error::HarnessError;

/// What happens to packets that are stopped on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They vanish; the sender finds out by its own timeout.
    Drop,
    /// The sender is told at once.
    Reject,
}

/// Makes the bridge of a slot; this host has the first address on it.
pub(crate) async fn make_bridge(slot: u8) -> Result<(), HarnessError> {
    let bridge = bridge_name(slot);
    let address = Address::bridge(slot);
    let batch =
        format!("link add {bridge} type bridge\naddr add {address}/24 dev {bridge}\nlink set {bridge} up\n");
    Run::new(["ip", "-batch", "-"]).input(batch).output().await?.success().map(drop)
}

fn bridge_name(slot: u8) -> String {
    format!("fleet{slot}")
}

/// A network namespace with one interface, `eth0`, on its slot's bridge.
///
/// It belongs to the harness, not to the machine in it, so that it can be prepared before the machine boots and
/// cut while it runs.
#[derive(Debug)]
pub(crate) struct Namespace {
    slot: u8,
    who: String,
    address: Address,
}

impl Namespace {
    /// Names the namespace of a machine or etcd member; nothing is made yet.
    pub(crate) fn new(slot: u8, who: &str, address: Address) -> Self {
        Self { slot, who: who.to_owned(), address }
    }

    fn name(&self) -> String {
        format!("fleet-{}-{}", self.slot, self.who)
    }

    /// The host's end of the cable.
    fn cable(&self) -> String {
        format!("fleet{}-{}", self.slot, self.who)
    }

    /// Where it can be joined.
    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.name())
    }

    /// Makes it anew: connections and filters of an earlier life are gone, as after a power cut.
    pub(crate) async fn make(&self) -> Result<(), HarnessError> {
        let (name, cable, address) = (self.name(), self.cable(), self.address);
        if std::path::Path::new(&self.path()).exists() {
            // The cable first: one of a deleted namespace is taken down later, at the kernel's leisure.
            Run::new(["ip", "link", "del", &cable]).output().await?.success()?;
            Run::new(["ip", "netns", "del", &name]).output().await?.success()?;
        }
        let (hardware, bridge) = (address.hardware(), bridge_name(self.slot));
        let outside = format!(
            "netns add {name}\n\
             link add {cable} master {bridge} type veth peer name eth0 address {hardware} netns {name}\n\
             link set {cable} up\n"
        );
        let gateway = Address::bridge(self.slot);
        let inside = format!(
            "link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
        );
        Run::new(["ip", "-batch", "-"]).input(outside).output().await?.success()?;
        Run::new(["ip", "-n", &name, "-batch", "-"]).input(inside).output().await?.success().map(drop)
    }

    /// Pulls the cable out.
    pub(crate) async fn cut(&self) -> Result<(), HarnessError> {
        Run::new(["ip", "link", "set", &self.cable(), "down"]).output().await?.success().map(drop)
    }

    /// Puts the cable back.
    pub(crate) async fn join(&self) -> Result<(), HarnessError> {
        Run::new(["ip", "link", "set", &self.cable(), "up"]).output().await?.success().map(drop)
    }

    /// Stops what is sent to a TCP port, anywhere.
    pub(crate) async fn block(&self, port: u16, fate: Fate) -> Result<(), HarnessError> {
        let target = match fate {
            Fate::Drop => "DROP",
            Fate::Reject => "REJECT",
        };
        let port = port.to_string();
        self.iptables(&["-I", "OUTPUT", "-p", "tcp", "--dport", &port, "-j", target]).await
    }

    /// Lets everything out again.
    pub(crate) async fn unblock(&self) -> Result<(), HarnessError> {
        self.iptables(&["-F", "OUTPUT"]).await
    }

    async fn iptables(&self, rule: &[&str]) -> Result<(), HarnessError> {
        let path = format!("--net={}", self.path());
        let command = ["nsenter", &path, "iptables", "-w"];
        Run::new(command.iter().chain(rule)).output().await?.success().map(drop)
    }
}
