"""OCI runtime: the specification of a container, and driving crun, runc and conmon."""
