"""What goes on in the demo's stores: bookings, a queue, goods between them, a shelf that is counted."""

import random
from datetime import time, timedelta

from config.demo_brand.people import SEED
from config.demo_brand.wording import full_width
from core import clock
from core.errors import Refusal
from crm.models import Store
from shop import services
from shop.models import BookableService, BookingSlot, ServiceOpening, Sku

# name, description, minutes, places, stores
SERVICES = [
    (
        "一对一调香体验",
        "和调香师坐下来闻十二种原料,带走一支写着你名字的 5ml。",
        60,
        2,
        ["xintiandi", "taikooli", "hubin"],
    ),
    ("穿搭顾问", "带上你的一件旧衣服,一起搭出三套新的。", 45, 1, ["xintiandi", "hubin"]),
    (
        "礼物刻字与包装",
        "瓶身刻字、丝带与手写卡片,等一杯茶的工夫。",
        15,
        3,
        ["xintiandi", "taikooli", "hubin"],
    ),
]
NOTES = ["两位一起,给妈妈过生日", "想试木质调", "", "", "第一次来", "请准备无酒精的原料"]
GUESTS = ["王女士", "刘先生", "一位带孩子的妈妈"]


def put_visits(stores: dict[str, Store], visitors: list[int], star: int | None) -> None:
    """Services with their hours and slots; once also bookings of `visitors` (members) and a short queue."""
    made = []
    for position, (name, description, minutes, places, codes) in enumerate(SERVICES):
        service, is_new = BookableService.objects.get_or_create(
            name=name,
            defaults={
                "description": full_width(description),
                "minutes": minutes,
                "capacity": places,
                "days_ahead": 7,
                "position": position,
            },
        )
        if is_new:
            service.stores.set([stores[code] for code in codes])
            ServiceOpening.objects.bulk_create(
                ServiceOpening(service=service, weekday=weekday, opens=time(opens), closes=time(closes))
                for weekday in range(7)
                for opens, closes in ((10, 13), (14, 21 if weekday >= 4 else 20))
            )
            made.append(service)
        services.plan_slots(service_id=service.pk)
    if made:
        _book(made, visitors, star)
        for guest in GUESTS:
            services.take_number(
                store_id=stores["xintiandi"].pk, service_id=made[2].pk, guest=guest, by="李娜"
            )
        services.call_next(store_id=stores["xintiandi"].pk, service_id=made[2].pk, by="李娜")


def _book(made: list[BookableService], visitors: list[int], star: int | None) -> None:
    chance = random.Random(SEED + 5)
    soon = list(
        BookingSlot.objects.filter(
            service__in=made[:2], starts_at__lt=clock.now() + timedelta(days=3), is_planned=True
        ).order_by("starts_at", "pk")
    )
    if star is not None and (evenings := [slot for slot in soon if clock.local(slot.starts_at).hour == 18]):
        services.book_slot(member_id=star, slot_id=evenings[-1].pk, note=full_width("想试木质调,两位一起"))
    for member_id in visitors:
        try:
            services.book_slot(
                member_id=member_id, slot_id=chance.choice(soon).pk, note=full_width(chance.choice(NOTES))
            )
        except Refusal:  # two wanted the last place
            continue


def put_goods_on_the_move(stores: dict[str, Store]) -> None:
    """Goods between two stores, and a shelf that is being counted."""
    skus = dict(Sku.objects.filter(code__in=["PD-001-1", "PD-002-1", "PD-021-1"]).values_list("code", "pk"))
    moved = services.create_transfer(
        sender_id=stores["warehouse"].pk,
        receiver_id=stores["xintiandi"].pk,
        lines=[(skus["PD-001-1"], 4)],
        note="周末补货",
        by="李娜",
    )
    services.send_transfer(transfer_id=moved.pk, by="仓库")
    counted = services.open_stocktake(store_id=stores["hubin"].pk, title="湖滨店月末盘点", by="赵敏")
    counts = [(skus["PD-002-1"], 4), (skus["PD-021-1"], 3)]
    services.count_skus(stocktake_id=counted.pk, counts=counts, by="赵敏")
