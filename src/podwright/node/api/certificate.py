"""The server's certificate: given by files, or made here and kept. Blocks."""

import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podwright.errors import InvalidArgument
from podwright.node.configuration import Configuration

_LIFE: Final = dt.timedelta(days=365)


def context(configuration: Configuration, directory: str, name: str, addresses: Iterable[str]) -> ssl.SSLContext:
    """TLS as the configuration says. Raises InvalidArgument that names the file at fault."""
    certificate, key = configuration.tls_cert_file, configuration.tls_private_key_file
    if not (certificate and key):
        certificate, key = f"{directory}/kubelet.crt", f"{directory}/kubelet.key"
        if not _lasts(certificate) or not os.path.exists(key):
            _make(certificate, key, name, addresses)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"tlsCertFile {certificate}, tlsPrivateKeyFile {key}: {error}") from None
    authority = configuration.authentication.x509.client_ca_file
    if authority:
        try:
            made.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"authentication.x509.clientCAFile {authority}: {error}") from None
        made.verify_mode = ssl.CERT_OPTIONAL
    return made


def _lasts(path: str) -> bool:
    """Whether a certificate is there and good for another month."""
    try:
        with open(path, "rb") as file:
            ends = x509.load_pem_x509_certificate(file.read()).not_valid_after_utc
    except (OSError, ValueError):
        return False
    return ends > dt.datetime.now(dt.UTC) + dt.timedelta(days=30)


def _make(certificate: str, key: str, name: str, addresses: Iterable[str]) -> None:
    """A certificate that the key itself has signed."""
    os.makedirs(os.path.dirname(certificate), mode=0o700, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fd = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secret)
    with open(certificate, "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
