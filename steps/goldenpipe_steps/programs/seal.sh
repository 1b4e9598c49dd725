# shellcheck shell=sh
# Runs in the guest as root, detached, and ends it. Few processes: under emulation each costs.
# Given: build_user, build_key (its public key), our_names (hostnames that the build gave the guest).
: "${build_user:?}" "${build_key:?}" "${our_names:?}"
cd /
umask 022
say() { printf '\036%s\n' "$*"; }

say '10 Removing the state of cloud-init'
for script in /etc/cloud/clean.d/*; do
    [ ! -x "$script" ] || "$script"
done
# what `cloud-init clean --logs --seed --configs all` removes, without starting Python
rm -rf /var/lib/cloud/* /run/cloud-init /var/log/cloud-init*.log \
    /etc/netplan/50-cloud-init.yaml /etc/network/interfaces.d/50-cloud-init* /etc/systemd/network/10-cloud-init-* \
    /etc/NetworkManager/system-connections/cloud-init-* /etc/ssh/sshd_config.d/50-cloud-init.conf
for file in /etc/sysconfig/network-scripts/ifcfg-* /etc/network/interfaces /etc/sysconfig/network/ifcfg-*; do
    [ -f "$file" ] || continue
    read -r first <"$file"
    case $first in *cloud-init*) rm -f "$file" ;; esac
done

say '25 Removing identity: machine-id, host keys, leases, random seeds, names'
: >/etc/machine-id
if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then rm -f /var/lib/dbus/machine-id; fi
rm -rf /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub \
    /var/lib/dhcp/* /var/lib/dhclient/* /var/lib/dhcpcd/* /var/lib/NetworkManager/*.lease \
    /var/lib/NetworkManager/secret_key /var/lib/NetworkManager/timestamps /var/lib/NetworkManager/seen-bssids \
    /var/lib/systemd/network/* /run/systemd/netif/leases/* /var/lib/wicked/lease* \
    /var/lib/systemd/random-seed /var/lib/urandom/random-seed /var/lib/random-seed /boot/efi/loader/random-seed \
    /boot/loader/random-seed /var/lib/systemd/credential.secret \
    /etc/udev/rules.d/70-persistent-net.rules /etc/udev/rules.d/75-persistent-net-generator.rules
if [ -f /etc/hostname ]; then
    read -r name </etc/hostname
    case " $our_names " in *" ${name%%.*} "*) echo localhost >/etc/hostname ;; esac
fi

say "40 Removing the build's user and key"
for file in /etc/sudoers.d/90-cloud-init-users /root/.ssh/authorized_keys; do
    [ -f "$file" ] || continue
    kept='' rules='' changed=''
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            "$build_user "*|"# User rules for $build_user"|*"$build_key"*) changed=1; continue ;;
            ''|'#'*) ;;
            *) rules=1 ;;
        esac
        kept="$kept$line
"
    done <"$file"
    if [ -n "$changed" ] && [ -z "$rules" ]; then rm -f "$file"
    elif [ -n "$changed" ]; then printf %s "$kept" >"$file"; fi
done
if [ "$build_user" != root ]; then
    rm -f "/etc/doas.d/$build_user.conf" "/var/mail/$build_user" "/var/spool/mail/$build_user"
    if command -v userdel >/dev/null; then userdel -r -f "$build_user" 2>/dev/null
    else deluser --remove-home "$build_user"; fi
    ! grep -q "^$build_user:" /etc/passwd || say "error the build's user $build_user could not be removed"
fi
rm -f /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-

say '55 Removing histories, caches and temporary files'
set -- /root
while IFS=: read -r _ _ _ _ _ home _; do
    case $home in /home/*|/var/home/*) set -- "$@" "$home" ;; esac
done </etc/passwd
for home; do
    rm -rf "$home"/.*_history "$home"/.lesshst "$home"/.viminfo "$home"/.wget-hsts "$home"/.cache/pip
done
rm -rf /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/* /var/cache/apt/*.bin /var/lib/apt/lists/* \
    /var/cache/dnf/* /var/cache/yum/* /var/cache/libdnf5/* /var/cache/zypp/* /var/cache/apk/* \
    /var/crash/* /var/log/journal/* /run/log/journal/* /var/lib/goldenpipe
find /tmp /var/tmp -xdev -mindepth 1 -delete 2>/dev/null
find /var/log -xdev -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.old' -o -name '*.[0-9]' -o -name '*-[0-9]*' \) \
    -exec rm -f {} +
find /var/log -xdev -path /var/log/journal -prune -o -type f -size +0 -exec sh -c 'for file; do : >"$file"; done' sh {} +

say '75 Giving the free space back'
sync
fstrim -av
echo
df -kP
say used

# the step notes the figure before it lets go; if it is gone, nothing waits for it
tries=0
while [ ! -e "${0%/*}/go" ] && [ $tries -lt 50 ]; do
    sleep 0.1
    tries=$((tries+1))
done
# services are told to stop, file systems are unmounted, and nothing that was just removed is written again
if [ -d /run/systemd/system ]; then exec systemctl poweroff --force
else exec poweroff; fi
