//! Whole-system tests on real machines: systemd, etcd, sshd.
