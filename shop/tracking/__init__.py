"""Where the way of a parcel is asked: one interface, several providers. Network, so never inside a transaction."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from shop.tracking.base import Parcel, Provider, Report, Step, TrackingUnavailable
from shop.tracking.kuaidi100 import Kuaidi100
from shop.tracking.local import InventedWays, Local

__all__ = ["Parcel", "Provider", "Report", "Step", "TrackingUnavailable", "provider"]


def provider() -> Provider:
    """The provider that the settings name. Raises ImproperlyConfigured for one that cannot work here."""
    match settings.TRACKING_PROVIDER:
        case "local":
            return Local()
        case "demo" if not settings.PRODUCTION:
            return InventedWays()
        case "kuaidi100" if settings.KUAIDI100_CUSTOMER and settings.KUAIDI100_KEY:
            return Kuaidi100(
                customer=settings.KUAIDI100_CUSTOMER,
                key=settings.KUAIDI100_KEY,
                address=settings.KUAIDI100_URL,
            )
    raise ImproperlyConfigured(
        "TRACKING_PROVIDER is local, kuaidi100 (with KUAIDI100_CUSTOMER and KUAIDI100_KEY) or, in the demo, demo."
    )
