"""A network configuration made of a template once the kubelet tells the node's pod CIDR (UpdateRuntimeConfig).

For nodes whose network needs nothing but its range, as with the bridge plugin; other providers bring their own
configuration, and then no template is set. As in containerd (conf_template) a configuration that is there already has
precedence.
"""

import ipaddress
import json
import logging
import os
import string

from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.network.config import EXTENSIONS, Settings, parse

logger = logging.getLogger(__name__)

FILE = "10-podwright.conflist"


def update_pod_cidr(settings: Settings, text: str) -> None:
    """Writes the configuration for a pod CIDR, or two separated by a comma (api.proto, NetworkConfig); blocking.

    Does nothing without template and where another file configures networks. Raises InvalidArgument for what is no
    CIDR, and FailedPrecondition if the template cannot be read, rendered or written.
    """
    cidrs = _parse_cidrs(text)
    if not settings.template or not cidrs:
        return
    others = _other_files(settings.config_dir)
    if others:
        logger.info('pod CIDR %s: no use of template "%s", there is "%s"', text, settings.template, others[0])
        return
    try:
        _write(os.path.join(settings.config_dir, FILE), _render(settings.template, cidrs))
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f'network template "{settings.template}": {error}') from None


_Cidr = ipaddress.IPv4Network | ipaddress.IPv6Network


def _parse_cidrs(text: str) -> list[_Cidr]:
    try:
        return [ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InvalidArgument(f"runtime_config.network_config.pod_cidr: {error}") from None


def _other_files(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(EXTENSIONS) and name != FILE)
    except FileNotFoundError:
        return []


def _render(template: str, cidrs: list[_Cidr]) -> str:
    """${pod_cidr} is the first CIDR, ${pod_cidr_v6} the first of IPv6 or empty; ${ranges} and ${routes} are JSON for
    host-local, with an entry for each CIDR. Raises OSError, and ValueError for an unknown name and a bad result.
    """
    defaults = {4: "0.0.0.0/0", 6: "::/0"}
    values = {
        "pod_cidr": str(cidrs[0]),
        "pod_cidr_v6": next((str(cidr) for cidr in cidrs if cidr.version == 6), ""),
        "ranges": json.dumps([[{"subnet": str(cidr)}] for cidr in cidrs]),
        "routes": json.dumps([{"dst": defaults[cidr.version]} for cidr in cidrs]),
    }
    with open(template, encoding="utf-8") as file:
        text = file.read()
    try:
        rendered = string.Template(text).substitute(values)
    except KeyError as error:
        raise ValueError(f"${{{error.args[0]}}} is not one of {', '.join(values)}") from None
    parse(rendered, FILE)
    return rendered


def _write(path: str, text: str) -> None:
    """Replaces the file at once and for good; nothing happens if it says so already."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.new"  # no extension of a configuration
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    logger.info("network configuration %s written", path)
