"""Pond's own settings, told before they load that this is a test run; child processes of tests inherit it."""

import os

os.environ["POND_ENV"] = "test"
os.environ.pop("SANDBOX_URL", None)
os.environ.pop("CLOCK_FILE", None)

from config import embedded
from config.settings import *  # noqa: F403
from config.settings import CACHES, REDIS_URL

# Clearing a cache empties its database: each of the processes that run tests has its own.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
CACHES["default"]["LOCATION"] = embedded.cache_url(REDIS_URL, after=1 + _worker)
