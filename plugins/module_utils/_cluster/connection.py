# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reach a cluster the way kubernetes.core does: options, environment, kubeconfig, service account. Private to this collection."""

from __future__ import annotations

import os
import typing as t

from .._errors import ConnectionProblem, OptionError
from .client import Cluster

KUBERNETES_IMPORT_ERROR: ImportError | None
try:
    import kubernetes.client
    import kubernetes.config
    import urllib3
    import yaml
except ImportError as error:
    KUBERNETES_IMPORT_ERROR = error
else:
    KUBERNETES_IMPORT_ERROR = None

Options = t.Mapping[str, t.Any]
_NAMES = (
    "host", "api_key", "kubeconfig", "context", "username", "password", "validate_certs", "ca_cert", "client_cert", "client_key",
    "proxy", "no_proxy", "persist_config", "impersonate_user",
)
_ENVIRONMENT_ALIASES = {
    "validate_certs": ("VERIFY_SSL",), "ca_cert": ("SSL_CA_CERT",), "client_cert": ("CERT_FILE",), "client_key": ("KEY_FILE",),
}
_PROXY_HEADERS = ("proxy_basic_auth", "basic_auth", "user_agent")
_BOOLEANS = ("validate_certs", "persist_config")


def settings(options: Options, environment: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Options with what the environment adds; an option wins. Booleans of the environment are true unless 0, false or no."""
    found: dict[str, t.Any] = {name: options.get(name) for name in (*_NAMES, "proxy_headers", "impersonate_groups")}
    for name in _NAMES:
        if found[name] is not None:
            continue
        for variable in (name.upper(), *_ENVIRONMENT_ALIASES.get(name, ())):
            value = environment.get(f"K8S_AUTH_{variable}")
            if value is not None:
                found[name] = value.lower() not in ("0", "false", "no") if name in _BOOLEANS else value
                break
    if found["impersonate_groups"] is None and environment.get("K8S_AUTH_IMPERSONATE_GROUPS"):
        groups = environment["K8S_AUTH_IMPERSONATE_GROUPS"].split(",")
        found["impersonate_groups"] = [group.strip() for group in groups if group.strip()]
    if found["proxy_headers"] is None:
        given = {name: environment.get(f"K8S_AUTH_PROXY_HEADERS_{name.upper()}") for name in _PROXY_HEADERS}
        found["proxy_headers"] = {name: value for name, value in given.items() if value is not None} or None
    return found


def _is_complete(found: t.Mapping[str, t.Any]) -> bool:
    """Whether options and environment alone identify server and user, so that no kubeconfig is read."""
    if not found["host"]:
        return False
    return bool(
        found["api_key"] or (found["username"] and found["password"]) or (found["client_cert"] and found["client_key"])
    )


def connect(options: Options, environment: t.Mapping[str, str] | None = None) -> Cluster:
    """A client for the cluster that the options mean; nothing is sent yet. Raises OptionError, ConnectionProblem."""
    environment = os.environ if environment is None else environment
    found = settings(options, environment)
    if found["impersonate_groups"] and not found["impersonate_user"]:
        raise OptionError("impersonate_groups needs impersonate_user.")
    configuration = kubernetes.client.Configuration()
    source = _load(configuration, found, environment.get("KUBECONFIG"))
    _override(configuration, found)
    if not configuration.host:
        raise ConnectionProblem("No cluster is configured: set kubeconfig, or host and api_key.")
    api = kubernetes.client.ApiClient(configuration)
    warnings = []
    if not configuration.verify_ssl and str(configuration.host).startswith("https"):
        # Said once, by us, and not by the library for each request.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        warnings.append(
            f"The certificate of {configuration.host} is not verified (validate_certs is false): anybody between here and there can "
            "read the credentials. An AWX credential without CA data turns verification off even when Verify SSL is ticked."
        )
    headers: list[tuple[str, str]] = []
    if found["impersonate_user"]:
        headers.append(("Impersonate-User", found["impersonate_user"]))
    headers.extend(("Impersonate-Group", group) for group in found["impersonate_groups"] or ())
    return Cluster(api, source=source, warnings=warnings, headers=headers, request_timeout=options.get("request_timeout") or 60)


def _load(configuration: t.Any, found: t.Mapping[str, t.Any], default: str | None) -> str:
    """Fill the configuration and say where it came from. C(default) is what KUBECONFIG holds."""
    if _is_complete(found):
        return "options or environment"
    kubeconfig, context = found["kubeconfig"], found["context"]
    if not kubeconfig and not context and not found["host"] and _load_service_account(configuration):
        return "the service account of this pod"
    if isinstance(kubeconfig, dict):
        _load_kubeconfig(configuration, found, config_dict=kubeconfig)
        return "the kubeconfig given as a dictionary"
    if kubeconfig is not None and not isinstance(kubeconfig, str):
        raise OptionError("kubeconfig is neither a path nor a dictionary.")
    paths = kubeconfig or default
    _load_kubeconfig(configuration, found, config_file=_expanded(paths) if paths else None)
    if not paths:
        return "the default kubeconfig"
    return f"kubeconfig {paths}{f', context {context}' if context else ''}"


def _load_service_account(configuration: t.Any) -> bool:
    loaders: t.Any = kubernetes.config
    try:
        loaders.load_incluster_config(client_configuration=configuration)
    except kubernetes.config.ConfigException:
        return False
    return True


def _load_kubeconfig(configuration: t.Any, found: t.Mapping[str, t.Any], **source: t.Any) -> None:
    """Read a kubeconfig. Without a usable one C(host) alone may do."""
    loaders: t.Any = kubernetes.config
    load = loaders.load_kube_config_from_dict if "config_dict" in source else loaders.load_kube_config
    try:
        load(context=found["context"], client_configuration=configuration, persist_config=bool(found["persist_config"]), **source)
    except (kubernetes.config.ConfigException, OSError, ValueError, TypeError, yaml.YAMLError) as error:
        if found["host"] and not found["kubeconfig"] and not found["context"]:
            return
        path, reason = source.get("config_file"), str(error).rstrip(".")
        raise ConnectionProblem(
            f"The kubeconfig{f' {path}' if path else ''} can't be used: {reason}. "
            "Set kubeconfig (or K8S_AUTH_KUBECONFIG) to a valid file, or host and api_key."
        ) from error


def _expanded(paths: str) -> str:
    """Several paths may be joined as in KUBECONFIG."""
    return os.pathsep.join(os.path.expanduser(path) for path in paths.split(os.pathsep))


def _override(configuration: t.Any, found: t.Mapping[str, t.Any]) -> None:
    """Single options win over what a kubeconfig says."""
    if found["host"]:
        configuration.host = str(found["host"]).rstrip("/")
    if found["api_key"]:
        configuration.api_key = {"authorization": f"Bearer {found['api_key']}"}
    for option, attribute in (
        ("username", "username"), ("password", "password"), ("validate_certs", "verify_ssl"), ("ca_cert", "ssl_ca_cert"),
        ("client_cert", "cert_file"), ("client_key", "key_file"), ("proxy", "proxy"), ("no_proxy", "no_proxy"),
    ):
        if found[option] is not None:
            setattr(configuration, attribute, found[option])
    if found["proxy_headers"]:
        configuration.proxy_headers = urllib3.util.make_headers(**found["proxy_headers"])
