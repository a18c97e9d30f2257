"""Maintainers only: turn requirements*.in into locks with hashes and without any address. Needs `uv` on the PATH."""

import subprocess
import sys

for name in ("requirements", "requirements-dev"):
    subprocess.run(
        ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header",
         "--no-annotate", "--quiet", f"{name}.in", "-o", f"{name}.lock", *sys.argv[1:]],
        check=True,
    )  # fmt: skip
