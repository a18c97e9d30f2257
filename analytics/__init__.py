"""Numbers over everything; reads all, nobody imports it."""
