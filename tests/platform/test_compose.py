"""The production shape cannot be run in a test, but nothing in it may name what does not exist."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import processes
from config.celery import QUEUES
from config.embedded import postgres, valkey

ROOT = Path(__file__).resolve().parents[2]
VAR = Path("/tmp")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def nginx() -> str:
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    return "\n".join(line.partition("#")[0].rstrip() for line in text.splitlines())


def command(service: dict[str, Any]) -> list[str]:
    given = service["command"]
    return shlex.split(given) if isinstance(given, str) else list(given)


def of_pond(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service.get("build")}


def test_the_shape_is_two_webs_two_kinds_of_workers_one_beat_and_nginx_in_front(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    assert set(services) == {
        *("postgres", "valkey", "migrate", "web", "worker", "worker-bulk", "beat", "nginx"),
    }
    assert services["web"]["deploy"]["replicas"] == 2
    assert "deploy" not in services["beat"]  # one only
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]


@pytest.mark.parametrize(
    ("service", "program"),
    [
        ("web", processes.web(port=8000, host="0.0.0.0")),
        ("worker", processes.worker("worker", queues="fast,default", concurrency=2)),
        ("worker-bulk", processes.worker("worker-bulk", queues="bulk", concurrency=2)),
        ("beat", processes.beat(var=VAR)),
    ],
)
def test_commands_are_those_of_the_demo(
    compose: dict[str, Any], service: str, program: processes.Program
) -> None:
    """Compared as sets of words: the demo proves the flags, only their order may differ."""
    found = command(compose["services"][service])
    assert found[0] == "python"
    assert sorted(found[1:]) == sorted(program.command[1:])


def test_every_module_and_script_of_a_command_exists(compose: dict[str, Any]) -> None:
    for service in of_pond(compose).values():
        words = command(service)
        if words[1] == "-m":
            importlib.import_module(words[2])
        else:
            assert (ROOT / words[1]).is_file()
    module, _, name = command(compose["services"]["web"])[-1].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_workers_together_serve_every_queue_once(compose: dict[str, Any]) -> None:
    served = []
    for name in ("worker", "worker-bulk"):
        words = command(compose["services"][name])
        served += words[words.index("-Q") + 1].split(",")
    assert sorted(served) == sorted(QUEUES)


def test_every_variable_given_to_pond_is_read_by_the_settings(compose: dict[str, Any]) -> None:
    settings = (ROOT / "config" / "settings.py").read_text()
    known = set(re.findall(r"env(?:iron)?(?:\.\w+)?[\[(]\s*\"([A-Z_]+)\"", settings))
    assert {"SECRET_KEY", "DATABASE_URL", "POND_ENV"} <= known
    for name, service in of_pond(compose).items():
        assert set(service["environment"]) - known == set(), name


def test_the_settings_accept_what_compose_gives_them(
    compose: dict[str, Any], load_settings: Any, tmp_path: Path
) -> None:
    chosen = {
        "SECRET_KEY": "k" * 50,
        "POSTGRES_PASSWORD": "letters",
        "ALLOWED_HOSTS": "shop.example.com",
        "PUBLIC_URL": "https://shop.example.com",
    }
    environment = {
        name: filled(str(value), chosen) for name, value in compose["services"]["web"]["environment"].items()
    }
    settings = load_settings({**environment, "POND_VAR": str(tmp_path)})
    assert settings["PRODUCTION"] is True
    assert settings["DATABASES"]["default"]["HOST"] == "postgres"
    assert settings["CELERY_BROKER_URL"] == "redis://valkey:6379/0"
    assert settings["CACHES"]["default"]["LOCATION"] == "redis://valkey:6379/1"
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://shop.example.com"]
    assert settings["FIELD_KEYS"] == ["k" * 50]


def filled(text: str, chosen: dict[str, str]) -> str:
    """As compose replaces `${NAME}`, `${NAME:-default}` (one level deep) and `${NAME:?complaint}`."""
    text = re.sub(r"\$\{(\w+):-\$\{(\w+)\}\}", lambda found: chosen.get(found[1]) or chosen[found[2]], text)
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: chosen.get(found[1]) or found[2], text)
    return re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda found: chosen[found[1]], text)


def test_no_secret_has_a_default(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("SECRET_KEY", "POSTGRES_PASSWORD", "ALLOWED_HOSTS", "PUBLIC_URL", "CERTIFICATES"):
        assert f"${{{name}:?" in text
        assert f"${{{name}:-" not in text
    assert not (ROOT / ".env").exists()


def test_everything_waits_for_the_migration_which_waits_for_the_servers(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in ("web", "worker", "worker-bulk", "beat"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["restart"] == "on-failure"
    for name in ("postgres", "valkey"):
        assert services["migrate"]["depends_on"][name]["condition"] == "service_healthy"
        assert services[name]["healthcheck"]["test"][0] == "CMD"


def test_the_real_servers_keep_data_as_the_embedded_ones_do(compose: dict[str, Any]) -> None:
    given = command(compose["services"]["postgres"])
    for name in ("max_connections", "shared_preload_libraries"):
        assert f"{name}={postgres.SETTINGS[name]}" in given
    words = command(compose["services"]["valkey"])
    for name in ("appendonly", "maxmemory-policy", "save"):
        assert words[words.index(f"--{name}") + 1] == valkey.SETTINGS[name]
    locale = compose["services"]["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]
    assert locale.split() == ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]


def test_volumes_and_addresses_fit_together(compose: dict[str, Any]) -> None:
    services = compose["services"]
    mounted = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "$"))
    }
    assert mounted == set(compose["volumes"])
    assert services["web"]["environment"]["MEDIA_ROOT"] == "/media"
    assert "media:/media" in services["web"]["volumes"]
    assert "media:/media:ro" in services["nginx"]["volumes"]
    for path in ("/readyz", "/metrics"):
        from django.urls import resolve

        resolve(path)
    assert "/readyz" in services["web"]["healthcheck"]["test"][-1]
    compile(services["web"]["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_nginx_speaks_to_the_port_of_the_web_containers(compose: dict[str, Any], nginx: str) -> None:
    web = command(compose["services"]["web"])
    port = web[web.index("--port") + 1]
    assert re.search(rf"server web:{port} resolve;", nginx)
    assert compose["services"]["web"]["expose"] == [port]
    listening = set(re.findall(r"listen (\d+)", nginx))
    assert {published.rpartition(":")[2] for published in compose["services"]["nginx"]["ports"]} == listening
    for name in re.findall(r"certificates/(\w+\.pem)", nginx):
        assert name in (ROOT / "docker-compose.yml").read_text()


def test_nginx_says_that_the_outside_was_https_and_hides_the_figures(nginx: str) -> None:
    assert nginx.count("{") == nginx.count("}")
    for line in nginx.splitlines():
        assert not line.strip() or line.rstrip()[-1] in "{};'", line
    assert "proxy_set_header X-Forwarded-Proto https;" in nginx
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in nginx  # not what a client claims
    assert re.search(r"location = /metrics \{\s+return 404;", nginx)


def test_the_image_is_made_of_what_is_there() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists()
    version = re.search(r"FROM python:3\.(\d+)-slim", lines[1])
    assert version
    assert int(version[1]) >= 11
    assert any("--require-hashes -r requirements.lock" in line for line in lines)
    assert [line for line in lines if line.startswith("USER")] == ["USER pond"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "var"} <= set(ignored)
    assert not [name for name in ("config", "locale", "static", "templates") if name in ignored]
