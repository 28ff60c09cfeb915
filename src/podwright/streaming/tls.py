"""The certificate of the streaming server: a given one, or one made for this start by openssl(1).

A self-made one proves nothing to anybody; it is there because kubelets and crictl accept it (they do not verify the
runtime's certificate) and keep the bytes from other users of the network.
"""

import os
import ssl
import tempfile
from dataclasses import dataclass

from podwright.certificate import command
from podwright.errors import InvalidArgument
from podwright.kernel.run import run

_OPENSSL_SECONDS = 30.0
_VALID_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Tls:
    """What the configuration says."""

    certificate: str
    key: str
    """Paths, both empty for a self-made one."""
    minimum: ssl.TLSVersion


async def context(tls: Tls, address: str) -> ssl.SSLContext:
    """What connections are secured with. Raises InvalidArgument if the files cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = tls.minimum
    if tls.certificate:
        _load(made, tls.certificate, tls.key)
        return made
    with tempfile.TemporaryDirectory(prefix="podwright-") as directory:
        certificate, key = f"{directory}/certificate", f"{directory}/key"
        await _make(certificate, key, address)
        _load(made, certificate, key)
    return made


def _load(made: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        made.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"streaming.certificate, streaming.key: {certificate}, {key}: {error}") from None


async def _make(certificate: str, key: str, address: str) -> None:
    made = command(certificate, key, subject=f"podwright on {os.uname().nodename}", names=[address], days=_VALID_DAYS)
    (await run(made, timeout=_OPENSSL_SECONDS)).check("cannot make a certificate for the streaming server")
