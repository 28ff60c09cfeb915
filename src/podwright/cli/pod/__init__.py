"""Kubernetes pods without a cluster: from YAML to CRI messages, and the directories that their volumes live in."""
