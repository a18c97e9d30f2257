from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.demo_brand.loading import load


class Command(BaseCommand):
    help = "Load the demo brand 池塘香氛 (perfume and fashion); may run again, and keeps what is there."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("The demo brand does not belong into a production database.")
        load(self.stdout.write)
