//! `deploy/systemd` as it is shipped, and the drop-ins that people already have.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use fleet_tests::{Cluster, HarnessError, Machine, NotYet, TestResult, on_cluster, request, wait_for};

const SOON: Duration = Duration::from_secs(15);

/// Takes what `fleet.conf` says of etcd out, so that only a drop-in says it.
async fn forget_etcd(machine: &Machine) -> TestResult {
    machine.shell("sed -i /^etcd_/d /etc/fleet/fleet.conf").await?.success()?;
    Ok(())
}

/// Moves the certificates to where the examples have them.
async fn etc_ssl(machine: &Machine) -> TestResult {
    machine.shell("mkdir -p /etc/ssl/etcd && mv /etc/fleet/*.pem /etc/ssl/etcd/").await?.success()?;
    Ok(())
}

async fn restart_with_drop_in(machine: &Machine, text: &str) -> TestResult {
    machine.write_file("/etc/systemd/system/fleet.service.d/30-etcd.conf", text).await?;
    machine.exec(["systemctl", "daemon-reload"]).await?.success()?;
    machine.exec(["systemctl", "restart", "fleet.service"]).await?.success()?;
    Ok(())
}

#[test]
fn etcd_with_tls_by_a_drop_in() -> TestResult {
    on_cluster(Cluster::builder().etcd_tls(), async |cluster| {
        let machine = cluster.machine(0)?;
        forget_etcd(machine).await?;
        etc_ssl(machine).await?;
        let drop_in = format!(
            "[Service]\n\
             Environment=\"FLEET_ETCD_CAFILE=/etc/ssl/etcd/ca.pem\"\n\
             Environment=\"FLEET_ETCD_CERTFILE=/etc/ssl/etcd/client.pem\"\n\
             Environment=\"FLEET_ETCD_KEYFILE=/etc/ssl/etcd/client-key.pem\"\n\
             Environment=\"FLEET_ETCD_SERVERS={}\"\n",
            cluster.etcd()[0].endpoint()
        );
        restart_with_drop_in(machine, &drop_in).await?;
        cluster.wait_for_machines(machine, 1).await?;
        Ok(())
    })
}

#[test]
fn etcd_with_tls_by_the_configuration_file() -> TestResult {
    on_cluster(Cluster::builder().etcd_tls(), async |cluster| {
        let machine = cluster.machine(0)?;
        etc_ssl(machine).await?;
        let text = format!(
            "etcd_servers=[\"{}\"]\n\
             etcd_cafile=/etc/ssl/etcd/ca.pem\n\
             etcd_certfile=/etc/ssl/etcd/client.pem\n\
             etcd_keyfile=/etc/ssl/etcd/client-key.pem\n",
            cluster.etcd()[0].endpoint()
        );
        machine.write_file("/etc/fleet/fleet.conf", &text).await?;
        machine.exec(["systemctl", "restart", "fleet.service"]).await?.success()?;
        cluster.wait_for_machines(machine, 1).await?;
        Ok(())
    })
}

#[test]
fn etcd_with_a_password_by_a_drop_in() -> TestResult {
    on_cluster(Cluster::builder().etcd_password("coreos"), async |cluster| {
        let machine = cluster.machine(0)?;
        forget_etcd(machine).await?;
        let drop_in = format!(
            "[Service]\n\
             Environment=\"FLEET_ETCD_SERVERS={}\"\n\
             Environment=\"FLEET_ETCD_USERNAME=root\"\n\
             Environment=\"FLEET_ETCD_PASSWORD=coreos\"\n",
            cluster.etcd()[0].endpoint()
        );
        restart_with_drop_in(machine, &drop_in).await?;
        cluster.wait_for_machines(machine, 1).await?;
        Ok(())
    })
}

#[test]
fn one_more_socket_by_a_drop_in() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let text = "[Socket]\nListenStream=49153\n";
        machine.write_file("/etc/systemd/system/fleet.socket.d/40-listen.conf", text).await?;
        for words in [
            &["daemon-reload"] as &[&str],
            &["stop", "fleet.service"],
            &["restart", "fleet.socket"],
            &["start", "fleet.service"],
        ] {
            machine.exec(std::iter::once("systemctl").chain(words.iter().copied())).await?.success()?;
        }
        // As many sockets as there are: the new one, the harness's, and the unix socket by both of its names.
        for endpoint in [format!("http://{}:49153", machine.address()), machine.endpoint()] {
            wait_for(format!("{endpoint} answers"), SOON, async || {
                let reply = request("GET", &format!("{endpoint}/fleet/v1/machines"), None).await?;
                if reply.status == 200 { Ok(()) } else { Err(NotYet::saw(reply.body)) }
            })
            .await?;
        }
        for path in ["/run/fleet.sock", "/var/run/fleet.sock"] {
            let endpoint = format!("--endpoint=unix://{path}");
            machine.fleetctl([&endpoint, "list-machines"]).await?.success()?;
        }
        let journal = machine.journal("fleet.service").await?;
        let warning = |line: &&str| line.contains("root on this machine") && line.contains(":49153");
        assert_eq!(journal.lines().filter(warning).count(), 1, "{journal}");
        Ok(())
    })
}

#[test]
fn the_socket_is_for_root_and_the_group() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let list =
            |user: &'static str| machine.exec(["runuser", "-u", user, "--", "fleetctl", "list-machines"]);
        list("root").await?.success()?;
        // `core` is in the group.
        list("core").await?.success()?;
        let refused = list("nobody").await?.failure()?;
        assert!(refused.stderr.contains("denied"), "{}", refused.stderr);
        Ok(())
    })
}

#[test]
fn the_service_is_sandboxed() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        for unit in ["fleet.service", "fleet.socket"] {
            let verify = machine.exec(["systemd-analyze", "verify", unit]).await?.success()?;
            assert_eq!(verify.stderr, "", "{unit}");
        }
        // Ten times what `systemd-analyze security` shows; a service without any sandbox has 96.
        let check = ["systemd-analyze", "security", "--no-pager", "--threshold=20", "fleet.service"];
        machine.exec(check).await?.success()?;
        Ok(())
    })
}

fn repository(path: &str) -> std::io::Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    std::fs::read_to_string(root.join(path))
}

/// `fleet.conf` as it is shipped, with every option given its own default, is right, and leaves none out.
#[test]
fn the_sample_configuration_names_every_option() -> TestResult {
    let sample = repository("deploy/systemd/fleet.conf")?;
    let is_option = |line: &str| {
        let name = line.strip_prefix('#').and_then(|rest| rest.split_once('=')).map(|(name, _)| name);
        name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    let given: String = sample
        .lines()
        .map(|line| if is_option(line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
        .collect();
    let shown: BTreeSet<_> = given
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.to_owned()))
        .collect();
    let manual = repository("docs/configuration.md")?;
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let names = rows.flat_map(|(names, _)| names.split(", ").map(|name| name.trim_matches('`').to_owned()));
    assert_eq!(shown, names.collect::<BTreeSet<_>>());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("fleet.conf");
        for text in [&sample, &given] {
            std::fs::write(&path, text)?;
            let args = ["--config", &path.display().to_string(), "--check-config"];
            fleet_tests::fleetd_alone(args).await?.success()?;
        }
        Ok(())
    })
}

/// Each form of `metadata` that the manual of the original has.
#[test]
fn metadata_in_each_form() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let text = machine.read_file("/etc/fleet/fleet.conf").await?;
        let rest: String = text
            .lines()
            .filter(|line| !line.starts_with("metadata"))
            .map(|line| format!("{line}\n"))
            .collect();
        for (number, value) in
            ["\"N,az=us-west-1\"", "'N,az = us-west-1'", "N,az=us-west-1"].iter().enumerate()
        {
            let value = value.replace('N', &format!("round={number}"));
            machine.write_file("/etc/fleet/fleet.conf", &format!("{rest}metadata={value}\n")).await?;
            machine.exec(["systemctl", "reload", "fleet"]).await?.success()?;
            listed_with(cluster, &format!("az=us-west-1,round={number}")).await?;
        }
        Ok(())
    })
}

async fn listed_with(cluster: &Cluster, metadata: &str) -> Result<(), HarnessError> {
    wait_for(format!("the machine is listed with {metadata}"), SOON, async || {
        let args = ["list-machines", "--no-legend", "--fields", "metadata"];
        let list = cluster.fleetctl(args).await?.success()?.stdout;
        if list.trim() == metadata { Ok(()) } else { Err(NotYet::saw(list)) }
    })
    .await
}
