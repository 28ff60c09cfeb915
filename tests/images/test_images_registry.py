"""Which registry is asked, in which way, and who is told which secret."""

import base64
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from podwright.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PodwrightError,
    Unauthenticated,
    Unavailable,
)
from podwright.images.model import Credentials, Image
from podwright.images.service import Images
from podwright.testing.images import file, image, index, layer
from podwright.testing.registry import FakeRegistry
from support.images import Shelf
from support.pki import Authority

pytestmark = [pytest.mark.root, pytest.mark.filterwarnings("ignore:Unverified HTTPS")]

BUILT = image(layer(file("data")))
ACCOUNT = {"user": "pass:word"}
GIVEN = Credentials(username="user", password="pass:word")
BASE64 = base64.b64encode(b"user:pass:word").decode()


def pull(shelf: Shelf, name: str, given: Credentials | None = None) -> Image:
    async def scenario(images: Images) -> Image:
        found = images.find(await images.pull(name, given))
        assert found is not None
        return found

    return shelf.run(scenario)


def sent_to(registry: FakeRegistry) -> set[str]:
    """All that was said in Authorization headers."""
    return {one.headers["authorization"] for one in registry.requests if "authorization" in one.headers}


# ---- authentication


@pytest.mark.parametrize("given", [
    GIVEN,
    Credentials(auth=BASE64),
    Credentials(auth=base64.b64encode(b"user:pass:word\0\0").decode()),
    Credentials(username="user", password="pass:word", server_address="https://HOST/v2/"),
    Credentials(username="user", password="pass:word", server_address="HOST"),
], ids=["user and password", "auth", "auth with zeros", "for this URL", "for this host"])  # fmt: skip
@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_credentials_of_the_request_are_good(given: Credentials, scheme: str, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_basic(ACCOUNT) if scheme == "basic" else registry.require_token(ACCOUNT)
        address = given.server_address.replace("HOST", registry.host)
        assert pull(Shelf(tmp_path), name, replaced(given, address)).id == BUILT.id


def replaced(given: Credentials, address: str) -> Credentials:
    return Credentials(given.username, given.password, given.auth, address)


def test_a_token_is_asked_for_once_and_again_when_it_has_expired(tmp_path: Path) -> None:
    many = image(*(layer(file(str(number))) for number in range(6)))
    with FakeRegistry() as registry:
        name = registry.push("app", "1", many)
        registry.require_token(ACCOUNT)
        pull(Shelf(tmp_path), name, GIVEN)
        assert registry.asked("GET", "/token") == 1
        (asked,) = (one.path for one in registry.requests if one.path.startswith("/token"))
        assert asked == "/token?service=fake&scope=repository%3Ax%3Apull"

        registry.push("app", "2", image(layer(file("other"))))
        # The manifest is granted, then the token expires.
        registry.fault(
            "/blobs/", times=1, status=401, headers={"WWW-Authenticate": f'Bearer realm="{registry.url}/token"'}
        )
        pull(Shelf(tmp_path / "2"), f"{registry.host}/app:2", GIVEN)
        assert registry.asked("GET", "/token") == 3


def test_a_token_without_credentials_is_anonymous(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_token()
        pull(Shelf(tmp_path), name)
        assert sent_to(registry) == {f"Bearer {token}" for token in registry.tokens}


def test_an_identity_token_is_exchanged(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_token(ACCOUNT)
        registry.refresh_token = "identity"
        pull(Shelf(tmp_path), name, Credentials(identity_token="identity"))
        assert registry.asked("POST", "/token") == 1
        with pytest.raises(Unauthenticated):
            pull(Shelf(tmp_path / "2"), name, Credentials(identity_token="wrong"))


def test_a_registry_token_is_sent_as_it_is(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_token(ACCOUNT)
        registry.tokens.add("given")
        pull(Shelf(tmp_path), name, Credentials(registry_token="given"))
        assert registry.asked("GET", "/token") == 0


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.parametrize(("given", "words"), [
    (None, "wants credentials|401"),
    (Credentials(username="user", password="wrong"), "401"),
    (Credentials(registry_token="wrong"), "wants other credentials|401"),
], ids=["none", "wrong password", "wrong token"])  # fmt: skip
def test_wrong_credentials_are_unauthenticated(
    given: Credentials | None, words: str, scheme: str, tmp_path: Path
) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_basic(ACCOUNT) if scheme == "basic" else registry.require_token(ACCOUNT)
        with pytest.raises(Unauthenticated, match=words) as caught:
            pull(Shelf(tmp_path), name, given)
        assert "wrong" not in str(caught.value)


def test_an_image_that_is_here_is_not_given_to_who_may_not_have_it(tmp_path: Path) -> None:
    """Kubelets rely on it: a pull is also the proof that the pod's secrets are good."""
    shelf = Shelf(tmp_path)
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_basic(ACCOUNT)
        pull(shelf, name, GIVEN)
        with pytest.raises(Unauthenticated):
            pull(shelf, name)
        with pytest.raises(Unauthenticated):
            pull(shelf, f"{registry.host}/app@{BUILT.digest}")
        registry.requests.clear()
        pull(shelf, name, GIVEN)
        assert {one.method for one in registry.requests} == {"HEAD"}


@pytest.mark.parametrize(
    "auth", ["not base64!", base64.b64encode(b"no colon").decode(), base64.b64encode(b"\xff:").decode()]
)
def test_credentials_that_make_no_sense_are_refused(auth: str, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        with pytest.raises(InvalidArgument, match="auth"):
            pull(Shelf(tmp_path), name, Credentials(auth=auth))
        assert registry.requests == []


# ---- secrets stay where they belong


def test_credentials_for_another_server_are_not_sent(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_basic(ACCOUNT)
        with pytest.raises(Unauthenticated):
            pull(Shelf(tmp_path), name, Credentials(username="user", password="pass:word", server_address="quay.io"))
        assert sent_to(registry) == set()


def test_a_redirect_takes_no_secrets_along(tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as store:
        name = registry.push("app", "1", BUILT)
        store.push("store", "1", BUILT)
        registry.require_token(ACCOUNT)
        for digest in BUILT.blobs:
            location = {"Location": f"{store.url}/v2/store/blobs/{digest}"}
            registry.fault(f"/blobs/{digest}", status=307, headers=location)
        directory = tmp_path / "certs.d" / registry.host
        directory.mkdir(parents=True)
        (directory / "hosts.toml").write_text(f'server = "{registry.url}"\n[header]\nX-Secret = "s"\n')
        pull(Shelf(tmp_path, registry_directories=(str(tmp_path / "certs.d"),)), name, GIVEN)
        assert store.asked("GET", "/blobs/") == 2
        assert sent_to(store) == set()
        assert not any("x-secret" in one.headers for one in store.requests)
        assert all(one.headers["x-secret"] == "s" for one in registry.requests if "/v2/" in one.path)


def test_a_mirror_does_not_get_the_credentials_of_the_registry(tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as mirror:
        name = registry.push("app", "1", BUILT)
        mirror.push("app", "1", BUILT)
        registry.require_basic(ACCOUNT)
        mirror.require_basic({"other": "secret"})
        shelf = mirrored(tmp_path, registry, {mirror.url: ""})
        pull(shelf, name, GIVEN)
        assert sent_to(mirror) == set()
        assert sent_to(registry) == {f"Basic {BASE64}"}

        # Credentials of the configuration for the mirror's own name do go there.
        mine = Shelf(
            tmp_path / "2",
            registry_directories=shelf.settings["registry_directories"],
            credentials={mirror.host: Credentials(username="other", password="secret")},
        )
        registry.requests.clear()
        pull(mine, name)
        assert registry.requests == []


def test_a_token_service_in_the_clear_gets_no_password_of_a_registry_with_tls(
    tmp_path: Path, authority: Authority
) -> None:
    with secured(authority) as registry, FakeRegistry() as plain:
        name = registry.push("app", "1", BUILT)
        registry.require_token(ACCOUNT, realm=f"{plain.url}/token")
        with pytest.raises(Unauthenticated, match="in the clear"):
            pull(
                Shelf(tmp_path, unverified=(registry.host,), registry_directories=unverified(tmp_path, registry)),
                name,
                GIVEN,
            )
        assert plain.requests == []


# ---- where credentials come from


def test_credentials_come_from_the_configuration(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_basic(ACCOUNT)
        pull(Shelf(tmp_path, credentials={registry.host: GIVEN}), name)


def auth_file(directory: Path, document: Mapping[str, object]) -> str:
    path = directory / "auth.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize("key", ["HOST", "https://HOST", "http://HOST/v1/", "HOST/team", "HOST/team/app"])
def test_credentials_come_from_a_file_of_dockers_form(key: str, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("team/app", "1", BUILT)
        registry.require_basic(ACCOUNT)
        wrong = {"auth": base64.b64encode(b"wrong:wrong").decode()}
        auths = {
            f"{registry.host}/other": wrong,
            key.replace("HOST", registry.host): {"auth": BASE64},
            "quay.io": wrong,
        }
        path = auth_file(tmp_path, {"auths": auths})
        pull(Shelf(tmp_path / "1", credential_files=("/nonexistent", path)), name)


def test_the_entry_with_the_longest_path_is_taken(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("team/app", "1", BUILT)
        registry.require_basic(ACCOUNT)
        auths = {registry.host: {"username": "x", "password": "y"}, f"{registry.host}/team": {"auth": BASE64}}
        pull(Shelf(tmp_path / "1", credential_files=(auth_file(tmp_path, {"auths": auths}),)), name)


def test_a_file_that_makes_no_sense_is_passed_over(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    for content in ("", "[1]", '{"auths": 3}', '{"auths": {"x": 5}, "credHelpers": []}', "\xff"):
        bad.write_text(content)
        with FakeRegistry() as registry:
            name = registry.push("app", "1", BUILT)
            registry.require_basic(ACCOUNT)
            good = auth_file(tmp_path, {"auths": {registry.host: {"auth": BASE64}}})
            pull(Shelf(tmp_path / f"shelf-{len(content)}", credential_files=(str(bad), good)), name)


HELPER = """#!/bin/sh
read -r server
echo "$1 $server" >> {record}
case "$server" in
{host}) echo '{{"ServerURL": "x", "Username": "{user}", "Secret": "{secret}"}}';;
*) echo "credentials not found in native keychain"; exit 1;;
esac
"""


@pytest.mark.parametrize("way", ["credHelpers", "credsStore"])
def test_credential_helpers_are_asked(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_basic(ACCOUNT)
        record = install_helper(tmp_path, monkeypatch, registry.host, "user", "pass:word")
        document = {"credHelpers": {registry.host: "fake"}} if way == "credHelpers" else {"credsStore": "fake"}
        pull(Shelf(tmp_path / "1", credential_files=(auth_file(tmp_path, document),)), name)
        assert record.read_text() == f"get {registry.host}\n"


def test_a_helper_may_have_an_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        registry.require_token(ACCOUNT)
        registry.refresh_token = "identity"
        install_helper(tmp_path, monkeypatch, registry.host, "<token>", "identity")
        pull(Shelf(tmp_path / "1", credential_files=(auth_file(tmp_path, {"credsStore": "fake"}),)), name)


def test_a_helper_that_knows_nothing_or_is_missing_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_helper(tmp_path, monkeypatch, "elsewhere", "u", "s")
    for number, helper in enumerate(("fake", "missing", "../../bin/sh")):
        with FakeRegistry() as registry:
            name = registry.push("app", "1", BUILT)
            pull(Shelf(tmp_path / str(number), credential_files=(auth_file(tmp_path, {"credsStore": helper}),)), name)


def install_helper(directory: Path, monkeypatch: pytest.MonkeyPatch, host: str, user: str, secret: str) -> Path:
    """Puts docker-credential-fake where programs are looked for; returns the file with what it was asked."""
    programs = directory / "bin"
    programs.mkdir()
    record = directory / "record"
    program = programs / "docker-credential-fake"
    program.write_text(HELPER.format(record=record, host=host, user=user, secret=secret))
    program.chmod(0o755)
    monkeypatch.setattr("podwright.kernel.run.ENVIRONMENT", {"PATH": f"{programs}:/usr/bin:/bin"})
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return record


# ---- mirrors


def mirrored(directory: Path, registry: FakeRegistry, hosts: Mapping[str, str], **settings: object) -> Shelf:
    """A store whose certs.d names mirrors: options by URL."""
    place = directory / "certs.d" / registry.host
    place.mkdir(parents=True, exist_ok=True)
    lines = [f'server = "{registry.url}"', *(f'[host."{url}"]\n{options}' for url, options in hosts.items())]
    (place / "hosts.toml").write_text("\n".join(lines))
    return Shelf(directory, registry_directories=(str(directory / "certs.d"),), **settings)


def test_mirrors_are_asked_in_their_order_and_told_the_name_of_the_registry(tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as first, FakeRegistry() as second:
        name = registry.push("app", "1", BUILT)
        for one in (first, second):
            one.push("app", "1", BUILT)
        found = mirrored(tmp_path, registry, {first.url: "", second.url: ""}).pull(name)
        assert found.repo_tags == (name,)
        assert not registry.requests
        assert not second.requests
        namespace = f"ns={registry.host.replace(':', '%3A')}"
        assert all(one.path.endswith(f"?{namespace}") for one in first.requests)


FAILING: Mapping[str, Mapping[str, object]] = {
    "has nothing": {"status": 404},
    "forbids": {"status": 403},
    "wants a password": {"status": 401},
    "fails": {"status": 500},
    "is limited": {"status": 429, "headers": {"Retry-After": "30"}},
    "stalls": {"stall": 1, "times": 1},
    "lies": {"body": b"{}", "after": 1},
    "redirects to nowhere": {"status": 307, "headers": {"Location": "gopher://x"}},
    "breaks off": {"cut": 3},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAILING.values(), ids=FAILING.keys())
def test_a_mirror_that_fails_is_passed_over(fault: Mapping[str, object], tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as mirror:
        name = registry.push("app", "1", BUILT)
        mirror.push("app", "1", BUILT)
        mirror.fault("/v2/", **fault)  # type: ignore[arg-type]
        assert mirrored(tmp_path, registry, {mirror.url: ""}).pull(name).id == BUILT.id
        assert registry.requests


def test_a_mirror_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = registry.push("app", "1", BUILT)
        assert mirrored(tmp_path, registry, {"http://127.0.0.1:1": ""}).pull(name).id == BUILT.id


def test_a_layer_goes_on_at_the_next_mirror_from_where_the_first_broke_off(tmp_path: Path) -> None:
    content = os.urandom(600_000)
    built = image(layer(file("data", content), compression="none"))
    (blob,) = set(built.blobs) - {built.id}
    with FakeRegistry() as registry, FakeRegistry() as mirror:
        name = registry.push("app", "1", built)
        mirror.push("app", "1", built)
        mirror.fault(f"/blobs/{blob}", stall=400_000)
        mirrored(tmp_path, registry, {mirror.url: ""}).pull(name)
        (asked,) = (one for one in registry.requests if blob in one.path)
        start = int(asked.headers["range"].removeprefix("bytes=").split("-")[0])
        assert start >= 100_000


def test_a_lying_mirror_is_found_out_and_the_layer_fetched_again(tmp_path: Path) -> None:
    content = os.urandom(600_000)
    built = image(layer(file("data", content), compression="none"))
    (blob,) = set(built.blobs) - {built.id}
    with FakeRegistry() as registry, FakeRegistry() as mirror:
        name = registry.push("app", "1", built)
        mirror.push("app", "1", built)
        mirror.fault(f"/blobs/{blob}", body=bytes(len(built.blobs[blob])))
        shelf = mirrored(tmp_path, registry, {mirror.url: ""})
        found = shelf.pull(name)
        with shelf.mounted(found) as root:
            assert Path(root, "data").read_bytes() == content
        assert registry.asked("GET", f"/blobs/{blob}") == 1


def test_capabilities_say_what_a_mirror_is_asked_for(tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as mirror:
        name = registry.push("app", "1", BUILT)
        mirror.push("app", "1", BUILT)
        shelf = mirrored(tmp_path, registry, {mirror.url: 'capabilities = ["pull"]'})
        shelf.pull(name)
        assert registry.asked("GET", "/manifests/1") == 1
        assert mirror.asked("GET", "/manifests/1") == 0
        assert mirror.asked("GET", "/blobs/") == 2
        assert registry.asked("GET", "/blobs/") == 0

        only_names = mirrored(tmp_path / "2", registry, {mirror.url: 'capabilities = ["resolve"]'})
        mirror.requests.clear()
        only_names.pull(name)
        assert mirror.asked("GET", "/blobs/") == 0


def test_hosts_are_read_again_at_each_pull(tmp_path: Path) -> None:
    other = image(layer(file("other")))

    async def scenario(images: Images) -> None:
        await images.pull(first)
        mirrored(tmp_path, registry, {mirror.url: ""})
        await images.pull(second)

    with FakeRegistry() as registry, FakeRegistry() as mirror:
        first, second = registry.push("app", "1", BUILT), registry.push("app", "2", other)
        mirror.push("app", "2", other)
        mirrored(tmp_path, registry, {}).run(scenario)
        assert mirror.asked("GET", "/manifests/2") == 1
        assert registry.asked("GET", "/manifests/2") == 0


def test_headers_and_a_path_of_its_own(tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as mirror:
        name = registry.push("app", "1", BUILT)
        mirror.push("mirror/of/all/app", "1", BUILT)
        options = 'override_path = true\n[host."URL".header]\nX-One = "1"\nX-Two = ["2", "3"]\n'
        url = f"{mirror.url}/v2/mirror/of/all"
        mirrored(tmp_path, registry, {url: options.replace("URL", url)}).pull(name)
        assert not registry.requests
        assert all((one.headers["x-one"], one.headers["x-two"]) == ("1", "2, 3") for one in mirror.requests)


def test_names_of_directories_with_ports_and_the_default(tmp_path: Path) -> None:
    for number, form in enumerate(("{host}:{port}", "{host}_{port}_", "_default")):
        with FakeRegistry() as registry, FakeRegistry() as mirror:
            name = registry.push("app", "1", BUILT)
            mirror.push("app", "1", BUILT)
            place = tmp_path / str(number) / form.format(host="127.0.0.1", port=registry.port)
            place.mkdir(parents=True)
            (place / "hosts.toml").write_text(f'[host."{mirror.url}"]\n')
            Shelf(tmp_path / f"{number}s", registry_directories=("/none", str(tmp_path / str(number)))).pull(name)
            assert not registry.requests


@pytest.mark.parametrize(("text", "words"), [
    ("server = 3", "server is no string"),
    ("host = 3", "host is no table"),
    ("[host.x]\nca = 3", "ca must be"),
    ('[host.x]\ncapabilities = ["read"]', "capabilities"),
    ('[host.x]\nskip_verify = "yes"', "skip_verify"),
    ('[host.x]\ndial_timeout = "soon"', "dial_timeout"),
    ('[host.x]\nclient = [["a", "b", "c"]]', "client"),
    ('[host."ftp://x"]', "no URL"),
    ('[host.x]\nca = "missing.pem"', "certificates"),
    ("not toml", "hosts.toml"),
], ids=range(10))  # fmt: skip
def test_a_wrong_hosts_file_is_named(text: str, words: str, tmp_path: Path) -> None:
    place = tmp_path / "certs.d" / "quay.io"
    place.mkdir(parents=True)
    (place / "hosts.toml").write_text(text)
    with pytest.raises(FailedPrecondition, match=words):
        Shelf(tmp_path, registry_directories=(str(tmp_path / "certs.d"),)).pull("quay.io/x:1")


# ---- TLS and proxies


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom only those trust who are told to."""
    return Authority(tmp_path / "pki")


def secured(authority: Authority, *, client_ca: str = "") -> FakeRegistry:
    """A registry with TLS."""
    certificate, key = authority.issue("server")
    return FakeRegistry(certificate=str(certificate), key=str(key), client_ca=client_ca)


def unverified(directory: Path, registry: FakeRegistry) -> tuple[str, ...]:
    place = directory / "unverified" / registry.host
    place.mkdir(parents=True)
    (place / "hosts.toml").write_text(f'server = "{registry.url}"\nskip_verify = true\n')
    return (str(directory / "unverified"),)


def test_certificates_are_verified(tmp_path: Path, authority: Authority) -> None:
    with secured(authority) as registry:
        name = registry.push("app", "1", BUILT)
        shelf = mirrored(tmp_path, registry, {})
        with pytest.raises(Unavailable, match=r"^RegistryUnavailable: .*certificate verify failed"):
            shelf.pull(name)
        place = tmp_path / "certs.d" / registry.host
        text = (place / "hosts.toml").read_text()
        (place / "hosts.toml").write_text(f'{text}\nca = "ca.pem"\n')
        shutil.copy(authority.directory / "ca.crt", place / "ca.pem")
        assert shelf.pull(name).id == BUILT.id
        (place / "hosts.toml").write_text(f"{text}\nskip_verify = true\n")
        assert Shelf(tmp_path / "2", **shelf.settings).pull(name).id == BUILT.id


def test_a_registry_in_the_clear_that_should_have_tls_is_named(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        place = tmp_path / "certs.d" / registry.host
        place.mkdir(parents=True)
        (place / "hosts.toml").write_text(f'server = "https://{registry.host}"\n')
        with pytest.raises(Unavailable, match=r"^RegistryUnavailable: .*is it plain HTTP\?"):
            Shelf(tmp_path, registry_directories=(str(tmp_path / "certs.d"),)).pull(registry.push("app", "1", BUILT))


@pytest.mark.parametrize("form", ["hosts.toml", "docker"])
def test_client_certificates(form: str, tmp_path: Path, authority: Authority) -> None:
    trusted = authority.directory / "ca.crt"
    client, client_key = authority.issue("client")
    with secured(authority, client_ca=str(trusted)) as registry:
        name = registry.push("app", "1", BUILT)
        place = tmp_path / "certs.d" / registry.host
        place.mkdir(parents=True)
        settings = {"registry_directories": (str(tmp_path / "certs.d"),)}
        text = f'server = "{registry.url}"\nca = "{trusted}"\n'
        (place / "hosts.toml").write_text(text)
        with pytest.raises(Unavailable, match=r"^RegistryUnavailable"):
            Shelf(tmp_path / "1", **settings).pull(name)
        if form == "docker":
            (place / "hosts.toml").unlink()
            for source, name_there in ((trusted, "ca.crt"), (client, "client.cert"), (client_key, "client.key")):
                shutil.copy(source, place / name_there)
        else:
            (place / "hosts.toml").write_text(f'{text}client = [["{client}", "{client_key}"]]\n')
        assert Shelf(tmp_path / "2", **settings).pull(name).id == BUILT.id


def test_pulls_go_through_the_proxy_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeRegistry() as proxy:
        proxy.push("app", "1", BUILT)
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{proxy.host}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        Shelf(tmp_path, plain_http=("registry.test",)).pull("registry.test/app:1")
        secret = "Basic " + base64.b64encode(b"me:secret").decode()
        assert all(one.path.startswith("http://registry.test/v2/app/") for one in proxy.requests)
        assert all(one.headers["proxy-authorization"] == secret for one in proxy.requests)


# ---- platforms and names


def test_an_index_gives_the_image_of_this_machine(tmp_path: Path) -> None:
    mine = image(layer(file("mine")))
    other = image(layer(file("other")), platform={"os": "linux", "architecture": "s390x"})
    for docker in (False, True):
        with FakeRegistry() as registry:
            both = index(other, mine, docker=docker)
            found = Shelf(tmp_path / str(docker)).pull(registry.push("app", "1", both))
            assert found.id == mine.id
            assert found.repo_digests == (f"{registry.host}/app@{both.digest}",)
            with pytest.raises(FailedPrecondition, match="linux/s390x"):
                Shelf(tmp_path / f"no-{docker}").pull(registry.push("app", "2", index(other, docker=docker)))


def test_docker_schema_2_is_taken_and_schema_1_is_refused(tmp_path: Path) -> None:
    docker = image(layer(file("x")), docker=True)
    with FakeRegistry() as registry:
        assert Shelf(tmp_path).pull(registry.push("app", "1", docker)).id == docker.id
        registry.fault("/manifests/old", body=b'{"schemaVersion": 1, "fsLayers": []}')
        registry.push("app", "old", docker)
        with pytest.raises(FailedPrecondition, match="schema 1"):
            Shelf(tmp_path).pull(f"{registry.host}/app:old")


@pytest.mark.parametrize("kind", [NotFound, PermissionDenied], ids=["404", "403"])
def test_the_registry_itself_has_the_last_word(kind: type[PodwrightError], tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as mirror:
        name = registry.push("app", "1", BUILT)
        mirror.fault("/v2/", status=500)
        registry.fault("/v2/", status=404 if kind is NotFound else 403)
        with pytest.raises(kind, match=f"{mirror.host}.*500.*{registry.host}"):
            mirrored(tmp_path, registry, {mirror.url: ""}).pull(name)
