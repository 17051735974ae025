# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities (`500m`, `64Mi`) in the one form in which the real server writes them.

Source: Kubernetes apimachinery pkg/api/resource/quantity.go.
"""
from __future__ import annotations

import decimal
import functools
import re

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_FORM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([KMGTPE]i)|([numkMGTPE]?)|[eE]([+-]?\d+))")
_EXACT = decimal.Context(prec=60)


class QuantityError(ValueError):
    """Text that is not a quantity; the message is the real server's."""


def _parse(text: str) -> tuple[decimal.Decimal, str, str]:
    """The number, its form (binary, decimal or exponent) and its suffix."""
    found = _FORM.fullmatch(text)
    if not found:
        raise QuantityError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    number = decimal.Decimal(found[1] + found[2])
    if found[3]:
        return _EXACT.multiply(number, decimal.Decimal(1024 ** _BINARY[found[3]])), "binary", found[3]
    exponent = int(found[5]) if found[5] else _DECIMAL[found[4] or ""]
    return number.scaleb(exponent, _EXACT), "exponent" if found[5] else "decimal", found[4] or ""


def quantity(text: str) -> decimal.Decimal:
    """The value in base units. Raises QuantityError."""
    return _parse(text)[0]


@functools.lru_cache(maxsize=4096)
def canonical_quantity(text: str) -> str:
    """The largest suffix that needs no fraction, in the family that was used. Raises QuantityError."""
    value, form, _suffix = _parse(text)
    sign, value = ("-" if value < 0 else ""), abs(value)
    if value == 0:
        return "0"
    if form == "binary" and value >= 1024 and value == value.to_integral_value():
        number, steps = int(value), 0
        while number % 1024 == 0 and steps < 6:
            number, steps = number // 1024, steps + 1
        suffix = next((name for name, power in _BINARY.items() if power == steps), "")
        return f"{sign}{number}{suffix}"
    # Below a nano everything is rounded up.
    nanos = int((value * 10 ** 9).to_integral_value(decimal.ROUND_CEILING))
    exponent = -9
    while nanos % 1000 == 0 and exponent < 18:
        nanos, exponent = nanos // 1000, exponent + 3
    if form == "exponent":
        return f"{sign}{nanos}e{exponent}" if exponent else f"{sign}{nanos}"
    return sign + str(nanos) + next(name for name, power in _DECIMAL.items() if power == exponent)
