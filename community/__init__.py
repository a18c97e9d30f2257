"""Groups and community operations."""
