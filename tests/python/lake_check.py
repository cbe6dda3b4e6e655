"""Reads a lake and its feature tables with DuckDB and pandas, without qhatu.

    python tests/python/lake_check.py DATA AS_OF [EVENTS]

Recomputes every built-in feature in SQL as of AS_OF (UTC), for each shopper, product and visit and, where
there is rows.parquet, before each event, and compares: counts and times exactly, quotients to 1e-9. EVENTS
is how many a generated lake must have; without it, it is the demo's, filled from its log.
"""

import json
import os
import re
import sys
from pathlib import Path

import duckdb
import pandas as pd

import feature_rows

DEMO_EVENTS = 399_656


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__)
        return 2
    data, as_of = sys.argv[1], sys.argv[2]
    events = int(sys.argv[3]) if len(sys.argv) == 4 else DEMO_EVENTS
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'; SET memory_limit = '4GB'")
    db.execute(f"CREATE VIEW e AS SELECT * FROM read_parquet('{data}/lake/events/*/*.parquet', hive_partitioning = true)")
    db.execute(f"CREATE VIEW own AS SELECT * FROM e WHERE time < TIMESTAMPTZ '{as_of}'")
    faults = [*partitions(db, data, events), *manifest(db, data, events, events if len(sys.argv) == 3 else 0), *documented(db, data)]
    for name, key, sql in (("user", "user_id", USERS), ("item", "item_id", ITEMS), ("session", "session_id", SESSIONS)):
        faults += compare(db, sql.format(as_of=as_of, data=data), f"{data}/features/{name}.parquet", key)
    if os.path.exists(f"{data}/features/rows.parquet"):
        faults += rows(db, data)
    print("\n".join(faults) or "the lake is readable and every feature is what SQL says")
    return 1 if faults else 0


def partitions(db, data, events):
    """Every event is in the folder of its Lima day, once, for DuckDB and for pandas."""
    found, distinct, misplaced = db.execute(
        "SELECT count(*), count(DISTINCT event_id), count(*) FILTER (WHERE CAST(time AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE) <> day) FROM e"
    ).fetchone()
    if (found, distinct, misplaced) != (events, events, 0):
        yield f"events: {found} found, {distinct} distinct, {misplaced} in the wrong day; expected {events}"
    frame = pd.read_parquet(f"{data}/lake/events")
    if len(frame) != events:
        yield f"pandas reads {len(frame)} events"


def manifest(db, data, events, offset):
    """The manifest names exactly the parts that lie there, reading them is reading everything, and it says up to where
    the log is in them (0 for a lake that was generated, without a log)."""
    named = json.loads(Path(f"{data}/lake/manifest.json").read_text())
    parts = sorted(f"{data}/lake/events/{part}" for day in named["parts"].values() for part in day)
    found = sorted(str(path) for path in Path(f"{data}/lake/events").glob("*/*"))
    if parts != found:
        yield f"manifest.json names {len(parts)} parts, {len(found)} files lie there; they differ in {set(parts) ^ set(found)}"
    most = max(len(day) for day in named["parts"].values())
    if most > 8:
        yield f"a day has {most} parts; from 9 on they become one"
    rows, distinct = db.execute(
        "SELECT count(*), count(DISTINCT event_id) FROM read_parquet($parts)", {"parts": parts}
    ).fetchone()
    if (rows, distinct, named["up_to_offset"]) != (events, events, offset):
        yield f"the named parts hold {rows} events, the manifest goes up to {named['up_to_offset']}; expected {events} and {offset}"


TYPES = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "date": "DATE"}


def documented(db, data):
    """The columns are those of docs/reference/lake.md, in its order and of its types."""
    page = (Path(__file__).parents[2] / "docs/reference/lake.md").read_text()
    table = page.split("## events")[1].split("## items")[0]
    told = [
        (name, TYPES.get(kind, "TIMESTAMP WITH TIME ZONE"))
        for name, kind in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.M)
    ]
    found = [(name, kind) for name, kind, *_ in db.execute("DESCRIBE e").fetchall()]
    if told != found:
        yield f"docs/reference/lake.md and the lake differ in {set(told) ^ set(found) or 'the order'}"
    for name in ("items", "users"):
        path = f"{data}/lake/{name}.parquet"
        told = re.findall(r"`(\w+)`", re.search(rf"`{name}\.parquet`: (.*?)\.\s", page, re.S).group(1))
        if os.path.exists(path):
            columns = [row[0] for row in db.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()]
            if told != columns:
                yield f"{path} has {columns}; docs/reference/lake.md tells {told}"


TODAY = "CAST(TIMESTAMPTZ '{as_of}' AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE)"
AMOUNT = "CAST(round(price * 1000000) AS BIGINT) * quantity"

USERS = f"""
WITH paid AS (
    SELECT user_id, count(*) AS lines, count(DISTINCT coalesce(order_id, CAST(day AS VARCHAR))) AS orders,
           sum({AMOUNT}) AS amount, sum({AMOUNT}) FILTER (day > {TODAY} - 90) AS recent,
           min(time) AS first, max(time) AS last
    FROM own WHERE kind = 'purchase' AND state = 'paid' GROUP BY 1),
back AS (
    SELECT user_id, count(*) AS lines, sum({AMOUNT}) AS amount, sum({AMOUNT}) FILTER (day > {TODAY} - 90) AS recent
    FROM own WHERE kind = 'purchase' AND state = 'refunded' GROUP BY 1),
did AS (
    SELECT user_id, count(*) FILTER (kind = 'view') AS views, count(*) FILTER (kind = 'search') AS searches,
           count(*) FILTER (kind = 'click') AS clicks
    FROM own WHERE user_id IS NOT NULL GROUP BY 1)
SELECT did.user_id, views AS user_views, searches AS user_searches, clicks AS user_clicks,
       views + searches + clicks AS engagement_score,
       coalesce(paid.lines, 0) - coalesce(back.lines, 0) AS total_purchases,
       coalesce(paid.orders, 0) AS user_orders,
       (coalesce(paid.amount, 0) - coalesce(back.amount, 0)) / 1e6 AS user_spent,
       (coalesce(paid.recent, 0) - coalesce(back.recent, 0)) / 1e6 AS user_spent_90d,
       (coalesce(paid.amount, 0) - coalesce(back.amount, 0)) / 1e6 / paid.orders AS avg_order_value,
       paid.first AS first_purchase_date, paid.last AS last_purchase_date,
       date_diff('day', CAST(paid.last AT TIME ZONE 'UTC' - INTERVAL 5 HOUR AS DATE), {TODAY}) AS days_since_last_purchase,
       CASE WHEN paid.orders > 1
            THEN (epoch_ms(paid.last) - epoch_ms(paid.first)) / 86400000.0 / (paid.orders - 1) END AS purchase_frequency
FROM did LEFT JOIN paid USING (user_id) LEFT JOIN back USING (user_id)
"""

ITEMS = f"""
WITH shown AS (
    SELECT unnest(from_json(items, '["VARCHAR"]')) AS item_id, 'impression' AS kind, NULL AS state, day
    FROM own WHERE kind = 'impression'
    UNION ALL SELECT item_id, kind, state, day FROM own WHERE item_id IS NOT NULL),
counted AS (
    SELECT item_id,
           count(*) FILTER (kind = 'view') AS product_views, count(*) FILTER (kind = 'click') AS product_clicks,
           count(*) FILTER (kind = 'impression') AS product_impressions,
           count(*) FILTER (state = 'paid') - count(*) FILTER (state = 'refunded') AS product_purchases,
           count(*) FILTER (state = 'paid' AND day > {TODAY} - 28)
           - count(*) FILTER (state = 'refunded' AND day > {TODAY} - 28) AS product_purchases_28d
    FROM shown GROUP BY 1)
SELECT item_id, counted.* EXCLUDE (item_id),
       product_clicks / nullif(product_impressions, 0) AS product_click_rate,
       greatest(product_purchases, 0) / nullif(product_views, 0) AS purchase_conversion_rate,
       i.category AS product_category, i.price AS product_price,
       length(i.description)::DOUBLE AS product_description_length
FROM counted LEFT JOIN '{{data}}/lake/items.parquet' i USING (item_id)
"""

SESSIONS = f"""
SELECT session_id, count(*) FILTER (kind = 'view') AS session_views,
       count(*) FILTER (kind = 'add_to_cart') AS session_carts
FROM own WHERE session_id IS NOT NULL AND day > {TODAY} - 2 GROUP BY 1
"""


def rows(db, data):
    """What was known before each event, for every event."""
    query = feature_rows.rows("own", f"'{data}/lake/items.parquet'")
    db.execute(f"CREATE TABLE expected AS {query}")
    found = f"'{data}/features/rows.parquet'"
    counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("expected", found)]
    compared, faults = feature_rows.compare(db, "expected", found)
    yield from (f"rows.parquet: {fault}" for fault in faults)
    if counts != [compared, compared]:
        yield f"rows.parquet has {counts[1]} rows, SQL makes {counts[0]}, {compared} are of one event"


def compare(db, sql, table, key):
    """Every column of the query against the table, every key of which must be known to both."""
    expected = db.execute(sql).df().set_index(key).sort_index()
    found = pd.read_parquet(table).set_index(key).sort_index()
    missing = expected.index.difference(found.index)
    if len(missing):
        yield f"{table}: {len(missing)} missing, the first is {missing[0]}"
    beyond = found.index.difference(expected.index)
    if len(beyond) and key != "item_id":  # the catalogue knows products without an event
        yield f"{table}: {len(beyond)} that SQL has not, the first is {beyond[0]}"
    unchecked = set(found.columns) - set(expected.columns)
    if unchecked:
        yield f"{table}: no SQL for {', '.join(sorted(unchecked))}"
    found = found.reindex(expected.index)
    for name in expected:
        left, right = expected[name], found[name]
        gaps = left.isna() & right.isna()
        if str(left.dtype).startswith("datetime"):
            same = (left.dt.tz_convert("UTC") == right.dt.tz_convert("UTC")) | gaps
        elif name == "product_category":
            same = (left.astype(object) == right.astype(object)) | gaps
        else:
            left, right = left.astype(float), right.astype(float)
            same = ((left - right).abs() <= 1e-9 * left.abs().clip(lower=1)) | gaps
        if not same.all():
            where = same.index[~same][0]
            yield f"{table}: {name} differs in {(~same).sum()} rows; {where}: SQL {left[where]}, qhatu {right[where]}"


if __name__ == "__main__":
    sys.exit(main())
