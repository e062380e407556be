"""The server's own certificate authority and certificate, made at the first start and kept."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clouddesktop.app.files import write_file

_CA_LIFETIME = timedelta(days=3650)
_SERVER_LIFETIME = timedelta(days=397)
"""The longest that common clients accept of a server (CA/Browser Forum BR 6.3.2)."""

_RENEW_BEFORE = timedelta(days=30)
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Paths of PEM files: the authority that clients trust, the server's certificate and key."""

    ca: Path
    certificate: Path
    key: Path


def prepare_tls(folder: Path, *, names: Collection[str]) -> TlsFiles:
    """Make what is missing; renew the server's certificate when its names or its end ask for it."""
    files = TlsFiles(
        ca=folder / "ca.pem", certificate=folder / "server.pem", key=folder / "server.key"
    )
    ca_key_file = folder / "ca.key"
    if not (files.ca.exists() and ca_key_file.exists()):
        _make_authority(files.ca, ca_key_file)
    authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
    if not _is_current(files, authority=authority, names=names):
        _make_server_certificate(files, authority=authority, ca_key_file=ca_key_file, names=names)
    return files


def _make_authority(certificate_file: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clouddesktop CA")])
    certificate = (
        _builder(subject=name, issuer=name, key=key.public_key(), lifetime=_CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_file(key_file, _to_pem(key), mode=0o600)
    write_file(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))


def _make_server_certificate(
    files: TlsFiles, *, authority: x509.Certificate, ca_key_file: Path, names: Collection[str]
) -> None:
    ca_key = serialization.load_pem_private_key(ca_key_file.read_bytes(), password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{ca_key_file} does not hold the key that clouddesktop makes.")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clouddesktop")])
    certificate = (
        _builder(
            subject=subject,
            issuer=authority.subject,
            key=key.public_key(),
            lifetime=_SERVER_LIFETIME,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName([_general_name(each) for each in sorted(names)]),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    write_file(files.key, _to_pem(key), mode=0o600)
    write_file(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _is_current(files: TlsFiles, *, authority: x509.Certificate, names: Collection[str]) -> bool:
    if not (files.certificate.exists() and files.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    return (
        set(held) == {_general_name(each) for each in names}
        and certificate.issuer == authority.subject
        and certificate.public_key() == key.public_key()
        and certificate.not_valid_after_utc - _RENEW_BEFORE > datetime.now(tz=UTC)
    )


def _builder(
    *, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(tz=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
