from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = _("System")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Load every app's table of event handlers and its audit checks, so that all are known in every process."""
        apps.get_app_config("pghistory").verbose_name = _("System")
        apps.get_app_config("axes").verbose_name = _("Logins")
        for app in apps.get_app_configs():
            for door in ("subscriptions", "audits"):
                if find_spec(app.name) and find_spec(f"{app.name}.{door}"):
                    import_module(f"{app.name}.{door}")
