# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every ansible-test sanity test for the running Python: from a copy of the checkout, without containers.

Usage: sanity.py [ansible-test options]   for example: sanity.py --test pylint
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
#: Kept between runs: environments that ansible-test makes for its tests.
HOME = REPOSITORY / "build" / "sanity"

# ansible-test would download a script that installs pip into an empty environment. Python brings one of its own.
INSTALL_PIP = '''\
import subprocess, sys
pins = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
if pins:
    sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *pins]))
'''
PIP_VERSIONS = ("24_2", "25_2")  # as pinned by ansible-core 2.19 and 2.21


def copy_checkout(target: Path) -> None:
    """Copy tracked and new files: ansible-test resolves links, and refuses what isn't in a collection's folder."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(names).split("\0")):
        source, copy = REPOSITORY / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)


def environment() -> dict[str, str]:
    """A home of its own with the stand-in in place; the real interpreter's folder before shims that may not answer."""
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIP_VERSIONS:
        (cache / f"get_pip_{version}.py").write_text(INSTALL_PIP, encoding="utf-8")
    tools = str(Path(sys.executable).parent)
    interpreter = str(Path(os.path.realpath(sys.executable)).parent)
    others = [folder for folder in os.get_exec_path() if Path(folder).name != "shims" and folder != tools]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    return {**kept, "HOME": str(HOME), "PATH": os.pathsep.join([interpreter, tools, *others])}


def main(options: list[str]) -> int:
    """Run the tests and hand on their exit code."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [str(Path(sys.executable).parent / "ansible-test"), "sanity", "--local", "--python", version, *options]
    # Outside of the checkout: inside of it ansible-test would ask git, which ignores the folder.
    with tempfile.TemporaryDirectory(prefix="okd-virt-sanity-") as folder:
        tree = Path(folder).resolve() / "ansible_collections" / "okd" / "virt"
        copy_checkout(tree)
        return subprocess.run(command, cwd=tree, env=environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
