//! The developer's cluster: `dev-cluster up` boots it and leaves it running, `dev-cluster down` ends it.
//!
//! It is a cluster as the tests have them, in the slot that outlives the process which boots it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fleet_tests::{Cluster, DEV_SLOT, Failure, HarnessError, Machine, reap, request, slot_directory};

const MACHINES: usize = 3;
const USAGE: &str = "usage: dev-cluster up|down";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["up"] => up().await,
        ["down"] => down(),
        _ => Err(HarnessError::Unexpected(USAGE.to_owned()).into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            writeln!(io::stderr(), "{failure:?}").ok();
            ExitCode::FAILURE
        }
    }
}

/// The APIs of the machines, one a line; written last.
fn endpoints() -> PathBuf {
    slot_directory(DEV_SLOT).join("endpoints")
}

/// What is shown of a cluster that is up.
fn note() -> PathBuf {
    slot_directory(DEV_SLOT).join("how-to-use")
}

/// Whether the cluster was started to its end and every machine still answers.
async fn is_whole() -> bool {
    let Ok(endpoints) = std::fs::read_to_string(endpoints()) else { return false };
    for endpoint in endpoints.lines() {
        let reply = request("GET", &format!("{endpoint}/fleet/v1/machines"), None).await;
        if !reply.is_ok_and(|reply| reply.status == 200) {
            return false;
        }
    }
    true
}

/// Boots the cluster, or shows the one that is there.
async fn up() -> Result<(), Failure> {
    let mut out = io::stdout();
    if is_whole().await {
        writeln!(out, "The cluster is up already; `make dev-stop` ends it.\n")?;
        out.write_all(&std::fs::read(note())?)?;
        return Ok(());
    }
    // What an interrupted start has left.
    reap(DEV_SLOT)?;
    writeln!(out, "Booting {MACHINES} machines and an etcd ...")?;
    let cluster = match Cluster::builder().machines(MACHINES).for_developer().boot().await {
        Ok(cluster) => cluster,
        Err(error) => {
            reap(DEV_SLOT)?;
            return Err(error.into());
        }
    };
    show(&cluster, &mut out).await?;
    let text = how_to_use(&cluster);
    std::fs::write(note(), &text)?;
    out.write_all(text.as_bytes())?;
    let addresses: Vec<_> = cluster.machines().iter().map(Machine::endpoint).collect();
    std::fs::write(endpoints(), addresses.join("\n"))?;
    cluster.leave_running();
    Ok(())
}

/// The main job: start a unit, see where it runs.
async fn show(cluster: &Cluster, out: &mut impl io::Write) -> Result<(), Failure> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples/hello.service");
    for args in [&["start", &example.display().to_string()] as &[&str], &["list-machines"], &["list-units"]] {
        writeln!(out, "\n$ fleetctl {}", args.join(" "))?;
        out.write_all(cluster.fleetctl(args).await?.success()?.stdout.as_bytes())?;
    }
    Ok(())
}

fn how_to_use(cluster: &Cluster) -> String {
    let endpoint = cluster.machines().first().map(Machine::endpoint).unwrap_or_default();
    let programs = cluster.programs();
    let key = cluster.ssh_identity().path().display().to_string();
    let mut text = format!(
        "\nThe cluster is up. Try:\n\n  \
         export PATH={}:$PATH FLEETCTL_ENDPOINT={endpoint}\n  \
         fleetctl list-units\n\nThe machines (user core or root, key {key}):\n\n",
        programs.display()
    );
    for machine in cluster.machines() {
        text.push_str(&format!("  {}  {}  {}\n", machine.name(), machine.address(), machine.id()));
    }
    for member in cluster.etcd() {
        text.push_str(&format!("  {}  {}\n", member.name(), member.endpoint()));
    }
    text.push_str("\n`make dev-stop` ends it.\n");
    text
}

fn down() -> Result<(), Failure> {
    reap(DEV_SLOT)?;
    writeln!(io::stdout(), "The cluster is gone.")?;
    Ok(())
}
