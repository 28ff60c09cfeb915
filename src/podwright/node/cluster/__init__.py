"""The node as a member of a cluster: what it asks of an API server, and what it tells it."""
