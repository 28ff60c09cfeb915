"""What makes pods fail on this node, found out beforehand; on any CRI runtime (docs/operating.md).

Looks at the machine through files of /proc, /sys and /etc, and at the runtime through its socket. What only Podwright's
daemon can know of itself it says itself (core/node_check.py).
"""
