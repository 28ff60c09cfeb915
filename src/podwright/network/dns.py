"""resolv.conf of sandboxes (resolv.conf(5)): pure text, and the host's own file where the pod has no wishes."""

from podwright.network.request import Dns

_HOST = "/etc/resolv.conf"
_BEHIND_STUB = "/run/systemd/resolve/resolv.conf"
_STUBS = {"127.0.0.53", "127.0.0.54"}  # systemd-resolved.service(8)


def resolv_conf(dns: Dns | None, host: str = _HOST, behind_stub: str = _BEHIND_STUB) -> str:
    """The text for a sandbox; the host's where `dns` is None or empty, as containerd and CRI-O do. Blocking.

    A host whose only name servers are systemd-resolved's stubs has the real ones in another file, which is taken
    instead: a pod has a 127.0.0.53 of its own, where nobody answers. (Kubelets are given that file by kubeadm for the
    same reason, and Docker looks for it.)
    """
    if dns is not None and (dns.servers or dns.searches or dns.options):
        return _render(dns)
    text = _read(host)
    servers = {words[1] for words in map(str.split, text.splitlines()) if words[:1] == ["nameserver"] and words[1:]}
    return (_read(behind_stub) or text) if servers and servers <= _STUBS else text


def _render(dns: Dns) -> str:
    lines = [f"nameserver {server}" for server in dns.servers]
    if dns.searches:
        lines.insert(0, f"search {' '.join(dns.searches)}")
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "\n".join(lines) + "\n"


def _read(path: str) -> str:
    """The file's text; without a file the empty one, which means the same to resolvers."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""
