"""Going through due rows one by one: what fails is logged and put off, and stands in no other row's way."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog

Row = TypeVar("Row")
log = structlog.get_logger(__name__)


def sweep(
    due: Iterable[Row], step: Callable[[Row], int], *, fault: str, put_off: Callable[[Row], object]
) -> int:
    """Take `step` with each due row, in a transaction of its own; the sum of the answers.

    `put_off`: a row that failed is looked at again later, or the next round would begin with it. `fault` is logged.
    """
    count = 0
    for row in due:
        try:
            count += step(row)
        except Exception:
            log.exception(fault, row=row)
            put_off(row)
    return count
