# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a verb to an Ansible module. Private to this collection."""

from __future__ import annotations

import time
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ._cluster.connection import KUBERNETES_IMPORT_ERROR, connect
from ._errors import VirtError
from ._options import auth_spec
from ._plan import SilentListener
from ._verb import Verb, run

_SECRETS = frozenset({"token", "password", "client-key-data", "id-token", "refresh-token", "client-secret"})


def secrets_of(kubeconfig: t.Any) -> set[str]:
    """What must not be shown of a kubeconfig that was given as a dictionary."""
    if isinstance(kubeconfig, dict):
        own = {value for key, value in kubeconfig.items() if key in _SECRETS and isinstance(value, str) and value}
        return own.union(*(secrets_of(value) for value in kubeconfig.values()))
    if isinstance(kubeconfig, list):
        return set().union(*(secrets_of(value) for value in kubeconfig))
    return set()


def run_module(verb: Verb) -> None:
    """Run a verb as a module: the only place where its errors become fail_json."""
    spec = auth_spec().merge(verb.spec())
    module = AnsibleModule(argument_spec=spec.argument_spec, supports_check_mode=True, **spec.rules())
    if KUBERNETES_IMPORT_ERROR is not None:
        error = KUBERNETES_IMPORT_ERROR
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=trace)
    module.no_log_values.update(secrets_of(module.params["kubeconfig"]))
    listener = SilentListener(time.monotonic)
    try:
        with connect(module.params) as cluster:
            outcome = run(verb, module.params, cluster, module.check_mode, listener)
    except VirtError as error:
        failure = {"actions": [], "summary": {}, "timeline": listener.timeline, **error.details}
        module.fail_json(msg=error.message, **failure)
        return
    for warning in outcome.warnings:
        module.warn(warning)
    result = outcome.to_result()
    if module._diff:  # pylint: disable=protected-access
        result["diff"] = outcome.diff
    module.exit_json(**result)
