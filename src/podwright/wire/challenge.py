"""The WWW-Authenticate header of registries (RFC 9110, section 11.6.1; distribution specification, token
authentication).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART = re.compile(
    rf"""[\s,]*(?:
        (?P<key>{_NAME})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]*))
      | (?P<scheme>{_NAME})(?=[\s,]|$)
        (?:\s+[0-9A-Za-z._~+/-]+=*(?=\s*(?:,|$)))?  # a token68 instead of parameters, as of Negotiate
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a server offers."""

    scheme: str
    """Lower case: basic, bearer."""
    parameters: Mapping[str, str]
    """Keys in lower case."""

    def token_url(self, scope: str) -> str:
        """Where to ask for a bearer token; empty if the challenge names no place. `scope` stands in for a missing
        one; of several, each is a parameter of its own (distribution specification, "Requesting a Token").
        """
        realm = self.parameters.get("realm", "")
        if not realm:
            return ""
        service = self.parameters.get("service", "")
        query = [("service", service)] if service else []
        query += [("scope", one) for one in self.parameters.get("scope", "").split() or [scope]]
        return realm + ("&" if "?" in realm else "?") + urlencode(query)


def parse(header: str) -> list[Challenge]:
    """All challenges of a header, in its order. What cannot be read is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while match := _PART.match(header, position):
        position = match.end()
        if match["scheme"]:
            found.append((match["scheme"].lower(), {}))
        elif found:
            value = match["plain"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
            found[-1][1].setdefault(match["key"].lower(), value)
    return [Challenge(scheme, parameters) for scheme, parameters in found]
