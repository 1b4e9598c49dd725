"""The Kubernetes API in plain dicts: one small asyncio client over ``kubernetes.aio``.

The service, the step programs and the node agent all speak through this package; nothing else imports
``kubernetes``. Objects stay dicts on purpose: KubeVirt and CDI have no typed client, and a typed one would refuse
fields newer than itself.
"""

from goldenpipe_kube.client import Kube
from goldenpipe_kube.errors import Conflict, Fenced, Forbidden, Gone, Invalid, KubeError, NotFound, Unreachable
from goldenpipe_kube.kinds import KINDS, Kind, Object
from goldenpipe_kube.schema import schema_faults
from goldenpipe_kube.watching import Event, Listed

__all__ = [
    "KINDS",
    "Conflict",
    "Event",
    "Fenced",
    "Forbidden",
    "Gone",
    "Invalid",
    "Kind",
    "Kube",
    "KubeError",
    "Listed",
    "NotFound",
    "Object",
    "Unreachable",
    "schema_faults",
]
