#!/usr/bin/env bash
# Prints the folder that holds the programs of a control plane: $KUBEBUILDER_ASSETS if they are all there, else a cache,
# which it fills the first time: kube-apiserver, kube-controller-manager and kubectl are built (needs Go; ten minutes on two cores),
# etcd is Debian's, unpacked and not installed, because its package would run it as a service.
# Where Go or etcd is not to be had it says so and prints nothing; the tests are then skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

built=(kube-apiserver kube-controller-manager kubectl)

say() { printf '%s\n' "$*" >&2; }

skip() {
    say "test-cluster: skipped. $*"
    exit 0
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
    stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitTreeState=clean"
    for program in "${built[@]}"; do
        [[ -x $folder/$program ]] && continue
        say "Building $program $version into $folder, once; this takes minutes."
        CGO_ENABLED=0 nice -n 15 go build -trimpath -buildvcs=false -ldflags "-s -w $stamp" \
            -o "$folder/.$program.$$" "k8s.io/kubernetes/cmd/$program"
        mv "$folder/.$program.$$" "$folder/$program"
    done
}

fetch_etcd() {
    local folder=$1
    if command -v etcd >/dev/null; then
        ln -sf "$(command -v etcd)" "$folder/etcd"
        return
    fi
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get --quiet=2 --option APT::Sandbox::User=root download etcd-server >&2) ||
        skip "etcd was not found and could not be downloaded: run apt-get update as root, or install it from elsewhere."
    dpkg-deb --extract "$work"/etcd-server_*.deb "$work"
    mv "$work/usr/bin/etcd" "$folder/etcd"
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
    have "$folder" "${built[@]}" || command -v go >/dev/null || skip "Go $(awk '$1 == "go" { print $2 }' go.mod) or newer" \
        "is needed to build Kubernetes (https://go.dev/dl), or KUBEBUILDER_ASSETS naming a folder with ${built[*]} and etcd."
    have "$folder" "${built[@]}" || build "$folder" "$version"
    printf '%s\n' "$folder"
}

main
