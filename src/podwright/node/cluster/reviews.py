"""Asking an API server who somebody is, and what they may."""

from collections.abc import Mapping
from dataclasses import dataclass

from podwright.node.api.auth import User
from podwright.node.cluster.client import Cluster


@dataclass(frozen=True, slots=True)
class Reviews:
    """See api.auth.Reviewer."""

    cluster: Cluster

    async def whose_token(self, token: str) -> User | None:
        """See api.auth.Reviewer."""
        made = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status = (await self.cluster.create("TokenReview", made)).get("status") or {}
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        extra = tuple((key, tuple(values)) for key, values in sorted((user.get("extra") or {}).items()))
        return User(user.get("username", ""), tuple(user.get("groups") or ()), user.get("uid", ""), extra)

    async def may(self, user: User, attributes: Mapping[str, str]) -> bool:
        """See api.auth.Reviewer."""
        spec = {
            "user": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "extra": {key: list(values) for key, values in user.extra},
            "resourceAttributes": dict(attributes),
        }
        made = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = (await self.cluster.create("SubjectAccessReview", made)).get("status") or {}
        return bool(status.get("allowed"))
