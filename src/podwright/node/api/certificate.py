"""The server's certificate: given by files, or made here and kept. Blocks."""

import os
import ssl
import subprocess
from collections.abc import Iterable
from typing import Final

from podwright.certificate import command
from podwright.errors import Internal, InvalidArgument
from podwright.node.configuration import Configuration

_DAYS: Final = 365
_RENEWED_BEFORE: Final = 30 * 86400  # seconds


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
    if not os.path.exists(path):
        return False
    check = ["openssl", "x509", "-in", path, "-noout", "-checkend", str(_RENEWED_BEFORE)]
    return _run(check).returncode == 0


def _make(certificate: str, key: str, name: str, addresses: Iterable[str]) -> None:
    """A certificate that the key itself has signed. Raises Internal."""
    os.makedirs(os.path.dirname(certificate), mode=0o700, exist_ok=True)
    done = _run(command(certificate, key, subject=name, names=[name, *addresses], days=_DAYS))
    if done.returncode:
        raise Internal(f"openssl cannot make the certificate {certificate}: {done.stderr.strip()}")
    os.chmod(key, 0o600)


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise InvalidArgument("tlsCertFile: none is given, and openssl, which would make one, is not here") from None
