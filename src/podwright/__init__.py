"""Podwright: a Kubernetes container runtime (CRI) and its kubelet side."""

__version__ = "0.1.0"
