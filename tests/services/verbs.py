# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs verbs against an engine the way a module does: options validated by the verb's own specification."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.okd.virt.plugins.module_utils import _verbs
from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import connect
from ansible_collections.okd.virt.plugins.module_utils._options import auth_spec
from ansible_collections.okd.virt.plugins.module_utils._plan import Outcome, SilentListener
from ansible_collections.okd.virt.plugins.module_utils._verb import run


class KeepingListener(SilentListener):
    """Keeps signs of life too."""

    def __init__(self) -> None:
        super().__init__(time.monotonic)
        self.heartbeats: list[str] = []

    def heartbeat(self, text: str) -> None:
        self.heartbeats.append(text)


class Verbs:
    """Runs verbs as the user of a kubeconfig; C(requests) is how many the last run sent, C(heartbeats) its signs of life."""

    def __init__(self, kubeconfig: Path | str, **connection: t.Any) -> None:
        self.connection = {"kubeconfig": str(kubeconfig), **connection}
        self.requests = 0
        self.heartbeats: list[str] = []

    def __call__(self, verb_name: str, /, check: bool = False, **options: t.Any) -> Outcome:
        verb = _verbs.find(verb_name)
        spec = auth_spec().merge(verb.spec())
        rules = {key: value for key, value in spec.rules().items() if value}
        validated = ArgumentSpecValidator(spec.argument_spec, **rules).validate({**self.connection, **options})
        if validated.error_messages:
            raise AssertionError(f"{verb_name}: {validated.error_messages}")
        parameters = validated.validated_parameters
        with connect(parameters, environment={}) as cluster:
            listener = KeepingListener()
            try:
                return run(verb, parameters, cluster, check, listener)
            finally:
                self.requests, self.heartbeats = cluster.requests, listener.heartbeats

    def four_times(self, verb_name: str, /, **options: t.Any) -> list[bool]:
        """Whether check, run, check, run change something."""
        return [self(verb_name, check=check, **options).changed for check in (True, False, True, False)]
