"""The peer: django-oscar from its package, in a venv and a database of its own on the same Postgres server."""
