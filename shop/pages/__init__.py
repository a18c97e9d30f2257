"""The shopper's mobile pages: each function parses, calls one query or command, and renders. No rule lives here."""
