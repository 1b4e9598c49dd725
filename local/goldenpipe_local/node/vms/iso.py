"""Small ISO 9660 images of named files, with the names kept in Rock Ridge (Linux) and Joliet (Windows)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pycdlib

from goldenpipe_local.node.files import write_atomically

CLOUD_INIT_LABEL = "cidata"


def write_iso(path: Path, label: str, files: Mapping[str, bytes]) -> None:
    """Write the image; it is readable by the owner only, as it may hold secrets."""
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=label)
    try:
        for number, (name, content) in enumerate(sorted(files.items())):
            # the plain ISO name is only there because it has to be
            plain, file = f"/F{number:06}.;1", io.BytesIO(content)
            image.add_fp(file, len(content), plain, rr_name=name, joliet_path=f"/{name}", file_mode=0o100444)
        out = io.BytesIO()
        image.write_fp(out)
    finally:
        image.close()
    write_atomically(path, out.getvalue())


def read_iso(path: Path) -> dict[str, bytes]:
    """The files of an image by their Rock Ridge names."""
    image = pycdlib.PyCdlib()
    image.open(str(path))
    try:
        files = {}
        for child in image.list_children(rr_path="/"):
            if child is None or child.is_dot() or child.is_dotdot():
                continue
            name = child.rock_ridge.name().decode()
            out = io.BytesIO()
            image.get_file_from_iso_fp(out, rr_path=f"/{name}")
            files[name] = out.getvalue()
        return files
    finally:
        image.close()
