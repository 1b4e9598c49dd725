"""Both container images can be built on a base made of Debian packages alone, and their programs start in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from goldenpipe import __version__
from goldenpipe.templating.bundle import Bundle
from support.markdown import ROOT

_BASE = "localhost/goldenpipe-test-base"
_LARGEST = {"server": 310, "steps": 275}
"""Megabytes, of which the base takes 190."""
_ASK_A_CLUSTER = """
import asyncio, http.server, json, pathlib, threading
from goldenpipe_kube import Kube

class Cluster(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"metadata": {"name": self.headers["Authorization"]}}).encode())

async def ask(port):
    user, cluster = {"token": "secret"}, {"server": f"http://127.0.0.1:{port}"}
    context = {"name": "a", "context": {"user": "a", "cluster": "a"}}
    users, clusters = [{"name": "a", "user": user}], [{"name": "a", "cluster": cluster}]
    config = {"users": users, "clusters": clusters, "contexts": [context], "current-context": "a"}
    pathlib.Path("/tmp/kubeconfig").write_text(json.dumps(config))
    async with await Kube.connect("/tmp/kubeconfig") as kube:
        return (await kube.get("Job", "a"))["metadata"]["name"]

server = http.server.HTTPServer(("127.0.0.1", 0), Cluster)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(asyncio.run(ask(server.server_port)))
"""
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_MISSING = [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(_MISSING), reason=f"not here: {', '.join(_MISSING)} (Debian packages of these names)"),
]


class Builder:
    """buildah, with all that it keeps in one folder."""

    def __init__(self, folder: Path) -> None:
        storage = folder / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n')
        self.environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(storage),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDER": "buildah",
            "BASE": _BASE,
            # the authorities that this machine trusts, which may be more than Debian's
            "BUILD_OPTIONS": f"--volume={_AUTHORITIES}:{_AUTHORITIES}:ro --env=PIP_CERT={_AUTHORITIES}",
        }

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, cwd=ROOT, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr[-2000:]}"
        return done.stdout.strip()

    def megabytes(self, image: str) -> int:
        """Of all that is in it, its base with it."""
        mounted = self.run("buildah", "mount", self.run("buildah", "from", "--pull-never", image))
        return int(self.run("du", "--summarize", "--block-size=1000000", mounted).split()[0])

    def inside(self, image: str, *command: str) -> str:
        container = self.run("buildah", "from", "--pull-never", image)
        return self.run("buildah", "run", container, "--", *command)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    folder = tmp_path_factory.mktemp("images")
    builder, base = Builder(folder), folder / "base.tar"
    packages = "python3,python3-venv,ca-certificates"
    builder.run(
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"),
        *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "info", "locale", "man")),
        *("bookworm", str(base)),
    )
    container = builder.run("buildah", "from", "scratch")
    builder.run("buildah", "add", "--quiet", container, str(base), "/")
    builder.run("buildah", "commit", "--quiet", container, _BASE)
    builder.run("scripts/images.sh")
    yield builder
    shutil.rmtree(folder)


def test_the_image_of_the_service_holds_the_program_and_its_templates(builder: Builder) -> None:
    image = f"localhost/goldenpipe-server:{__version__}"
    assert builder.inside(image, "goldenpipe", "--version") == f"goldenpipe {__version__}"
    builder.inside(image, "goldenpipe", "lint")
    # asked of Python, too: buildah loses what a program says that ends as soon as `id` does
    code = "import os; from goldenpipe.templating.bundle import Bundle; print(os.getuid(), len(Bundle.read().files))"
    assert builder.inside(image, "python3", "-c", code) == f"65532 {len(Bundle.read().files)}"


def test_the_image_of_the_steps_holds_every_step_and_nothing_of_the_service(builder: Builder) -> None:
    image = f"localhost/goldenpipe-steps:{__version__}"
    told = builder.inside(image, "goldenpipe-step", "--help")
    for template in (ROOT / "templates" / "steps").glob("*.yaml"):
        assert f"  {template.stem} " in told
    load = "import goldenpipe_steps.kit.runner, goldenpipe_steps.programs.create_vm, importlib.util as u"
    code = f"{load}; import os; print(os.getuid(), u.find_spec('goldenpipe'))"
    assert builder.inside(image, "sh", "-c", f'cd /tmp && python3 -c "{code}"') == "65532 None"


@pytest.mark.parametrize("name", _LARGEST)
def test_what_was_left_out_of_the_kubernetes_client_is_not_missed(builder: Builder, name: str) -> None:
    image = f"localhost/goldenpipe-{name}:{__version__}"
    assert builder.inside(image, "python3", "-c", _ASK_A_CLUSTER).splitlines()[-1] == "Bearer secret"


@pytest.mark.parametrize("name", _LARGEST)
def test_an_image_is_no_larger_than_it_needs_to_be(
    builder: Builder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    size = builder.megabytes(f"localhost/goldenpipe-{name}:{__version__}")
    with capsys.disabled():
        print(f"\ngoldenpipe-{name}: {size} MB, of which the base takes {builder.megabytes(_BASE)} MB")
    assert size <= _LARGEST[name]
