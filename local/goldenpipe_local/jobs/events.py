"""Events about Jobs, for `kubectl describe`."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import uuid4

from goldenpipe_kube import Kube, KubeError, Object
from goldenpipe_local.jobs.status import time_text

log = logging.getLogger(__name__)


async def tell(kube: Kube, job: Object, kind: str, reason: str, message: str, now: datetime) -> None:
    """Write an Event; the Job's work does not depend on it, so a failure is only logged."""
    metadata = job["metadata"]
    event: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": "job-controller"},
        "firstTimestamp": time_text(now),
        "lastTimestamp": time_text(now),
        "count": 1,
        "eventTime": None,
        "reportingComponent": "job-controller",
        "reportingInstance": "",
    }
    try:
        await kube.create(event)
    except KubeError as error:
        log.debug("the Event %s of Job %s was not written: %s", reason, metadata["name"], error)
