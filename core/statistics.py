"""Telling Postgres's planner what a bulk write has just changed.

Within one session plans are made from old statistics and kept (the checks of foreign keys among them): after tables
grew from nothing to many rows they would be read from end to end for every row. Measured on an import of 40,000 lines
into a fresh database: 247 s without, 18 s with.
"""

from django.apps import apps
from django.db import connection


def refresh_statistics(*labels: str) -> None:
    """ANALYZE the tables of these models ("shop.Sku"); a sample, so the size of the table does not matter."""
    tables = ", ".join(f'"{apps.get_model(label)._meta.db_table}"' for label in labels)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {tables}")
