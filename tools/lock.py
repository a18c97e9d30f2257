"""Maintainers only: turn requirements*.in into locks with hashes and without any address. Needs `uv`."""

import subprocess
import sys

for name in ("requirements", "requirements-dev"):
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    subprocess.run(
        ["uv", "pip", "compile", *options, "--quiet", f"{name}.in", "-o", f"{name}.lock", *sys.argv[1:]],
        check=True,
    )
