# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded requests to KubeVirt, sent again to an engine, and where its answers differ, a line each.

A Status is compared whole. Of an object and of the items of a list every field is compared, but for what is different each time:
names with random parts, uids, versions, times, addresses, which node was chosen. Of a Table the columns and the cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..support.api import Answer, Api

Object = dict[str, Any]

RECORDED = Path(__file__).parent / "recorded"
DIFFERENCES = Path(__file__).parent / "kubevirt_differences.yml"
RELEASES = {"1.4.1": "4.18", "1.5.3": "4.19"}
GROUPS = (
    "kv-create", "kv-vmim", "kv-abort", "kv-fail", "kv-evict", "kv-subresource", "kv-policy", "kv-drain",
    "kv-time-cancel", "kv-time-clear", "kv-time-uncordon", "kv-time-uncordonfail", "kv-time-fail", "kv-time-drain6", "kv-time-ansible",
)  # fmt: skip
INSTALLED_IN = "kubevirt"
"""Namespace in which KubeVirt was recorded."""

_DROPPED = frozenset(("managedFields", "generation", "kubevirt.io/vm-generation", "resourceVersion", "config-resource-version"))
_TIMES = re.compile(r".*([tT]imestamp|lastTransitionTime|lastProbeTime|lastHeartbeatTime|startTime|startedAt|finishedAt|timeAdded|heartbeat|buildDate)$")
_VARIES = {
    "minor": "BUILD",
    "emulationMinor": "BUILD", "minCompatibilityMinor": "BUILD", "gitTreeState": "BUILD",
    "uid": "UID", "nodeName": "NODE", "kubevirt.io/nodeName": "NODE", "sourceNode": "NODE", "targetNode": "NODE", "evacuationNodeName": "NODE",
    "targetNodeAddress": "ADDRESS", "imageID": "ID", "containerID": "ID", "serial": "UID", "ipAddress": "ADDRESS", "mac": "ADDRESS", "podIP": "ADDRESS",
    "hostIP": "ADDRESS", "ip": "ADDRESS", "namespace": "NAMESPACE", "topology.kubernetes.io/zone": "ZONE", "kubernetes.io/hostname": "NODE",
    "gitCommit": "BUILD", "gitVersion": "BUILD", "goVersion": "BUILD", "platform": "BUILD",
}  # fmt: skip
_COUNTED = ("ipAddresses", "podIPs", "hostIPs", "targetDirectMigrationNodePorts")
_KEYED = ("type", "mountPath", "name", "phase", "key", "reason")
_TEXTS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"(virt-launcher-[a-z0-9]+|kubevirt-evacuation|kubevirt-disruption-budget|kubevirt-migrate-vm|mig-[a-z]+)-[a-z0-9]{5}\b"), r"\1-RANDOM"),
    (re.compile(r"\bnode[0-9]{2}\b"), "NODE"),
    (re.compile(r"\b\d{3}s\b"), "SECONDS"),
    (re.compile(r"system:serviceaccount:kubevirt(-hyperconverged)?:"), "system:serviceaccount:kubevirt:"),
)
_NUMBERED = re.compile(r'"(virt-launcher-)?(u|c|n|good)[0-9](-RANDOM)?"')
_ENGINE = ("engine.okd.virt/", "rk.fake/")
"""Annotations that say how long a copy is to take: to the engine, and to the script that played virt-handler."""


@dataclass(frozen=True)
class Allowed:
    """What may differ: whole cases, fields by a pattern of their path, and texts that the script on the nodes said otherwise; each with its reason."""

    cases: Mapping[str, str]
    fields: tuple[tuple[re.Pattern[str], re.Pattern[str], str], ...]
    """Pattern of the case, pattern of the path, reason."""
    texts: tuple[tuple[str, str, str], ...]
    """As recorded, as virt-handler says it, reason."""

    @classmethod
    def read(cls) -> Allowed:
        listed = yaml.safe_load(DIFFERENCES.read_text(encoding="utf-8"))
        fields = tuple((re.compile(one["case"]), re.compile(one["field"]), str(one["reason"])) for one in listed["fields"])
        return cls(listed["cases"], fields, tuple((one["recorded"], one["said"], one["reason"]) for one in listed["texts"]))

    def said(self, case: Object) -> Object:
        """A recorded case with what virt-handler says instead."""
        text = json.dumps(case["response"])
        for short, longer, _reason in self.texts:
            text = text.replace(json.dumps(short)[1:-1], json.dumps(longer)[1:-1])
        return {**case, "response": json.loads(text)}

    def rule(self, name: str, difference: str) -> int | None:
        """Which of the fields' rules a difference falls under."""
        path = difference.split(": recorded ", 1)[0]
        return next((index for index, (case, field, _reason) in enumerate(self.fields) if case.fullmatch(name) and field.match(path)), None)


def recorded(version: str) -> dict[str, Object]:
    """The recorded exchanges of the groups above, by group and id without the status."""
    return {
        f"{group}/{file.stem[4:]}": json.loads(file.read_text(encoding="utf-8"))
        for group in GROUPS
        for file in sorted((RECORDED / f"kubevirt-{version}" / group).glob("[0-9][0-9][0-9]-*.json"))
    }


def summary(version: str) -> list[Object]:
    """What each case of kv-time-clear left of an instance's mark."""
    path = RECORDED / f"kubevirt-{version}" / "kv-time-clear" / "summary.json"
    results: list[Object] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results


def send(api: Api, case: Object, installed_in: str, names: dict[str, str], path: str = "") -> Answer:
    """Send a recorded request. `names` replace recorded names with random parts; a ServiceAccount is asked for a token, as it was."""
    request = case["request"]
    headers = {name.lower(): value for name, value in (request.get("headers") or {}).items()}
    path = path or _replaced(request["path"], names)
    raw = request.get("body_raw") or ("" if request.get("body") is None else json.dumps(request["body"]))
    user, groups = _who(request["user"], headers)
    return api.request(
        request["method"], path, _replaced(raw, names).encode() if raw else None, content_type=headers.get("content-type", "application/json"),
        accept=headers.get("accept", "application/json"), user=user.replace(f":{INSTALLED_IN}:", f":{installed_in}:"), groups=groups,
    )  # fmt: skip


def _who(user: str, headers: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    if "impersonate-user" in headers:
        groups = headers.get("impersonate-group")
        return headers["impersonate-user"], (groups,) if groups else ()
    if user.startswith("sa:"):
        _kind, namespace, name = user.split(":")
        return f"system:serviceaccount:{namespace}:{name}", ("system:serviceaccounts", "system:authenticated")
    return (user.removeprefix("user-"), ("devs",)) if user.startswith("user-") else ("", ())


def _replaced(text: str, names: dict[str, str]) -> str:
    for name, other in names.items():
        text = text.replace(name, other)
    return text


def compare(case: Object, answer: Answer) -> list[str]:
    """Where the answer differs from the recorded one."""
    real = case["response"]
    if answer.status != real["status"]:
        return [f"status: recorded {real['status']}, here {answer.status}: {json.dumps(answer.body)[:300]}"]
    body = real["body"]
    if body is None:
        text, got = real.get("body_raw") or "", answer.body or ""
        return [] if text == got else [f"body: recorded {text!r}, here {got!r}"]
    if not isinstance(answer.body, dict):
        return [f"body: recorded {json.dumps(body)[:100]}, here {answer.body!r}"]
    if body.get("kind") == "Table":
        return differences("", _table(body), _table(answer.body))
    if "items" in body:
        return _lists(body, answer.body)
    return differences("", normal(body), normal(answer.body))


def _table(body: Object) -> Object:
    """Columns, and what rows look like: which objects there are is up to the scene."""
    rows = [row["cells"] for row in body["rows"]]
    return {
        "columns": body["columnDefinitions"], "keys": sorted(body), "row": sorted({key for row in body["rows"] for key in row}),
        "object": sorted({key for row in body["rows"] for key in row["object"]}), "cells": sorted({len(row) for row in rows}),
    }  # fmt: skip


def _lists(real: Object, got: Object) -> list[str]:
    """Of the lists themselves, and of the items: of those that differ in nothing there may be more or fewer."""
    found = differences("", *({key: value for key, value in normal(body).items() if key != "items"} for body in (real, got)))
    expected, items = _items(real), _items(got)
    only_real, only_got = [expected[key] for key in expected if key not in items], [items[key] for key in items if key not in expected]
    for index in range(max(len(only_real), len(only_got))):
        one, other = (side[index] if index < len(side) else "ABSENT" for side in (only_real, only_got))
        found += differences("items[]", one, other)
    return found


def _items(body: Object) -> dict[str, Any]:
    made = [normal(item) for item in body["items"]]
    for item in made:
        item["metadata"].pop("name", None)
    # Which of several machines alike came first is up to the evacuation controller.
    texts = sorted({_NUMBERED.sub(r'"\1\2\3"', json.dumps(item, sort_keys=True)) for item in made})
    return {text: json.loads(text) for text in texts}


def normal(value: Any) -> Any:
    """Without what differs from one run to the next."""
    if isinstance(value, dict):
        return {key: one for key, one in (_field(key, value[key]) for key in value) if key not in _DROPPED and not key.startswith(_ENGINE)}
    if isinstance(value, list):
        made = [normal(one) for one in value]
        keyed = made and all(isinstance(one, dict) and any(key in one for key in _KEYED) for one in made)
        return sorted(made, key=_key) if keyed else made
    return _text(value) if isinstance(value, str) else value


def _field(key: str, value: Any) -> tuple[str, Any]:
    if key == "activePods":
        # A target's pod is seen a moment earlier or later.
        return key, "NODES"
    if key in _COUNTED:
        return key, len(value)
    if isinstance(value, str):
        if key in _VARIES:
            return key, _VARIES[key]
        if _TIMES.match(key):
            return key, "TIME"
    return _text(key), normal(value)


def _key(one: Object) -> str:
    return str([one[key] for key in _KEYED if key in one])


def _text(text: str) -> str:
    for pattern, name in _TEXTS:
        text = pattern.sub(name, text)
    return text


def differences(path: str, real: Any, got: Any) -> list[str]:
    """Where the two differ, a line each."""
    if isinstance(real, dict) and isinstance(got, dict):
        keys = sorted(real.keys() | got.keys())
        return [line for key in keys for line in differences(f"{path}.{key}" if path else key, real.get(key, "ABSENT"), got.get(key, "ABSENT"))]
    if isinstance(real, list) and isinstance(got, list) and len(real) == len(got):
        return [line for index, (one, other) in enumerate(zip(real, got, strict=True)) for line in differences(f"{path}[{index}]", one, other)]
    return [] if real == got else [f"{path}: recorded {json.dumps(real)[:200]}, here {json.dumps(got)[:200]}"]
