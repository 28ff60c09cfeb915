"""Kubernetes pods in the words of CRI: what `podwright run` and `podwright node` share.

Owns the API's types, the reading of documents, and pure translations (environment, security, resources, sandbox and
container configurations), and the files of volumes. Talks to no runtime and no cluster, and runs nothing.
"""
