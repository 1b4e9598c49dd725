#!/usr/bin/env bash
# Prints the folder that holds the programs of a control plane: $KUBEBUILDER_ASSETS if they are all there, else a cache,
# which it fills the first time: kube-apiserver and kube-controller-manager are built (needs Go; 20 minutes on two cores),
# etcd is Debian's, unpacked and not installed, because its package would run it as a service.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

built=(kube-apiserver kube-controller-manager)

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "test-cluster: $*"
    exit 1
}

have() {
    local folder=$1 program
    shift
    for program in "$@"; do
        [[ -x $folder/$program ]] || return 1
    done
}

# Built under another name: what is there under its own name is whole.
build() {
    local folder=$1 version=$2 stamp program
    command -v go >/dev/null || fail "Go is needed to build Kubernetes: install $(awk '$1 == "go" { print $2 }' go.mod) or newer" \
        "(https://go.dev/dl), or let KUBEBUILDER_ASSETS name a folder with ${built[*]} and etcd."
    stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitTreeState=clean"
    for program in "${built[@]}"; do
        say "Building $program $version into $folder, once; this takes minutes."
        CGO_ENABLED=0 nice -n 15 go build -trimpath -buildvcs=false -ldflags "-s -w $stamp" \
            -o "$folder/.$program.$$" "k8s.io/kubernetes/cmd/$program"
        mv "$folder/.$program.$$" "$folder/$program"
    done
}

fetch_etcd() {
    local folder=$1 work
    if command -v etcd >/dev/null; then
        ln -sf "$(command -v etcd)" "$folder/etcd"
        return
    fi
    work=$(mktemp -d)
    (
        trap 'rm -rf "$work"' EXIT
        cd "$work"
        apt-get --quiet=2 --option APT::Sandbox::User=root download etcd-server >&2 || fail "etcd was not found and could not be downloaded." \
            "Run apt-get update as root and try again, or install etcd from elsewhere."
        dpkg-deb --extract etcd-server_*.deb .
        mv usr/bin/etcd "$folder/etcd"
    )
}

main() {
    local version folder
    if [[ -n ${KUBEBUILDER_ASSETS:-} ]] && have "$KUBEBUILDER_ASSETS" "${built[@]}" etcd; then
        printf '%s\n' "$KUBEBUILDER_ASSETS"
        return
    fi
    version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' go.mod)
    folder="${XDG_CACHE_HOME:-$HOME/.cache}/goldenpipe/controlplane-$version"
    mkdir -p "$folder"
    have "$folder" etcd || fetch_etcd "$folder"
    have "$folder" "${built[@]}" || build "$folder" "$version"
    printf '%s\n' "$folder"
}

main
