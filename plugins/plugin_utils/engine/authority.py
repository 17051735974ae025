# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's certificate authority: who the server is, and who its users are; and the kubeconfig that says so."""
from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import os
import pathlib
import ssl
import tempfile
import typing as t

import yaml

with contextlib.suppress(ImportError):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_CERTIFICATE, CA_KEY, SERVICE_ACCOUNT_KEY = "ca.crt", "ca.key", "service-account.key"
ADMIN = ("kubernetes-admin", ("system:masters",))
_LIFETIME = datetime.timedelta(days=365)

User = tuple[str, tuple[str, ...]]
"""Name and groups: what a client certificate says of its holder."""


def write_private(path: pathlib.Path, content: str | bytes) -> None:
    """Write a file that only its owner can read, as a whole or not at all. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "wb") as writer:
            writer.write(content.encode() if isinstance(content, str) else content)
            writer.flush()
            os.fsync(writer.fileno())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _load_key(content: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(content, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


class Authority:
    """Keys and certificates (ECDSA P-256). `addresses` are those that the server is reached at besides loopback's."""

    def __init__(self, directory: pathlib.Path | None = None, addresses: t.Iterable[str] = ()) -> None:
        """With a directory they are kept there, or taken over from it, so that a restarted engine is the same cluster to its clients.

        Raises OSError, ValueError with a sentence.
        """
        if directory is None:
            files = _make()
        else:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            names = (CA_KEY, SERVICE_ACCOUNT_KEY, CA_CERTIFICATE)
            if not (directory / CA_CERTIFICATE).exists():
                # The certificate comes last: where it is, everything is.
                for name, content in _make().items():
                    write_private(directory / name, content)
            files = {name: (directory / name).read_bytes() for name in names}
        try:
            self._key = _load_key(files[CA_KEY])
            self._certificate = x509.load_pem_x509_certificate(files[CA_CERTIFICATE])
            self.service_account_key = _load_key(files[SERVICE_ACCOUNT_KEY])
        except ValueError as error:
            raise ValueError(
                f"the keys in {directory} can't be read ({error}): restore them from a copy, or remove the data directory to begin anew"
            ) from error
        self._server_certificate, self._server_key = self._server(addresses)

    @property
    def certificate_pem(self) -> str:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server_context(self) -> ssl.SSLContext:
        """TLS of the server; clients may show a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory(prefix="okd-virt-engine-") as scratch:
            # Python takes a server's key from a file only.
            path = pathlib.Path(scratch) / "server.pem"
            write_private(path, self._server_key + self._server_certificate)
            context.load_cert_chain(path)
        context.load_verify_locations(cadata=self.certificate_pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client(self, user: User) -> tuple[str, str]:
        """A client certificate and its key, both PEM."""
        name, groups = user
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [*(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = self._builder(subject, key).add_extension(usage, critical=False).sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key).decode()

    def kubeconfig(self, url: str, cluster: str, users: t.Iterable[User]) -> str:
        """A kubeconfig with one context per user; the first user's is the current one."""
        entries: list[dict[str, t.Any]] = []
        contexts: list[dict[str, t.Any]] = []
        for user in users:
            certificate, key = self.client(user)
            data = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
            entries.append({"name": user[0], "user": data})
            contexts.append({"name": user[0], "context": {"cluster": cluster, "user": user[0]}})
        clusters = [{"name": cluster, "cluster": {"server": url, "certificate-authority-data": _encoded(self.certificate_pem)}}]
        return yaml.safe_dump(
            {
                "apiVersion": "v1", "kind": "Config", "clusters": clusters, "users": entries, "contexts": contexts,
                "current-context": contexts[0]["name"],
            },
            sort_keys=False,
        )

    def _server(self, addresses: t.Iterable[str]) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        names: dict[str, x509.GeneralName] = {name: x509.DNSName(name) for name in ("localhost", "kubernetes", "kubernetes.default.svc")}
        for address in ("127.0.0.1", "::1", *addresses):
            names[address] = _general_name(address)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        certificate = (
            self._builder(subject, key).add_extension(x509.SubjectAlternativeName(names.values()), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False).sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._certificate.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
            .add_extension(_key_usage(signs=False), critical=True)
        )


def _make() -> dict[str, bytes]:
    """The files of a new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "okd.virt engine")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + 10 * _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return {
        CA_KEY: _key_pem(key),
        SERVICE_ACCOUNT_KEY: _key_pem(ec.generate_private_key(ec.SECP256R1())),
        CA_CERTIFICATE: certificate.public_bytes(serialization.Encoding.PEM),
    }


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _key_usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
