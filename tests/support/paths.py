# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things lie in this checkout and in its environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUILD = REPOSITORY / "build"


def program(name: str) -> str:
    """Full path of a program of the environment that runs us, else of the PATH. Raises FileNotFoundError."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} is neither beside {sys.executable} nor on the PATH: install tests/requirements.txt")
    return found


def clean_environment(**added: str) -> dict[str, str]:
    """The caller's environment without his clusters and Ansible settings, with ours."""
    foreign = ("ANSIBLE_", "K8S_AUTH_", "KUBECONFIG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    tools = str(Path(sys.executable).parent)
    path = os.pathsep.join([tools, *(folder for folder in os.get_exec_path() if folder != tools)])
    # What somebody once installed for all of his projects must not be tested in place of this checkout.
    ours = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(Path(sys.prefix) / "collections")}
    return {**kept, "PATH": path, **ours, **added}
