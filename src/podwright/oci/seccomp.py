"""Which seccomp filter a container gets: ours (seccomp_default.py), one from a file of the node's, or none.

Files are in the form of the OCI specification or in Docker's, which has conditions on capabilities, architectures and
kernel versions; these are decided here.
"""

import json
import os
import platform
import re
from typing import Any

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.oci import seccomp_default
from podwright.oci.documents import Document
from podwright.oci.host import Host

PROFILE_LIMIT = 4 << 20
"""Bytes of a profile that are read."""

_OCI_KEYS = ("defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata")
_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as Docker's conditions name them


def wanted(security: v1.LinuxContainerSecurityContext | v1.LinuxSandboxSecurityContext) -> v1.SecurityProfile:
    """The profile that is asked for; the field of kubelets before 1.20 counts where the newer one is absent.

    Nothing at all means unconfined, as with the peers. Raises InvalidArgument, naming the field.
    """
    field = "linux.security_context.seccomp"
    if security.HasField("seccomp"):
        asked = security.seccomp
    else:
        field = "linux.security_context.seccomp_profile_path"
        asked = _from_text(field, security.seccomp_profile_path)
    if asked.profile_type not in v1.SecurityProfile.ProfileType.values():
        raise InvalidArgument(f"{field}.profile_type: there is no type {asked.profile_type}")
    localhost = asked.profile_type == v1.SecurityProfile.Localhost
    if localhost != bool(asked.localhost_ref):
        raise InvalidArgument(f"{field}.localhost_ref: is for type Localhost, and needed there")
    if localhost and (not asked.localhost_ref.startswith("/") or "\0" in asked.localhost_ref):
        raise InvalidArgument(f'{field}.localhost_ref: "{asked.localhost_ref}" is no absolute path')
    return asked


def _from_text(field: str, text: str) -> v1.SecurityProfile:
    if text in ("", "unconfined"):
        return v1.SecurityProfile(profile_type=v1.SecurityProfile.Unconfined)
    if text in ("runtime/default", "docker/default"):
        return v1.SecurityProfile(profile_type=v1.SecurityProfile.RuntimeDefault)
    if text.startswith("localhost/"):
        path = text.removeprefix("localhost/")
        return v1.SecurityProfile(profile_type=v1.SecurityProfile.Localhost, localhost_ref=path)
    raise InvalidArgument(f'{field}: "{text}" is no profile')


def document(
    security: v1.LinuxContainerSecurityContext | v1.LinuxSandboxSecurityContext,
    capabilities: frozenset[str],
    host: Host,
    *,
    native_only: bool = False,
) -> Document | None:
    """linux.seccomp for a process with these capabilities; None for no filter, which privileged containers get.

    `native_only` is for programs of the host's own architecture, and for the default profile.

    Raises InvalidArgument if a file is not there or is no profile, FailedPrecondition if the kernel has no seccomp.
    """
    asked = wanted(security)
    if security.privileged or asked.profile_type == v1.SecurityProfile.Unconfined:
        return None
    if not host.seccomp:
        raise FailedPrecondition("linux.security_context.seccomp: this kernel has no seccomp; only Unconfined works")
    if asked.profile_type == v1.SecurityProfile.RuntimeDefault:
        return seccomp_default.profile(capabilities, native_only=native_only)
    return load(asked.localhost_ref, capabilities)


def load(path: str, capabilities: frozenset[str]) -> Document:
    """Reads a profile. Raises InvalidArgument, naming the file."""
    name = f'seccomp profile "{path}"'
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            text = file.read(PROFILE_LIMIT + 1)
        if len(text) > PROFILE_LIMIT:
            raise InvalidArgument(f"{name}: is larger than {PROFILE_LIMIT} bytes")
        profile = json.loads(text)
    except OSError as error:
        raise InvalidArgument(f"{name}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgument(f"{name}: {error}") from None
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise InvalidArgument(f"{name}: has no defaultAction")
    try:
        return translate(profile, capabilities, platform.machine(), os.uname().release)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InvalidArgument(f"{name}: is not in the form of OCI or Docker: {error!r}") from None


def translate(profile: dict[str, Any], capabilities: frozenset[str], machine: str, kernel: str) -> Document:
    """A profile in OCI's form from one in OCI's or Docker's. Raises TypeError, KeyError or ValueError for neither."""
    found: Document = {key: profile[key] for key in _OCI_KEYS if profile.get(key) is not None}
    if "architectures" not in found:
        own = f"SCMP_ARCH_{machine.upper()}"
        for entry in profile.get("archMap") or ():
            if entry["architecture"] == own:
                found["architectures"] = [own, *(entry.get("subArchitectures") or ())]
    rules = []
    for rule in profile.get("syscalls") or ():
        if not _applies(rule, capabilities, machine, kernel):
            continue
        names = rule.get("names") or [rule["name"]]
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"a rule without names: {rule}")
        kept = {key: rule[key] for key in ("action", "errnoRet", "args") if rule.get(key) is not None}
        rules.append({"names": names, "action": kept.pop("action"), **kept})
    found["syscalls"] = rules
    return found


def _applies(rule: dict[str, Any], capabilities: frozenset[str], machine: str, kernel: str) -> bool:
    """Whether Docker's conditions hold: all of `includes`, none of `excludes`."""
    names = {machine, _GO_ARCHITECTURES.get(machine, machine)}
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if not set(includes.get("caps") or ()) <= capabilities or set(excludes.get("caps") or ()) & capabilities:
        return False
    if (includes.get("arches") and not names & set(includes["arches"])) or names & set(excludes.get("arches") or ()):
        return False
    have = _version(kernel)
    if includes.get("minKernel") and have < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and have >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"no kernel version: {text}")
    return int(found[1]), int(found[2])
