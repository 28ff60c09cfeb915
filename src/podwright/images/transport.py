"""HTTP to one host of a registry: TLS, proxies, authentication, redirects. Blocking; for threads.

Credentials, client certificates and configured headers go to the host they are meant for, and credentials to the token
service that it names; nothing of them follows a redirect to another host.
"""

import base64
import email.utils
import ipaddress
import json
import os
import ssl
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3

from podwright import __version__
from podwright.errors import (
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    PodwrightError,
    Unauthenticated,
    Unavailable,
)
from podwright.images.credentials import basic
from podwright.images.hosts import Endpoint, canonical, is_loopback
from podwright.images.model import Credentials, ImageSettings
from podwright.wire import challenge

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LARGEST_ANSWER = 1 << 20
"""Bytes of a token or an error message."""
_CLIENT_ID = "podwright"

urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # whoever configures skip_verify knows

Response = urllib3.BaseHTTPResponse


class Transient(Exception):
    """A failure that may pass. `wait` is what the host asks for, in seconds."""

    def __init__(self, message: str, *, wait: float = 0) -> None:
        super().__init__(message)
        self.wait = wait


class Host:
    """One endpoint, for one repository of one registry. Safe for threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        registry: str,
        repository: str,
        credentials: Credentials | None,
        settings: ImageSettings,
    ) -> None:
        self.endpoint = endpoint
        self._base = f"{endpoint.url}/{repository}"
        self._scope = f"repository:{repository}:pull"
        self._query = "" if canonical(endpoint.host) == canonical(registry) else f"?{urlencode({'ns': registry})}"
        self._credentials = credentials
        self._authorization = _first_authorization(credentials)
        self._renewing = threading.Lock()
        self._settings = settings
        self._own = self._manager(client=endpoint.client)
        self._others = self._manager(client=()) if endpoint.client else self._own

    def __str__(self) -> str:
        return self.endpoint.host

    def close(self) -> None:
        """Closes idle connections."""
        self._own.clear()
        self._others.clear()

    def open(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """Sends a request below the repository, such as "/manifests/latest"; returns the answer if it is a success.

        The caller reads and releases it. Raises Transient, and of podwright.errors: NotFound, Unauthenticated,
        PermissionDenied, FailedPrecondition (any other refusal), Unavailable (a certificate that does not hold).
        """
        url = self._base + path + self._query
        used = self._authorization
        response, home = self._follow(method, url, headers, used)
        if response.status == 401 and home:
            offered = response.headers.get("WWW-Authenticate", "")
            _finish(response)
            with self._renewing:
                if self._authorization == used:  # else another thread has renewed it
                    self._authorization = self._answer(offered)
            response, _ = self._follow(method, url, headers, self._authorization)
        if 200 <= response.status < 300:
            return response
        raise self._failure(response, f"{method} {path}")

    # ---- sending

    def _follow(self, method: str, url: str, headers: Mapping[str, str], authorization: str) -> tuple[Response, bool]:
        """The answer at the end of all redirects, and whether the host itself gave it."""
        home = _origin(url)
        for _ in range(_MOST_REDIRECTS):
            at_home = _origin(url) == home
            sent = {"User-Agent": f"podwright/{__version__}", **headers}
            if at_home:
                sent.update(_joined(self.endpoint.headers))
                if authorization:
                    sent["Authorization"] = authorization
            response = self._send(self._own if at_home else self._others, method, url, sent)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response, at_home
            _finish(response)
            url = self._checked("redirects to", location, url)
        raise FailedPrecondition(f"{self} redirects more than {_MOST_REDIRECTS} times")

    def _checked(self, doing: str, url: str, base: str = "") -> str:
        """A URL that the host gave us, made absolute. Raises FailedPrecondition unless it is one of HTTP."""
        try:
            absolute = urljoin(base, url)
            _origin(absolute)  # raises
            scheme = urlsplit(absolute).scheme
        except ValueError:
            scheme = ""
        if scheme not in ("http", "https"):
            raise FailedPrecondition(f"{self} {doing} {url!r}")
        return absolute

    def _send(
        self, manager: urllib3.PoolManager, method: str, url: str, headers: Mapping[str, str], body: str | None = None
    ) -> Response:
        try:
            proxy = proxy_for(url)
            chosen = self._proxied(proxy, manager) if proxy else manager
            return chosen.request(
                method, url, body=body, headers=dict(headers), redirect=False, retries=False, preload_content=False
            )
        except urllib3.exceptions.SSLError as error:
            if _is_passing(error):
                raise Transient(f"{_shown(url)}: {error}") from error
            hint = "; is it plain HTTP?" if "WRONG_VERSION_NUMBER" in str(error) else ""
            raise Unavailable(f"{_shown(url)}: {error}{hint}", reason="RegistryUnavailable") from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Transient(f"{_shown(url)}: {_reason(error)}") from error

    def _manager(self, *, client: tuple[tuple[str, str], ...], proxy: str = "") -> urllib3.PoolManager:
        dial = self.endpoint.dial_seconds or self._settings.connect_seconds
        timeout = urllib3.Timeout(connect=dial, read=self._settings.answer_seconds)
        context = _context(self.endpoint, client)
        size = self._settings.connections
        if not proxy:
            return urllib3.PoolManager(maxsize=size, timeout=timeout, ssl_context=context)
        parts = urlsplit(proxy)
        account = f"{parts.username or ''}:{parts.password or ''}" if parts.username else None
        return urllib3.ProxyManager(
            proxy,
            maxsize=size,
            timeout=timeout,
            ssl_context=context,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=account) if account else None,
        )

    def _proxied(self, proxy: str, direct: urllib3.PoolManager) -> urllib3.PoolManager:
        with self._renewing:
            name = "_own_proxied" if direct is self._own else "_others_proxied"
            manager: urllib3.PoolManager | None = getattr(self, name, None)
            if manager is None:
                manager = self._manager(client=self.endpoint.client if direct is self._own else (), proxy=proxy)
                setattr(self, name, manager)
            return manager

    # ---- authentication

    def _answer(self, offered: str) -> str:
        """The Authorization header that a challenge asks for. Raises Unauthenticated if there is none to give."""
        for one in challenge.parse(offered):
            if one.scheme == "bearer" and one.token_url(self._scope):
                return f"Bearer {self._token(one)}"
            if one.scheme == "basic" and self._credentials and (account := basic(self._credentials)):
                return _basic(account)
        which = "other credentials" if self._credentials else "credentials"
        raise Unauthenticated(f"{self} wants {which} for {self._scope.split(':')[1]!r}")

    def _token(self, asked: challenge.Challenge) -> str:
        url = self._checked("wants a token from", asked.token_url(self._scope))
        account = basic(self._credentials) if self._credentials else None
        identity = self._credentials.identity_token if self._credentials else ""
        if (account or identity) and urlsplit(url).scheme != "https" and self.endpoint.url.startswith("https:"):
            raise Unauthenticated(f"{self} wants its credentials sent in the clear to {_shown(url)}")
        if identity:
            form = {
                "grant_type": "refresh_token",
                "service": asked.parameters.get("service", ""),
                "scope": asked.parameters.get("scope") or self._scope,
                "client_id": _CLIENT_ID,
                "refresh_token": identity,
            }
            place = asked.parameters["realm"]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._send(self._others, "POST", place, headers, urlencode(form))
        else:
            headers = {"Authorization": _basic(account)} if account else {}
            response = self._send(self._others, "GET", url, headers)
        if response.status != 200:
            raise self._failure(response, f"the token service {_shown(url)}")
        token = _token_of(_body(response))
        if not token:
            raise Unauthenticated(f"the token service {_shown(url)} gave no token")
        return token

    def _failure(self, response: Response, what: str) -> PodwrightError | Transient:
        """What an answer other than 2xx means; reads it."""
        status = response.status
        words = f"{self}: {what}: {status} {response.reason or ''}".rstrip()
        if detail := _detail(_body(response)):
            words += f": {detail}"
        if status in _PASSING:
            return Transient(words, wait=_retry_after(response.headers.get("Retry-After", "")))
        kind = {401: Unauthenticated, 403: PermissionDenied, 404: NotFound}.get(status, FailedPrecondition)
        return kind(words)


def _is_passing(error: urllib3.exceptions.SSLError) -> bool:
    """Whether a connection was cut, and neither side has refused the other's certificate or protocol."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)


def _first_authorization(credentials: Credentials | None) -> str:
    return f"Bearer {credentials.registry_token}" if credentials and credentials.registry_token else ""


def _basic(account: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(account).encode()).decode()


def _token_of(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for key in ("token", "access_token"):
        if isinstance(answer, dict) and isinstance(answer.get(key), str) and answer[key]:
            return str(answer[key])
    return ""


def _context(endpoint: Endpoint, client: tuple[tuple[str, str], ...]) -> ssl.SSLContext | None:
    if not endpoint.url.startswith("https:") and not endpoint.ca:
        return None
    try:
        context = ssl.create_default_context()
        for path in endpoint.ca:
            context.load_verify_locations(path)
        for certificate, key in client:
            context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise FailedPrecondition(f"cannot use the certificates for {endpoint.host}: {error}") from error
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> str:
    """The proxy for a URL after HTTP_PROXY, HTTPS_PROXY and NO_PROXY, with Go's meaning of the last: it may hold
    domains, addresses and networks, and the loopback is never proxied. Empty for none.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"{parts.scheme}_proxy"
    proxy = environment.get(name) or environment.get(name.upper()) or ""
    if not proxy or is_loopback(parts.netloc):
        return ""
    excluded = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if any(_excludes(entry.strip().lower(), host, parts.port) for entry in excluded.split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _excludes(entry: str, host: str, port: int | None) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit():
        if port is not None and port != int(number):
            return False
        entry = name
    domain = entry.removeprefix("*").removeprefix(".")
    return host.endswith("." + domain) or (host == domain and not entry.startswith((".", "*.")))


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _finish(response: Response) -> None:
    """Reads the rest of a short answer, so that its connection can be used again."""
    _body(response)


def _body(response: Response) -> bytes:
    try:
        body = response.read(_LARGEST_ANSWER, decode_content=False)
        if len(body) < _LARGEST_ANSWER:
            response.release_conn()
        else:
            response.close()
    except (urllib3.exceptions.HTTPError, OSError):
        response.close()
        return b""
    return body


def _detail(body: bytes) -> str:
    """What a registry says in its errors (distribution specification, "Error Codes"), on one line."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return ""
    words = [str(first[key]) for key in ("code", "message") if first.get(key)]
    return " ".join(": ".join(words).split())[:300]


def _retry_after(value: str) -> float:
    """Seconds from a Retry-After header: a number, or a date."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _reason(error: Exception) -> str:
    """The innermost reason of urllib3's nested errors."""
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, Exception) else error.__cause__ or error.__context__
    return str(error) if cause is None else f"{cause}"


def _shown(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
