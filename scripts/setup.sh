#!/usr/bin/env bash
# Makes this machine able to run GoldenPipe: Debian packages that are missing, then .venv.
#
#   scripts/setup.sh           what the service, its local cluster and the demo need
#   scripts/setup.sh test      that, and what the tests and linters need
#   scripts/setup.sh cluster   that, and what the tests on a real control plane need
#   scripts/setup.sh iso       that of test, and what the tests need that install from ISOs
#
# Says what it installs and why before it does. Where it may not install, it prints the command and stops.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# need: run, test (for `make test`), cluster (for `make test-cluster`), iso (for `make test-iso`), user (unless root) | Debian package | a file or command that proves it is there | what for
packages() {
    cat <<'TABLE'
run  | qemu-system-x86    | qemu-system-x86_64                 | runs the virtual machines
run  | qemu-utils         | qemu-img                           | makes, converts and compresses disks
run  | ovmf               | /usr/share/OVMF/OVMF_CODE_4M.fd    | boots guests by UEFI
run  | openssh-client     | ssh                                | the demo logs in to the finished image
run  | ca-certificates    | /etc/ssl/certs/ca-certificates.crt | downloads over https
run  | xz-utils           | xz                                 | unpacks .xz disk images
run  | zstd               | zstd                               | unpacks .zst disk images
run  | mmdebstrap         | mmdebstrap                         | installs Debian's packages into the base disk's folder
run  | debian-archive-keyring | /usr/share/keyrings/debian-archive-keyring.gpg | checks the signatures of those packages
run  | e2fsprogs          | mke2fs                             | makes the base disk's root file system from that folder
run  | fdisk              | sfdisk                             | writes the base disk's partition table
run  | mtools             | mcopy                              | fills its EFI partition, without mounting it
run  | xorriso            | xorriso                            | remasters installer ISOs so that they install unattended
user | uidmap             | newuidmap                          | lets mmdebstrap give files their owners without being root
test | openssh-server     | sshd                               | the step programs are tested against a real SSH server
test | genisoimage        | genisoimage                        | writes media with UDF, as Windows' are
test | wimtools           | wimlib-imagex                      | writes the catalogue of their install.wim
test | libxml2-utils      | xmllint                            | reads the answer files that are XML
iso  | isolinux           | /usr/lib/ISOLINUX/isolinux.bin     | boots the tests' ISOs by BIOS
iso  | syslinux-common    | /usr/lib/syslinux/modules/bios/ldlinux.c32 | the same
iso  | grub-pc-bin        | /usr/lib/grub/i386-pc/boot_hybrid.img | boots those of other distributions by BIOS
iso  | grub-efi-amd64-bin | /usr/lib/grub/x86_64-efi           | and by UEFI
iso  | debian-installer-12-netboot-amd64 | /usr/lib/debian-installer/images/12 | a kernel for them
iso  | busybox-static     | /bin/busybox                       | prints what that kernel was started with
test | cpio               | cpio                               | unpacks what a prepared ISO brings beside its initrd, and packs initrds
iso  | kmod               | depmod                             | finds the kernel modules that it needs
test | shellcheck         | shellcheck                         | checks the shell scripts
cluster | faketime        | faketime                           | gives the service a clock that is wrong
cluster | buildah         | buildah                            | builds both container images
TABLE
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

is_there() {
    local proof=$1
    case $proof in
        /*) [[ -e $proof ]] ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$proof" >/dev/null ;;
    esac
}

trim() {
    local text=$1
    text=${text#"${text%%[![:space:]]*}"}
    printf '%s' "${text%"${text##*[![:space:]]}"}"
}

# Fills `missing` and prints the reason for each.
find_missing_packages() {
    local wanted=$1 need package proof reason
    while IFS='|' read -r need package proof reason; do
        need=$(trim "$need") package=$(trim "$package") proof=$(trim "$proof") reason=$(trim "$reason")
        case $need in
            run) ;;
            user) [[ $EUID -ne 0 ]] || continue ;;
            test) [[ $wanted != run ]] || continue ;;
            *) [[ $need == "$wanted" ]] || continue ;;
        esac
        is_there "$proof" && continue
        missing+=("$package")
        reasons+=("$(printf '  %-22s %s' "$package" "$reason")")
    done < <(packages)
}

# Debian takes venv and pip out of its Python and into a package; other Pythons (pyenv, python.org) have them.
find_missing_venv() {
    local python=$1 package
    [[ -x .venv/bin/python ]] && .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$python" -c 'import sys; print(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")')
    missing+=("$package")
    reasons+=("$(printf '  %-22s %s' "$package" "makes .venv, which holds GoldenPipe's Python libraries")")
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        [[ -n $candidate ]] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "GoldenPipe needs Python 3.11 or newer, and none was found. Install one (Debian 12: apt-get install python3)" \
        "or name it: PYTHON=/path/to/python3 make setup"
}

install_missing_packages() {
    local as_root=() command
    command="apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}"
    say "Missing on this machine, and what for:"
    printf '%s\n' "${reasons[@]}"
    say
    is_there apt-get || fail "this is no Debian: install what these packages hold with your own package manager, then run it again."
    if [[ $EUID -ne 0 ]]; then
        if ! sudo -n true 2>/dev/null; then
            printf 'setup: this needs root, and sudo is not there or asks for a password. Run this, then make again:\n\n  sudo sh -c "%s"\n\n' \
                "$command" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    say "Installing them now: $command"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c "$command" >"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        fail "apt-get failed (above, its last lines). Mend that, then run it again."
    }
}

# The stamp is written last, so an installation that was interrupted is done again.
make_venv() {
    local python=$1 stamp=.venv/.installed-for wanted
    wanted="$(sha256sum <pyproject.toml | cut -d' ' -f1) $PWD"
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "Making .venv with $("$python" --version)."
        "$python" -m venv --clear .venv
    fi
    say "Installing GoldenPipe and its Python libraries into .venv (about a minute)."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' >"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        fail "pip failed (above, its last lines). Mend that, then run it again."
    }
    printf '%s' "$wanted" >"$stamp"
}

main() {
    local wanted=${1:-run} python
    [[ $wanted =~ ^(run|test|cluster|iso)$ ]] ||
        fail "unknown argument '$wanted'; use: scripts/setup.sh [run|test|cluster|iso]"
    python=$(find_python)
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    missing=() reasons=()
    find_missing_packages "$wanted"
    find_missing_venv "$python"
    [[ ${#missing[@]} -eq 0 ]] || install_missing_packages
    make_venv "$python"
}

main "$@"
