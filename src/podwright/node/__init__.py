"""The kubelet's side: a node that runs pods, on any CRI runtime."""
