"""`python -m wechat.sandbox`: start the sandbox."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from aiohttp import web

from wechat.sandbox.clock import Clock
from wechat.sandbox.server import Server
from wechat.sandbox.world import World

log = logging.getLogger("sandbox")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m wechat.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--state-dir", default="var/sandbox", help="directory of the state, or :memory:")
    parser.add_argument("--clock-file", default="", help="where other programs read the clock's offset")
    parser.add_argument("--shop-base", default="http://127.0.0.1:8000", help="where callbacks go")
    parser.add_argument("--public-base", default="", help="the sandbox's own address as others see it")
    parser.add_argument("--no-demo-accounts", action="store_true")
    parser.add_argument(
        "--pay-retry-scale", type=float, default=0.2, help="1.0: WeChat Pay's own repeat schedule"
    )
    parser.add_argument("--answer-seconds", type=float, default=5.0, help="how long a webhook may take")
    return parser.parse_args()


async def serve(given: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM, then write the rest of the state."""
    in_memory = given.state_dir == ":memory:"
    state_dir = None if in_memory else Path(given.state_dir)
    if state_dir:
        state_dir.mkdir(parents=True, exist_ok=True)
    world = World(
        state_dir=state_dir,
        clock=Clock(Path(given.clock_file) if given.clock_file else None),
        base=given.public_base or f"http://{given.host}:{given.port}",
        shop_base=given.shop_base,
    )
    server = Server(world, pay_scale=given.pay_retry_scale, demo=not given.no_demo_accounts)
    server.world.callbacks.answer_seconds = given.answer_seconds
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, given.host, given.port, backlog=1024).start()
    log.info("sandbox at %s, callbacks to %s", world.base, world.shop_base)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Start with uvloop where it is installed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(arguments()))


if __name__ == "__main__":
    main()
