"""The rules of service, and what the checkout promises."""

import time

from django.conf import settings

from shop.models import ServiceRules

MOST_GUARANTEES = 5
KEPT_SECONDS = 30.0
_kept: tuple[float, list[str]] = (0.0, [])


def current_rules() -> ServiceRules:
    """The house's rules; the defaults when nobody has edited them yet."""
    return ServiceRules.objects.first() or ServiceRules()


def guarantees() -> list[str]:
    """The promises shown at checkout and till; a process remembers them for half a minute."""
    global _kept
    if settings.TESTING or _kept[0] < time.monotonic():
        lines = [line.strip()[:24] for line in current_rules().guarantees.splitlines()]
        _kept = (time.monotonic() + KEPT_SECONDS, [line for line in lines if line][:MOST_GUARANTEES])
    return _kept[1]
