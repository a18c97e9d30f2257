"""Pond's own settings, told before they load that this is a test run; child processes of tests inherit it."""

import os

os.environ["POND_ENV"] = "test"
os.environ.pop("SANDBOX_URL", None)
os.environ.pop("CLOCK_FILE", None)

from config.settings import *  # noqa: F403
