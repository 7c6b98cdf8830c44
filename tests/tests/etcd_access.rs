//! How `fleetd` proves itself to etcd, what it says when it cannot, and that it recovers by itself.

use std::time::Duration;

use fleet_tests::{
    Certificate, Cluster, Fate, HarnessError, Machine, NotYet, TestResult, on_cluster, request, wait_for,
    with_fixtures,
};

const SOON: Duration = Duration::from_secs(15);

async fn start_hello(cluster: &Cluster) -> TestResult {
    cluster.fleetctl(with_fixtures(&["start"], &["hello.service"])).await?.success()?;
    cluster.wait_for_active(cluster.machine(0)?, 1).await?;
    Ok(())
}

/// Restarts `fleetd` and waits until one line of the journal has all of these words.
async fn restarted_it_says(machine: &Machine, words: &[&str]) -> Result<(), HarnessError> {
    // Without `--no-block` this would be about how long a start may take.
    machine.exec(["systemctl", "restart", "--no-block", "fleet"]).await?.success()?;
    wait_for(format!("the journal has a line with {words:?}"), SOON, async || {
        let journal = machine.journal("fleet.service").await?;
        let told = journal.lines().any(|line| words.iter().all(|word| line.contains(word)));
        if told { Ok(()) } else { Err(NotYet::saw(tail(&journal))) }
    })
    .await
}

/// Restarts `fleetd` while it has no access: it says so in its journal, lives, and serves errors.
async fn refused(machine: &Machine, words: &[&str]) -> Result<(), HarnessError> {
    restarted_it_says(machine, words).await?;
    wait_for("the API says that it cannot", SOON, async || {
        let reply = request("GET", &format!("{}/fleet/v1/units", machine.endpoint()), None).await?;
        let unable =
            reply.status == 503 && reply.body.contains("fleet server unable to communicate with etcd");
        if unable { Ok(()) } else { Err(NotYet::saw(format!("{} {}", reply.status, reply.body))) }
    })
    .await
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Nobody restarts or reloads it: it gets there by itself, and its unit has run all the time.
async fn recovers(cluster: &Cluster, process: &str) -> TestResult {
    let machine = cluster.machine(0)?;
    wait_for("the unit is listed again", Duration::from_secs(30), async || {
        let states = cluster.unit_states(machine).await?;
        let listed = states.iter().any(|state| state.unit == "hello.service" && state.active == "active");
        if listed { Ok(()) } else { Err(NotYet::saw(format!("{states:?}"))) }
    })
    .await?;
    assert_eq!(machine.property("hello.service", "MainPID").await?, process);
    Ok(())
}

async fn give(machine: &Machine, certificate: &Certificate) -> Result<(), HarnessError> {
    machine.write_file("/etc/fleet/client.pem", &certificate.certificate).await?;
    machine.write_file("/etc/fleet/client-key.pem", &certificate.key).await
}

#[test]
fn a_wrong_password_is_told_and_mended() -> TestResult {
    on_cluster(Cluster::builder().etcd_password("secret"), async |cluster| {
        start_hello(cluster).await?;
        let machine = cluster.machine(0)?;
        let process = machine.property("hello.service", "MainPID").await?;
        let etcd = &cluster.etcd()[0];
        let passwd = async |old: &str, new: &str| -> Result<(), HarnessError> {
            let user = format!("--user=root:{old}");
            let line = ["user", "passwd", "root", "--interactive=false", &user];
            etcd.etcdctl_with_input(line, format!("{new}\n")).await?.success().map(drop)
        };
        passwd("secret", "other").await?;
        refused(machine, &["etcd", "password"]).await?;
        passwd("other", "secret").await?;
        recovers(cluster, &process).await
    })
}

#[test]
fn an_expired_certificate_is_told_and_mended() -> TestResult {
    on_cluster(Cluster::builder().etcd_tls(), async |cluster| {
        start_hello(cluster).await?;
        let machine = cluster.machine(0)?;
        let process = machine.property("hello.service", "MainPID").await?;
        let no_tls = || HarnessError::Unexpected("a cluster without TLS".to_owned());
        let authority = cluster.etcd_authority().ok_or_else(no_tls)?;
        give(machine, &authority.expired_client("root")?).await?;
        refused(machine, &["etcd", "certificate"]).await?;
        give(machine, &authority.client("root")?).await?;
        recovers(cluster, &process).await
    })
}

#[test]
fn a_key_of_another_certificate_is_told_and_mended() -> TestResult {
    on_cluster(Cluster::builder().etcd_tls(), async |cluster| {
        start_hello(cluster).await?;
        let machine = cluster.machine(0)?;
        let process = machine.property("hello.service", "MainPID").await?;
        let no_tls = || HarnessError::Unexpected("a cluster without TLS".to_owned());
        let authority = cluster.etcd_authority().ok_or_else(no_tls)?;
        let (mut one, two) = (authority.client("root")?, authority.client("root")?);
        one.key.clone_from(&two.key);
        give(machine, &one).await?;
        // A mistake in the configuration: it does not run with it, and systemd tries again and again.
        restarted_it_says(machine, &["etcd_keyfile", "etcd_certfile"]).await?;
        give(machine, &two).await?;
        recovers(cluster, &process).await
    })
}

#[test]
fn an_etcd_of_a_stranger_is_told_and_mended() -> TestResult {
    on_cluster(Cluster::builder().etcd_tls(), async |cluster| {
        start_hello(cluster).await?;
        let machine = cluster.machine(0)?;
        let process = machine.property("hello.service", "MainPID").await?;
        let path = "/etc/fleet/ca.pem";
        let right = machine.read_file(path).await?;
        machine.write_file(path, &fleet_tests::Authority::new("a stranger")?.pem()).await?;
        refused(machine, &["etcd", "certificate"]).await?;
        machine.write_file(path, &right).await?;
        recovers(cluster, &process).await
    })
}

#[test]
fn an_etcd_out_of_reach_is_told_and_mended() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        start_hello(cluster).await?;
        let machine = cluster.machine(0)?;
        let process = machine.property("hello.service", "MainPID").await?;
        for fate in [Fate::Drop, Fate::Reject] {
            machine.block(2379, fate).await?;
            refused(machine, &["not registered", "no connection within"]).await?;
            machine.unblock().await?;
            recovers(cluster, &process).await?;
        }
        Ok(())
    })
}
