"""Postings through `core.ledger.transfer`, over 10,000 accounts and on a single one."""

import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator

from bench import lab, limits
from bench.report import Figure, figure

ROUNDS, SECONDS = 3, 4
ACCOUNTS, CALLERS = 10_000, 32
BATCH = limits.LEDGER_BATCH
# Figure → processes, callers in all, accounts, postings per call.
SHAPES = {
    "ledger": (2, CALLERS, ACCOUNTS, 1),
    "ledger-hot": (2, 2, 1, BATCH),
    "ledger-hot-singles": (1, CALLERS, 1, 1),
}


def ledger() -> Iterator[Figure]:
    """Half of the postings give, half take; every account has a lot that never expires, and those that were given.

    Spread: 32 callers with one `transfer` each. Hot: two callers with 20 in a `transfer_many`, as the limit has them;
    "ledger-hot-singles" are 32 callers with one `transfer` each, who share statements by themselves.
    """
    limits.prepare_ledger(ACCOUNTS)
    _prepare()
    for name, measure, limit_is in (
        ("ledger", limits.postings_per_second, limits.LEDGER_LIMIT_IS),
        ("ledger-hot", limits.batched_postings_per_second, limits.LEDGER_BATCH_LIMIT_IS),
        ("ledger-hot-singles", limits.batched_postings_per_second, limits.LEDGER_BATCH_LIMIT_IS),
    ):
        values, ceilings = [], []
        for _ in range(ROUNDS):
            ceilings.append(measure(seconds=SECONDS))
            values.append(_through_service(name))
        yield figure(name, values, "postings/s", limits=ceilings, limit_is=limit_is, callers=SHAPES[name][1])
    _prove()


def _prepare() -> None:
    from core import ledger
    from core.models import LedgerAccount

    house = ledger.open_account(kind="points", owner_id=ledger.HOUSE)
    ledger.open_account(kind="points.spent", owner_id=ledger.HOUSE)
    LedgerAccount.objects.bulk_create(
        LedgerAccount(kind="points", owner_id=number) for number in range(1, ACCOUNTS + 1)
    )
    for account in LedgerAccount.objects.filter(kind="points", owner_id__gt=0):
        ledger.transfer(cause=f"begin:{account.pk}", debit=house, credit=account, amount=1_000_000_000)
    lab.execute("ANALYZE")


def _through_service(name: str) -> float:
    processes, callers, accounts, batch = SHAPES[name]
    shape = [str(one) for one in (accounts, callers // processes, batch, SECONDS)]
    command = [sys.executable, "-m", "bench.ledgers", *shape]
    children = [
        subprocess.Popen(command, cwd=lab.ROOT, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return sum(float(child.communicate()[0]) for child in children)


def _post_until(accounts: int, threads_count: int, batch: int, seconds: float) -> float:
    """One process's part: its threads post, each its own connection; postings per second."""
    from datetime import timedelta

    from django.db import connection

    from core import clock, ledger
    from core.models import LedgerAccount

    house = ledger.open_account(kind="points", owner_id=ledger.HOUSE)
    spent = ledger.open_account(kind="points.spent", owner_id=ledger.HOUSE)
    customers = list(LedgerAccount.objects.filter(kind="points", owner_id__gt=0).order_by("pk")[:accounts])
    counts = [0] * threads_count
    ready = threading.Barrier(threads_count + 1)
    expires = clock.now() + timedelta(days=365)

    def caller(number: int) -> None:
        chance = random.Random(uuid.uuid4().int)
        name = uuid.uuid4().hex
        connection.ensure_connection()
        ready.wait()
        deadline = time.perf_counter() + seconds
        turn = 0
        while time.perf_counter() < deadline:
            wanted = []
            for _ in range(batch):
                turn += 1
                customer, cause = chance.choice(customers), f"{name}:{turn}"
                wanted.append(
                    ledger.Transfer(cause, house, customer, 5, expires)
                    if turn % 2
                    else ledger.Transfer(cause, customer, spent, 5)
                )
            if batch > 1:
                ledger.transfer_many(transfers=wanted)
            else:
                one = wanted[0]
                ledger.transfer(
                    cause=one.cause,
                    debit=one.debit,
                    credit=one.credit,
                    amount=one.amount,
                    expires_at=one.expires_at,
                )
        counts[number] = turn
        connection.close()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(threads_count)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _prove() -> None:
    """What was posted at this speed must be as right as at any other."""
    from core import audits

    findings = [
        finding
        for name, (_label, check) in audits._checks.items()
        if name.startswith("core.ledger")
        for finding in check()
    ]
    if findings:
        raise RuntimeError(f"the ledger's audit found {findings[:3]}")


if __name__ == "__main__":
    import django

    django.setup()
    print(_post_until(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
