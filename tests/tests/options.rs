//! Options of `fleetd`, by what they change on a real machine.

use std::time::Duration;

use fleet_tests::{
    Builder, Cluster, HarnessError, NotYet, TestResult, on_cluster, request, wait_for, with_fixtures,
};

const SOON: Duration = Duration::from_secs(15);

/// Starts `hello.service` and waits until it runs.
async fn start_hello(cluster: &Cluster) -> Result<(), HarnessError> {
    cluster.fleetctl(with_fixtures(&["start"], &["hello.service"])).await?.success()?;
    cluster.wait_for_active(cluster.machine(0)?, 1).await.map(drop)
}

/// The cluster does its main job with these options.
fn a_unit_runs(builder: Builder) -> TestResult {
    on_cluster(builder, async |cluster| Ok(start_hello(cluster).await?))
}

#[test]
fn disable_engine() -> TestResult {
    let builder = Cluster::builder().machines(3);
    let builder =
        builder.machine_option(0, "disable_engine", "true").machine_option(1, "disable_engine", "true");
    on_cluster(builder, async |cluster| {
        start_hello(cluster).await?;
        let mut leads = Vec::new();
        for machine in cluster.machines() {
            let metrics = request("GET", &format!("{}/metrics", machine.endpoint()), None).await?.body;
            leads.push(!metrics.lines().any(|line| line == "fleet_engine_leader_start_time 0"));
        }
        assert_eq!(leads, [false, false, true]);
        Ok(())
    })
}

#[test]
fn disable_watches() -> TestResult {
    a_unit_runs(Cluster::builder().machines(2).option("disable_watches", "true"))
}

#[test]
fn engine_reconcile_interval() -> TestResult {
    a_unit_runs(
        Cluster::builder().option("engine_reconcile_interval", "0.2").option("disable_watches", "true"),
    )
}

#[test]
fn token_limit() -> TestResult {
    on_cluster(Cluster::builder().option("token_limit", "2"), async |cluster| {
        let names =
            ["hello@1.service", "hello@2.service", "hello@3.service", "hello@4.service", "hello.service"];
        cluster.fleetctl(with_fixtures(&["submit"], &names)).await?.success()?;
        // The client turns the pages.
        assert_eq!(cluster.unit_files(cluster.machine(0)?).await?.len(), names.len());
        let url = format!("{}/fleet/v1/units", cluster.machine(0)?.endpoint());
        let page = request("GET", &url, None).await?.json()?;
        assert_eq!(page["units"].as_array().map(Vec::len), Some(2), "{page}");
        // limit 2, page 2
        assert_eq!(page["nextPageToken"], "AgACAA==", "{page}");
        Ok(())
    })
}

#[test]
fn etcd_key_prefix() -> TestResult {
    on_cluster(Cluster::builder().option("etcd_key_prefix", "/elsewhere/"), async |cluster| {
        start_hello(cluster).await?;
        let keys = cluster.etcd()[0].etcdctl(["get", "--prefix", "--keys-only", ""]).await?.success()?.stdout;
        let mut keys = keys.lines().filter(|line| !line.is_empty()).peekable();
        assert!(keys.peek().is_some());
        for key in keys {
            assert!(key.starts_with("/elsewhere/"), "{key}");
        }
        Ok(())
    })
}

#[test]
fn public_ip() -> TestResult {
    // An empty value means the default: the address on the default route.
    let builder =
        Cluster::builder().machines(2).option("public_ip", "").machine_option(1, "public_ip", "192.0.2.7");
    on_cluster(builder, async |cluster| {
        let args = ["list-machines", "--no-legend", "--full", "--fields", "machine,ip"];
        let list = cluster.fleetctl(args).await?.success()?.stdout;
        let mut rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
        let [m1, m2] = cluster.machines() else { unreachable!("two were asked for") };
        let (id1, id2, address) = (m1.id(), m2.id(), m1.address().to_string());
        let mut wanted = vec![vec![id1.as_str(), address.as_str()], vec![id2.as_str(), "192.0.2.7"]];
        rows.sort();
        wanted.sort();
        assert_eq!(rows, wanted);
        Ok(())
    })
}

#[test]
fn listen() -> TestResult {
    on_cluster(
        Cluster::builder().option("listen", "unix:/run/fleet/api.sock,127.0.0.1:49153"),
        async |cluster| {
            let machine = cluster.machine(0)?;
            for endpoint in ["unix:///run/fleet/api.sock", "http://127.0.0.1:49153", "unix:///run/fleet.sock"]
            {
                machine.fleetctl([&format!("--endpoint={endpoint}"), "list-machines"]).await?.success()?;
            }
            Ok(())
        },
    )
}

#[test]
fn store() -> TestResult {
    on_cluster(Cluster::builder().option("store", "embedded"), async |cluster| {
        start_hello(cluster).await?;
        let machine = cluster.machine(0)?;
        let process = machine.property("hello.service", "MainPID").await?;
        // Neither a crash of fleetd nor a power cut loses what was acknowledged.
        machine.exec(["systemctl", "kill", "-s", "KILL", "fleet"]).await?.success()?;
        cluster.wait_for_active(machine, 1).await?;
        assert_eq!(machine.property("hello.service", "MainPID").await?, process);
        machine.kill().await?;
        machine.boot().await?;
        cluster.wait_for_active(machine, 1).await?;
        Ok(())
    })
}

#[test]
fn units_directory() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let configuration = machine.read_file("/etc/fleet/fleet.conf").await?;
        let text = format!("{configuration}units_directory=/run/elsewhere/\n");
        machine.write_file("/etc/fleet/fleet.conf", &text).await?;
        let drop_in = "[Service]\nReadWritePaths=/run/elsewhere\n";
        machine.write_file("/etc/systemd/system/fleet.service.d/30-units.conf", drop_in).await?;
        machine
            .shell("mkdir /run/elsewhere && systemctl daemon-reload && systemctl restart fleet")
            .await?
            .success()?;
        cluster.wait_for_machines(machine, 1).await?;
        start_hello(cluster).await?;
        let link = machine.property("hello.service", "FragmentPath").await?;
        let file = machine.exec(["readlink", "-f", &link]).await?.success()?.stdout;
        assert_eq!(file.trim(), "/run/elsewhere/hello.service");
        Ok(())
    })
}

#[test]
fn verbosity() -> TestResult {
    on_cluster(Cluster::builder().option("verbosity", "1"), async |cluster| {
        let machine = cluster.machine(0)?;
        let debug = ["journalctl", "--no-pager", "--unit=fleet", "--priority=debug..debug", "--output=cat"];
        wait_for("something is logged at the level of debug", SOON, async || {
            let text = machine.exec(debug).await?.success()?.stdout;
            if text.lines().any(|line| !line.starts_with('-')) { Ok(()) } else { Err(NotYet::saw(text)) }
        })
        .await?;
        Ok(())
    })
}
