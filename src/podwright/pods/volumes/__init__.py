"""Volumes of a pod as directories on this machine, and the mounts of its containers."""

from podwright.pods.volumes.mounts import mounts
from podwright.pods.volumes.prepare import Places, prepare

__all__ = ["Places", "mounts", "prepare"]
