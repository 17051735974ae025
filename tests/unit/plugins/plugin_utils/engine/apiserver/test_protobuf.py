# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Protobuf bodies: what was encoded is read, and nothing but a clear refusal comes of the rest."""
from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import protobuf
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(version: str, kind: str, raw: bytes) -> bytes:
    return protobuf.MAGIC + field(1, field(1, version) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")


TEXT = st.text(min_size=1, max_size=8)


@given(TEXT, st.dictionaries(TEXT, st.text(max_size=8), max_size=3), st.dictionaries(TEXT, TEXT, max_size=3), st.none() | st.booleans())
def test_a_config_map(name: str, data: dict[str, str], labels: dict[str, str], immutable: bool | None) -> None:
    metadata = field(1, name) + field(2, "") + field(7, 0) + field(8, b"")
    metadata += b"".join(field(11, field(1, key) + field(2, value)) for key, value in labels.items())
    raw = field(1, metadata) + b"".join(field(2, field(1, key) + field(2, value)) for key, value in data.items())
    if immutable is not None:
        raw += field(4, int(immutable))
    expected: dict[str, object] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    if labels:
        expected["metadata"] = {"name": name, "labels": labels}
    if data:
        expected["data"] = data
    if immutable is not None:
        expected["immutable"] = immutable
    assert protobuf.decode(envelope("v1", "ConfigMap", raw)) == expected


def test_a_zero_behind_a_pointer_is_a_value_and_otherwise_nothing() -> None:
    raw = field(2, field(1, 0) + field(5, 0) + field(7, 0))
    assert protobuf.decode(envelope("apps/v1", "Deployment", raw))["spec"] == {"replicas": 0}
    options = protobuf.decode(envelope("v1", "DeleteOptions", field(1, 0) + field(4, "Background")))
    assert options == {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}


def test_lists_times_numbers_and_texts() -> None:
    budget = field(2, field(1, field(1, 1) + field(2, 0) + field(3, "50%")) + field(3, field(1, 0) + field(2, -1)))
    assert protobuf.decode(envelope("policy/v1", "PodDisruptionBudget", budget))["spec"] == {"minAvailable": "50%", "maxUnavailable": -1}
    lease = field(2, field(3, field(1, 1767225600) + field(2, 5000)))
    assert protobuf.decode(envelope("coordination.k8s.io/v1", "Lease", lease))["spec"] == {"acquireTime": "2026-01-01T00:00:00.000005Z"}
    secret = field(2, field(1, "k") + field(2, b"\x00\xff"))
    assert protobuf.decode(envelope("v1", "Secret", secret))["data"] == {"k": "AP8="}
    extra = field(2, field(5, field(1, "scopes") + field(2, field(1, "a") + field(1, "b"))))
    review = protobuf.decode(envelope("authorization.k8s.io/v1", "SubjectAccessReview", extra))
    assert review["spec"] == {"extra": {"scopes": ["a", "b"]}}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (envelope("v1", "Endpoints", b""), "protobuf bodies of kind Endpoints are not read by this server: send application/json"),
        (envelope("v1", "ConfigMap", field(99, "x")), "field 99 of ConfigMap in protobuf is not read by this server"),
        (envelope("v1", "ConfigMap", b"\x0a\xff"), "unable to decode protobuf"),
        (envelope("v1", "ConfigMap", field(1, 7)), "unable to decode protobuf: proto: wrong wireType"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(StatusError, match=text) as caught:
        protobuf.decode(body)
    assert caught.value.code == 400


@given(st.binary(), st.sampled_from(["ConfigMap", "Deployment", "RoleBinding", "SubjectAccessReview", "Lease", "DeleteOptions"]))
def test_any_bytes_are_read_or_refused(data: bytes, kind: str) -> None:
    with contextlib.suppress(StatusError):
        protobuf.decode(envelope("v1", kind, data))
    with contextlib.suppress(StatusError):
        protobuf.decode(protobuf.MAGIC + data)


def test_every_type_of_the_table_is_in_the_table() -> None:
    known = {"string", "int", "bool", "bytes", "ExtraValue", *protobuf._SPECIAL, *protobuf._TYPES}
    for message in protobuf._TYPES:
        for one in protobuf._fields(message).values():
            assert one.type in known, (message, one)
