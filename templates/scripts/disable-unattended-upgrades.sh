#!/bin/sh
# No package changes by itself: what was tested in the image is what runs. Updates come with the next image.
set -eu

if command -v apt-get >/dev/null; then
    mkdir -p /etc/apt/apt.conf.d
    cat >/etc/apt/apt.conf.d/99-no-automatic-upgrades <<'END'
APT::Periodic::Enable "0";
APT::Periodic::Update-Package-Lists "0";
APT::Periodic::Unattended-Upgrade "0";
END
fi

if command -v systemctl >/dev/null; then
    for unit in apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service \
        dnf-automatic.timer dnf-automatic-install.timer dnf-makecache.timer packagekit.service; do
        # not every distribution has every unit
        if systemctl cat "$unit" >/dev/null 2>&1; then
            systemctl disable "$unit"
            echo "disabled $unit"
        fi
    done
fi
