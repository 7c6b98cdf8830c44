# Runs once, inside the new base tree: makes machines of it that boot fast and let the tests in.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

# What a container needs no part of, or what only costs time at boot.
for unit in \
  console-getty.service dev-hugepages.mount dev-mqueue.mount e2scrub_reap.service getty@.service getty.target \
  ldconfig.service proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-config.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount systemd-binfmt.service systemd-logind.service \
  systemd-modules-load.service systemd-networkd.service systemd-pstore.service systemd-random-seed.service \
  systemd-resolved.service systemd-sysctl.service systemd-timesyncd.service systemd-udev-trigger.service \
  systemd-udevd.service systemd-update-utmp-runlevel.service systemd-update-utmp.service; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
rm -f /etc/systemd/system/timers.target.wants/* /etc/systemd/system/multi-user.target.wants/remote-fs.target
systemctl set-default multi-user.target >/dev/null 2>&1

# The journal outlives a reboot, and forgets nothing when a test makes many lines.
mkdir -p /var/log/journal /etc/systemd/journald.conf.d
cat >/etc/systemd/journald.conf.d/tests.conf <<'CONF'
[Journal]
Storage=persistent
RateLimitIntervalSec=0
CONF

# The host's name servers are out of reach: without this, each look-up of a name takes its time to fail.
: >/etc/resolv.conf

# Each machine gets an id and host keys of its own.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/ssh/ssh_host_*
ln -sf /etc/machine-id /var/lib/dbus/machine-id

# The group that may use fleetd's socket (deploy/systemd/fleet.sysusers).
groupadd --system fleet

# A password that nothing matches; sshd refuses an account that is locked outright.
useradd --create-home --shell /bin/bash --groups systemd-journal,fleet --password '*' core
mkdir -p -m 700 /home/core/.ssh /root/.ssh
chown core: /home/core/.ssh
echo 'core ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/core
chmod 440 /etc/sudoers.d/core
cat >/etc/ssh/sshd_config <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100
Subsystem sftp internal-sftp
CONF
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
