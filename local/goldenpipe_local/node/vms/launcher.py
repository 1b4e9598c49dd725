"""The Pod that stands for a virtual machine, so that `kubectl get pods` and `kubectl logs` show it as on a cluster.

No process belongs to it: QEMU is the machine's own, and the log of its one container is the serial console.
"""

from __future__ import annotations

import secrets

from goldenpipe_kube import Object
from goldenpipe_local.node.objects import (
    LAUNCHER_LABEL,
    LAUNCHER_VALUE,
    condition,
    name_of,
    now,
    owner_reference,
    uid_of,
)
from goldenpipe_local.node.pods.status import HOST

CONTAINER = "guest-console-log"
CREATED_BY = "kubevirt.io/created-by"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def launcher_pod(instance: Object, node_name: str) -> Object:
    name = name_of(instance)
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(5))
    labels = {
        **(instance["metadata"].get("labels") or {}),
        LAUNCHER_LABEL: LAUNCHER_VALUE,
        CREATED_BY: uid_of(instance),
        "vm.kubevirt.io/name": name.partition(".")[0][:63],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"virt-launcher-{name}-{suffix}"[:253],
            "labels": labels,
            "annotations": {
                "kubectl.kubernetes.io/default-container": CONTAINER,
                "kubevirt.io/domain": name,
            },
            "ownerReferences": [owner_reference(instance)],
        },
        "spec": {
            "nodeName": node_name,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            # as KubeVirt's has it, which fits the Pod security level "restricted"
            "securityContext": {"runAsNonRoot": True, "runAsUser": 107, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": CONTAINER,
                    "image": "qemu",
                    "command": ["qemu-system-x86_64"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def launcher_status(pod: Object, *, ended: bool) -> Object:
    known = pod.get("status") or {}
    started = known.get("startTime") or now()
    state: Object = {"running": {"startedAt": started}}
    if ended:
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now()}}
    why = ("PodCompleted", "") if ended else ("", "")
    conditions = [
        condition("PodScheduled", True),
        condition("Initialized", True),
        condition("Ready", not ended, *why),
        condition("ContainersReady", not ended, *why),
    ]
    return {
        "phase": "Succeeded" if ended else "Running",
        "conditions": [{**each, "lastProbeTime": None, "lastTransitionTime": now()} for each in conditions],
        "hostIP": HOST,
        "podIP": HOST,
        "podIPs": [{"ip": HOST}],
        "startTime": started,
        "containerStatuses": [
            {
                "name": CONTAINER,
                "image": "qemu",
                "imageID": "",
                "ready": not ended,
                "started": not ended,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }
        ],
    }
