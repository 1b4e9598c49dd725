"""etcd, kube-apiserver and kube-controller-manager over one folder, each of which a test may stop and start."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from support.controlplane.audit import POLICY
from support.controlplane.certificates import Authority, Pair, signing_pair, write_private
from support.controlplane.programs import Program, Programs

Object = dict[str, Any]
NAMESPACE = "goldenpipe-system"
_START_SECONDS = 180.0
_REQUEST_SECONDS = 30.0
_CONTROLLERS = (
    "disruption-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
)
"""Nothing of storage: the node agent is CDI and the storage provider too, and protects claims itself."""


class ControlPlane:
    """Runs while its context is open; nothing of it stays."""

    def __init__(
        self,
        programs: Programs,
        folder: Path,
        *,
        definitions: Iterable[Object] = (),
        controller_options: Iterable[str] = (),
    ) -> None:
        self._programs = programs
        self._controller_options = tuple(controller_options)
        self._folder = folder
        self._definitions = tuple(definitions)
        self._etcd_port, self._peer_port, self._port = _free_ports(3)
        self._authority = Authority(folder, "goldenpipe-test-authority")
        self._tokens = signing_pair(folder)
        self._token = secrets.token_urlsafe(32)
        write_private(folder / "tokens.csv", f'{self._token},admin,admin,"system:masters"\n')
        (folder / "audit-policy.yaml").write_text(POLICY)
        self._manager = self._authority.client("system:kube-controller-manager")
        self._context = ssl.create_default_context(cafile=self._authority.certificate)
        self.etcd = Program(self._etcd_command(), folder / "etcd.log", self._etcd_is_ready)
        self.apiserver = Program(self._apiserver_command(), folder / "kube-apiserver.log", self._is_ready)
        self.controllers = Program(self._controllers_command(), folder / "controllers.log", lambda: True)

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def authority(self) -> Authority:
        """Signs for all servers and clients of this control plane."""
        return self._authority

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; its context has the namespace goldenpipe-system."""
        return self._folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """What service accounts have asked for; see `support.controlplane.audit`."""
        return self._folder / "audit.log"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        for program in (self.etcd, self.apiserver):
            program.start()
            self.wait_ready(program)
        self.write_kubeconfig(self.kubeconfig, {"token": self._token})
        self.must("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self._install_definitions()
        # started last, or its garbage collector would learn of the custom kinds half a minute later
        manager = self._folder / "kubeconfig-controllers"
        self.write_kubeconfig(manager, _user_of(self._manager))
        self.controllers.start()

    def _stop(self) -> None:
        for program in (self.controllers, self.apiserver, self.etcd):
            program.stop()

    def wait_ready(self, program: Program, *, seconds: float = _START_SECONDS) -> None:
        """Return when the program does its work; raise with its last words if it ends instead."""

        def ready() -> bool:
            program.check()
            return program.is_ready()

        _wait(ready, f"{program.log.stem} is not ready, see {program.log}", seconds=seconds)

    def call(self, method: str, path: str, body: Object | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer to the administrator."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS, context=self._context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def must(self, method: str, path: str, body: Object | None = None) -> Any:
        status, answer = self.call(method, path, body)
        if status >= 300:
            message = f"{method} {path}: {status} {answer}"
            raise RuntimeError(message)
        return answer

    def compact(self) -> None:
        """Let etcd forget all that is not the present."""
        revision = self._etcd("/v3/maintenance/status", {})["header"]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _etcd(self, path: str, body: Object) -> Any:
        url = f"http://127.0.0.1:{self._etcd_port}{path}"
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=_REQUEST_SECONDS) as answer:
            return json.loads(answer.read())

    def write_kubeconfig(self, path: Path, user: Object, *, namespace: str = NAMESPACE) -> Path:
        """For a user with a token or a client certificate, as a kubeconfig's `user` has them."""
        cluster = {"server": self.address, "certificate-authority-data": self._authority.data}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}],
            "current-context": "test",
        }
        return write_private(path, yaml.safe_dump(document, sort_keys=False))

    def admin_kubeconfig(self, path: Path, namespace: str) -> Path:
        return self.write_kubeconfig(path, {"token": self._token}, namespace=namespace)

    def _install_definitions(self) -> None:
        root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        names = []
        for definition in self._definitions:
            self.must("POST", root, definition)
            names.append(definition["metadata"]["name"])
        for name in names:
            _wait(lambda name=name: self._is_established(f"{root}/{name}"), f"{name} is not established")

    def _is_established(self, path: str) -> bool:
        conditions = self.must("GET", path).get("status", {}).get("conditions", [])
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    def _is_ready(self) -> bool:
        headers = {"Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(f"{self.address}/readyz", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS, context=self._context) as answer:
                return bool(answer.status == 200)
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            return False

    def _etcd_is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._etcd_port), timeout=1):
                return True
        except OSError:
            return False

    def _etcd_command(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        return [
            str(self._programs.etcd),
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--logger=zap",
            "--log-level=warn",
        ]

    def _apiserver_command(self) -> list[str]:
        server = self._authority.server("kube-apiserver", "localhost")
        kubelet = self._authority.client("kube-apiserver-kubelet-client", "system:masters")
        front = Authority(self._folder, "front-proxy-authority")
        proxy = front.client("front-proxy-client")
        return [
            str(self._programs.apiserver),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/24",
            f"--cert-dir={self._folder}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={self._authority.certificate}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--anonymous-auth=false",
            "--profiling=false",
            f"--audit-policy-file={self._folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._tokens.certificate}",
            f"--service-account-signing-key-file={self._tokens.key}",
            f"--kubelet-client-certificate={kubelet.certificate}",
            f"--kubelet-client-key={kubelet.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={front.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
        ]

    def _controllers_command(self) -> list[str]:
        return [
            str(self._programs.controller_manager),
            f"--kubeconfig={self._folder / 'kubeconfig-controllers'}",
            f"--controllers={','.join(_CONTROLLERS)}",
            "--leader-elect=false",
            "--secure-port=0",
            "--profiling=false",
            "--use-service-account-credentials=true",
            f"--root-ca-file={self._authority.certificate}",
            f"--service-account-private-key-file={self._tokens.key}",
            *self._controller_options,
        ]


def _user_of(pair: Pair) -> Object:
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(is_so: Callable[[], bool], words: str, *, seconds: float = _START_SECONDS) -> None:
    """These programs cannot be asked to say when: ask them, less and less often."""
    pause, limit = 0.05, time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > limit:
            message = f"{words} (waited {seconds:.0f} s)"
            raise TimeoutError(message)
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
