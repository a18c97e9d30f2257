"""Bringing the order history of another shop in: read, map, judge each line, write set-based, report."""
