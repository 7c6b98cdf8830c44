//! Where fields of the journal go in an event, as collectors of the journal document it.

/// What kind of value a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A whole number. A value that is none goes to `journald.custom`, where any text may stand.
    Number,
}

use Kind::{Number, Text};

/// Field of the journal, its name in events, and its kind.
/// (systemd.journal-fields(7) says what they mean.)
pub(super) const FIELDS: &[(&str, &str, Kind)] = &[
    ("CODE_FILE", "journald.code.file", Text),
    ("CODE_FUNC", "journald.code.func", Text),
    ("CODE_LINE", "journald.code.line", Number),
    ("CONTAINER_ID", "container.id_truncated", Text),
    ("CONTAINER_ID_FULL", "container.id", Text),
    ("CONTAINER_NAME", "container.name", Text),
    ("CONTAINER_PARTIAL_MESSAGE", "container.partial", Text),
    ("CONTAINER_TAG", "container.log.tag", Text),
    ("COREDUMP_UNIT", "journald.coredump.unit", Text),
    ("COREDUMP_USER_UNIT", "journald.coredump.user_unit", Text),
    ("IMAGE_NAME", "container.image.name", Text),
    ("MESSAGE", "message", Text),
    ("MESSAGE_ID", "event.code", Text),
    ("OBJECT_AUDIT_LOGINUID", "journald.object.audit.login_uid", Number),
    ("OBJECT_AUDIT_SESSION", "journald.object.audit.session", Number),
    ("OBJECT_CMDLINE", "journald.object.process.command_line", Text),
    ("OBJECT_COMM", "journald.object.process.name", Text),
    ("OBJECT_EXE", "journald.object.process.executable", Text),
    ("OBJECT_GID", "journald.object.gid", Number),
    ("OBJECT_PID", "journald.object.pid", Number),
    ("OBJECT_SYSTEMD_OWNER_UID", "journald.object.systemd.owner_uid", Number),
    ("OBJECT_SYSTEMD_SESSION", "journald.object.systemd.session", Text),
    ("OBJECT_SYSTEMD_UNIT", "journald.object.systemd.unit", Text),
    ("OBJECT_SYSTEMD_USER_UNIT", "journald.object.systemd.user_unit", Text),
    ("OBJECT_UID", "journald.object.uid", Number),
    ("PRIORITY", "syslog.priority", Number),
    ("SYSLOG_FACILITY", "syslog.facility", Number),
    ("SYSLOG_IDENTIFIER", "syslog.identifier", Text),
    ("SYSLOG_PID", "syslog.pid", Number),
    ("_AUDIT_LOGINUID", "journald.audit.login_uid", Number),
    ("_AUDIT_SESSION", "journald.audit.session", Text),
    ("_BOOT_ID", "journald.host.boot_id", Text),
    ("_CAP_EFFECTIVE", "journald.process.capabilities", Text),
    ("_CMDLINE", "journald.process.command_line", Text),
    ("_COMM", "journald.process.name", Text),
    ("_EXE", "journald.process.executable", Text),
    ("_GID", "journald.gid", Number),
    ("_HOSTNAME", "host.hostname", Text),
    ("_KERNEL_DEVICE", "journald.kernel.device", Text),
    ("_KERNEL_SUBSYSTEM", "journald.kernel.subsystem", Text),
    ("_MACHINE_ID", "host.id", Text),
    ("_PID", "journald.pid", Number),
    ("_SYSTEMD_CGROUP", "systemd.cgroup", Text),
    ("_SYSTEMD_INVOCATION_ID", "systemd.invocation_id", Text),
    ("_SYSTEMD_OWNER_UID", "systemd.owner_uid", Number),
    ("_SYSTEMD_SESSION", "systemd.session", Text),
    ("_SYSTEMD_SLICE", "systemd.slice", Text),
    ("_SYSTEMD_UNIT", "systemd.unit", Text),
    ("_SYSTEMD_USER_SLICE", "systemd.user_slice", Text),
    ("_SYSTEMD_USER_UNIT", "systemd.user_unit", Text),
    ("_TRANSPORT", "systemd.transport", Text),
    ("_UDEV_DEVLINK", "journald.kernel.device_symlinks", Text),
    ("_UDEV_DEVNODE", "journald.kernel.device_node_path", Text),
    ("_UDEV_SYSNAME", "journald.kernel.device_name", Text),
    ("_UID", "journald.uid", Number),
];

/// Where a field goes; the others go to `journald.custom`.
pub(super) fn place(field: &str) -> Option<(&'static str, Kind)> {
    let index = FIELDS.binary_search_by(|(name, ..)| (*name).cmp(field)).ok()?;
    FIELDS.get(index).map(|(_, path, kind)| (*path, *kind))
}

/// The field of the journal that goes to this place.
pub(super) fn field_at(path: &str) -> Option<&'static str> {
    FIELDS.iter().find(|(_, known, _)| *known == path).map(|(field, ..)| *field)
}

/// Capabilities by their numbers, as the kernel's capability.h lists them.
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The names of the capabilities in a mask. A bit that has no name yet is left out.
pub(super) fn capabilities(mask: u64) -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched_both_ways() {
        assert!(FIELDS.is_sorted_by_key(|(field, ..)| *field));
        for (field, path, kind) in FIELDS {
            assert_eq!(place(field), Some((*path, *kind)));
            assert_eq!(field_at(path), Some(*field));
        }
        assert_eq!(place("NO_SUCH"), None);
        assert_eq!(capabilities(0b101).collect::<Vec<_>>(), ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(capabilities(u64::MAX).count(), 41);
    }
}
