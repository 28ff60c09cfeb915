"""The daemon seen from outside: metrics, traces, the HTTP server for both, and what it is doing at this moment."""
