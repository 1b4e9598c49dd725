#!/bin/sh
# The QEMU guest agent: lets KubeVirt report the guest's addresses and file systems, freeze it for snapshots, and more.
set -eu

if ! command -v qemu-ga >/dev/null; then
    if command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        apt-get install -q -y qemu-guest-agent
    elif command -v dnf >/dev/null; then
        dnf -y install qemu-guest-agent
    elif command -v zypper >/dev/null; then
        zypper --non-interactive install qemu-guest-agent
    elif command -v apk >/dev/null; then
        apk add qemu-guest-agent
    else
        echo "install-qemu-guest-agent.sh does not know this distribution's package manager" >&2
        exit 1
    fi
fi

# a unit that its udev rule starts cannot be enabled, and need not be
if command -v systemctl >/dev/null; then systemctl enable qemu-guest-agent 2>/dev/null || true
elif command -v rc-update >/dev/null; then rc-update add qemu-guest-agent default; fi
qemu-ga --version
