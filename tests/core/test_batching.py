"""Callers share a statement when they come together, and none hears of another's failure."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection

from core import batching
from core.batching import Batcher


class Slow:
    """Writes when told to, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.writing, self.may_write = threading.Event(), threading.Event()

    def __call__(self, asks: Sequence[int]) -> list[int]:
        self.writing.set()
        assert self.may_write.wait(10)
        self.batches.append(list(asks))
        if any(ask < 0 for ask in asks):
            raise ValueError(f"{len(asks)} asks, one of them negative")
        return [ask * 10 for ask in asks]


def together(batcher: Batcher[int, int], asks: Sequence[int], slow: Slow) -> dict[int, object]:
    """The first ask is being written while all others come; then everything may go on. Ask → answer or error."""
    answers: dict[int, object] = {}

    def submit(ask: int) -> None:
        try:
            answers[ask] = batcher.submit(ask)
        except ValueError as error:
            answers[ask] = str(error)

    threads = [threading.Thread(target=submit, args=(ask,)) for ask in asks]
    threads[0].start()
    assert slow.writing.wait(10)
    for thread in threads[1:]:
        thread.start()
    deadline = threading.Event()
    while len(batcher._waiting) < len(asks) - 1:
        deadline.wait(0.01)
    slow.may_write.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    return answers


def test_one_caller_writes_at_once() -> None:
    slow = Slow()
    slow.may_write.set()
    assert Batcher(slow).submit(4) == 40
    assert slow.batches == [[4]]


def test_who_comes_meanwhile_is_written_together_and_everybody_gets_her_own_answer() -> None:
    slow = Slow()
    batcher = Batcher(slow, most=6)
    answers = together(batcher, range(10), slow)
    assert answers == {ask: ask * 10 for ask in range(10)}
    assert [len(batch) for batch in slow.batches] == [1, 6, 3]
    assert batcher.submit(7) == 70  # nobody is left leading


def test_a_bad_ask_spoils_nobody_elses() -> None:
    slow = Slow()
    answers = together(Batcher(slow), [1, 2, -3, 4], slow)
    assert answers == {1: 10, 2: 20, -3: "1 asks, one of them negative", 4: 40}
    assert sorted(map(len, slow.batches)) == [1, 1, 1, 1, 3]


@pytest.mark.django_db
def test_inside_of_a_transaction_nothing_is_shared() -> None:
    slow = Slow()
    slow.may_write.set()
    batcher = Batcher(slow)
    batcher._is_led = True  # somebody else is writing: who has a transaction open does not wait for her
    assert batcher.submit(1) == 10


def test_after_a_crowd_a_batch_waits_for_who_comes_back_but_not_for_long() -> None:
    slow = Slow()
    batcher = Batcher(slow, linger=10)
    together(batcher, [1, 2, 3], slow)
    first = threading.Thread(target=batcher.submit, args=(4,))
    first.start()
    while not batcher._is_gathering:
        assert first.is_alive()
        threading.Event().wait(0.005)
    assert batcher.submit(5) == 50  # as many as last time: nobody lingers any longer
    first.join(1)
    assert slow.batches == [[1], [2, 3], [4, 5]]
    batcher._linger = 0.01
    assert batcher.submit(6) == 60
    assert (slow.batches[-1], batcher._crowd, batcher._is_gathering) == ([6], 1, False)


@pytest.fixture
def spare(settings: Any) -> Iterator[list[Any]]:
    """Connections pass from writer to writer, as in a server."""
    settings.BATCH_CONNECTIONS = 2
    yield batching._spare
    while batching._spare:
        batching._spare.pop().close()


def backend(_asks: Sequence[int] = ()) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return [cursor.fetchone()[0]] * max(len(_asks), 1)


@pytest.mark.django_db(transaction=True)
def test_writers_hand_on_one_connection_and_keep_their_own(spare: list[Any]) -> None:
    mine, seen, batcher = backend()[0], [], Batcher(backend)

    def fail(_asks: Sequence[int]) -> list[int]:
        raise ValueError

    def write() -> None:
        seen.append(batcher.submit(1))
        connection.close()

    for _turn in range(3):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(10)
    with pytest.raises(ValueError):
        Batcher(fail).submit(1)
    seen.append(batcher.submit(1))
    assert len(seen) == 4
    assert len({*seen, mine}) == 2
    assert (backend()[0], len(spare)) == (mine, 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [seen[0]])
    with pytest.raises(OperationalError):
        batcher.submit(1)
    assert batcher.submit(1) not in (mine, seen[0])  # who comes next is not told of it
