# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written twice says the same: README and folders, argument specs and defaults, action group and modules."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.okd.virt.plugins.plugin_utils.engine.clusters.generated import SIZES

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.name for path in REPOSITORY.glob("roles/*/meta"))
PLAYBOOKS = sorted(path.stem for path in REPOSITORY.glob("playbooks/*.yml"))
FILTERS = sorted(path.stem for path in REPOSITORY.glob("plugins/filter/*.py") if path.stem != "__init__")
MODULES = sorted(path.stem for path in REPOSITORY.glob("plugins/modules/*.py") if path.stem != "__init__")
#: The embedded cluster is no verb: it takes no connection options.
NOT_IN_ACTION_GROUP = {"engine"}


def load(path: str) -> t.Any:
    return yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))


def listed_in_readme(heading: str) -> list[str]:
    """The names in the table below a heading of README.md."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.split(f"\n### {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `okd\.virt\.(\w+)`", section, flags=re.MULTILINE)


@pytest.mark.parametrize(("heading", "names"), [("Modules", MODULES), ("Filters", FILTERS), ("Roles", ROLES), ("Playbooks", PLAYBOOKS)])
def test_readme_lists_exactly_what_is_there(heading: str, names: list[str]) -> None:
    assert sorted(listed_in_readme(heading)) == names


def test_action_group_holds_exactly_the_verbs() -> None:
    group = load("meta/runtime.yml")["action_groups"]["virt"]
    assert sorted(group) == sorted(set(MODULES) - NOT_IN_ACTION_GROUP)
    assert group == sorted(group)


def test_readme_and_runtime_promise_the_same_core() -> None:
    assert load("meta/runtime.yml")["requires_ansible"] == ">=2.16.0"
    assert "ansible-core 2.16 or newer" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert (REPOSITORY / "tests/requirements-2.16.txt").read_text(encoding="utf-8").count("ansible-core==2.16.") == 1


def test_the_guide_lists_the_sizes_of_a_generated_cluster() -> None:
    text = (REPOSITORY / "docs/docsite/rst/guide_rehearsal.rst").read_text(encoding="utf-8")
    section = text.split("\nA cluster of any size\n", 1)[1].split("\nIn your own tests\n", 1)[0]
    listed: dict[str, int] = {}
    for names, values in re.findall(r"^   \* - (``\w+``(?:, ``\w+``)*)\n     - (.+)$", section, flags=re.MULTILINE):
        listed |= dict(zip(re.findall(r"\w+", names), map(int, values.split(", ")), strict=True))
    assert listed == SIZES


def test_execution_environment_names_files_that_exist() -> None:
    for file in load("meta/execution-environment.yml")["dependencies"].values():
        assert (REPOSITORY / file).is_file()


def test_open_requirements_admit_the_pinned_ones() -> None:
    from packaging.requirements import Requirement

    lines = [line for line in (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]
    pins = {pin.name.lower(): next(iter(pin.specifier)).version for pin in map(Requirement, lines)}
    for file in ("meta/ee-requirements.txt", "meta/engine-requirements.txt"):
        for line in (REPOSITORY / file).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                requirement = Requirement(line)
                assert requirement.specifier.contains(pins[requirement.name.lower()]), f"{file}: {line}"


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_argument_spec(role: str) -> None:
    spec = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(f"roles/{role}/defaults/main.yml") or {}
    assert {name: option["default"] for name, option in spec.items() if "default" in option} == defaults
    for name, option in spec.items():
        assert name.startswith(f"{role}_")
        assert option["description"]
        assert option.get("required") or "default" in option or option["type"], name


@pytest.mark.parametrize("role", ROLES)
def test_role_explains_itself(role: str) -> None:
    text = (REPOSITORY / f"roles/{role}/README.md").read_text(encoding="utf-8")
    spec = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE)) == set(spec)
    meta = load(f"roles/{role}/meta/main.yml")
    assert meta["galaxy_info"]["min_ansible_version"] == "2.16"


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbook_only_imports_roles(name: str) -> None:
    plays = load(f"playbooks/{name}.yml")
    for play in plays:
        assert play["hosts"] == "localhost"
        assert play["connection"] == "local"
        assert play["gather_facts"] is False
        assert play["vars"]["ansible_python_interpreter"] == "{{ ansible_playbook_python }}"
        for task in play["tasks"]:
            assert set(task) <= {"name", "ansible.builtin.import_role", "vars"}
            assert task["ansible.builtin.import_role"]["name"].removeprefix("okd.virt.") in ROLES


def test_artifact_holds_what_users_need_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [Path(sys.executable).parent / "ansible-galaxy", "collection", "build", "--output-path", tmp_path, REPOSITORY],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with tarfile.open(next(tmp_path.glob("okd-virt-*.tar.gz"))) as archive:
        names = archive.getnames()
    top = {name.split("/")[0] for name in names}
    wanted = {"MANIFEST.json", "FILES.json", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert top == wanted | {"changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
