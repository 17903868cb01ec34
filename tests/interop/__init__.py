"""Mail programs of others against the running daemon: what is not installed is skipped."""
