//! The commands that change what units do.

use crate::fleet::Fleet;
use crate::on;

#[tokio::test(start_paused = true)]
async fn start_waits_for_systemd() {
    let fleet = Fleet::with(&[("hello.service", "inactive"), ("slow.service", "inactive")]);
    insta::assert_snapshot!(on(&fleet, &["start", "hello", "slow"]).await, @"
    Unit hello.service launched on 113f16a7.../172.18.1.1
    Unit slow.service launched on 113f16a7.../172.18.1.1
    exit 0
    ");
    assert_eq!(fleet.desired("slow.service").as_deref(), Some("launched"));
    insta::assert_snapshot!(on(&fleet, &["start", "hello"]).await, @"exit 0");
}

#[tokio::test(start_paused = true)]
async fn start_of_a_unit_that_has_done_its_work_is_a_success() {
    let fleet = Fleet::default();
    fleet.add("oneshot.service", "inactive", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    insta::assert_snapshot!(on(&fleet, &["start", "oneshot.service"]).await, @"
    Unit oneshot.service launched on 113f16a7.../172.18.1.1
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn start_of_a_unit_that_fails_tells_why() {
    let fleet = Fleet::with(&[("broken.service", "inactive"), ("hello.service", "inactive")]);
    insta::assert_snapshot!(on(&fleet, &["start", "broken", "hello"]).await, @"
    Unit broken.service launched on 113f16a7.../172.18.1.1
    Unit hello.service launched on 113f16a7.../172.18.1.1
    err| Error waiting for units: unit broken.service failed on 113f16a7.../172.18.1.1: systemd could not start it: failed. See: fleetctl journal broken.service
    err| Error waiting for systemd unit states, err: unit broken.service failed on 113f16a7.../172.18.1.1: systemd could not start it: failed. See: fleetctl journal broken.service
    exit 1
    ");
    let fleet = Fleet::with(&[("broken.service", "inactive")]).old();
    insta::assert_snapshot!(on(&fleet, &["start", "broken"]).await, @"
    Unit broken.service launched on 113f16a7.../172.18.1.1
    err| Error waiting for units: unit broken.service failed on 113f16a7.../172.18.1.1: loaded/failed/failed. See: fleetctl journal broken.service
    err| Error waiting for systemd unit states, err: unit broken.service failed on 113f16a7.../172.18.1.1: loaded/failed/failed. See: fleetctl journal broken.service
    exit 1
    ");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_a_failure_and_a_crash_is_not() {
    let fleet = Fleet::with(&[("crashing.service", "inactive"), ("again.service", "inactive")]);
    insta::assert_snapshot!(on(&fleet, &["start", "again"]).await, @"
    Unit again.service launched on 113f16a7.../172.18.1.1
    exit 0
    ");
    let start = tokio::time::Instant::now();
    insta::assert_snapshot!(on(&fleet, &["start", "crashing"]).await, @"
    Unit crashing.service launched on 113f16a7.../172.18.1.1
    err| Error waiting for units: unit crashing.service failed on 113f16a7.../172.18.1.1: it crashes again and again (loaded/activating/auto-restart). See: fleetctl journal crashing.service
    err| Error waiting for systemd unit states, err: unit crashing.service failed on 113f16a7.../172.18.1.1: it crashes again and again (loaded/activating/auto-restart). See: fleetctl journal crashing.service
    exit 1
    ");
    assert!((5..7).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    insta::assert_snapshot!(on(&fleet, &["restart", "crashing"]).await, @"
    err| Error waiting for units: unit crashing.service failed on 113f16a7.../172.18.1.1: it crashes again and again (loaded/activating/auto-restart). See: fleetctl journal crashing.service
    err| Error waiting for systemd unit states, err: unit crashing.service failed on 113f16a7.../172.18.1.1: it crashes again and again (loaded/activating/auto-restart). See: fleetctl journal crashing.service
    exit 1
    ");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_its_machine_cannot_take_is_given_up() {
    let fleet = Fleet::with(&[("stuck.service", "inactive")]);
    insta::assert_snapshot!(on(&fleet, &["start", "stuck"]).await, @"
    err| Error waiting for units: unit stuck.service failed on 113f16a7.../172.18.1.1: cannot write the unit file. See: fleetctl explain stuck.service
    err| Error waiting for systemd unit states, err: unit stuck.service failed on 113f16a7.../172.18.1.1: cannot write the unit file. See: fleetctl explain stuck.service
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet, &["load", "stuck"]).await, @"
    err| Error waiting for units: unit stuck.service failed on 113f16a7.../172.18.1.1: cannot write the unit file. See: fleetctl explain stuck.service
    err| Error waiting for systemd unit states, err: unit stuck.service failed on 113f16a7.../172.18.1.1: cannot write the unit file. See: fleetctl explain stuck.service
    exit 1
    ");
}

#[tokio::test(start_paused = true)]
async fn start_tells_why_a_unit_has_no_machine() {
    let fleet = Fleet::with(&[("nowhere.service", "inactive")]);
    insta::assert_snapshot!(on(&fleet, &["start", "--block-attempts=20", "nowhere"]).await, @"
    err| Unit nowhere.service is still waiting:
    err|   113f16a7.../172.18.1.1, 224e27b8...: metadata az=mars required
    err| Error waiting for units: timed out waiting for unit nowhere.service to report state launched
    err| Error waiting for unit states, exit status: timed out waiting for unit nowhere.service to report state launched
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet, &["load", "--block-attempts=2", "nowhere"]).await, @"
    err| Unit nowhere.service is still waiting:
    err|   113f16a7.../172.18.1.1, 224e27b8...: metadata az=mars required
    err| Error waiting for units: timed out waiting for unit nowhere.service to report state loaded
    err| Error waiting for unit states, exit status: timed out waiting for unit nowhere.service to report state loaded
    exit 1
    ");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_with_no_block() {
    let fleet = Fleet::with(&[("nowhere.service", "inactive"), ("hello.service", "inactive")]);
    insta::assert_snapshot!(on(&fleet, &["start", "--no-block", "nowhere", "hello"]).await, @"
    Triggered unit nowhere.service start
    Triggered unit hello.service start
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["load", "--no-block", "hello"]).await, @"
    Triggered unit hello.service load
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["unload", "--no-block", "hello"]).await, @"
    Triggered unit hello.service unload
    err| Successfully unloaded units [hello.service].
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["destroy", "--no-block", "hello"]).await, @"
    Destroyed hello.service
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn global_units_are_only_triggered() {
    let fleet = Fleet::default();
    fleet.add("global.service", "inactive", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n");
    insta::assert_snapshot!(on(&fleet, &["start", "global"]).await, @"
    Triggered global unit global.service start
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["stop", "global"]).await, @"
    Triggered global unit global.service stop
    err| Successfully stopped units [].
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["load", "global"]).await, @"exit 0");
    insta::assert_snapshot!(on(&fleet, &["unload", "global"]).await, @"
    Triggered global unit global.service unload
    err| Successfully unloaded units [].
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn load_stop_and_unload() {
    let fleet =
        Fleet::with(&[("a.service", "inactive"), ("b.service", "launched"), ("c.service", "launched")]);
    insta::assert_snapshot!(on(&fleet, &["load", "a"]).await, @"
    Unit a.service loaded on 113f16a7.../172.18.1.1
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["stop", "b", "c"]).await, @"
    Unit b.service loaded on 113f16a7.../172.18.1.1
    Unit c.service loaded on 113f16a7.../172.18.1.1
    err| Successfully stopped units [b.service c.service].
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["stop", "b"]).await, @"
    err| Successfully stopped units [].
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["unload", "a", "b", "unknown"]).await, @"
    Unit a.service inactive
    Unit b.service inactive
    err| Unit unknown.service not found in registry
    err| Successfully unloaded units [a.service b.service].
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["stop", "a", "c"]).await, @"
    err| Unable to stop unit a.service in state inactive
    err| Successfully stopped units [].
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet, &["stop", "unknown"]).await, @"
    err| Units not found in registry
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn destroy_waits_until_nothing_is_left() {
    let fleet = Fleet::with(&[("a.service", "launched"), ("b.service", "inactive")]);
    insta::assert_snapshot!(on(&fleet, &["destroy", "a", "b", "unknown"]).await, @"
    Destroyed b.service
    Destroyed a.service
    err| Unit unknown.service not found in registry
    exit 0
    ");
    assert_eq!(fleet.desired("a.service"), None);
    insta::assert_snapshot!(on(&fleet, &["destroy", "a"]).await, @"
    err| Units not found in registry
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn many_units_are_watched_by_lists() {
    let units: Vec<String> = (0..30).map(|number| format!("u{number:02}.service")).collect();
    let pairs: Vec<(&str, &str)> = units.iter().map(|name| (name.as_str(), "inactive")).collect();
    let fleet = Fleet::with(&pairs);
    let mut words = vec!["start"];
    words.extend(units.iter().map(String::as_str));
    let run = on(&fleet, &words).await;
    assert_eq!((run.code, run.out.lines().count(), run.err.as_str()), (0, 30, ""));
    words[0] = "destroy";
    let run = on(&fleet, &words).await;
    assert_eq!((run.code, run.out.lines().count(), run.err.as_str()), (0, 30, ""));
}

#[tokio::test(start_paused = true)]
async fn restart_restarts() {
    let fleet = Fleet::with(&[
        ("hello.service", "launched"),
        ("loaded.service", "loaded"),
        ("off.service", "inactive"),
    ]);
    insta::assert_snapshot!(on(&fleet, &["restart", "hello", "loaded"]).await, @"
    Unit hello.service launched on 113f16a7.../172.18.1.1
    Unit loaded.service launched on 113f16a7.../172.18.1.1
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["restart", "off"]).await, @"
    err| Unable to restart unit off.service in state inactive
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet, &["restart", "unknown"]).await, @"
    err| Unit unknown.service does not exist.
    exit 1
    ");
    fleet.add("broken.service", "launched", "[Service]\nExecStart=/bin/true\n");
    insta::assert_snapshot!(on(&fleet, &["restart", "broken", "off", "hello"]).await, @"
    err| Error waiting for units: unit broken.service failed on 113f16a7.../172.18.1.1: systemd could not start it: failed. See: fleetctl journal broken.service
    err| Error waiting for systemd unit states, err: unit broken.service failed on 113f16a7.../172.18.1.1: systemd could not start it: failed. See: fleetctl journal broken.service
    err| Not restarted: off.service hello.service
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet, &["restart", "--no-block", "hello"]).await, @"
    Triggered unit hello.service restart
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn restart_of_a_global_unit_waits_for_each_machine() {
    let fleet = Fleet::default();
    fleet.add("global.service", "launched", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n");
    insta::assert_snapshot!(on(&fleet, &["restart", "global"]).await, @"
    Unit global.service launched on 113f16a7.../172.18.1.1
    Unit global.service launched on 224e27b8...
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn restart_through_an_original_fleetd_stops_and_starts() {
    let fleet = Fleet::with(&[("hello.service", "launched")]).old();
    insta::assert_snapshot!(on(&fleet, &["restart", "hello"]).await, @"
    Unit hello.service loaded on 113f16a7.../172.18.1.1
    Unit hello.service launched on 113f16a7.../172.18.1.1
    exit 0
    ");
    assert_eq!(fleet.desired("hello.service").as_deref(), Some("launched"));
    fleet.add("global.service", "launched", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n");
    insta::assert_snapshot!(on(&fleet, &["restart", "global"]).await, @"
    Unit global.service launched on 113f16a7.../172.18.1.1
    Unit global.service launched on 224e27b8...
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn cat_prints_the_normal_form() {
    let fleet = Fleet::default();
    fleet.add("a.service", "inactive", "[Service]\n# no\nExecStart = /bin/true\n");
    let run = on(&fleet, &["cat", "a"]).await;
    assert_eq!((run.out.as_str(), run.code), ("[Service]\nExecStart=/bin/true\n", 0));
    insta::assert_snapshot!(on(&fleet, &["cat", "unknown"]).await, @"
    err| Unit unknown.service not found
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet, &["cat", "a", "b"]).await, @"
    err| One unit file must be provided
    exit 1
    ");
}

#[tokio::test(start_paused = true)]
async fn explain_tells_where_a_unit_is_and_why() {
    let fleet = Fleet::with(&[
        ("hello.service", "launched"),
        ("nowhere.service", "launched"),
        ("off.service", "inactive"),
    ]);
    insta::assert_snapshot!(on(&fleet, &["explain", "hello"]).await, @"
    Unit hello.service shall be launched, is launched, and is placed on 113f16a7.../172.18.1.1.
      113f16a7.../172.18.1.1: launched (active/running)
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["explain", "nowhere"]).await, @"
    Unit nowhere.service shall be launched, and is not placed on any machine.
      113f16a7.../172.18.1.1, 224e27b8...: metadata az=mars required
    exit 0
    ");
    fleet.add("global.service", "launched", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n");
    insta::assert_snapshot!(on(&fleet, &["explain", "global"]).await, @"
    Unit global.service is global and shall be launched on every machine that fits.
      113f16a7.../172.18.1.1: launched (active/running)
      224e27b8...: launched (active/running)
    exit 0
    ");
    fleet.add("broken.service", "launched", "[Service]\nExecStart=/bin/true\n");
    insta::assert_snapshot!(on(&fleet, &["explain", "broken"]).await, @"
    Unit broken.service shall be launched, is launched, and is placed on 113f16a7.../172.18.1.1.
      113f16a7.../172.18.1.1: launched (failed/failed); systemd could not start it: failed
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["explain", "broken", "-o", "yaml"]).await, @r#"
    currentState: launched
    desiredState: launched
    machineID: "113f16a7d2c44b3da5c6e5b3e6a0f001"
    name: broken.service
    states:
      - currentState: launched
        error: "systemd could not start it: failed"
        machineID: "113f16a7d2c44b3da5c6e5b3e6a0f001"
        systemdActiveState: failed
        systemdSubState: failed
    exit 0
    "#);
    insta::assert_snapshot!(on(&fleet, &["explain", "off"]).await, @"
    Unit off.service is inactive, as desired: `fleetctl start off.service` starts it.
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["explain", "unknown"]).await, @"
    err| Unit unknown.service does not exist.
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet, &["explain"]).await, @"
    err| One unit must be provided: fleetctl explain UNIT
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet.old(), &["explain", "hello"]).await, @"
    err| This fleetd is too old to explain anything: update it on the machine that fleetctl talks to
    exit 1
    ");
}

#[tokio::test(start_paused = true)]
async fn status_journal_and_ssh_say_what_is_missing() {
    let fleet = Fleet::with(&[("off.service", "inactive"), ("two.service", "launched")]);
    fleet.add("global.service", "inactive", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n");
    let mut told = String::new();
    for words in [
        &["status", "unknown"][..],
        &["status", "off"],
        &["status", "global"],
        &["journal"],
        &["journal", "unknown"],
        &["journal", "off"],
        &["journal", "global"],
        &["ssh"],
        &["ssh", "unknown"],
        &["ssh", "--machine", "x"],
        &["ssh", "--unit", "x"],
        &["ssh", "--unit", "global"],
        &["ssh", "--machine", "1", "--unit", "x"],
        &["ssh", "--machine", "2"],
        &["ssh", ""],
    ] {
        told.push_str(&format!("$ fleetctl {}\n{}\n", words.join(" "), on(&fleet, words).await));
    }
    insta::assert_snapshot!(told, @"
    $ fleetctl status unknown
    err| Unit unknown.service does not exist.
    exit 1
    $ fleetctl status off
    err| Unit off.service does not appear to be loaded.
    exit 1
    $ fleetctl status global
    err| Unit global.service does not appear to be loaded.
    exit 1
    $ fleetctl journal
    err| One unit file must be provided.
    exit 1
    $ fleetctl journal unknown
    err| Unit unknown.service does not exist.
    exit 1
    $ fleetctl journal off
    err| Unit off.service does not appear to be running.
    exit 1
    $ fleetctl journal global
    err| Unable to retrieve journal of global unit global.service. On one of its machines: fleetctl ssh MACHINE journalctl --unit global.service
    exit 1
    $ fleetctl ssh
    err| Unable to proceed: one machine or unit must be provided
    exit 1
    $ fleetctl ssh unknown
    err| Unable to proceed: could not find matching unit or machine
    exit 1
    $ fleetctl ssh --machine x
    err| Unable to proceed: machine does not exist
    exit 1
    $ fleetctl ssh --unit x
    err| Unable to proceed: unit does not exist
    exit 1
    $ fleetctl ssh --unit global
    err| Unable to proceed: global units unsupported
    exit 1
    $ fleetctl ssh --machine 1 --unit x
    err| Both machine and unit flags provided, please specify only one.
    exit 1
    $ fleetctl ssh --machine 2
    err| Could not determine address of machine.
    exit 1
    $ fleetctl ssh 
    err| Unable to proceed: could not find matching unit or machine: found more than one machine
    exit 1
    ");
}
