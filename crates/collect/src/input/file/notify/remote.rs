//! File systems of which inotify does not tell everything.

use rustix::fs::StatFs;

/// File systems that other machines write to as well, or that are made up by a program: what is done elsewhere is not
/// told here. The numbers are those of `statfs(2)`.
const REMOTE: [(u32, &str); 13] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x6573_5546, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x4750_4653, "GPFS"),
    (0x786f_4256, "vboxsf"),
];

/// What the file system is called if others change it without being told of here.
pub(super) fn remote(system: &StatFs) -> Option<&'static str> {
    // It has the width of a machine word and the sign that the machine likes; 32 bits of it are used.
    let kind = system.f_type as u32;
    REMOTE.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_the_network_do_not_tell() {
        let mut system = rustix::fs::statfs("/proc").unwrap();
        assert_eq!(remote(&system), None);
        system.f_type = rustix::fs::NFS_SUPER_MAGIC;
        assert_eq!(remote(&system), Some("NFS"));
        system.f_type = 0xff53_4d42_u32 as i32 as _;
        assert_eq!(remote(&system), Some("CIFS"), "where the number has a sign");
    }
}
