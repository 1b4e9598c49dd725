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

    def inside(self, image: str, *command: str) -> str:
        container = self.run("buildah", "from", "--pull-never", image)
        return self.run("buildah", "run", container, "--", *command)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    folder = tmp_path_factory.mktemp("images")
    builder, base = Builder(folder), folder / "base.tar"
    packages = "python3,python3-venv,ca-certificates"
    builder.run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", str(base))
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
    count = "from goldenpipe.templating.bundle import Bundle; print(len(Bundle.read().files))"
    assert builder.inside(image, "python3", "-c", count) == str(len(Bundle.read().files))
    assert builder.inside(image, "id", "-u") == "65532"


def test_the_image_of_the_steps_holds_every_step_and_nothing_of_the_service(builder: Builder) -> None:
    image = f"localhost/goldenpipe-steps:{__version__}"
    told = builder.inside(image, "goldenpipe-step", "--help")
    for template in (ROOT / "templates" / "steps").glob("*.yaml"):
        assert f"  {template.stem} " in told
    load = "import goldenpipe_steps.kit.runner, goldenpipe_steps.programs.create_vm, importlib.util as u"
    code = f"{load}; print(u.find_spec('goldenpipe'))"
    assert builder.inside(image, "sh", "-c", f'cd /tmp && python3 -c "{code}"') == "None"
    assert builder.inside(image, "id", "-u") == "65532"
