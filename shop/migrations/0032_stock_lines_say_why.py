"""Order lines keep routing's word for why their store serves them."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("shop.migrations.0021_instrument_functions").TAKE_ORDER.replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
NOW = (
    BEFORE.replace("quantity int, discount bigint, kind text\n", "quantity int, discount bigint, kind text, reason text\n")
    .replace("total_fen, kind\n", "total_fen, kind, routing_reason\n")
    .replace("price * quantity - discount, kind\n", "price * quantity - discount, kind, coalesce(reason, '')\n")
)


class Migration(migrations.Migration):
    dependencies = [("shop", "0031_stock_fulfilment"), ("shop", "0022_waiting_rounds")]

    operations = [migrations.RunSQL(NOW, BEFORE)]
