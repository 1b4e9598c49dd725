"""What the server serves: one row per resource, as on a cluster with KubeVirt and CDI."""

from __future__ import annotations

from dataclasses import dataclass

from goldenpipe_kube import KINDS


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource: where it is served, and which rules of the API apply to it."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    has_status: bool = False
    """Served with a /status subresource: status is ignored everywhere else."""
    has_generation: bool = False
    """metadata.generation counts the changes of everything but metadata (and status, where that is apart)."""
    can_watch: bool = True

    @property
    def key(self) -> str:
        """`pods`, `jobs.batch`: how kubectl and error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def qualified_kind(self) -> str:
        """`Pod`, `Job.batch`: how validation errors name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def custom(self) -> bool:
        """Defined by a CustomResourceDefinition on a real cluster, which changes a few rules."""
        return self.group.endswith("kubevirt.io")


def _resource(kind: str, *short: str, status: bool = False, generation: bool = False) -> Resource:
    known = KINDS[kind]
    return Resource(
        kind=kind,
        group=known.group,
        version=known.version,
        plural=known.plural,
        namespaced=known.namespaced,
        short_names=short,
        has_status=status,
        has_generation=generation,
        can_watch=kind != "SelfSubjectAccessReview",
    )


RESOURCES: tuple[Resource, ...] = (
    _resource("Namespace", "ns", status=True),
    _resource("Node", "no", status=True),
    _resource("Pod", "po", status=True, generation=True),
    _resource("Secret"),
    _resource("ConfigMap", "cm"),
    _resource("Service", "svc", status=True),
    _resource("ServiceAccount", "sa"),
    _resource("PersistentVolumeClaim", "pvc", status=True),
    _resource("Event", "ev"),
    _resource("Job", status=True, generation=True),
    _resource("Lease"),
    _resource("DataVolume", "dv", "dvs", status=True, generation=True),
    _resource("DataSource", "das", generation=True),
    _resource("VirtualMachine", "vm", "vms", status=True, generation=True),
    _resource("VirtualMachineInstance", "vmi", "vmis", generation=True),
    _resource("VirtualMachineExport", "vmexport", "vmexports", status=True, generation=True),
    _resource("SelfSubjectAccessReview"),
)

BY_KEY: dict[str, Resource] = {resource.key: resource for resource in RESOURCES}
BY_KIND: dict[str, Resource] = {resource.kind: resource for resource in RESOURCES}


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """The resource served at this place, if there is one."""
    resource = BY_KEY.get(f"{plural}.{group}" if group else plural)
    return resource if resource is not None and resource.version == version else None


def by_api_version(api_version: str, kind: str) -> Resource | None:
    """The resource of an owner reference; the version does not matter, as for the real collector."""
    resource = BY_KIND.get(kind)
    group = api_version.rpartition("/")[0]
    return resource if resource is not None and resource.group == group else None
