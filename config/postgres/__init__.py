"""Django's Postgres backend with a cheaper look at whether a connection that was kept is still alive."""
