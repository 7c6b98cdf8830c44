//! From files to units.

use crate::fleet::Fleet;
use crate::{files, on, path};

const HELLO: &str = "[Service]\nExecStart=/bin/true\n";
const OTHER: &str = "[Service]\nExecStart=/bin/false\n";

#[tokio::test(start_paused = true)]
async fn a_file_becomes_a_unit() {
    let fleet = Fleet::default();
    let directory = files(&[("hello.service", HELLO), ("up.target", "[Unit]\nDescription=Up\n")]);
    let file = path(&directory, "hello.service");
    insta::assert_snapshot!(on(&fleet, &["submit", &file]).await, @"
    Unit hello.service inactive
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["submit", &file]).await, @"exit 0");
    assert_eq!(fleet.file("hello.service").as_deref(), Some(HELLO));
    insta::assert_snapshot!(on(&fleet, &["start", &file, &path(&directory, "up.target")]).await, @"
    Unit up.target inactive
    Unit hello.service launched on 113f16a7.../172.18.1.1
    Unit up.target launched on 113f16a7.../172.18.1.1
    exit 0
    ");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_differs_from_the_file_is_kept_and_told() {
    let fleet = Fleet::default();
    fleet.add("hello.service", "inactive", OTHER);
    let directory = files(&[("hello.service", HELLO)]);
    let run = on(&fleet, &["submit", &path(&directory, "hello.service")]).await;
    let err = run.err.replace(&directory.path().display().to_string(), "DIR");
    assert_eq!(
        err,
        "WARNING: Unit hello.service in registry differs from local unit file DIR/hello.service. Add --replace to override.\n"
    );
    assert_eq!((run.code, fleet.file("hello.service").as_deref()), (0, Some(OTHER)));
}

#[tokio::test(start_paused = true)]
async fn replace_depends_on_what_is_wanted_of_the_unit() {
    let directory = files(&[("hello.service", HELLO)]);
    let file = path(&directory, "hello.service");
    for (command, state, replaced) in [
        ("submit", "inactive", true),
        ("submit", "loaded", false),
        ("submit", "launched", false),
        ("load", "inactive", true),
        ("load", "loaded", true),
        ("load", "launched", false),
        ("start", "inactive", true),
        ("start", "loaded", true),
        ("start", "launched", true),
    ] {
        let fleet = Fleet::default();
        fleet.add("hello.service", state, OTHER);
        let run = on(&fleet, &[command, "--replace", &file]).await;
        let now = fleet.file("hello.service");
        assert_eq!(now.as_deref(), Some(if replaced { HELLO } else { OTHER }), "{command} {state}");
        if replaced {
            assert_eq!(run.code, 0, "{command} {state}: {run}");
        } else {
            let warning = format!(
                "Warning: can not replace Unit(hello.service) in state '{state}', use the appropriate command\n"
            );
            assert_eq!((run.code, run.err), (1, warning));
            assert_eq!(
                fleet.desired("hello.service").as_deref(),
                Some(state),
                "a refused unit is left alone"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn replace_by_the_same_file_does_nothing() {
    let fleet = Fleet::default();
    fleet.add("hello.service", "launched", HELLO);
    let directory = files(&[("hello.service", HELLO)]);
    insta::assert_snapshot!(on(&fleet, &["submit", "--replace", &path(&directory, "hello.service")]).await, @"
    Found same Unit(hello.service) in Registry, nothing to do
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet, &["submit", "--replace", "/nonexistent/hello.service"]).await, @"
    err| Error creating units: --replace needs the unit file, and there is none at /nonexistent/hello.service
    exit 1
    ");
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_made_from_its_template() {
    let fleet = Fleet::default();
    fleet.add("stored@.service", "inactive", HELLO);
    let directory = files(&[("local@.service", OTHER), ("stored@.service", OTHER)]);
    insta::assert_snapshot!(on(&fleet, &["start", "stored@1"]).await, @"
    Unit stored@1.service inactive
    Unit stored@1.service launched on 113f16a7.../172.18.1.1
    exit 0
    ");
    assert_eq!(fleet.file("stored@1.service").as_deref(), Some(HELLO));
    insta::assert_snapshot!(on(&fleet, &["start", &path(&directory, "local@1.service")]).await, @"
    Unit local@1.service inactive
    Unit local@1.service launched on 113f16a7.../172.18.1.1
    exit 0
    ");
    assert_eq!(fleet.file("local@1.service").as_deref(), Some(OTHER));
    let run = on(&fleet, &["submit", &path(&directory, "stored@2.service")]).await;
    let err = run.err.replace(&directory.path().display().to_string(), "DIR");
    assert_eq!(
        err,
        "WARNING: Unit stored@.service in registry differs from local template unit file DIR/stored@.service. Add --replace to override.\n"
    );
    assert_eq!(fleet.file("stored@2.service").as_deref(), Some(HELLO));
    let run = on(&fleet, &["start", "--replace", &path(&directory, "stored@1.service")]).await;
    assert_eq!((run.code, fleet.file("stored@1.service").as_deref()), (0, Some(OTHER)), "{run}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_created_is_told() {
    let fleet = Fleet::default();
    let directory = files(&[
        ("conflict.service", "[X-Fleet]\nMachineID=x\nConflicts=y\n"),
        ("unread.service", "[Service\n"),
        ("misspelt.service", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineFoo=x\n"),
        ("refused.service", HELLO),
        ("bad name.service", HELLO),
    ]);
    let mut told = String::new();
    for words in [
        &["start", "unknown.service"][..],
        &["start", "unknown@1.service"],
        &["submit", "conflict.service"],
        &["submit", "unread.service"],
        &["submit", "misspelt.service"],
        &["submit", "refused.service"],
        &["submit", "bad name.service"],
        &["submit"],
    ] {
        let full: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(i, w)| if i == 0 { (*w).to_owned() } else { path(&directory, w) })
            .collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        told.push_str(&format!("$ fleetctl {}\n{}\n", words.join(" "), on(&fleet, &full).await));
    }
    insta::assert_snapshot!(told.replace(&directory.path().display().to_string(), "DIR"), @r#"
    $ fleetctl start unknown.service
    err| Error creating units: unable to find Unit(unknown.service) in Registry or on filesystem: there is no file DIR/unknown.service
    exit 1
    $ fleetctl start unknown@1.service
    err| Error creating units: failed getting Unit(unknown@1.service) from template: unable to find template Unit(unknown@.service) in Registry or on filesystem
    exit 1
    $ fleetctl submit conflict.service
    err| Error creating units: MachineID cannot be used with Conflicts
    exit 1
    $ fleetctl submit unread.service
    err| Error creating units: failed getting Unit(DIR/unread.service) from file: unable to find end of section
    exit 1
    $ fleetctl submit misspelt.service
    Unit misspelt.service inactive
    err| WARN Unit misspelt.service: unrecognized requirement in [X-Fleet] section: "MachineFoo"
    exit 0
    $ fleetctl submit refused.service
    err| Error creating units: failed creating unit refused.service: googleapi: Error 400: invalid unit type: "refused"
    exit 1
    $ fleetctl submit bad name.service
    err| Error creating units: invalid character ' ' in unit name
    exit 1
    $ fleetctl submit
    err| No units given
    exit 0
    "#);
}
