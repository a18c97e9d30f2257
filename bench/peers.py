"""Side by side with a peer: orders per second, and how many of a hundred pieces each shop sells."""

import contextlib
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from bench import orders, seeds
from bench.report import Figure, figure
from config import embedded

HERE = Path(__file__).resolve().parent / "oscar"
DATABASE = "pond_bench_oscar"
ROUNDS, SECONDS, PROCESSES = 3, 4, 8
PIECES, BUYERS, AT_ONCE = 100, 400, 16


def execute(address: str, sql: str) -> None:
    with contextlib.closing(psycopg2.connect(address)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)


class Oscar:
    """django-oscar 4.2: installed once from its locked list, a fresh database each time."""

    def __init__(self) -> None:
        venv = Path(embedded.default_var()) / "bench-oscar"
        self.python = str(venv / "bin" / "python")
        lock = HERE / "requirements.lock"
        stamp = venv / "installed.lock"
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
            install = [self.python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
            subprocess.run(install, check=True)
            stamp.write_bytes(lock.read_bytes())
        server = os.environ["POND_BENCH_SERVER"]
        self.address = urlunsplit(urlsplit(server)._replace(path=f"/{DATABASE}"))
        self.remove()
        execute(server, f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8'")
        self.run("prepare", "1000")

    def remove(self) -> None:
        """Drop its database."""
        execute(os.environ["POND_BENCH_SERVER"], f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO", "POND", "PYTHONPATH"))
        }
        return subprocess.Popen(
            [self.python, "buyers.py", *arguments],
            cwd=HERE,
            env={**environment, "OSCAR_DATABASE_URL": self.address},
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        child = self.start(*arguments)
        output = child.communicate()[0]
        if child.returncode:
            raise RuntimeError(f"oscar: {arguments} ended with {child.returncode}")
        return output

    def orders_per_second(self, skus: int) -> float:
        children = [self.start("rate", str(skus), str(SECONDS)) for _ in range(PROCESSES)]
        return sum(float(child.communicate()[0]) for child in children)

    def sold_of_a_hundred(self) -> int:
        execute(
            self.address,
            f"UPDATE partner_stockrecord SET num_in_stock = {PIECES}, num_allocated = NULL"
            " WHERE partner_sku = 'SCARCE'",
        )
        children = [self.start("until-sold-out", str(BUYERS // AT_ONCE)) for _ in range(AT_ONCE)]
        return sum(int(child.communicate()[0]) for child in children)


def order_oscar() -> Iterator[Figure]:
    """Through each shop's services, on one SKU and on a thousand, interleaved; then a hundred pieces for 400 buyers."""
    oscar = Oscar()
    try:
        yield from _side_by_side(oscar)
    finally:
        oscar.remove()


def _side_by_side(oscar: Oscar) -> Iterator[Figure]:
    for name, skus in (("order-oscar-hot", 1), ("order-oscar-many", 1000)):
        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(oscar.orders_per_second(skus))
            ours.append(orders.through_service(skus)[0])
        yield figure(
            name,
            ours,
            "orders/s",
            limits=theirs,
            limit_is=f"django-oscar 4.2, its own order placement, {PROCESSES} processes; the mark: 10 times",
        )
    sold = [float(_sold_of_a_hundred()) for _ in range(ROUNDS)]
    yield figure(
        "order-oscar-sold",
        sold,
        "orders",
        limits=[float(oscar.sold_of_a_hundred()) for _ in range(ROUNDS)],
        limit_is=f"what django-oscar sells of {PIECES} pieces to {BUYERS} buyers, {AT_ONCE} at once; right is {PIECES}",
    )


def _sold_of_a_hundred() -> int:
    """How many orders ours gives to BUYERS, AT_ONCE at a time, of PIECES pieces."""
    from django.db import connection

    from core import clock
    from shop.errors import SoldOut
    from shop.models import Product, Sku
    from shop.services import place_order, set_stock
    from shop.services.addresses import AddressInput

    seeds.shop()
    members = seeds.members()
    moment = clock.now()
    product = Product.objects.create(
        name="限量", status="on_sale", min_price_fen=9900, max_price_fen=9900, created_at=moment, updated_at=moment
    )  # fmt: skip
    sku = Sku.objects.create(product=product, code=uuid.uuid4().hex, name="50ml", price_fen=9900)
    set_stock(sku_id=sku.pk, on_hand=PIECES, cause=uuid.uuid4().hex)
    address = AddressInput("陈晓", "13800000001", "上海市", "上海市", "静安区", "南京西路 1 号")
    counts = [0] * AT_ONCE

    def buyer(number: int) -> None:
        for turn in range(BUYERS // AT_ONCE):
            try:
                place_order(
                    member_id=members[(number * 100 + turn) % len(members)], lines=[(sku.pk, 1)], address=address,
                    idempotency_key=uuid.uuid4().hex,
                )  # fmt: skip
                counts[number] += 1
            except SoldOut:
                continue
        connection.close()

    threads = [threading.Thread(target=buyer, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)
