"""The HTTP server behind Exec, Attach and PortForward: a client comes with a URL's token and is given streams."""
