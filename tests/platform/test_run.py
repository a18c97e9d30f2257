"""`run.py` explains itself, builds its environment only when it must, and refuses a second demo kindly."""

import ast
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from config import check, demo
from config.processes import StepFailed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run.py as a module, with an environment folder and locks of its own."""
    spec = importlib.util.spec_from_file_location("pond_run", ROOT / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "STAMP", venv / "pond.json")
    locks = {kind: tmp_path / f"{kind}.lock" for kind in ("runtime", "dev")}
    for lock in locks.values():
        lock.write_text("django==5.2\n")
    locks["dev"].write_text("django==5.2\npytest==9\n")
    monkeypatch.setattr(module, "LOCKS", locks)
    return module


def run_py(*arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=180
    )


class TestWords:
    def test_help_names_every_command_and_needs_no_environment(self) -> None:
        for arguments in ([], ["-h"], ["--help"]):
            told = run_py(*arguments)
            assert told.returncode == 0
            assert all(word in told.stdout for word in ("demo", "test", "check", "bench", "manage", "PORT"))

    def test_an_unknown_command_is_named_and_changes_nothing(self) -> None:
        told = run_py("start")
        assert told.returncode == 2
        assert "'start'" in told.stderr

    def test_an_older_python_can_read_the_file_far_enough_to_be_told(self) -> None:
        ast.parse((ROOT / "run.py").read_text(), feature_version=(3, 7))
        source = (ROOT / "run.py").read_text()
        check_at = source.index("sys.version_info < (3, 11)")
        imports = [line for line in source[:check_at].splitlines() if line.startswith(("import", "from"))]
        assert imports == ["import sys"]

    def test_a_python_without_venv_is_explained_in_both_languages(
        self, run: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(SystemExit, match=r"apt install python3\.\d+-venv") as told:
            run.make_environment()
        assert "缺少 venv" in str(told.value)


class TestEnvironment:
    def cfg(self, run: ModuleType, *, version: str, folder: Path | None = None) -> None:
        folder = folder or run.VENV
        (run.VENV / "pyvenv.cfg").write_text(
            f"home = /usr/bin\nversion = {version}\ncommand = /usr/bin/python3 -m venv {folder}\n"
        )
        python = run.VENV / "bin" / "python"
        python.write_text("#!/bin/sh\nexit 0\n")
        python.chmod(0o755)

    @property
    def ours(self) -> str:
        return f"{sys.version_info.major}.{sys.version_info.minor}.9"

    def test_fits_while_the_minor_version_is_the_same(self, run: ModuleType) -> None:
        self.cfg(run, version=self.ours)
        assert run.environment_fits()

    @pytest.mark.parametrize("version", ["3.10.2", "4.0.0"])
    def test_is_rebuilt_for_another_minor_version(self, run: ModuleType, version: str) -> None:
        self.cfg(run, version=version)
        assert not run.environment_fits()

    def test_is_rebuilt_when_it_was_copied_from_another_folder(self, run: ModuleType) -> None:
        self.cfg(run, version=self.ours, folder=Path("/elsewhere/.venv"))
        assert not run.environment_fits()

    def test_is_rebuilt_when_its_python_is_gone_or_has_no_pip(self, run: ModuleType) -> None:
        self.cfg(run, version=self.ours)
        python = run.VENV / "bin" / "python"
        python.write_text("#!/bin/sh\nexit 1\n")
        assert not run.environment_fits()
        python.unlink()
        assert not run.environment_fits()

    def test_locks_are_installed_once_and_again_when_they_change(self, run: ModuleType) -> None:
        assert not run.lock_is_installed("runtime")
        run.write_stamp(runtime=run.digest("runtime"))
        assert run.lock_is_installed("runtime")
        assert not run.lock_is_installed("dev")
        run.LOCKS["runtime"].write_text("django==5.2.1\n")
        assert not run.lock_is_installed("runtime")

    def test_a_development_environment_also_serves_the_demo(self, run: ModuleType) -> None:
        run.write_stamp(dev=run.digest("dev"))
        assert run.lock_is_installed("runtime")

    def test_a_failed_install_leaves_no_stamp(
        self, run: ModuleType, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.cfg(run, version=self.ours)
        (run.VENV / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
        with pytest.raises(SystemExit, match="pip says why"):
            run.install("dev")
        assert run.read_stamp() == {}

    def test_what_was_installed_is_noted_for_that_lock_only(self, run: ModuleType) -> None:
        self.cfg(run, version=self.ours)
        run.write_stamp(dev="an older lock")
        run.install("runtime")
        assert run.read_stamp() == {"dev": None, "runtime": run.digest("runtime")}

    def test_a_broken_stamp_counts_as_none(self, run: ModuleType) -> None:
        run.STAMP.write_text("{half")
        assert not run.lock_is_installed("dev")


class TestLocks:
    def requirements(self, name: str) -> set[str]:
        return {
            line.split()[0]
            for line in (ROOT / name).read_text().splitlines()
            if "==" in line and not line.startswith((" ", "#"))
        }

    def test_development_adds_to_the_runtime_and_changes_nothing_in_it(self) -> None:
        runtime, dev = self.requirements("requirements.lock"), self.requirements("requirements-dev.lock")
        assert len(runtime) > 40
        assert runtime - dev == set()

    def test_every_requirement_carries_hashes(self) -> None:
        for name in ("requirements.lock", "requirements-dev.lock"):
            text = (ROOT / name).read_text()
            assert text.count("--hash=sha256:") >= len(self.requirements(name))

    def test_they_name_no_address(self) -> None:
        assert check.addresses_in_locks() == []

    def test_an_address_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lock = tmp_path / "requirements.lock"
        lock.write_text("django==5.2\n--extra-index-url x\nlocal @ file:///x\n# from https://x\n")
        monkeypatch.setattr(check, "LOCKS", (lock,))
        assert [fault.split(":")[1] for fault in check.addresses_in_locks()] == ["2", "3", "4"]


class TestCheck:
    def test_every_step_runs_and_a_failed_one_fails_the_whole(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        steps = [
            ("first", check.captured([sys.executable, "-c", "print('all of 3 fine')"])),
            ("second", check.captured([sys.executable, "-c", "raise SystemExit('line 7 is wrong')"])),
            ("third", lambda: (0, "done")),
        ]
        assert check.run_steps(steps) == 1
        told = capsys.readouterr().out
        assert "all of 3 fine" in told
        assert "line 7 is wrong" in told
        assert "1 of 3 steps failed: second." in told
        assert check.run_steps(steps[::2]) == 0

    def test_a_path_of_a_machine_is_found_in_tracked_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for command in (["init", "-q"], ["add", "-A"]):
            harmless = ["get('", "/wechat/", "work/corp/')  # ", "~", "/x, /", "home/, src/", "root/x\n"]
            (tmp_path / "fine.py").write_text("".join(harmless))
            (tmp_path / "bad.py").write_text(f"a = 1\nopen('{'/ho'}me/li/pond/x')\nopen('{tmp_path}/x')\n")
            subprocess.run(["git", *command], cwd=tmp_path, check=True)
        monkeypatch.setattr(check, "ROOT", tmp_path)
        assert [fault.rpartition(":")[0] for fault in check.machine_paths()] == ["bad.py:2", "bad.py:3"]

    def test_ci_runs_the_check(self) -> None:
        script = ROOT / ".ci" / "run"
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", str(script)], check=True)
        assert script.read_text().rstrip().endswith("exec python3 run.py check")


class TestDemo:
    @pytest.fixture(autouse=True)
    def usual_ports(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("PORT", "SANDBOX_PORT"):
            monkeypatch.delenv(name, raising=False)

    @pytest.fixture
    def taken(self) -> Iterator[int]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            yield listener.getsockname()[1]

    def test_ports_move_and_nonsense_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert demo.ports() == (8000, 8100)
        monkeypatch.setenv("PORT", "9000")
        assert demo.ports() == (9000, 8100)
        for wrong, message in (("http", "port number"), ("70000", "port number"), ("8100", "differ")):
            monkeypatch.setenv("PORT", wrong)
            with pytest.raises(SystemExit, match=message):
                demo.ports()

    def test_a_taken_port_is_named_with_a_way_out(self, taken: int) -> None:
        with pytest.raises(
            StepFailed, match=rf"Port {taken} is taken(?s:.*)PORT={taken + 10} python3 run.py"
        ):
            demo.refuse_taken("PORT", taken)

    def test_a_second_demo_is_told_where_the_first_one_is(self, tmp_path: Path) -> None:
        with demo.only_demo(tmp_path, port=9000, sandbox_port=9100):
            with (
                pytest.raises(demo.AlreadyRunning, match=rf"process {os.getpid()}(?s:.*)127.0.0.1:9000/"),
                demo.only_demo(tmp_path, port=1, sandbox_port=2),
            ):
                raise AssertionError("a second demo was let in")
            assert demo.read_demo(tmp_path)["sandbox_port"] == 9100
        with demo.only_demo(tmp_path, port=9000, sandbox_port=9100):
            pass  # free again

    def test_a_killed_demo_does_not_keep_the_next_one_out(self, tmp_path: Path) -> None:
        code = (
            "import os, sys; from pathlib import Path; from config import demo\n"
            "with demo.only_demo(Path(sys.argv[1]), port=1, sandbox_port=2): os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
        with demo.only_demo(tmp_path, port=9000, sandbox_port=9100):
            assert demo.read_demo(tmp_path)["pid"] == os.getpid()

    def test_the_box_shows_addresses_and_the_login_in_straight_lines(self, tmp_path: Path) -> None:
        (tmp_path / "demo-login.json").write_text(json.dumps({"username": "admin", "password": "geheim-42"}))
        box = demo.welcome(tmp_path, 9000, 9100)
        assert "http://127.0.0.1:9000/admin/" in box
        assert "http://127.0.0.1:9100/" in box
        assert "admin / geheim-42" in box
        assert len({demo.columns(line) for line in box.strip().splitlines()}) == 1

    def test_manage_sees_the_running_demo_and_leaves_a_real_installation_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("POND_ENV", "DEBUG", "SANDBOX_URL", "CLOCK_FILE"):
            monkeypatch.delenv(name, raising=False)
        with demo.only_demo(tmp_path, port=9000, sandbox_port=9100):
            environment = demo.environment_for(tmp_path)
        assert environment["SANDBOX_URL"] == "http://127.0.0.1:9100"
        assert environment["CLOCK_FILE"] == str(tmp_path / "clock.json")
        monkeypatch.setenv("POND_ENV", "production")
        assert "SANDBOX_URL" not in demo.environment_for(tmp_path)
