//! systemd's D-Bus interfaces (`org.freedesktop.systemd1(5)`), as far as they are used here.

use zbus::OwnedObjectPath;

/// The bus's own name and interface.
pub(crate) const BUS: &str = "org.freedesktop.DBus";
/// The path of the bus's object.
pub(crate) const BUS_PATH: &str = "/org/freedesktop/DBus";
/// systemd's name on the bus.
pub(crate) const SYSTEMD: &str = "org.freedesktop.systemd1";
/// The path of systemd's manager object.
pub(crate) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// The interface of the manager object.
pub(crate) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The interface that every unit has, whatever its type.
pub(crate) const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// What the paths of units begin with.
pub(crate) const UNIT_PATHS: &str = "/org/freedesktop/systemd1/unit";
/// What the paths of jobs begin with.
const JOB_PATHS: &str = "/org/freedesktop/systemd1/job/";

/// A symbolic link that systemd has made or removed: what was done, the link, where it points.
pub(crate) type Change = (String, String, String);

/// A row of a list of units: name, description, load, active and sub state, followed unit, path, job.
pub(crate) type ListedUnit =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::proxy(interface = "org.freedesktop.systemd1.Manager", default_path = "/org/freedesktop/systemd1")]
pub(crate) trait Manager {
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(name = "GetUnitByPID")]
    fn get_unit_by_pid(&self, pid: u32) -> zbus::Result<OwnedObjectPath>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    fn link_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> zbus::Result<Vec<Change>>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<Change>)>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<Change>>;
    fn reload(&self) -> zbus::Result<()>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit")]
pub(crate) trait Unit {
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn need_daemon_reload(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service")]
pub(crate) trait Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Job")]
pub(crate) trait Job {
    #[zbus(property)]
    fn job_type(&self) -> zbus::Result<String>;
}

/// The path of a unit's object: what is no ASCII letter or digit, and a digit at the start, becomes `_` and
/// two hexadecimal digits (`sd_bus_path_encode(3)`).
pub(crate) fn unit_path(name: &str) -> String {
    let mut path = format!("{UNIT_PATHS}/");
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// The number in a job's path.
pub(crate) fn job_id(path: &str) -> Option<u32> {
    path.strip_prefix(JOB_PATHS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{job_id, unit_path};

    #[test]
    fn paths_are_escaped_as_systemd_does() {
        let cases = [
            ("hello.service", "hello_2eservice"),
            ("1a2.service", "_31a2_2eservice"),
            ("a-b_c@d:e.service", "a_2db_5fc_40d_3ae_2eservice"),
            (r"dev-disk\x2d1.mount", "dev_2ddisk_5cx2d1_2emount"),
        ];
        for (name, escaped) in cases {
            assert_eq!(unit_path(name), format!("/org/freedesktop/systemd1/unit/{escaped}"));
        }
    }

    #[test]
    fn a_job_path_holds_its_number() {
        assert_eq!(job_id("/org/freedesktop/systemd1/job/4711"), Some(4711));
        assert_eq!(job_id("/"), None);
        assert_eq!(job_id("/org/freedesktop/systemd1/job/x"), None);
    }
}
