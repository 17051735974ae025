# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate authority: what it signs, what it keeps, and what it hands out."""
from __future__ import annotations

import base64
import contextlib
import pathlib
import ssl

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.okd.virt.plugins.plugin_utils.engine.authority import ADMIN, Authority, write_private


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes | None:
    """The client's certificate as the server sees it after a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    served = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _turn in range(10):
        for side in (asking, served):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return served.getpeercert(binary_form=True)


def _client(authority: Authority, directory: pathlib.Path, signed_by: Authority | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate_pem)
    # As Python 3.13 does by itself.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    write_private(directory / "client.pem", "".join((signed_by or authority).client(("alice", ("devs", "ops")))))
    context.load_cert_chain(directory / "client.pem")
    return context


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "localhost", "192.0.2.7", "engine.example"])
def test_client_and_server_know_each_other(tmp_path: pathlib.Path, name: str) -> None:
    authority = Authority(addresses=("192.0.2.7", "engine.example"))
    seen = _handshake(authority.server_context(), _client(authority, tmp_path), name)
    assert seen is not None
    subject = x509.load_der_x509_certificate(seen).subject
    assert [one.value for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["alice"]
    assert [one.value for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["devs", "ops"]


def test_another_name_or_another_authority_is_not_trusted(tmp_path: pathlib.Path) -> None:
    authority, other = Authority(), Authority()
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(authority.server_context(), _client(authority, tmp_path), "192.0.2.7")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(other.server_context(), _client(authority, tmp_path), "localhost")
    with pytest.raises(ssl.SSLError):
        _handshake(authority.server_context(), _client(authority, tmp_path, signed_by=other), "localhost")


def test_what_is_kept_is_the_same_authority_again(tmp_path: pathlib.Path) -> None:
    first = Authority(tmp_path / "pki")
    again = Authority(tmp_path / "pki")
    assert again.certificate_pem == first.certificate_pem
    assert again.service_account_key.private_numbers() == first.service_account_key.private_numbers()
    _handshake(again.server_context(), _client(first, tmp_path), "localhost")
    files = list((tmp_path / "pki").iterdir())
    assert {path.name for path in files} == {"ca.crt", "ca.key", "service-account.key"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [*files, tmp_path / "pki"])


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "service-account.key"])
def test_damaged_keys_are_refused_with_their_place(tmp_path: pathlib.Path, name: str) -> None:
    Authority(tmp_path)
    (tmp_path / name).write_text("nonsense")
    with pytest.raises(ValueError, match=rf"the keys in {tmp_path} can't be read .*restore them from a copy"):
        Authority(tmp_path)


def test_a_kubeconfig_has_a_context_for_each_user() -> None:
    authority = Authority()
    content = yaml.safe_load(authority.kubeconfig("https://127.0.0.1:6443", "lab", [ADMIN, ("alice", ("devs",))]))
    assert content["current-context"] == "kubernetes-admin"
    assert [context["context"] for context in content["contexts"]] == [
        {"cluster": "lab", "user": "kubernetes-admin"}, {"cluster": "lab", "user": "alice"},
    ]
    subjects = [
        x509.load_pem_x509_certificate(base64.b64decode(user["user"]["client-certificate-data"])).subject.rfc4514_string()
        for user in content["users"]
    ]
    assert subjects == ["CN=kubernetes-admin,O=system:masters", "CN=alice,O=devs"]


def test_a_private_file_replaces_an_open_one(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["kubeconfig"]
