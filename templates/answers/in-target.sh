{# Runs as root in the system that was just installed, whichever installer it was. One command a line, no single quotes
   and no backslashes: a preseed file has room for one line. #}
mkdir -p /etc/cloud/cloud.cfg.d
rm -f /etc/cloud/cloud-init.disabled /etc/cloud/cloud.cfg.d/99-installer.cfg /etc/cloud/cloud.cfg.d/90-installer-network.cfg /etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg /etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg /etc/netplan/00-installer-config.yaml /etc/netplan/01-network-manager-all.yaml /etc/netplan/50-cloud-init.yaml
echo "datasource_list: [NoCloud, ConfigDrive, None]" >/etc/cloud/cloud.cfg.d/90_goldenpipe.cfg
echo "policy: enabled" >/etc/cloud/ds-identify.cfg
if [ -f /etc/network/interfaces ]; then echo "source /etc/network/interfaces.d/*" >/etc/network/interfaces; fi
rm -f /etc/sysconfig/network-scripts/ifcfg-e* /etc/sysconfig/network/ifcfg-e* /etc/NetworkManager/system-connections/*.nmconnection
for unit in cloud-init-local cloud-init-main cloud-init-network cloud-init cloud-config cloud-final ssh sshd; do systemctl enable $unit.service 2>/dev/null || true; done
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id
