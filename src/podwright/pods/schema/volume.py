"""Volumes of a pod."""

from typing import Annotated, Literal

import msgspec

from podwright.pods.schema.base import Base, Quantity, Unserved
from podwright.pods.schema.container import FieldSelector, ResourceSelector


class KeyToPath(Base, frozen=True):
    """KeyToPath."""

    key: str
    path: str
    mode: int | None = None


class EmptyDir(Base, frozen=True):
    """EmptyDirVolumeSource."""

    medium: Literal["", "Memory"] = ""
    size_limit: Quantity | None = None


class HostPath(Base, frozen=True):
    """HostPathVolumeSource."""

    path: str
    type: Literal[
        "", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"
    ] = ""


class ConfigMapVolume(Base, frozen=True):
    """ConfigMapVolumeSource."""

    name: str
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(Base, frozen=True):
    """SecretVolumeSource."""

    secret_name: str
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class ImageVolume(Base, frozen=True):
    """ImageVolumeSource."""

    reference: str
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""


class DownwardFile(Base, frozen=True):
    """DownwardAPIVolumeFile."""

    path: str
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    mode: int | None = None


class DownwardVolume(Base, frozen=True):
    """DownwardAPIVolumeSource."""

    items: list[DownwardFile] = []
    default_mode: int = 0o644


class TokenSource(Base, frozen=True):
    """ServiceAccountTokenProjection."""

    path: str
    audience: str = ""
    expiration_seconds: Annotated[int, msgspec.Meta(ge=600)] = 3600


class ConfigMapProjection(Base, frozen=True):
    """ConfigMapProjection, SecretProjection."""

    name: str
    items: list[KeyToPath] = []
    optional: bool = False


class DownwardProjection(Base, frozen=True):
    """DownwardAPIProjection."""

    items: list[DownwardFile] = []


class ProjectedSource(Base, frozen=True):
    """VolumeProjection."""

    config_map: ConfigMapProjection | None = None
    secret: ConfigMapProjection | None = None
    downward_api: DownwardProjection | None = msgspec.field(default=None, name="downwardAPI")
    service_account_token: TokenSource | None = None
    cluster_trust_bundle: Unserved = None
    pod_certificate: Unserved = None


class Projected(Base, frozen=True):
    """ProjectedVolumeSource."""

    sources: list[ProjectedSource] = []
    default_mode: int = 0o644


class Volume(Base, frozen=True):
    """Volume."""

    name: str
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downward_api: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")
    projected: Projected | None = None
    image: ImageVolume | None = None
    persistent_volume_claim: Unserved = None
    ephemeral: Unserved = None
    csi: Unserved = None
    nfs: Unserved = None
    iscsi: Unserved = None
    fc: Unserved = None
    git_repo: Unserved = None
    aws_elastic_block_store: Unserved = msgspec.field(default=None, name="awsElasticBlockStore")
    azure_disk: Unserved = None
    azure_file: Unserved = None
    cephfs: Unserved = None
    cinder: Unserved = None
    flex_volume: Unserved = None
    flocker: Unserved = None
    gce_persistent_disk: Unserved = None
    glusterfs: Unserved = None
    photon_persistent_disk: Unserved = None
    portworx_volume: Unserved = None
    quobyte: Unserved = None
    rbd: Unserved = None
    scale_io: Unserved = msgspec.field(default=None, name="scaleIO")
    storageos: Unserved = None
    vsphere_volume: Unserved = None
