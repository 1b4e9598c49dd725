"""The node's own TLS certificate, made once and kept."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from goldenpipe_local.node.files import write_atomically

_LIFETIME = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class NodeCertificate:
    """A certificate for a loopback address, signed by itself."""

    certificate: Path
    key: Path

    @property
    def text(self) -> str:
        return self.certificate.read_text()

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    @classmethod
    def ensure(cls, folder: Path, node_name: str, address: str) -> NodeCertificate:
        found = cls(certificate=folder / "kubelet.crt", key=folder / "kubelet.key")
        if not found._is_good():
            key = ec.generate_private_key(ec.SECP256R1())
            private = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_atomically(found.key, private)
            certificate = _sign(key, node_name, address)
            write_atomically(found.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return found

    def _is_good(self) -> bool:
        if not (self.certificate.exists() and self.key.exists()):
            return False
        known = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        return known.not_valid_after_utc > datetime.now(UTC) + _RENEW_BEFORE


def _sign(key: ec.EllipticCurvePrivateKey, node_name: str, address: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}")])
    names = [x509.DNSName(node_name), x509.DNSName("localhost"), x509.IPAddress(ip_address(address))]
    began = datetime.now(UTC) - timedelta(minutes=5)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return builder.sign(key, hashes.SHA256())
