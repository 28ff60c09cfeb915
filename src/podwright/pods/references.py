"""Which objects a pod refers to. Pure."""

from dataclasses import dataclass, field

from podwright.pods.check import all_containers
from podwright.pods.schema import Pod, ProjectedSource, TokenSource


@dataclass(slots=True)
class References:
    """Names in the pod's namespace."""

    config_maps: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    tokens: list[TokenSource] = field(default_factory=list)


def references(pod: Pod) -> References:
    """All that the pod's environment and volumes refer to; not imagePullSecrets."""
    found = References()
    for _, container in all_containers(pod):
        for source in container.env_from:
            if source.config_map_ref is not None:
                found.config_maps.add(source.config_map_ref.name)
            if source.secret_ref is not None:
                found.secrets.add(source.secret_ref.name)
        for variable in container.env:
            if variable.value_from is None:
                continue
            if variable.value_from.config_map_key_ref is not None:
                found.config_maps.add(variable.value_from.config_map_key_ref.name)
            if variable.value_from.secret_key_ref is not None:
                found.secrets.add(variable.value_from.secret_key_ref.name)
    for volume in pod.spec.volumes:
        if volume.config_map is not None:
            found.config_maps.add(volume.config_map.name)
        if volume.secret is not None:
            found.secrets.add(volume.secret.secret_name)
        for projected in volume.projected.sources if volume.projected is not None else ():
            _of_projected(projected, found)
    return found


def _of_projected(source: ProjectedSource, found: References) -> None:
    if source.config_map is not None:
        found.config_maps.add(source.config_map.name)
    if source.secret is not None:
        found.secrets.add(source.secret.name)
    if source.service_account_token is not None:
        found.tokens.append(source.service_account_token)
