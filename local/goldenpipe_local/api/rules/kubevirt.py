"""What KubeVirt's and CDI's admission webhooks ask of the objects that the local cluster runs."""

from __future__ import annotations

from collections.abc import Iterator

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import Fault, forbidden_value, invalid_value, required, unsupported
from goldenpipe_local.api.rules.base import Rules

RUN_STRATEGIES = ("Always", "Halted", "Manual", "RerunOnFailure", "Once", "WaitAsReceiver")


class VirtualMachineRules(Rules):
    """Exactly one of running and runStrategy; a template."""

    def check(self, obj: Object) -> Iterator[Fault]:
        spec = obj.get("spec") or {}
        if not isinstance(spec.get("template"), dict):
            yield required("spec.template", "missing virtual machine template.")
        has_running, strategy = spec.get("running") is not None, spec.get("runStrategy")
        if has_running and strategy:
            yield invalid_value("spec.running", "", "Running and RunStrategy are mutually exclusive.")
        elif not has_running and not strategy:
            yield required("spec.running", "one of Running or RunStrategy must be specified.")
        elif strategy and strategy not in RUN_STRATEGIES:
            yield unsupported("spec.runStrategy", strategy, RUN_STRATEGIES)


class DataVolumeRules(Rules):
    """A source, and one of pvc and storage; never changed."""

    def check(self, obj: Object) -> Iterator[Fault]:
        spec = obj.get("spec") or {}
        if ("source" in spec) == ("sourceRef" in spec):
            yield invalid_value("spec.source", "", "exactly one of source and sourceRef must be set")
        elif "source" in spec and len(spec["source"] or {}) != 1:
            yield invalid_value("spec.source", "", "Data volume should have one source")
        if ("pvc" in spec) == ("storage" in spec):
            yield invalid_value("spec", "", "exactly one of pvc and storage must be set")
        if spec.get("contentType", "kubevirt") not in {"kubevirt", "archive"}:
            yield unsupported("spec.contentType", spec["contentType"], ("kubevirt", "archive"))

    def check_change(self, old: Object, new: Object) -> Iterator[Fault]:
        if old.get("spec") != new.get("spec"):
            yield forbidden_value("spec", "Cannot update DataVolume Spec")
