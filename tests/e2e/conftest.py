"""One house for all of them: opening one is ten seconds of work."""

from collections.abc import Iterator

import pytest

from tests.e2e.seeds import SHOP
from tests.house import House, whole_house


@pytest.fixture(scope="session")
def house_with_shop() -> Iterator[House]:
    with whole_house() as house:
        house.python(SHOP)
        yield house
