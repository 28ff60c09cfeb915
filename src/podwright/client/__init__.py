"""For those who speak CRI to any runtime."""
