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
