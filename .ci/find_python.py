# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the path of an interpreter of one of the given versions that can make virtual environments, else exit with 1.

Looked at: this interpreter, those on PATH, and those installed beside this one (as pyenv does).
Usage: find_python.py VERSION...   for example: find_python.py 3.12 3.11
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROBE = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


def candidates(version: str) -> Iterator[Path]:
    """Files that may be an interpreter of this version, the likeliest first."""
    this = Path(os.path.realpath(sys.executable))
    yield this
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{version}"
    yield this.parent / f"python{version}"
    yield from sorted(this.parents[2].glob(f"*/bin/python{version}"))


def answers(candidate: Path, version: str) -> bool:
    """Whether the file runs (a shim need not) and is of this version with all that a virtual environment needs."""
    if not candidate.is_file():
        return False
    try:
        found = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and found.stdout.strip() == version


def main(versions: list[str]) -> int:
    """Print the first interpreter found, in the order of the versions given."""
    for version in versions:
        for candidate in candidates(version):
            if answers(candidate, version):
                print(candidate)
                return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
