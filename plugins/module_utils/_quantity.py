# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities of Kubernetes. Private to this collection."""

from __future__ import annotations

import contextlib
import re
import typing as t

with contextlib.suppress(ImportError):
    from kubernetes.utils.quantity import parse_quantity

PLAIN = re.compile(r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$")
"""Those without a sign and without small fractions, which are all that sizes and speeds need."""


def quantity(text: t.Any) -> float:
    """A quantity as a number; 0 for nothing and for what can't be read."""
    try:
        return float(parse_quantity(text)) if text else 0.0  # type: ignore[no-untyped-call]
    except ValueError:
        return 0.0
