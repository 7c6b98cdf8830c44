# Ends everything of one slot: processes, mounts, network, cgroups, files. Idempotent; runs when a cluster is
# dropped, when its process has died, and before a slot is used again.
#
# The slot's cgroups name its processes, not recorded process ids: those may belong to somebody else by now.
set -u
slot=$1
run=/run/fleet-tests/$slot

groups() { find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "fleet-tests-$slot" 2>/dev/null; }
members() { groups | while read -r group; do find "$group" -name cgroup.procs -exec cat {} +; done 2>/dev/null | sort -u | grep -vx 0; }

for _ in $(seq 400); do
  pids=$(members)
  [ -n "$pids" ] || break
  # A frozen process of a v1 hierarchy dies only when it is thawed.
  groups | while read -r group; do
    find "$group" -name cgroup.freeze -exec sh -c 'for f; do echo 0 >"$f"; done' sh {} + 2>/dev/null
    find "$group" -name freezer.state -exec sh -c 'for f; do echo THAWED >"$f"; done' sh {} + 2>/dev/null
  done
  # shellcheck disable=SC2086 # a list of numbers
  kill -KILL $pids 2>/dev/null
  sleep 0.02
done

while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount"; done \
  < <(awk -v run="$run" '$2 == run || index($2, run "/") == 1 { print $2 }' /proc/mounts | sort -r)
rm -rf "$run"

# Cables first: those of a deleted namespace are taken down later, at the kernel's leisure.
for cable in /sys/class/net/fleet"$slot"-*; do
  [ -e "$cable" ] && ip link del "${cable##*/}"
done
for namespace in /run/netns/fleet-"$slot"-*; do
  [ -e "$namespace" ] && ip netns del "${namespace##*/}"
done
ip link show "fleet$slot" >/dev/null 2>&1 && ip link del "fleet$slot"

for _ in $(seq 100); do
  [ -n "$(groups)" ] || break
  groups | while read -r group; do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; done
  [ -n "$(groups)" ] && sleep 0.02
done
exit 0
