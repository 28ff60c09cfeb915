"""Names of images: the distribution specification's grammar, and what users of docker and containerd write."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from podwright.errors import InvalidArgument
from podwright.wire.reference import Reference, id_digits, is_digest, is_id, parse

DIGITS = "0123456789abcdef" * 4
SHA256 = f"sha256:{DIGITS}"
SHA512 = f"sha512:{DIGITS}{DIGITS}"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/app/web", "docker.io/app/web:latest"),
        ("app/web", "docker.io/app/web:latest"),
        ("app/web/api", "docker.io/app/web/api:latest"),
        ("test_com/web", "docker.io/test_com/web:latest"),
        ("app__web/d---b.a_c", "docker.io/app__web/d---b.a_c:latest"),
        ("quay.io/app/web:v1.2_rc-1", "quay.io/app/web:v1.2_rc-1"),
        ("quay.io/busybox", "quay.io/busybox:latest"),
        ("localhost/web", "localhost/web:latest"),
        ("localhost:5000/web", "localhost:5000/web:latest"),
        ("registry:5000/web:Tag", "registry:5000/web:Tag"),
        ("127.0.0.1:5000/app/web", "127.0.0.1:5000/app/web:latest"),
        ("[::1]:5000/web:2", "[::1]:5000/web:2"),
        ("[2001:db8::1]/web", "[2001:db8::1]/web:latest"),
        ("xn--n3h.com/web:xn--n3h.com", "xn--n3h.com/web:xn--n3h.com"),
        ("Registry/web", "Registry/web:latest"),  # a host, since a repository has no capitals
        ("192.168.0.1", "docker.io/library/192.168.0.1:latest"),
        ("192.168.0.1:80", "docker.io/library/192.168.0.1:80"),
        (f"busybox@{SHA256}", f"docker.io/library/busybox@{SHA256}"),
        (f"busybox:1.36@{SHA256}", f"docker.io/library/busybox:1.36@{SHA256}"),
        (f"localhost:5000/web@{SHA512}", f"localhost:5000/web@{SHA512}"),
        (f"docker.io/{DIGITS}", f"docker.io/library/{DIGITS}:latest"),
        (f"{DIGITS}:1", f"docker.io/library/{DIGITS}:1"),
        (DIGITS[:12], f"docker.io/library/{DIGITS[:12]}:latest"),
        (f"web:{'t' * 128}", f"docker.io/library/web:{'t' * 128}"),
        ("a/" * 127 + "a", "docker.io/" + "a/" * 127 + "a:latest"),
    ],
)
def test_names_are_completed(text: str, whole: str) -> None:
    assert str(parse(text)) == whole
    assert parse(whole) == parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no repository name"),
        (" busybox", "is no repository name"),
        ("busybox\n", "is no repository name"),
        ("BusyBox", "must be lower case"),
        ("quay.io/app/Web", "must be lower case"),
        ("büsybox", "is no repository name"),
        ("-busybox", "is no repository name"),
        ("app-/web", "is no repository name"),
        ("_app/web", "is no repository name"),
        ("app/", "is no repository name"),
        ("docker.io/", "is no repository name"),
        ("docker.io//web", "is no repository name"),
        ("app///web", "is no repository name"),
        ("we..b", "is no repository name"),
        ("we_.b", "is no repository name"),
        ("quay.io/app/../web", "is no repository name"),
        ("a/" * 128 + "a", "longer than 255"),
        ("busybox:", "is no tag"),
        ("busybox:-1", "is no tag"),
        ("busybox:a b", "is no tag"),
        ("busybox:1:2", "is no repository name"),
        (f"web:{'t' * 129}", "is no tag"),
        (":tag", "is no repository name"),
        ("https://quay.io/web", "'https:' is no host name"),
        ("-quay.io/web", "is no host name"),
        ("quay.io:port/web", "is no host name"),
        ("user@quay.io/web", "is no sha256 or sha512 digest"),
        ("fc00::1:5000/web", "is no host name"),
        ("[::1%eth0]/web", "is no host name"),
        ("[::1]", "is no tag"),
        ("/web", "is no repository name"),
        ("./web", "'.' is no host name"),
        (f"@{SHA256}", "is no repository name"),
        ("busybox@", "is no sha256 or sha512 digest"),
        (f"busybox@{SHA256[:-1]}", "is no sha256 or sha512 digest"),
        (f"busybox@{SHA256.upper()}", "is no sha256 or sha512 digest"),
        (f"busybox@md5:{DIGITS[:32]}", "is no sha256 or sha512 digest"),
        (f"busybox@{SHA256}@{SHA256}", "is no sha256 or sha512 digest"),
        (f"busybox@{SHA256}:1", "is no sha256 or sha512 digest"),
        (DIGITS, "is an image id, not a name"),
        (SHA256, "is an image id, not a name"),
    ],
)
def test_what_is_no_name(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert why in str(caught.value)


def test_a_tag_decides() -> None:
    found = parse("quay.io/app/web:1")
    assert (found.registry, found.repository, found.tag, found.digest) == ("quay.io", "app/web", "1", "")
    assert found.version == "1"
    assert found.tagged() == "quay.io/app/web:1"
    assert found.digested(SHA256) == f"quay.io/app/web@{SHA256}"


def test_a_digest_decides_over_a_tag() -> None:
    found = parse(f"quay.io/app/web:1@{SHA256}")
    assert (found.name, found.tag, found.version) == ("quay.io/app/web", "1", SHA256)
    assert found.tagged() == ""


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (SHA256, DIGITS),
        (DIGITS, DIGITS),
        ("sha256:0", "0"),
        ("cafe", "cafe"),
        ("sha256:", ""),
        ("", ""),
        ("busybox", ""),
        ("CAFE", ""),
        (f"{DIGITS}0", ""),
        (SHA512, ""),
    ],
)
def test_ids_are_recognised(text: str, digits: str) -> None:
    assert id_digits(text) == digits
    assert is_id(text) == (len(digits) == 64)


# The grammar of distribution/reference: what it makes must be read, and fall into the same parts.
components = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True)
repositories = st.lists(components, min_size=1, max_size=4).map("/".join).filter(lambda text: len(text) <= 255)
labels = st.from_regex(r"[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]{0,10}[a-zA-Z0-9]", fullmatch=True)
ports = st.integers(1, 65535).map(lambda number: f":{number}")
hosts = st.one_of(
    st.lists(labels, min_size=2, max_size=4).map(".".join),
    st.builds(lambda label, port: label + port, labels, ports),
    st.builds(lambda address, port: f"[{address}]{port}", st.ip_addresses(v=6), st.just("") | ports),
    st.just("localhost"),
)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(lambda some: f"sha256:{some.hex()}") | st.binary(
    min_size=64, max_size=64
).map(lambda some: f"sha512:{some.hex()}")


@given(hosts, repositories, st.none() | tags, st.none() | digests)
def test_what_the_grammar_makes_is_read(host: str, repository: str, tag: str | None, digest: str | None) -> None:
    assume(not host.endswith("docker.io"))
    text = f"{host}/{repository}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    assert parse(text) == Reference(host, repository, tag or ("" if digest else "latest"), digest or "")


@given(repositories, st.none() | tags)
def test_names_without_a_host_are_docker_hubs(repository: str, tag: str | None) -> None:
    first, slash, _ = repository.partition("/")
    assume(not is_id(repository))
    assume(not slash or (first != "localhost" and "." not in first))
    found = parse(repository + (f":{tag}" if tag else ""))
    assert found == Reference("docker.io", repository if slash else f"library/{repository}", tag or "latest", "")


@given(st.text(st.sampled_from("aZ0.:/@-_[]% \0\né") | st.characters(), max_size=40))
def test_any_text_is_refused_or_has_one_complete_form(text: str) -> None:
    try:
        found = parse(text)
    except InvalidArgument:
        return
    assert parse(str(found)) == found
    assert str(found).isascii()


@given(digests)
def test_digests_are_recognised(digest: str) -> None:
    assert is_digest(digest)
    assert not is_digest(digest + "0")
    assert not is_digest(digest.replace(":", "-"))
    assert not is_digest(f"{digest}\n")
