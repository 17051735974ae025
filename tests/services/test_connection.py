# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to reach a cluster, over real TLS."""

from __future__ import annotations

import base64
import json
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import connect, settings
from ansible_collections.okd.virt.plugins.module_utils._cluster.resources import CLUSTER_ROLES, NAMESPACES
from ansible_collections.okd.virt.plugins.module_utils._errors import ConnectionProblem, Forbidden, OptionError
from ansible_collections.okd.virt.plugins.module_utils._module import secrets_of

from ..support.api import Api

Json = dict[str, t.Any]
ADMINISTRATOR = "kubernetes-admin"


@pytest.fixture(scope="module")
def kubeconfig(engine: t.Any) -> Json:
    loaded: Json = yaml.safe_load(Path(engine.kubeconfig).read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def files(kubeconfig: Json, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The administrator's certificate, its key and the authority, as files, and the URL."""
    directory = tmp_path_factory.mktemp("credentials")
    cluster = kubeconfig["clusters"][0]["cluster"]
    context = next(each["context"] for each in kubeconfig["contexts"] if each["name"] == kubeconfig["current-context"])
    user = next(each["user"] for each in kubeconfig["users"] if each["name"] == context["user"])
    found = {"host": cluster["server"]}
    for option, data in (
        ("ca_cert", cluster["certificate-authority-data"]), ("client_cert", user["client-certificate-data"]), ("client_key", user["client-key-data"]),
    ):
        path = directory / option
        path.write_bytes(base64.b64decode(data))
        path.chmod(0o600)
        found[option] = str(path)
    return found


def who(options: Json, environment: dict[str, str] | None = None) -> str:
    with connect(options, environment or {}) as cluster:
        return cluster.whoami()


def test_a_kubeconfig_file(engine: t.Any) -> None:
    with connect({"kubeconfig": str(engine.kubeconfig)}, {}) as cluster:
        assert cluster.identity() == f"{engine.url} as {ADMINISTRATOR} (kubeconfig {engine.kubeconfig})"
        assert cluster.get(NAMESPACES, "shop") is not None
        assert cluster.warnings == []


def test_a_context_is_another_user(engine: t.Any, kubeconfig: Json) -> None:
    context = next(each["name"] for each in kubeconfig["contexts"] if each["context"]["user"] == "alice")
    with connect({"kubeconfig": str(engine.kubeconfig), "context": context}, {}) as cluster:
        assert cluster.whoami() == "alice"
        with pytest.raises(Forbidden, match=r'resources \["clusterroles"\], verbs \["list"\], by a ClusterRoleBinding'):
            cluster.list(CLUSTER_ROLES)


def test_several_kubeconfigs_are_one(kubeconfig: Json, tmp_path: Path) -> None:
    parts = {"clusters": {"clusters": kubeconfig["clusters"]}, "users": {"users": kubeconfig["users"]}}
    rest = {"contexts": kubeconfig["contexts"], "current-context": kubeconfig["current-context"]}
    paths = []
    for name, part in {**parts, "contexts": rest}.items():
        (tmp_path / name).write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **part}), encoding="utf-8")
        paths.append(str(tmp_path / name))
    assert who({"kubeconfig": ":".join(paths)}) == ADMINISTRATOR


def test_a_kubeconfig_as_dictionary(kubeconfig: Json) -> None:
    assert who({"kubeconfig": kubeconfig}) == ADMINISTRATOR


def test_secrets_of_a_dictionary_are_known(kubeconfig: Json) -> None:
    keys = {user["user"]["client-key-data"] for user in kubeconfig["users"] if "client-key-data" in user["user"]}
    assert keys
    assert secrets_of({**kubeconfig, "users": [*kubeconfig["users"], {"name": "x", "user": {"token": "t-1", "password": ""}}]}) >= {*keys, "t-1"}
    assert kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"] not in secrets_of(kubeconfig)
    assert secrets_of("/path") == set()


def test_a_certificate_without_kubeconfig(files: dict[str, str]) -> None:
    assert who(files, {"KUBECONFIG": "/nowhere"}) == ADMINISTRATOR


def test_a_token(api: Api, engine: t.Any, files: dict[str, str]) -> None:
    made = api.expect(201, "POST", "/api/v1/namespaces/shop/serviceaccounts/deployer/token", {"spec": {"expirationSeconds": 600}})
    options = {"host": engine.url, "api_key": made["status"]["token"], "ca_cert": files["ca_cert"]}
    assert who(options) == "system:serviceaccount:shop:deployer"
    environment = {
        "K8S_AUTH_HOST": options["host"], "K8S_AUTH_API_KEY": options["api_key"], "K8S_AUTH_SSL_CA_CERT": options["ca_cert"], "K8S_AUTH_VERIFY_SSL": "True",
    }
    assert who({}, environment) == "system:serviceaccount:shop:deployer"


def test_a_wrong_token_is_said_to_be_wrong(engine: t.Any, files: dict[str, str]) -> None:
    with connect({"host": engine.url, "api_key": "nonsense", "ca_cert": files["ca_cert"]}, {}) as cluster, pytest.raises(
        ConnectionProblem, match="renew the token"
    ):
        cluster.list(NAMESPACES)


def test_a_server_that_cannot_be_verified(engine: t.Any) -> None:
    with connect({"host": engine.url, "api_key": "x"}, {}) as cluster, pytest.raises(ConnectionProblem, match="can't be verified"):
        cluster.list(NAMESPACES)


def test_no_verification_is_warned_of(engine: t.Any, files: dict[str, str]) -> None:
    for options, environment in (({**files, "validate_certs": False}, {}), (files, {"K8S_AUTH_VERIFY_SSL": "no"})):
        with connect(options, environment) as cluster:
            assert cluster.whoami() == ADMINISTRATOR
            (warning,) = cluster.warnings
            assert engine.url in warning
            assert "is not verified" in warning


def test_the_name_that_the_certificate_is_held_against(engine: t.Any, kubeconfig: Json) -> None:
    def named(name: str) -> Json:
        cluster = kubeconfig["clusters"][0]
        return {**kubeconfig, "clusters": [{**cluster, "cluster": {**cluster["cluster"], "tls-server-name": name}}]}

    assert who({"kubeconfig": named("kubernetes.default.svc")}) == ADMINISTRATOR
    with connect({"kubeconfig": named("somewhere.else")}, {}) as cluster, pytest.raises(ConnectionProblem, match="can't be verified"):
        cluster.list(NAMESPACES)


def test_impersonation(engine: t.Any) -> None:
    options = {"kubeconfig": str(engine.kubeconfig), "impersonate_user": "carol", "impersonate_groups": ["devs"]}
    assert who(options) == "carol"
    environment = {"K8S_AUTH_IMPERSONATE_USER": "dave", "K8S_AUTH_IMPERSONATE_GROUPS": "a, b", "K8S_AUTH_KUBECONFIG": str(engine.kubeconfig)}
    assert who({}, environment) == "dave"
    with pytest.raises(OptionError, match="impersonate_groups needs impersonate_user"):
        connect({"kubeconfig": str(engine.kubeconfig), "impersonate_groups": ["devs"]}, {})


def test_a_program_gives_the_credentials(kubeconfig: Json, files: dict[str, str], api: Api, tmp_path: Path) -> None:
    token = api.expect(201, "POST", "/api/v1/namespaces/ci/serviceaccounts/pipeline/token", {"spec": {"expirationSeconds": 600}})["status"]["token"]
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(tmp_path / "answer")], "interactiveMode": "Never"}
    (tmp_path / "answer").write_text(json.dumps(answer), encoding="utf-8")
    users = [{"name": user["name"], "user": {"exec": program}} for user in kubeconfig["users"]]
    assert who({"kubeconfig": {**kubeconfig, "users": users}}) == "system:serviceaccount:ci:pipeline"


def test_an_option_wins_over_the_environment(engine: t.Any, files: dict[str, str]) -> None:
    found = settings({"host": "https://option", "validate_certs": True}, {"K8S_AUTH_HOST": "https://environment", "K8S_AUTH_VERIFY_SSL": "0"})
    assert (found["host"], found["validate_certs"]) == ("https://option", True)
    assert who({"kubeconfig": str(engine.kubeconfig)}, {"K8S_AUTH_KUBECONFIG": "/nowhere"}) == ADMINISTRATOR
    assert who({}, {"KUBECONFIG": str(engine.kubeconfig)}) == ADMINISTRATOR


@pytest.mark.parametrize(("text", "value"), [("0", False), ("false", False), ("No", False), ("1", True), ("yes", True), ("anything", True)])
def test_booleans_of_the_environment(text: str, value: bool) -> None:
    assert settings({}, {"K8S_AUTH_VALIDATE_CERTS": text})["validate_certs"] is value


@pytest.mark.parametrize("content", ["", "not: [closed", "apiVersion: v1\nkind: Config\n"], ids=["empty", "damaged", "without-context"])
def test_a_kubeconfig_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConnectionProblem, match="can't be used"):
        connect({"kubeconfig": str(path)}, {})


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectionProblem, match="nowhere"):
        connect({"kubeconfig": str(tmp_path / "nowhere")}, {})
    with pytest.raises(OptionError, match="neither a path nor a dictionary"):
        connect({"kubeconfig": 5}, {})


def test_a_context_that_is_not_there(engine: t.Any) -> None:
    with pytest.raises(ConnectionProblem, match="moon"):
        connect({"kubeconfig": str(engine.kubeconfig), "context": "moon"}, {})
