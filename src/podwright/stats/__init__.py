"""What sandboxes and containers use: cgroup files, network interfaces and trees of files, as CRI stats and metrics."""
