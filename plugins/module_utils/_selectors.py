# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors as objects have them. Pure. Private to this collection.

Source: Kubernetes apimachinery pkg/apis/meta/v1 (LabelSelectorAsSelector).
"""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]
Labels = t.Mapping[str, str]


def selects(selector: Json | None, labels: Labels) -> bool:
    """Whether it selects what has these labels: none selects nothing, an empty one everything."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def fixed_label(selector: Json | None) -> tuple[str, str] | None:
    """A label and its value that all have that it selects; None where it asks for no such."""
    return next(iter(((selector or {}).get("matchLabels") or {}).items()), None)


def _holds(expression: Json, labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    operator = expression["operator"]
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")
