"""Settings of the cluster from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldenpipe.cli.errors import CliError
from goldenpipe.cli.settings_file import read_settings


def test_what_the_file_names_is_set_and_the_rest_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("storage_class: fast\nssh_timeout_seconds: 60\nnode_selector: {zone: a}\n")
    settings = read_settings(path)
    assert (settings.storage_class, settings.ssh_timeout_seconds, settings.ssh_port) == ("fast", 60, 22)
    assert settings.node_selector == {"zone": "a"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("storage_clas: fast\nssh_port: many\n", "storage_clas.*ssh_port|ssh_port.*storage_clas"),
        ("import_timeout_seconds: 0\nssh_port: 70000\n", "ssh_port.*import_timeout_seconds"),
        (
            "access_mode: ReadWriteTwice\nimmediate_binding: sometimes\n",
            "access_mode.*'ReadWriteOnce'.*immediate_binding",
        ),
        ("- a\n", "wrong"),
        ("a: [\n", "cannot read"),
    ],
)
def test_all_faults_of_the_file_are_told_at_once(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(CliError, match=words) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)
