//! Whole-system tests on real machines: systemd, etcd, sshd.
//!
//! This library is the harness; the tests themselves stand in `tests/tests/`. It boots clusters of
//! `systemd-nspawn` machines on a bridge of their own, beside real etcd members, and breaks them on purpose:
//! pulls the plug, cuts the network, freezes a machine, replaces its disk. Everything is black box: the tests see
//! what a person sees, through `fleetctl`, HTTP, SSH, `systemctl` and the journal.
//!
//! It must not know how `fleetd` or `fleetctl` work inside: no crate of theirs is a dependency.
//!
//! One machine boots in about 0.2 s, a cluster of three with an etcd in about one second (two cores), so each test
//! has a cluster of its own. The first run on a host makes the base tree with debootstrap (under a minute) and
//! keeps it in `/var/lib/fleet-tests`.
//!
//! ```no_run
//! use fleet_tests::{Cluster, TestResult, on_cluster};
//!
//! fn three_machines_are_listed() -> TestResult {
//!     on_cluster(Cluster::builder().machines(3), async |cluster| {
//!         let list = cluster.fleetctl(["list-machines", "--no-legend"]).await?.success()?;
//!         assert_eq!(list.stdout.lines().count(), 3);
//!         Ok(())
//!     })
//! }
//! ```

mod address;
mod availability;
mod base;
mod binaries;
mod boot;
mod builder;
mod cgroup;
mod cluster;
mod command;
mod disk;
mod error;
mod etcd;
mod fixture;
mod fleetctl;
mod http;
mod listing;
mod machine;
mod network;
mod scenario;
mod slot;
mod ssh;
mod tls;
mod wait;

pub use address::Address;
pub use availability::why_not;
pub use base::BaseTree;
pub use binaries::{example, program, program_of};
pub use builder::Builder;
pub use cluster::Cluster;
pub use command::Output;
pub use error::HarnessError;
pub use etcd::EtcdMember;
pub use fixture::{fixture, fixture_text, with_fixtures};
pub use fleetctl::{Fleetctl, fleetctl_alone, fleetd_alone};
pub use http::{Reply, request};
pub use listing::{Placement, UnitState, single};
pub use machine::Machine;
pub use network::Fate;
pub use scenario::{Failure, TestResult, on_cluster};
pub use slot::{DEV_SLOT, Slot, reap, slot_directory};
pub use ssh::SshIdentity;
pub use tls::{Authority, Certificate};
pub use wait::{NotYet, holds, wait_for};
