# shellcheck shell=sh
# Runs in the finished root, before it becomes a file system: what a disk for many machines must and must not have.
set -eu

unset INITRD
for kernel in /boot/vmlinuz-*; do
    version=${kernel#/boot/vmlinuz-}
    update-initramfs -c -k "$version"
    linux-update-symlinks install "$version" "$kernel"
done

for target in i386-pc x86_64-efi; do
    mkdir -p "/boot/grub/$target"
    cp "/usr/lib/grub/$target"/*.mod "/usr/lib/grub/$target"/*.lst "/boot/grub/$target/"
done
mkdir -p /boot/efi
cp /usr/lib/grub/i386-pc/boot.img /boot/grub/i386-pc/
# shellcheck disable=SC2086,SC2154  # a list of words, set by the caller
grub-mkimage -O i386-pc -p /boot/grub -c /boot/grub/i386-pc/load.cfg -o /boot/grub/i386-pc/core.img $GRUB_MODULES

systemctl --quiet enable systemd-networkd
# snapshots of LVM volumes, of which there are none here, and a boot counter that Debian's GRUB does not read
systemctl --quiet disable e2scrub_reap.service e2scrub_all.timer grub-common.service

passwd --quiet --lock root
rm -f /etc/ssh/ssh_host_*
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id
echo localhost > /etc/hostname

mv /etc/apt/sources.list.d/0000debian.sources /etc/apt/sources.list.d/debian.sources
rm -f /etc/apt/apt.conf.d/99mmdebstrap
apt-get clean
rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log

# nothing in /usr is newer than this: the first boot need not rebuild caches that were just made
touch /etc/.updated /var/.updated
