#!/usr/bin/env bash
# Builds both container images with whichever of buildah, podman and docker is here.
#
#   scripts/images.sh
#
# BASE=IMAGE       the image to build upon (Python 3.11 or newer with venv); default: as the Containerfiles say
# REGISTRY=HOST/   put before the names; nothing is pushed
# BUILDER=PROGRAM  buildah, podman or docker; default: the first that works
# BUILD_OPTIONS    more options of the builder, apart by spaces
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_builder() {
    local program
    for program in "${BUILDER:-}" buildah podman docker; do
        # the client of docker may be here without a daemon
        if [[ -z $program ]] || ! "$program" info >/dev/null 2>&1; then
            continue
        fi
        printf '%s' "$program"
        return
    done
    echo "images: none of buildah, podman and docker works here. Install one (Debian: apt-get install buildah)." >&2
    exit 1
}

main() {
    local builder version name more options=()
    builder=$(find_builder)
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
    [[ -z ${BASE:-} ]] || options+=(--build-arg "BASE=$BASE")
    read -r -a more <<<"${BUILD_OPTIONS:-}"
    for name in server steps; do
        echo "Building ${REGISTRY:-}goldenpipe-$name:$version with $builder"
        "$builder" build "${options[@]}" "${more[@]}" --file "$name/Containerfile" --tag "${REGISTRY:-}goldenpipe-$name:$version" .
    done
}

main "$@"
