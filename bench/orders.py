"""Placing orders, on one hot SKU and on a thousand, through the service and through HTTP."""

import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator

from bench import lab, limits, seeds
from bench.report import Figure, figure

ROUNDS = 3
SECONDS = 4
PROCESSES, THREADS = 2, 16


def _interleaved(name: str, measure: object, *, skus: int) -> Iterator[Figure]:
    limits.prepare_orders()
    values, ceilings, extra = [], [], {}
    for _ in range(ROUNDS):
        ceilings.append(limits.orders_per_second(skus=skus, seconds=SECONDS))
        value, extra = measure(skus)  # type: ignore[operator]
        values.append(value)
    yield figure(name, values, "orders/s", limits=ceilings, limit_is=limits.ORDER_LIMIT_IS, **extra)


def order_hot() -> Iterator[Figure]:
    yield from _interleaved("order-hot", through_service, skus=1)


def order_many() -> Iterator[Figure]:
    yield from _interleaved("order-many", through_service, skus=1000)


def through_service(skus: int) -> tuple[float, dict[str, object]]:
    """32 buyers (2 processes of 16 threads) call place_order for SECONDS; orders per second of all."""
    seeds.shop()
    seeds.members()
    command = [sys.executable, "-m", "bench.orders", str(skus), str(SECONDS)]
    children = [
        subprocess.Popen(command, cwd=lab.ROOT, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    outputs = [child.communicate()[0] for child in children]
    return sum(float(output) for output in outputs), {"buyers": PROCESSES * THREADS}


def _buy_until(skus: list[int], members: list[int], seconds: float) -> float:
    """One process's part: THREADS buyers, each its own connection; answers orders per second."""
    from django.db import connection

    from shop.services import place_order
    from shop.services.addresses import AddressInput

    address = AddressInput("陈晓", "13800000001", "上海市", "上海市", "静安区", "南京西路 1 号")
    counts = [0] * THREADS
    ready = threading.Barrier(THREADS + 1)

    def buyer(number: int) -> None:
        chance = random.Random(uuid.uuid4().int)
        place_order(
            member_id=chance.choice(members),
            lines=[(chance.choice(skus), 1)],
            address=address,
            idempotency_key=uuid.uuid4().hex,
        )
        ready.wait()
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            place_order(
                member_id=chance.choice(members),
                lines=[(chance.choice(skus), 1)],
                address=address,
                idempotency_key=uuid.uuid4().hex,
            )
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=buyer, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


if __name__ == "__main__":
    import django

    django.setup()
    wanted, duration = int(sys.argv[1]), float(sys.argv[2])
    print(_buy_until(seeds.shop()[:wanted], seeds.members(), duration))
