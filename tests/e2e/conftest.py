"""One house for all of them: opening one is ten seconds of work. It closes after the last of them, for a house works
also when nobody looks: its clock strikes all the time.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.seeds import SHOP
from tests.house import House, whole_house


@pytest.fixture(scope="package")
def house_with_shop() -> Iterator[House]:
    with whole_house() as house:
        house.python(SHOP)
        yield house
