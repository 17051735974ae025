# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries that the engine needs. Each import of one is guarded, so that the collection can be read without them; here they are missed."""

from __future__ import annotations

import importlib.util

#: Packages to install, by the module that they bring. uvloop is used where it is there.
REQUIRED = {"aiohttp": "aiohttp", "cryptography": "cryptography", "jwt": "PyJWT", "orjson": "orjson", "yaml": "PyYAML"}


def missing() -> list[str]:
    """Names of the packages that are not installed."""
    return [package for module, package in REQUIRED.items() if importlib.util.find_spec(module) is None]
