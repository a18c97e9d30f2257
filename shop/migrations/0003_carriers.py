"""The usual carriers, so that a new shop can ship at once."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from shop import logistics


def add_carriers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    carriers = apps.get_model("shop.Carrier")
    carriers.objects.bulk_create(
        [
            carriers(code=code, name=name, phone=phone, tracking_url=address, position=position)
            for position, (code, name, phone, address) in enumerate(logistics.CARRIERS)
        ],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_functions")]
    operations = [migrations.RunPython(add_carriers, migrations.RunPython.noop)]
