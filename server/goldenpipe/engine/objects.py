"""Making the objects of a step: manifests, input Secret and Job, in the cluster before anything relies on them."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable
from typing import Any

import asyncssh

from goldenpipe.cluster.labels import BUILD, CACHE, build_labels, label, step_labels
from goldenpipe.cluster.seen import Seen
from goldenpipe.cluster.vms import guest_address, guest_port
from goldenpipe.engine.record import HISTORY, history_of
from goldenpipe.model.build import Build, Step
from goldenpipe.planning.context import Guest, Keys, Names, build_context
from goldenpipe.settings import ClusterSettings
from goldenpipe.store import Store
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import Renderer
from goldenpipe.templating.steps import StepTemplate, head_of, read_step, render_input, render_job, render_manifests
from goldenpipe_kube import Conflict, Kube

Object = dict[str, Any]


class NotOurs(Exception):
    """An object of the name that a build needs exists already and belongs to something else."""

    def __init__(self, obj: Object) -> None:
        kind, name = obj["kind"], obj["metadata"]["name"]
        super().__init__(f"a {kind} named {name} exists already and is not this build's; delete it or rename the image")


class KeysLost(Exception):
    """A Secret that a build cannot do without is gone: with its keys nobody can log in to its VM any more."""

    def __init__(self, name: str, what: str = "build's SSH keys") -> None:
        super().__init__(f"the Secret {name} with the {what} was deleted while the build ran; create the image again")


class Objects:
    """Creates what a step needs; every call makes sure rather than creates, so all may be repeated."""

    def __init__(self, kube: Kube, seen: Seen, store: Store, settings: ClusterSettings) -> None:
        self._kube, self._seen, self._store, self._settings = kube, seen, store, settings

    def template(self, step: Step, bundle: Bundle) -> StepTemplate:
        return read_step(bundle, step.name)

    async def ensure_manifests(self, build: Build, step: Step, bundle: Bundle) -> list[Object]:
        """The step's input Secret, then the objects that its template lists under `manifests`, in order."""
        template = read_step(bundle, step.name)
        keys = await self._keys(build) if template.manifests and template.needs_vm else None
        given = await self._secrets(build) if template.manifests and template.needs_vm else {}
        renderer = Renderer({**self._context(build, step, template, bundle, keys), "secrets": given})
        wanted = render_manifests(bundle, template, renderer)
        await self.ensure_input(build, step, bundle, wanted)
        return [await self._make(obj, build) for obj in wanted]

    async def _make(self, obj: Object, build: Build) -> Object:
        if label(obj, CACHE):
            return await self._share(obj)
        await self._store.note_object(build.id, obj["kind"], obj["metadata"]["name"])
        return await self._ensure(obj, build)

    async def ensure_input(self, build: Build, step: Step, bundle: Bundle, wanted: Iterable[Object] = ()) -> None:
        """The Secret that the step reads.

        It tells a service that has lost its store what came before the step, and which objects are made for it next.
        """
        template = read_step(bundle, step.name)
        context = self._context(build, step, template, bundle, None)
        document = self._input(build, step, context, render_input(template, Renderer(context)))
        made = tuple((obj["kind"], obj["metadata"]["name"]) for obj in wanted if not label(obj, CACHE))
        metadata: Object = {
            "name": step.job,
            "labels": step_labels(build.name, build.id, step.name),
            "annotations": {HISTORY: json.dumps(history_of(build, now=step, about_to_make=made))},
        }
        data = {"input.json": json.dumps(document)}
        await self._ensure({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}, build)

    async def ensure_job(self, build: Build, step: Step, bundle: Bundle) -> Object:
        """The step's Job, when all is there that its Pod needs."""
        template = read_step(bundle, step.name)
        renderer = Renderer(self._context(build, step, template, bundle, None))
        if template.needs_vm and await self._kube.find("Secret", _keys_name(build)) is None:
            raise KeysLost(_keys_name(build))
        return await self._ensure(render_job(bundle, template, renderer), build)

    @property
    def address_seconds(self) -> int:
        """How long a VM that runs may be without an address."""
        return self._settings.boot_timeout_seconds

    def is_without_address(self, build: Build) -> bool:
        """Whether the build VM runs and yet shows none: a guest agent that starts anew takes it away for a moment."""
        vmi = self._seen.get("VirtualMachineInstance", build.vm)
        return vmi is not None and vmi.get("status", {}).get("phase") == "Running" and guest_address(vmi) is None

    async def keep_secrets(self, build: Build, values: dict[str, str]) -> None:
        """What must not be stored with the request; it goes when the build ends."""
        metadata = {"name": secrets_name(build.id), "labels": build_labels(build.name, build.id)}
        await self._make({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}, build)

    async def _secrets(self, build: Build) -> dict[str, str]:
        name = secrets_name(build.id)
        if ("Secret", name) not in build.objects:
            return {}
        secret = await self._kube.find("Secret", name)
        if secret is None:
            raise KeysLost(name, "request's passwords and keys")
        return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}

    def guest(self, build: Build) -> Guest | None:
        vmi = self._seen.get("VirtualMachineInstance", build.vm)
        address = guest_address(vmi)
        if vmi is None or address is None:
            return None
        return Guest(address=address, port=guest_port(vmi, self._settings.ssh_port))

    async def _share(self, obj: Object) -> Object:
        """What outlives the build that made it, for the next one: no build takes it away, any may use it."""
        obj["metadata"].setdefault("namespace", self._kube.namespace)
        found = {"kind": obj["kind"], **await self._kube.ensure(obj)}
        if label(found, CACHE) != label(obj, CACHE):
            raise NotOurs(found)
        if found["metadata"].get("deletionTimestamp"):
            message = f"{found['kind']} {found['metadata']['name']} is being deleted; it is made anew when it is gone"
            raise Conflict(409, "Deleting", message)
        return found

    async def _ensure(self, obj: Object, build: Build) -> Object:
        obj["metadata"].setdefault("namespace", self._kube.namespace)
        found = {"kind": obj["kind"], **await self._kube.ensure(obj)}
        if label(found, BUILD) != build.id:
            raise NotOurs(found)
        return found

    def _input(self, build: Build, step: Step, context: Object, params: Object) -> Object:
        guest = self.guest(build) if context["step"]["needs_vm"] else None
        return {
            "step": step.name,
            "os_type": build.os_type,
            "image": build.name,
            "build": build.id,
            "namespace": self._kube.namespace,
            "vm": build.vm,
            "disk": build.pvc,
            "guest": {"address": guest.address, "port": guest.port, "user": guest.user} if guest else None,
            "chained_id": step.chained_id,
            "timeout_seconds": context["step"]["timeout"],
            "params": params,
        }

    def _context(self, build: Build, step: Step, template: StepTemplate, bundle: Bundle, keys: Keys | None) -> Object:
        names = Names(
            image=build.name,
            build=build.id,
            namespace=self._kube.namespace,
            vm=build.vm,
            disk=build.pvc,
            labels=build_labels(build.name, build.id),
        )
        context = build_context(
            request=build.request,
            names=names,
            settings=self._settings,
            bundle=bundle,
            facts=build.facts,
            guest=self.guest(build),
            keys=keys,
        )
        head = head_of(template, Renderer(context))
        labels = step_labels(build.name, build.id, step.name)
        return {**context, "step": {**head, "job": step.job, "chained_id": step.chained_id, "labels": labels}}

    async def _keys(self, build: Build) -> Keys:
        """The build's keys: those in its Secret, or new ones. They live nowhere else."""
        secret = await self._kube.find("Secret", _keys_name(build))
        if secret is None and build.vm_uid is not None:
            raise KeysLost(_keys_name(build))
        if secret is None:
            return _new_keys()
        data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        return Keys(
            user_private=data["ssh-privatekey"],
            user_public=data["ssh-publickey"],
            host_private=data["host-privatekey"],
            host_public=data["host-public-key"],
            password=data.get("password", ""),
        )


def _keys_name(build: Build) -> str:
    return f"{build.id}-ssh"


def secrets_name(build: str) -> str:
    return f"{build}-secrets"


def _new_keys() -> Keys:
    user = asyncssh.generate_private_key("ssh-ed25519", comment="goldenpipe build key")
    host = asyncssh.generate_private_key("ssh-ed25519", comment="goldenpipe build host")
    return Keys(
        user_private=user.export_private_key().decode(),
        user_public=user.export_public_key().decode().strip(),
        host_private=host.export_private_key().decode(),
        host_public=host.export_public_key().decode().strip(),
        # Windows wants three of the four kinds of characters
        password=f"{secrets.token_urlsafe(24)}-aA1",
    )
