#!/bin/sh
# Kernel messages and a login prompt on the first serial port, as `virtctl console` shows it.
set -eu

settings='console=tty0 console=ttyS0,115200n8'

if command -v grubby >/dev/null; then
    grubby --update-kernel=ALL --args="$settings"
elif [ -f /etc/default/grub ]; then
    if ! grep -q '^GRUB_CMDLINE_LINUX=.*console=ttyS0' /etc/default/grub; then
        grep -q '^GRUB_CMDLINE_LINUX=' /etc/default/grub || echo 'GRUB_CMDLINE_LINUX=""' >>/etc/default/grub
        sed -i "s/^GRUB_CMDLINE_LINUX=\"\(.*\)\"/GRUB_CMDLINE_LINUX=\"\1 $settings\"/" /etc/default/grub
    fi
    if command -v update-grub >/dev/null; then update-grub
    elif command -v grub2-mkconfig >/dev/null; then grub2-mkconfig -o /boot/grub2/grub.cfg
    else grub-mkconfig -o /boot/grub/grub.cfg; fi
else
    echo "no GRUB here: the kernel's command line stays as it is" >&2
fi

if command -v systemctl >/dev/null; then systemctl enable serial-getty@ttyS0.service; fi
