"""`python -m config.embedded up|down|status`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from config.embedded import ServiceError, default_var, ensure, status, stop


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in {"up", "down", "status"}:
        print("usage: python -m config.embedded up|down|status", file=sys.stderr)
        return 2
    var = default_var()
    try:
        if arguments[0] == "up":
            ensure(var)
        elif arguments[0] == "down":
            stop(var)
        lines = status(var)
    except ServiceError as problem:
        print(problem, file=sys.stderr)
        return 1
    for line in lines:
        print(
            f"{line.name:9} {line.state:8} {line.address}" + (f"  (process {line.pid})" if line.pid else "")
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
