"""Pond's two commands and a few more; needs nothing but Python 3.11 or newer.

    python3 run.py demo                try the whole product: shop, admin and a WeChat phone
    python3 run.py test [pytest args]  the test suite
    python3 run.py check               format, lint, types, contracts, migrations, translations, tests
    python3 run.py bench [name]        benchmarks
    python3 run.py manage COMMAND …    manage.py, with the embedded Postgres and Valkey up

It makes .venv beside itself, installs the locked requirements and continues inside. PORT and SANDBOX_PORT
move the demo (8000, 8100). DATABASE_URL and REDIS_URL name real servers instead of the embedded ones.
POND_VAR is the folder for data and logs (var).
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (this file is what older Pythons meet first)
    sys.exit(
        "Pond needs Python 3.11 or newer, this is {}.{}. Try: python3.11 run.py, python3.12 run.py …\n"
        "Pond 需要 Python 3.11 或更新的版本。".format(*sys.version_info[:2])
    )

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "pond.json"
LOCKS = {"runtime": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}


def main(arguments: Sequence[str]) -> int:
    command, rest = (arguments[0], list(arguments[1:])) if arguments else ("-h", [])
    commands: dict[str, tuple[str, Callable[[list[str]], int]]] = {
        "demo": ("runtime", demo),
        "manage": ("runtime", manage),
        "test": ("dev", test),
        "check": ("dev", check),
        "bench": ("dev", bench),
    }
    if command in {"-h", "--help", "help"}:
        print(__doc__)
        return 0
    if command not in commands:
        print(f"run.py: there is no command {command!r}.\n{__doc__}", file=sys.stderr)
        return 2
    kind, run = commands[command]
    enter_environment(kind, arguments)
    return run(rest)


# The environment


def enter_environment(kind: str, arguments: Sequence[str]) -> None:
    """Make `.venv` what the lock says, and continue in it. Returns only inside.

    Callers wait for each other. `kind` is "runtime" or "dev"; a dev environment also serves the runtime.
    """
    # A dozen processes of one Pond read the same modules: without bytecode each would compile them again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    with open(__file__) as ourselves:
        fcntl.flock(ourselves, fcntl.LOCK_EX)
        if not environment_fits():
            make_environment()
        if not lock_is_installed(kind):
            install(kind)
    if Path(sys.prefix).resolve() != VENV.resolve():
        python = str(VENV / "bin" / "python")
        os.execv(python, [python, str(ROOT / "run.py"), *arguments])


def read_stamp() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def write_stamp(**changes: object) -> None:
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps({**read_stamp(), **changes}))
    fresh.replace(STAMP)


def environment_fits() -> bool:
    """Whether `.venv` works, was made here (not copied) and by this minor version of Python."""
    python = VENV / "bin" / "python"
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        made_by = dict(re.findall(r"^(\w+) = (.*)$", (VENV / "pyvenv.cfg").read_text(), re.MULTILINE))
    except OSError:
        return False
    moved = "command" in made_by and not made_by["command"].endswith(str(VENV))
    if moved or not made_by.get("version", "").startswith(f"{wanted}."):
        return False
    try:
        done = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def make_environment() -> None:
    for part in ("venv", "ensurepip"):
        if importlib.util.find_spec(part) is None:
            explain_missing_venv()
    print(f"Making .venv with Python {sys.version.split()[0]} …", flush=True)
    # The environment that runs us cannot be replaced by itself: take the Python it was made from.
    python = getattr(sys, "_base_executable", None) or sys.executable
    if VENV.exists():
        shutil.rmtree(VENV)
    done = subprocess.run([python, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "ensurepip" in done.stdout + done.stderr:
            explain_missing_venv()
        sys.exit(f"The environment .venv could not be made:\n{done.stdout}{done.stderr}")


def explain_missing_venv() -> NoReturn:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    sys.exit(
        "This Python lacks the venv module. On Debian and Ubuntu:\n"
        f"    sudo apt install python{version}-venv\n"
        f"这个 Python 缺少 venv 模块，Debian / Ubuntu 请执行：sudo apt install python{version}-venv"
    )


def digest(kind: str) -> str:
    return hashlib.sha256(LOCKS[kind].read_bytes()).hexdigest()


def lock_is_installed(kind: str) -> bool:
    stamp = read_stamp()
    return any(stamp.get(one) == digest(one) for one in ({"dev"} if kind == "dev" else {"runtime", "dev"}))


def install(kind: str) -> None:
    print(f"Installing {LOCKS[kind].name} (about half a minute the first time) …", flush=True)
    started = time.monotonic()
    command = [
        str(VENV / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--no-compile",
        "--require-hashes",
        "-r",
        str(LOCKS[kind]),
    ]
    done = subprocess.run([*command, "-qq", "--disable-pip-version-check", "--no-input"], check=False)
    if done.returncode != 0:
        sys.exit(
            "The requirements could not be installed; pip says why above. Is the package index reachable?\n"
            "依赖安装失败，原因见上方 pip 的输出。请检查网络或软件源设置。"
        )
    compile_packages()
    # The other kind may have been overwritten by another version of a package.
    write_stamp(**{"runtime": None, "dev": None, kind: digest(kind)})
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


def compile_packages() -> None:
    """Bytecode of what every process loads, on all cores; pip would compile on one, also what nobody ever loads.

    What is left out is compiled when it is first imported. A fault here costs time only.
    """
    rare = r"[/\\](numpy|scipy|tests?|drf_spectacular_sidecar)[/\\]"
    command = [
        str(VENV / "bin" / "python"),
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "-x",
        rare,
        str(VENV / "lib"),
    ]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


# The commands. What they need is imported inside: it may only be there in the environment.


def demo(arguments: list[str]) -> int:
    from config.demo import demo

    return demo(arguments)


def test(arguments: list[str]) -> int:
    from config import check, embedded, processes

    with embedded.session(embedded.default_var()):
        return processes.run_in_foreground([sys.executable, "-m", "pytest", *(arguments or check.PARALLEL)])


def check(arguments: list[str]) -> int:
    from config.check import check

    return check(arguments)


def bench(arguments: list[str]) -> int:
    from config import embedded, processes

    with embedded.session(embedded.default_var()):
        return processes.run_in_foreground([sys.executable, "-m", "bench", *arguments])


def manage(arguments: list[str]) -> int:
    from config import demo, embedded, processes

    var = embedded.default_var().resolve()
    command = [sys.executable, "manage.py", *arguments]
    with embedded.session(var):
        return processes.run_in_foreground(command, demo.environment_for(var))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. 已中断。")
