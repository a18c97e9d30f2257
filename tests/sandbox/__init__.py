"""The sandbox is a program of its own: these tests start it and speak to it as the vendors' clients do."""
