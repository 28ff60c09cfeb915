"""What is remembered: records of sandboxes, containers and host resources, in SQLite and, for answering, in memory."""
