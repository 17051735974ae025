# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Makefile's targets as nox sessions, for those whose habit is nox. All reasoning is in the Makefile."""

from __future__ import annotations

import nox

TARGETS = ("test", "lint", "sanity", "molecule", "docs", "rehearse")


def _session(target: str) -> None:
    def run(session: nox.Session) -> None:
        session.run("make", target, *session.posargs, external=True)

    nox.session(run, venv_backend="none", name=target)


for _target in TARGETS:
    _session(_target)
