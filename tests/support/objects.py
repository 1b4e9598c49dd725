"""Small valid objects."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def a_config(name: str = "one", **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"key": "value"},
    }


def a_pod(name: str = "one", **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "step", "image": "registry.lab/step:1"}],
        },
    }


def a_job(name: str = "one", **spec: Any) -> Object:
    container = {"name": "step", "image": "registry.lab/step:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        # suspended: on a real cluster nothing is to run
        "spec": {"suspend": True, "template": template, **spec},
    }
