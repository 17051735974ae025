# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody means is refused, not stumbled over."""
from __future__ import annotations

import contextlib
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.decoding import json_problem
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.options import DeleteOptions
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.request import Query
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.selectors import parse_label_selector
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Ref

VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
VMS = Ref("kubevirt.io", "v1", "virtualmachines")


@given(st.text(max_size=30))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    with contextlib.suppress(StatusError):
        assert str(parse_label_selector(text)) is not None


@pytest.mark.parametrize(("body", "shown"), [(b"\xed\xa1\x80", "í"), (b'{"a": \xc3\xa9}', "Ã"), (b'{"a" ?', "?")])
def test_a_body_that_is_no_json_is_named_by_its_first_wrong_byte(body: bytes, shown: str) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(body)
    text = json_problem(body, caught.value)
    assert f"invalid character '{shown}'" in text
    assert text.encode()


def test_options_that_are_too_deep_are_refused() -> None:
    with pytest.raises(StatusError) as caught:
        DeleteOptions.of(Query(""), b"[" * 5000)
    assert caught.value.code == 400


@pytest.mark.parametrize("ref", [VMS, VMIS], ids=["vm", "vmi"])
@pytest.mark.parametrize("spec", [{"domain": "none"}, {"domain": {"devices": {"disks": 7}}}, {"domain": {"machine": []}}])
async def test_machines_of_the_wrong_shape_are_invalid(ref: Ref, spec: dict[str, t.Any]) -> None:
    engine = Engine(Options(cluster="empty", speed="max"))
    await engine.start()
    try:
        whole = spec if ref == VMIS else {"runStrategy": "Halted", "template": {"spec": spec}}
        body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine" + ("Instance" if ref == VMIS else ""), "metadata": {"name": "odd"}, "spec": whole}
        with pytest.raises(StatusError) as caught:
            await engine.admin.create(ref, body, "default")
        assert caught.value.code in (400, 422)
    finally:
        await engine.stop()
