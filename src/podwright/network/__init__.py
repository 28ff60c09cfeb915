"""Pods' network: CNI configuration and plugin calls, attachments that outlive the daemon, DNS files."""
