#!/bin/sh
# Makes the image ready to become a Kubernetes node: kernel modules, sysctls, no swap, containerd with the systemd
# cgroup driver. It installs neither kubelet nor kubeadm: their version is the cluster's to choose.
set -eu

mkdir -p /etc/modules-load.d /etc/sysctl.d
printf '%s\n' overlay br_netfilter >/etc/modules-load.d/kubernetes.conf
cat >/etc/sysctl.d/90-kubernetes.conf <<'END'
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.ipv4.ip_forward = 1
END

# the kubelet refuses to start where there is swap
swapoff -a || true
if grep -q '^[^#].*[[:space:]]swap[[:space:]]' /etc/fstab 2>/dev/null; then
    sed -i 's/^\([^#].*[[:space:]]swap[[:space:]].*\)$/#\1/' /etc/fstab
    echo "swap is commented out in /etc/fstab"
fi
if command -v systemctl >/dev/null && [ -e /usr/lib/systemd/system-generators/zram-generator ]; then
    : >/etc/systemd/zram-generator.conf
fi

if ! command -v containerd >/dev/null; then
    if command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        apt-get install -q -y containerd
    elif command -v dnf >/dev/null; then
        if ! dnf -y install containerd; then
            # RHEL and its kin have containerd only in Docker's repository
            curl -fsSL -o /etc/yum.repos.d/docker-ce.repo https://download.docker.com/linux/centos/docker-ce.repo
            dnf -y install containerd.io
        fi
    elif command -v zypper >/dev/null; then
        zypper --non-interactive install containerd
    else
        echo "configure-k8s.sh does not know how to install containerd here" >&2
        exit 1
    fi
fi

mkdir -p /etc/containerd
if ! grep -q 'SystemdCgroup = true' /etc/containerd/config.toml 2>/dev/null; then
    containerd config default | sed 's/SystemdCgroup = false/SystemdCgroup = true/' >/etc/containerd/config.toml.new
    mv /etc/containerd/config.toml.new /etc/containerd/config.toml
fi
grep -q 'SystemdCgroup = true' /etc/containerd/config.toml || echo "warning: no SystemdCgroup setting was found" >&2

if command -v systemctl >/dev/null; then systemctl enable containerd; fi
containerd --version
