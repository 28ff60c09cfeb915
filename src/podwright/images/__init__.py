"""Images: from a reference to a mounted root file system."""
