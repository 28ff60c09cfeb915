"""Self-made certificates, by openssl(1): what it is to be told. Runs nothing."""

import ipaddress
from collections.abc import Iterable


def command(certificate: str, key: str, *, subject: str, names: Iterable[str], days: int) -> list[str]:
    """The command line that makes a key and a certificate signed by it, as files, for these names and addresses."""
    alternatives = ",".join(f"IP:{name}" if _is_address(name) else f"DNS:{name}" for name in names)
    return [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", key, "-out", certificate, "-days", str(days)),
        *("-subj", f"/CN={subject}"[:67], "-addext", f"subjectAltName={alternatives}"),  # 64 characters of a name
    ]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
