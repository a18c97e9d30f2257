"""The hand-written statements and bare loops that figures are held against."""

from bench import lab

# One order as a database expert would write it, without anything else a shop needs.
ORDER_TABLES = """
DROP SCHEMA IF EXISTS hand CASCADE;
CREATE SCHEMA hand;
CREATE TABLE hand.sku (id int PRIMARY KEY, stock int NOT NULL CHECK (stock >= 0), price int NOT NULL);
CREATE TABLE hand.orders (id bigserial PRIMARY KEY, no uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    buyer int NOT NULL, total int NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON hand.orders (buyer);
CREATE TABLE hand.order_line (id bigserial PRIMARY KEY, order_id bigint NOT NULL
    REFERENCES hand.orders DEFERRABLE INITIALLY DEFERRED,
    sku_id int NOT NULL, quantity int NOT NULL, price int NOT NULL);
CREATE INDEX ON hand.order_line (order_id);
CREATE INDEX ON hand.order_line (sku_id);
CREATE TABLE hand.movement (
    id bigserial PRIMARY KEY, sku_id int NOT NULL, change int NOT NULL, order_id bigint NOT NULL);
CREATE INDEX ON hand.movement (sku_id);
INSERT INTO hand.sku SELECT i, 1000000000, 9900 FROM generate_series(1, 1000) i;
"""
ORDER_STATEMENT = """
\\set sku random(1, :skus)
\\set buyer random(1, 100000)
WITH taken AS (
    UPDATE hand.sku SET stock = stock - 1 WHERE id = :sku AND stock >= 1 RETURNING id, price
), placed AS (
    INSERT INTO hand.orders (buyer, total) SELECT :buyer, price FROM taken RETURNING id
), line AS (
    INSERT INTO hand.order_line (order_id, sku_id, quantity, price)
    SELECT placed.id, taken.id, 1, taken.price FROM placed, taken RETURNING order_id
)
INSERT INTO hand.movement (sku_id, change, order_id) SELECT taken.id, -1, line.order_id FROM taken, line;
"""
ORDER_LIMIT_IS = (
    "one hand-written statement (decrement + order + line + movement) through pgbench, 32 clients"
)


def prepare_orders() -> None:
    lab.execute(ORDER_TABLES)


def orders_per_second(*, skus: int, seconds: int = 4) -> float:
    """The limit for order placement: `skus` 1 is the hot row, 1000 the many."""
    return lab.pgbench(ORDER_STATEMENT, clients=32, seconds=seconds, variables={"skus": skus})


# One posting as a database expert would write it: the balance under its row's lock, and two entries.
LEDGER_TABLES = """
CREATE SCHEMA IF NOT EXISTS hand;
DROP TABLE IF EXISTS hand.entry, hand.account;
CREATE TABLE hand.account (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
CREATE TABLE hand.entry (id bigserial PRIMARY KEY, account_id int NOT NULL, amount bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON hand.entry (account_id);
"""
LEDGER_STATEMENT = """
\\set account random(1, :accounts)
WITH moved AS (
    UPDATE hand.account SET balance = balance + 5 WHERE id = :account RETURNING id
)
INSERT INTO hand.entry (account_id, amount) SELECT id, 5 FROM moved UNION ALL SELECT 0, -5 FROM moved;
"""
LEDGER_LIMIT_IS = "one hand-written statement (balance + two entries) through pgbench, 32 clients"
LEDGER_BATCH = 20
LEDGER_BATCH_STATEMENT = """
WITH moved AS (
    UPDATE hand.account SET balance = balance + 5 * 20 WHERE id = 1 RETURNING id
)
INSERT INTO hand.entry (account_id, amount)
SELECT e.account_id, e.amount FROM moved, generate_series(1, 20), (VALUES (1, 5), (0, -5)) e(account_id, amount);
"""
LEDGER_BATCH_LIMIT_IS = "20 postings on one account per hand-written statement through pgbench, 1 client"


def prepare_ledger(accounts: int) -> None:
    lab.execute(LEDGER_TABLES)
    lab.execute("INSERT INTO hand.account SELECT i, 1000000 FROM generate_series(1, %s) i", [accounts])


def postings_per_second(*, seconds: int = 4) -> float:
    return lab.pgbench(LEDGER_STATEMENT, clients=32, seconds=seconds, variables={"accounts": 10_000})


def batched_postings_per_second(*, seconds: int = 4) -> float:
    return LEDGER_BATCH * lab.pgbench(LEDGER_BATCH_STATEMENT, clients=1, seconds=seconds)
