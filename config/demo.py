"""`run.py demo`: the whole product on one machine, from an empty folder to a box of addresses."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from config import embedded, processes

READY_LIMIT_SECONDS = 60


class AlreadyRunning(Exception):
    """A demo of this folder runs; the message says where."""


def demo(arguments: list[str]) -> int:
    if arguments:
        print("run.py demo takes no arguments; PORT and SANDBOX_PORT move it.", file=sys.stderr)
        return 2
    var = embedded.default_var().resolve()
    # SIGINT too: a shell script starts its background jobs with it ignored. But nohup means what it says.
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if wish != signal.SIGHUP or signal.getsignal(wish) != signal.SIG_IGN:
            signal.signal(wish, interrupt)
    port, sandbox_port = ports()
    try:
        with only_demo(var, port=port, sandbox_port=sandbox_port):
            environment = processes.demo_environment(var=var, port=port, sandbox_port=sandbox_port)
            os.environ.update(environment)
            with embedded.session(var), processes.Supervisor(var, environment) as supervisor:
                try:
                    start_demo(supervisor, var, port, sandbox_port)
                    print(welcome(var, port, sandbox_port), flush=True)
                    keep_running(supervisor, var)
                finally:
                    ignore_interrupts()
                    print("\nStopping … 正在停止 …", flush=True)
    except AlreadyRunning as problem:
        print(problem, file=sys.stderr)
        return 1
    except (processes.StepFailed, embedded.ServiceError) as problem:
        print(f"\n{problem}\n\nThe demo could not start. 演示未能启动，原因见上。", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. 已停止。", flush=True)
        return 0
    return 0


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """Stopping takes seconds and always ends; a second Ctrl-C would only leave processes behind."""
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(wish, signal.SIG_IGN)


def ports() -> tuple[int, int]:
    found = []
    for name, usual in (("PORT", "8000"), ("SANDBOX_PORT", "8100")):
        text = os.environ.get(name) or usual
        if not text.isdigit() or not 0 < int(text) < 65536:
            sys.exit(f"{name} must be a port number, not {text!r}. {name} 必须是端口号。")
        found.append(int(text))
    if found[0] == found[1]:
        sys.exit("PORT and SANDBOX_PORT must differ. PORT 与 SANDBOX_PORT 不能相同。")
    return found[0], found[1]


def environment_for(var: Path) -> dict[str, str]:
    """The demo's settings, so that `manage` sees its clock and sandbox; untouched for real installations."""
    if "POND_ENV" in os.environ or "DEBUG" in os.environ:
        return dict(os.environ)
    running = read_demo(var)
    port, sandbox_port = ports()
    return processes.demo_environment(
        var=var, port=running.get("port", port), sandbox_port=running.get("sandbox_port", sandbox_port)
    )


def read_demo(var: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((var / "demo.lock").read_text()))
    except (OSError, ValueError):
        return {}


@contextlib.contextmanager
def only_demo(var: Path, *, port: int, sandbox_port: int) -> Iterator[None]:
    """Hold the lock of this folder's demo. The kernel frees it when the holder is killed."""
    var.mkdir(parents=True, exist_ok=True)
    with (var / "demo.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = read_demo(var)
            shop, phone = (f"http://127.0.0.1:{running.get(name)}/" for name in ("port", "sandbox_port"))
            raise AlreadyRunning(
                f"A demo of this folder is already running (process {running.get('pid')}).\n"
                f"演示已在运行：\n    {shop}\n    {phone}\n"
                "For a second one set POND_VAR, PORT and SANDBOX_PORT. 要再开一个，请另设这三个变量。"
            )
        write_lock(lock, json.dumps({"pid": os.getpid(), "port": port, "sandbox_port": sandbox_port}))
        try:
            yield
        finally:
            write_lock(lock, "")


def write_lock(lock: IO[str], text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


def refuse_taken(name: str, port: int) -> None:
    if listens(port):
        raise processes.StepFailed(
            f"Port {port} is taken by another program. Choose another: "
            f"{name}={port + 10} python3 run.py demo\n"
            f"端口 {port} 已被占用，请换一个：{name}={port + 10} python3 run.py demo"
        )


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def start_demo(supervisor: processes.Supervisor, var: Path, port: int, sandbox_port: int) -> None:
    """Bring everything up in the order in which it depends on each other."""
    for name, number in (("PORT", port), ("SANDBOX_PORT", sandbox_port)):
        refuse_taken(name, number)
    django = [sys.executable, "manage.py"]
    shop = f"http://127.0.0.1:{port}"
    # The sandbox invents the platforms' accounts, which the demo brand is connected to.
    supervisor.start(processes.sandbox(port=sandbox_port, var=var, shop_base=shop))
    with told("static files and database 静态文件与数据库"):
        files = Step(supervisor, "collectstatic", [*django, "collectstatic", "--noinput", "-v", "0"])
        supervisor.run("migrate", [*django, "migrate", "--noinput"])
        files.join()
    with told("WeChat sandbox 微信沙箱"):
        wait_for(supervisor, f"http://127.0.0.1:{sandbox_port}/", "sandbox")
    with told("demo brand 演示品牌（首次稍久）"):
        supervisor.run("demo_brand", [*django, "demo_brand"])
    with told("web, workers, beat 网站与后台任务"):
        supervisor.start(processes.web(port=port))
        supervisor.start(processes.worker("worker", queues="fast,default", concurrency=2))
        supervisor.start(processes.worker("worker-bulk", queues="bulk", concurrency=1))
        supervisor.start(processes.beat(var=var))
        wait_for(supervisor, f"{shop}/readyz", "web")


class Step(threading.Thread):
    """A setup command beside others; `join` raises what it raised."""

    def __init__(self, supervisor: processes.Supervisor, name: str, command: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.work = lambda: supervisor.run(name, command)
        self.problem: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.work()
        except Exception as problem:
            self.problem = problem

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self.problem is not None:
            raise self.problem


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Say on the console what is being done, then how it went and how long it took."""
    back = "\r" if sys.stdout.isatty() else ""
    if back:
        print(f"  … {what}", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"{back}  ✗ {what}", flush=True)
        raise
    print(f"{back}  ✓ {what} ({time.monotonic() - started:.1f} s)", flush=True)


def wait_for(supervisor: processes.Supervisor, address: str, name: str) -> None:
    """Wait until the address answers 200, restarting what ends meanwhile."""
    end = time.monotonic() + READY_LIMIT_SECONDS
    answer = "no answer"
    # The demo's own addresses must not take the way of a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        try:
            with opener.open(address, timeout=5) as response:
                if response.status == 200:
                    return
        except urllib.error.HTTPError as problem:
            answer = f"{problem.code} {problem.read(300).decode(errors='replace')}"
        except OSError as problem:
            answer = str(problem)
        supervisor.look()
        time.sleep(0.1)
    log = supervisor.log_dir / f"{name}.log"
    raise processes.StepFailed(f"{address} was not ready after {READY_LIMIT_SECONDS} s: {answer}. See {log}.")


def keep_running(supervisor: processes.Supervisor, var: Path) -> NoReturn:
    """Restart what ends, programs and servers, until somebody interrupts."""
    stopping = threading.Event()
    # Beside the programs: a server in recovery may take a minute, which nobody else has to wait for.
    keeper = threading.Thread(target=keep_services, args=(var, stopping), daemon=True)
    keeper.start()
    try:
        supervisor.watch(stopping)
    finally:
        stopping.set()
        keeper.join(timeout=5)
    raise AssertionError("only an interrupt ends the watch")


def keep_services(var: Path, stopping: threading.Event) -> None:
    """Bring Postgres and Valkey back when one of them dies."""
    while not stopping.wait(1.0):
        try:
            embedded.ensure(var)
        except (embedded.ServiceError, OSError) as problem:
            print(f"services | {problem}", flush=True)


def welcome(var: Path, port: int, sandbox_port: int) -> str:
    """The box with the addresses and logins."""
    shop = f"http://127.0.0.1:{port}"
    lines = [
        "Pond 池塘 is running 已启动",
        "",
        f"WeChat phone 微信手机   http://127.0.0.1:{sandbox_port}/",
        f"Shop 商城               {shop}/",
        f"Admin 管理后台          {shop}/admin/",
    ]
    try:
        login = json.loads((var / "demo-login.json").read_text())
        lines.append(f"    login 账号          {login['username']} / {login['password']}")
    except (OSError, ValueError, KeyError):
        lines.append("    login 账号          python3 run.py manage createsuperuser")
    lines += [
        f"REST API 接口文档       {shop}/api/docs/",
        "",
        "Start with the phone: follow the brand, open the shop, buy something.",
        "从手机开始：关注品牌、打开商城、买点东西，再到后台看看。",
        f"Logs 日志: {var / 'log'}    Stop 停止: Ctrl-C",
    ]
    width = max(columns(line) for line in lines)
    body = "\n".join(f"│ {line}{' ' * (width - columns(line))} │" for line in lines)
    edge = "─" * (width + 2)
    return f"\n╭{edge}╮\n{body}\n╰{edge}╯"


def columns(text: str) -> int:
    """Width on a terminal, where a Chinese character takes two columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
