"""Reads a finished demo's lake and feature tables with DuckDB and pandas, without qhatu.

    python tests/python/lake_check.py qhatu-demo/data AS_OF

Recomputes the features in SQL as of AS_OF (UTC) and compares: counts and times exactly, means to 1e-9.
"""

import sys

import duckdb
import pandas as pd

EVENTS = 399_656


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    data, as_of = sys.argv[1], sys.argv[2]
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.execute(f"CREATE VIEW e AS SELECT * FROM read_parquet('{data}/lake/events/*/*.parquet', hive_partitioning = true)")
    faults = [fault for check in (partitions, users, items) for fault in check(db, data, as_of)]
    print("\n".join(faults) or "the lake is readable and every feature is what SQL says")
    return 1 if faults else 0


def partitions(db, data, as_of):
    """Every event is in the folder of its Lima day, once, for DuckDB and for pandas."""
    found, distinct, misplaced = db.execute(
        "SELECT count(*), count(DISTINCT event_id), count(*) FILTER (WHERE CAST(time AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE) <> day) FROM e"
    ).fetchone()
    if (found, distinct, misplaced) != (EVENTS, EVENTS, 0):
        yield f"events: {found} found, {distinct} distinct, {misplaced} in the wrong day; expected {EVENTS}"
    frame = pd.read_parquet(f"{data}/lake/events")
    if len(frame) != EVENTS:
        yield f"pandas reads {len(frame)} events"


USERS = """
WITH own AS (SELECT * FROM e WHERE time < TIMESTAMPTZ '{as_of}' AND user_id IS NOT NULL),
paid AS (
    SELECT user_id, count(*) AS lines, count(DISTINCT coalesce(order_id, CAST(day AS VARCHAR))) AS orders,
           sum(CAST(round(price * 1000000) AS BIGINT) * quantity) AS amount, min(time) AS first, max(time) AS last
    FROM own WHERE kind = 'purchase' AND state = 'paid' GROUP BY 1),
back AS (
    SELECT user_id, count(*) AS lines, sum(CAST(round(price * 1000000) AS BIGINT) * quantity) AS amount
    FROM own WHERE kind = 'purchase' AND state = 'refunded' GROUP BY 1)
SELECT u.user_id,
       coalesce(paid.lines, 0) - coalesce(back.lines, 0) AS total_purchases,
       coalesce(paid.orders, 0) AS user_orders,
       (coalesce(paid.amount, 0) - coalesce(back.amount, 0)) / 1e6 AS user_spent,
       (coalesce(paid.amount, 0) - coalesce(back.amount, 0)) / 1e6 / paid.orders AS avg_order_value,
       paid.first AS first_purchase_date, paid.last AS last_purchase_date,
       date_diff('day', CAST(paid.last AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE),
                 CAST(TIMESTAMPTZ '{as_of}' AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE)) AS days_since_last_purchase,
       CASE WHEN paid.orders > 1
            THEN (epoch_ms(paid.last) - epoch_ms(paid.first)) / 86400000.0 / (paid.orders - 1) END AS purchase_frequency
FROM (SELECT DISTINCT user_id FROM own) u LEFT JOIN paid USING (user_id) LEFT JOIN back USING (user_id)
"""

ITEMS = """
SELECT item_id,
       count(*) FILTER (WHERE state = 'paid') - count(*) FILTER (WHERE state = 'refunded') AS product_purchases,
       count(*) FILTER (WHERE state = 'paid' AND day > CAST(TIMESTAMPTZ '{as_of}' AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE) - 28)
       - count(*) FILTER (WHERE state = 'refunded' AND day > CAST(TIMESTAMPTZ '{as_of}' AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE) - 28)
           AS product_purchases_28d
FROM e WHERE time < TIMESTAMPTZ '{as_of}' AND kind = 'purchase' GROUP BY 1
"""


def users(db, data, as_of):
    yield from compare(db, USERS.format(as_of=as_of), f"{data}/features/user.parquet", "user_id")


def items(db, data, as_of):
    yield from compare(db, ITEMS.format(as_of=as_of), f"{data}/features/item.parquet", "item_id")


def compare(db, sql, table, key):
    expected = db.execute(sql).df().set_index(key).sort_index()
    found = pd.read_parquet(table).set_index(key).sort_index()
    missing = expected.index.difference(found.index)
    if len(missing):
        yield f"{table}: {len(missing)} missing, the first is {missing[0]}"
    found = found.reindex(expected.index)
    for name in expected:
        left, right = expected[name], found[name]
        if str(left.dtype).startswith("datetime"):
            same = (left.dt.tz_convert("UTC") == right.dt.tz_convert("UTC")) | (left.isna() & right.isna())
        else:
            left, right = left.astype(float), right.astype(float)
            same = ((left - right).abs() <= 1e-9 * left.abs().clip(lower=1)) | (left.isna() & right.isna())
        if not same.all():
            where = same.index[~same][0]
            yield f"{table}: {name} differs in {(~same).sum()} rows; {where}: SQL {left[where]}, qhatu {right[where]}"


if __name__ == "__main__":
    sys.exit(main())
