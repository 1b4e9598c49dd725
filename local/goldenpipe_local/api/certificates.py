"""A certificate for loopback, signed by an authority whose key is thrown away at once.

kubectl sends a token over TLS only, so plain HTTP will not do.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from goldenpipe_local.api.clock import utc_now
from goldenpipe_local.api.files import write_private

_LIFETIME = timedelta(days=3650)
_RENEWED_BEFORE = timedelta(days=90)
_EARLIER = timedelta(hours=1)
"""Clocks that were set back a little must not make the certificate one of the future."""


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """The server's certificate chain and key in one file, the authority's certificate in another."""

    server: Path
    authority: Path

    @classmethod
    def ensure(cls, folder: Path, host: str) -> Certificates:
        """Use what is in the folder, or make it."""
        certificates = cls(server=folder / "server.pem", authority=folder / "ca.crt")
        if not certificates._good_for(host):
            server, authority = _make(host, utc_now())
            write_private(certificates.authority, authority)
            write_private(certificates.server, server)
        return certificates

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server)
        return context

    def _good_for(self, host: str) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.server.read_bytes())
            issuer = x509.load_pem_x509_certificate(self.authority.read_bytes())
            certificate.verify_directly_issued_by(issuer)
        except (OSError, ValueError, TypeError, InvalidSignature):
            return False
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return _name(host) in list(names) and certificate.not_valid_after_utc - _RENEWED_BEFORE > utc_now()


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _make(host: str, now: datetime) -> tuple[str, str]:
    """The server's certificate and key, and the authority's certificate, as PEM."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _subject("goldenpipe local cluster")
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id)
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    names = dict.fromkeys([_name(host), _name("127.0.0.1"), _name("::1"), _name("localhost")])
    certificate = (
        _builder(_subject("kube-apiserver"), authority_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_id, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (certificate.public_bytes(Encoding.PEM) + secret).decode(), authority.public_bytes(Encoding.PEM).decode()


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
