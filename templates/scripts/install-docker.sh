#!/bin/sh
# Installs the Docker engine and starts it at boot.
# Debian, Ubuntu, Fedora, openSUSE and Alpine have it in their own repositories. RHEL and its kin do not: there Docker's
# own repository (download.docker.com) is added, checked by its signing key.
set -eu

# shellcheck source=/dev/null
. /etc/os-release
family=" $ID ${ID_LIKE:-} "

from_dockers_repository() {
    command -v curl >/dev/null || dnf -y install curl
    curl -fsSL -o /etc/yum.repos.d/docker-ce.repo https://download.docker.com/linux/centos/docker-ce.repo
    dnf -y install docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin
}

if command -v dockerd >/dev/null; then
    echo "Docker is there already: $(dockerd --version)"
elif command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # since Debian 13 the client is a package of its own
    if apt-cache show docker-cli >/dev/null 2>&1; then client=docker-cli; else client=; fi
    # shellcheck disable=SC2086  # no word when there is no such package
    apt-get install -q -y docker.io $client
else
    case $family in
        *" fedora "*" rhel "* | *" rhel "* | *" centos "*) from_dockers_repository ;;
        *" fedora "*) dnf -y install moby-engine docker-cli ;;
        *" suse "* | *" opensuse"*) zypper --non-interactive install docker ;;
        *" alpine "*) apk add docker ;;
        *)
            echo "install-docker.sh does not know how to install Docker on ${PRETTY_NAME:-$ID}" >&2
            exit 1
            ;;
    esac
fi

# enabled for the image's first boot; whether it runs in the build machine does not matter
if command -v systemctl >/dev/null; then systemctl enable docker
elif command -v rc-update >/dev/null; then rc-update add docker default; fi
dockerd --version
