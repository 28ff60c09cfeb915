"""The runtime without gRPC: one operation of the life of a sandbox or container a module."""
