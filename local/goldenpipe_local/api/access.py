"""Who may do what: bearer tokens, Role-like rules, and the kubeconfigs that hand the tokens out."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from goldenpipe_kube import Object
from goldenpipe_local.api.files import write_private

DEFAULT_NAMESPACE = "goldenpipe-system"
_TOKEN_BYTES = 32
_READ = ("get", "list", "watch")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """As in an RBAC Role; "*" stands for all."""

    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    def allows(self, verb: str, group: str, resource: str) -> bool:
        return all(
            value in allowed or "*" in allowed
            for value, allowed in ((verb, self.verbs), (group, self.api_groups), (resource, self.resources))
        )

    def as_json(self) -> Object:
        return {"apiGroups": [*self.api_groups], "resources": [*self.resources], "verbs": [*self.verbs]}

    @classmethod
    def from_json(cls, value: Object) -> Rule:
        return cls(
            api_groups=tuple(value["apiGroups"]),
            resources=tuple(value["resources"]),
            verbs=tuple(value["verbs"]),
        )


def _rule(group: str, resources: str, *verbs: str) -> Rule:
    return Rule(api_groups=(group,), resources=tuple(resources.split()), verbs=verbs or ("*",))


@dataclass(frozen=True, kw_only=True)
class User:
    """One who has a token."""

    name: str
    rules: tuple[Rule, ...]

    def may(self, verb: str, group: str, resource: str) -> bool:
        """`resource` may name a subresource: `pods/log`."""
        return any(rule.allows(verb, group, resource) for rule in self.rules)


STEP_ACCOUNT = "goldenpipe-step"
"""The service account of steps that have none of their own; any account that is not known here has its rights."""
STEP_ACCOUNTS: tuple[User, ...] = (
    User(
        name=STEP_ACCOUNT,
        rules=(
            _rule("cdi.kubevirt.io", "datavolumes datasources", *_READ),
            _rule("kubevirt.io", "virtualmachines virtualmachineinstances", *_READ),
            _rule("", "pods persistentvolumeclaims", *_READ),
            _rule("", "pods/log", "get"),
            _rule("subresources.kubevirt.io", "virtualmachineinstances/vnc", "get"),
        ),
    ),
    User(
        name=f"{STEP_ACCOUNT}-download-iso",
        rules=(_rule("cdi.kubevirt.io", "datavolumes", *_READ),),
    ),
    User(
        name=f"{STEP_ACCOUNT}-install-os",
        rules=(
            _rule("kubevirt.io", "virtualmachines virtualmachineinstances", *_READ),
            _rule("subresources.kubevirt.io", "virtualmachineinstances/vnc", "get"),
            _rule("", "pods", "list"),
            _rule("", "pods/log", "get"),
        ),
    ),
    User(
        name=f"{STEP_ACCOUNT}-install-windows",
        rules=(
            _rule("kubevirt.io", "virtualmachines virtualmachineinstances", *_READ),
            _rule("subresources.kubevirt.io", "virtualmachines/start", "update"),
            _rule("subresources.kubevirt.io", "virtualmachineinstances/vnc", "get"),
            _rule("", "pods", "list"),
            _rule("", "pods/log", "get"),
        ),
    ),
    User(
        name=f"{STEP_ACCOUNT}-create-vm",
        rules=(
            _rule("cdi.kubevirt.io", "datavolumes", *_READ),
            _rule("kubevirt.io", "virtualmachines virtualmachineinstances", *_READ),
            _rule("subresources.kubevirt.io", "virtualmachines/start", "update"),
            _rule("", "pods", "list"),
            _rule("", "pods/log", "get"),
        ),
    ),
    User(
        name=f"{STEP_ACCOUNT}-seal-image",
        rules=(
            _rule("kubevirt.io", "virtualmachineinstances", *_READ),
            _rule("", "pods", "list"),
            _rule("", "pods/log", "get"),
        ),
    ),
    User(
        name=f"{STEP_ACCOUNT}-publish-image",
        rules=(
            _rule("cdi.kubevirt.io", "datavolumes datasources", "get"),
            _rule("kubevirt.io", "virtualmachineinstances", "get"),
            _rule("", "persistentvolumeclaims", "get"),
        ),
    ),
)
"""As manifests/base/step-accounts.yaml has them for a cluster; a test compares both."""
USERS: tuple[User, ...] = (
    User(name="admin", rules=(_rule("*", "*"),)),
    User(
        name="jobs",
        rules=(
            _rule("batch", "jobs jobs/status", *_READ, "update", "patch", "delete"),
            _rule("", "pods", *_READ, "create", "patch", "delete"),
            _rule("", "events", "create", "patch"),
        ),
    ),
    User(
        name="node",
        rules=(
            _rule("", "*"),
            _rule("coordination.k8s.io", "leases"),
            _rule("cdi.kubevirt.io", "*"),
            _rule("kubevirt.io", "*"),
            _rule("export.kubevirt.io", "*"),
            _rule("subresources.kubevirt.io", "*"),
        ),
    ),
    *STEP_ACCOUNTS,
)


class Access:
    """The tokens file: made once, then kept, so that kubeconfigs stay good over restarts."""

    def __init__(self, tokens: dict[str, str], users: dict[str, User]) -> None:
        self._tokens = tokens
        self._users = users

    @classmethod
    def load(cls, path: Path) -> Access:
        """Read the tokens, making those that are missing."""
        entries: list[Object] = (yaml.safe_load(path.read_text()) or {}).get("users", []) if path.exists() else []
        known = {entry["name"] for entry in entries}
        new = [_entry(user) for user in USERS if user.name not in known]
        if new:
            entries += new
            write_private(path, yaml.safe_dump({"users": entries}, sort_keys=False))
        tokens = {entry["name"]: str(entry["token"]) for entry in entries}
        # what our own users may do is for this version to say; the file keeps their tokens, and users of others
        ours = {user.name: user for user in USERS}
        return cls(tokens, {entry["name"]: ours.get(entry["name"]) or _user(entry) for entry in entries})

    @property
    def users(self) -> list[str]:
        return list(self._users)

    def user_of(self, authorization: str) -> User | None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        for name, token in self._tokens.items():
            if hmac.compare_digest(token.encode(), given.strip().encode()):
                return self._users[name]
        return None

    def kubeconfig(self, user: str, *, address: str, authority: Path) -> str:
        """The authority by its path: the client library writes data into temporary files, and a kill leaves those."""
        context = {"cluster": "goldenpipe", "user": user, "namespace": DEFAULT_NAMESPACE}
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "goldenpipe", "cluster": {"certificate-authority": str(authority), "server": address}}
            ],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "goldenpipe", "context": context}],
            "current-context": "goldenpipe",
        }
        return yaml.safe_dump(document, sort_keys=False)


def _entry(user: User) -> Object:
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    return {"name": user.name, "token": token, "rules": [rule.as_json() for rule in user.rules]}


def _user(entry: Object) -> User:
    """A user of this version has this version's rights, whatever an older one wrote down."""
    for user in USERS:
        if user.name == entry["name"]:
            return user
    return User(name=entry["name"], rules=tuple(Rule.from_json(rule) for rule in entry["rules"]))
