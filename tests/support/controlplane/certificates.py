"""The certificates of a control plane: an authority, and what it signs for servers and clients."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = timedelta(days=2)
_EARLIER = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two files: a certificate (or public key), and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Signs with a key that lives as long as this object."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate = folder / f"{name}.crt"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name, ())
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        signed = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.certificate.write_bytes(signed.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    @property
    def data(self) -> str:
        """Its certificate, as the API has it in JSON."""
        return base64.b64encode(self.certificate.read_bytes()).decode()

    def client(self, name: str, *groups: str) -> Pair:
        """A user by this name, in these groups."""
        return self._issue(name, _subject(name, groups), ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def server(self, name: str, *also: str) -> Pair:
        """A server on 127.0.0.1 by these names."""
        return self._issue(name, _subject(name, ()), ExtendedKeyUsageOID.SERVER_AUTH, (name, *also))

    def _issue(self, name: str, subject: x509.Name, usage: x509.ObjectIdentifier, names: tuple[str, ...]) -> Pair:
        stem = name.replace(":", "-")
        pair = Pair(certificate=self._folder / f"{stem}.crt", key=self._folder / f"{stem}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            alternatives = x509.SubjectAlternativeName([*map(x509.DNSName, names), loopback])
            builder = builder.add_extension(alternatives, critical=False)
        pair.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        _write_key(pair.key, key)
        return pair

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + _LIFETIME)
        )


def signing_pair(folder: Path) -> Pair:
    """The keys that sign and check the tokens of service accounts."""
    pair = Pair(certificate=folder / "service-accounts.pub", key=folder / "service-accounts.key")
    key = ec.generate_private_key(ec.SECP256R1())
    pair.certificate.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    _write_key(pair.key, key)
    return pair


def _subject(name: str, groups: tuple[str, ...]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def write_private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path
