"""One Redis address in its three spellings: redis-py's and Django's, Celery's, and one fit for logs."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit, urlunsplit


def celery_url(redis_url: str) -> str:
    """The address as Celery's broker and result backend spell it.

    A socket is `redis+socket://` with `virtual_host` there and `unix://` with `db` everywhere else. Addresses
    of other brokers (`amqp://`, `sentinel://`) pass unchanged.
    """
    parts = urlsplit(redis_url)
    if parts.scheme not in {"unix", "redis+socket"}:
        return redis_url
    return f"redis+socket://{parts.path}?virtual_host={_database_number(redis_url)}"


def cache_url(redis_url: str, *, after: int = 1) -> str:
    """The address for Django's cache: a database after the broker's, for clearing a cache empties it."""
    parts = urlsplit(redis_url)
    number = _database_number(redis_url) + after
    if parts.scheme in {"unix", "redis+socket"}:
        credentials = f"{parts.netloc}" if parts.netloc else ""
        return f"unix://{credentials}{parts.path}?db={number}"
    if parts.scheme in {"redis", "rediss"}:
        others = "&".join(part for part in parts.query.split("&") if part and not part.startswith("db="))
        return urlunsplit((parts.scheme, parts.netloc, f"/{number}", others, ""))
    raise ValueError(f"REDIS_URL must start with redis://, rediss:// or unix://, not {parts.scheme}://")


def _database_number(redis_url: str) -> int:
    parts = urlsplit(redis_url)
    query = parse_qs(parts.query)
    for name in ("db", "virtual_host"):
        if name in query:
            return int(query[name][0])
    if parts.scheme in {"redis", "rediss"} and parts.path.strip("/"):
        return int(parts.path.strip("/"))
    return 0


def without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
