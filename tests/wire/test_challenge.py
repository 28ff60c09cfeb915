"""WWW-Authenticate: what registries send, what the RFC allows, what nobody should."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.challenge import Challenge, parse

PULL = "repository:app/web:pull"


def bearer(**parameters: str) -> Challenge:
    return Challenge("bearer", parameters)


def basic(**parameters: str) -> Challenge:
    return Challenge("basic", parameters)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
            'scope="repository:library/busybox:pull"',
            bearer(
                realm="https://auth.docker.io/token",
                service="registry.docker.io",
                scope="repository:library/busybox:pull",
            ),
            id="Docker Hub",
        ),
        pytest.param(
            'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:app/web:pull,push"',
            bearer(realm="https://ghcr.io/token", service="ghcr.io", scope="repository:app/web:pull,push"),
            id="GitHub, a comma in quotes",
        ),
        pytest.param(
            'Bearer realm="https://us-central1-docker.pkg.dev/v2/token"',
            bearer(realm="https://us-central1-docker.pkg.dev/v2/token"),
            id="Google, neither service nor scope",
        ),
        pytest.param(
            'Basic realm="https://1234.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com"',
            basic(realm="https://1234.dkr.ecr.us-east-1.amazonaws.com/", service="ecr.amazonaws.com"),
            id="AWS",
        ),
        pytest.param(
            'Bearer realm="https://app.azurecr.io/oauth2/token",service="app.azurecr.io",'
            'scope="repository:app/web:pull",error="invalid_token"',
            bearer(
                realm="https://app.azurecr.io/oauth2/token",
                service="app.azurecr.io",
                scope="repository:app/web:pull",
                error="invalid_token",
            ),
            id="Azure, with a token that has expired",
        ),
        pytest.param(
            'Bearer realm="https://git.example/v2/token",service="container_registry",scope="*"',
            bearer(realm="https://git.example/v2/token", service="container_registry", scope="*"),
            id="Gitea",
        ),
        pytest.param(
            'BASIC realm="Sonatype Nexus Repository Manager"',
            basic(realm="Sonatype Nexus Repository Manager"),
            id="Nexus",
        ),
        pytest.param("Basic realm=/", basic(realm="/"), id="unquoted"),
        pytest.param(
            "Bearer realm=https://auth.example/token?a=b,service=web",
            bearer(realm="https://auth.example/token?a=b", service="web"),
            id="unquoted, although it must be",
        ),
        pytest.param(
            'Bearer realm="https://auth.example/token",empty="",service="web"',
            bearer(realm="https://auth.example/token", empty="", service="web"),
            id="an empty value",
        ),
        pytest.param(
            'Bearer  Realm = "https://auth.example/token" , , SERVICE="web",',
            bearer(realm="https://auth.example/token", service="web"),
            id="white space, empty list elements, upper case",
        ),
        pytest.param(
            'Bearer realm="https://auth.example/token" service="web"',
            bearer(realm="https://auth.example/token", service="web"),
            id="a comma is missing",
        ),
        pytest.param(r'Basic realm="a \"quoted\" \\ realm"', basic(realm=r'a "quoted" \ realm'), id="escapes"),
        pytest.param('Basic realm="one", realm="two"', basic(realm="one"), id="the first of two counts"),
        pytest.param("Basic", basic(), id="nothing but a scheme"),
        pytest.param('Bearer realm="https://auth.example', bearer(realm=""), id="cut off"),
        pytest.param('Basic realm="a" ; what follows is lost="b"', basic(realm="a"), id="nonsense"),
    ],
)
def test_a_challenge_is_read(header: str, expected: Challenge) -> None:
    assert parse(header) == [expected]


@pytest.mark.parametrize(
    ("header", "schemes"),
    [
        ("", []),
        (" , ,", []),
        ('realm="of no scheme"', []),
        ('"Basic"', []),
        ('Basic realm="a", Bearer realm="b"', ["basic", "bearer"]),
        ('Basic, Bearer realm="b"', ["basic", "bearer"]),
        ('Negotiate, Basic realm="a"', ["negotiate", "basic"]),
        ('Negotiate oRQwEqADCgEA/+==, Basic realm="a"', ["negotiate", "basic"]),
        ('NTLM TlRMTVNTUAAC , Basic realm="a"', ["ntlm", "basic"]),
        ("NTLM TlRMTVNTUAAC", ["ntlm"]),
        # RFC 9110, section 11.6.1
        ('Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""', ["basic", "newauth"]),
    ],
)
def test_several_challenges_keep_their_order(header: str, schemes: list[str]) -> None:
    assert [challenge.scheme for challenge in parse(header)] == schemes


def test_parameters_belong_to_the_scheme_before_them() -> None:
    assert parse('Basic realm="a", Bearer realm="b",service="c"') == [basic(realm="a"), bearer(realm="b", service="c")]


@pytest.mark.parametrize(
    ("challenge", "place", "query"),
    [
        (bearer(realm="https://auth.example/token"), "https://auth.example/token", [("scope", PULL)]),
        (
            bearer(realm="https://auth.example/token", service="web & more", scope="aws"),
            "https://auth.example/token",
            [("service", "web & more"), ("scope", "aws")],
        ),
        (
            bearer(realm="https://auth.example/token?account=a", service=""),
            "https://auth.example/token",
            [("account", "a"), ("scope", PULL)],
        ),
        (
            bearer(realm="https://auth.example/token", scope="repository:a:pull repository:b:pull,push"),
            "https://auth.example/token",
            [("scope", "repository:a:pull"), ("scope", "repository:b:pull,push")],
        ),
        (bearer(realm="https://auth.example/token", scope=" "), "https://auth.example/token", [("scope", PULL)]),
    ],
)
def test_where_to_ask_for_a_token(challenge: Challenge, place: str, query: list[tuple[str, str]]) -> None:
    url = urlsplit(challenge.token_url(PULL))
    assert f"{url.scheme}://{url.netloc}{url.path}" == place
    assert parse_qsl(url.query) == query


@pytest.mark.parametrize("challenge", [bearer(), bearer(realm=""), bearer(service="web")])
def test_without_a_realm_there_is_nowhere_to_ask(challenge: Challenge) -> None:
    assert challenge.token_url(PULL) == ""


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.!~*'", min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
challenges = st.builds(Challenge, names, st.dictionaries(names, values, max_size=4))


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(challenges, max_size=4), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_what_was_written_is_read(written: list[Challenge], comma: str) -> None:
    header = comma.join(
        f"{one.scheme} " + comma.join(f"{key}={_quoted(value)}" for key, value in one.parameters.items())
        for one in written
    )
    assert parse(header) == written


@given(st.text(st.sampled_from('Basic realm=",\\ \t;=/'), max_size=60))
def test_any_text_is_survived(header: str) -> None:
    for challenge in parse(header):
        assert challenge.scheme == challenge.scheme.lower() != ""
