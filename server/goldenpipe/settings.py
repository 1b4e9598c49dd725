"""Everything that can be set, read once at start and passed down; nothing reads the environment later."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

Seconds = Annotated[int, Field(gt=0)]
AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """What every manifest may need to know of the cluster; templates see it as `settings`."""

    step_image: str = "goldenpipe-steps:latest"
    """Container image of the built-in steps; the local node runs the command as a process instead."""
    step_service_account: str = "goldenpipe-step"
    """Service account of steps that declare `api: true` and name none of their own."""
    storage_class: str | None = None
    """Storage class of image disks; None: CDI's default virtualization class."""
    access_mode: AccessMode | None = None
    """Access mode of image disks; None: what CDI's storage profile says."""
    immediate_binding: bool = True
    """Whether image disks are bound before a VM uses them; false for node-local storage, where the VM goes first."""
    iso_size: str = "16Gi"
    """Size of the volume that an installer ISO is downloaded into, where its server does not say how large it is."""
    look_at_base_image: bool = True
    """Read the first 64 KiB at `base_iso_url` when a build is asked for (within 3 s), so that an installer ISO is told
    from a disk image by its content; false: by the URL's name alone, and the service calls nobody's servers."""
    preference: str | None = None
    """VirtualMachineClusterPreference of build VMs and published images; None: none."""
    instancetype: str | None = None
    """VirtualMachineClusterInstancetype published as the image's default; None: none."""
    network: str | None = None
    """NetworkAttachmentDefinition that build VMs use instead of the Pod network; None: the Pod network."""
    windows_drivers: str | None = None
    """The virtio drivers' ISO for Windows: its URL, or on KubeVirt the image of a container disk; None: the build VM
    has the disk controller and network card that Windows knows by itself."""
    windows_preference: str | None = None
    """VirtualMachineClusterPreference of Windows' build VMs and published images; None: none."""
    windows_secure_boot: bool = True
    """Whether Windows' build VMs have UEFI's secure boot."""
    windows_tpm: bool = False
    """Whether they have a TPM; without one, Windows 11's Setup is told not to look for it."""
    windows_openssh_url: str | None = None
    """Win32-OpenSSH as .zip or .msi, for guests that reach no Windows Update; None: the capability of Windows."""
    windows_openssh_checksum: str | None = None
    """`sha256:` and the digest of that file; None: it is not checked."""
    ssh_port: Annotated[int, Field(ge=1, le=65535)] = 22
    """TCP port of the guest's SSH server, where the VMI does not name one itself."""
    pending_timeout_seconds: Seconds = 900
    """How long a disk may wait for its volume or its importer before the step gives up."""
    import_timeout_seconds: Seconds = 7_200
    """How long a download into a disk may take, with all that CDI tries again by itself."""
    boot_timeout_seconds: Seconds = 300
    """How long a VM whose disk is filled may take until it runs and has an address."""
    ssh_timeout_seconds: Seconds = 300
    """How long a booted guest may take until it answers SSH; emulated guests need about 40 s."""
    poweroff_timeout_seconds: Seconds = 300
    """How long a sealed guest may take to power off."""
    install_mirrors: dict[str, str] = field(default_factory=dict)
    """Package mirrors that installers use, by distribution (`debian`, `debian-security`, `ubuntu`, `fedora`, ...); one
    that is missing: the distribution's own."""
    install_proxy: str | None = None
    """HTTP proxy of installers."""
    install_locale: str = "en_US.UTF-8"
    """Locale of systems that are installed from an ISO."""
    install_keyboard: str = "us"
    """Keyboard layout of systems that are installed from an ISO."""
    install_timezone: str = "Etc/UTC"
    """Time zone of systems that are installed from an ISO."""
    install_timeout_seconds: Seconds = 10_800
    """How long an installer may take; with software emulation that is an hour where hardware needs five minutes."""
    install_stall_seconds: Seconds = 900
    """How long an installer may say and show nothing new before the build fails with its last screen."""
    job_ttl_seconds: Annotated[int, Field(ge=0)] = 86_400
    """How long finished Jobs stay for `kubectl logs`; the service keeps the logs for as long as the image."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Where step pods and build VMs may run."""
    tolerations: list[dict[str, Any]] = field(default_factory=list)
    """Taints that step pods and build VMs tolerate."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The service's own settings."""

    data_dir: Path
    """The database, the kept logs and, on one machine, the whole local cluster."""
    host: str = "127.0.0.1"
    port: int = 8080
    """Where the REST API listens; port 0 takes a free one."""
    advertise: tuple[str, int] | None = None
    """Host and port at which the other replicas reach this one; None: where it listens."""
    templates: tuple[Path, ...] = ()
    """Folders laid over the built-in templates, the last one on top."""
    kubeconfig: Path | None = None
    """The real cluster to use; None with `local` false: the Pod's own service account."""
    local: bool = True
    """Start the local cluster and use it."""
    namespace: str | None = None
    """Namespace of all objects; None: the kubeconfig's or the Pod's own."""
    max_builds: int = 2
    """Builds that may run at the same time; the others wait as `pending`, oldest first."""
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
