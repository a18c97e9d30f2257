"""Providers without a network: the staff's own notes, and ways invented for the demo."""

import zlib
from datetime import timedelta

from core import clock
from shop import logistics
from shop.tracking.base import Parcel, Report, Step


class Local:
    """Nobody is asked: what is known of a parcel is what the staff type."""

    source = "staff"
    asks = False

    def report(self, parcel: Parcel) -> Report:
        return Report(steps=())


# Hours after shipping, state, what a carrier would write.
WAY = [
    (1, logistics.COLLECTED, "【上海静安营业部】快件已被揽收"),
    (5, logistics.TRANSIT, "快件已到达【上海青浦转运中心】"),
    (8, logistics.TRANSIT, "快件离开【上海青浦转运中心】，正发往目的地"),
    (22, logistics.TRANSIT, "快件已到达目的地转运中心"),
    (27, logistics.DELIVERING, "快递员正在为您派送，请保持电话畅通"),
    (31, logistics.PICKED, "快件已签收，感谢使用，期待再次为您服务"),
]


class InventedWays:
    """For the demo: a plausible way that unrolls with the demo's clock, always the same for one parcel."""

    source = "demo"
    asks = True

    def report(self, parcel: Parcel) -> Report:
        moment = clock.now()
        minutes = zlib.crc32(parcel.number.encode()) % 50
        steps = [
            Step(parcel.shipped_at + timedelta(hours=hours, minutes=minutes), state, text)
            for hours, state, text in WAY
        ]
        return Report(steps=[step for step in steps if step.at <= moment])
