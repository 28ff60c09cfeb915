"""The kubelet's HTTPS API: what pods run, their logs, commands in them, figures. For API servers and for people."""
