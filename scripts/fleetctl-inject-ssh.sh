#!/bin/sh
# Lets the owner of a public SSH key in on every machine of a cluster.
#
#   cat ~/.ssh/id_ed25519.pub | fleetctl-inject-ssh.sh NAME [FLEETCTL OPTIONS]
#
# NAME says whose key it is. Everything after it goes to fleetctl:
#
#   cat ~/.ssh/id_ed25519.pub | fleetctl-inject-ssh.sh simon --tunnel 192.0.2.33
#
# Where there is update-ssh-keys, it keeps the key under NAME; elsewhere the key is added to
# ~/.ssh/authorized_keys of the user that fleetctl logs in as, unless it is there already.
set -eu

usage() {
    echo "usage: $0 NAME [FLEETCTL OPTIONS] < KEY.pub" >&2
    exit 2
}

[ $# -ge 1 ] || usage
name=$1
shift
case $name in
    '' | *[!A-Za-z0-9._@-]*)
        echo "$0: a name is made of letters, digits and . _ @ -" >&2
        usage
        ;;
esac

key=$(cat)
case $key in
    *"'"* | *"
"*)
        echo "$0: standard input must be one public key" >&2
        exit 1
        ;;
    ssh-* | ecdsa-* | sk-*) ;;
    *)
        echo "$0: standard input is not a public SSH key" >&2
        exit 1
        ;;
esac

# Runs on each machine. Single quotes are safe: neither name nor key holds one.
remote="key='$key'
if command -v update-ssh-keys >/dev/null 2>&1; then
    echo \"\$key\" | update-ssh-keys -a '$name' -n
    exit
fi
umask 077
mkdir -p ~/.ssh
file=~/.ssh/authorized_keys
touch \"\$file\"
grep -qxF \"\$key\" \"\$file\" && exit 0
[ -z \"\$(tail -c 1 \"\$file\")\" ] || echo >> \"\$file\"
echo \"\$key\" >> \"\$file\""

machines=$(fleetctl "$@" list-machines --no-legend --full --fields=machine)
failed=0
for machine in $machines; do
    # One machine that cannot be reached keeps no other from getting the key.
    if fleetctl "$@" ssh "$machine" "$remote" < /dev/null; then
        echo "$machine: done"
    else
        echo "$machine: failed" >&2
        failed=1
    fi
done
exit $failed
