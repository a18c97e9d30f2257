"""An order's discounts are written in the order in which they were taken."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("shop.migrations.0032_stock_lines_say_why").NOW
NOW = BEFORE.replace(
    "    FROM jsonb_to_recordset(p_discounts) AS d(place int, step text, source text, title text, amount bigint)\n"
    "    LEFT JOIN lines ON lines.place = d.place;",
    "    FROM ROWS FROM (jsonb_to_recordset(p_discounts) AS (\n"
    "        place int, step text, source text, title text, amount bigint\n"
    "    )) WITH ORDINALITY AS d(place, step, source, title, amount, rank)\n"
    "    LEFT JOIN lines ON lines.place = d.place ORDER BY d.rank;",
)


class Migration(migrations.Migration):
    dependencies = [("shop", "0040_money")]

    operations = [migrations.RunSQL(NOW, BEFORE)]
