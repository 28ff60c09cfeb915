"""The CRI services over gRPC: one RPC a module, thin; one dispatcher for both API versions."""
