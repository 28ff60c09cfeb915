"""The network of sandboxes: CNI configuration and calls."""
