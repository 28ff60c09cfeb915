"""Stand-ins with behaviour, for tests of ours and of others."""
