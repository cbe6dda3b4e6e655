"""Makes the log of the features benchmark: a lake of real-shaped events from the demo's purchases.

    python benches/peers/features_log.py BASE_DATA DATA EVENTS

Reads the lake in BASE_DATA (Online Retail after import), repeats its purchases for other shoppers on other
days, and puts views, searches, clicks, carts and impressions of four products around them, all by hash and
so the same every time. Fewer events than one repeat are those of a part of the orders. Half of the repeats are visitors without a name who buy nothing. Writes DATA/lake as
qhatu lays it out: a folder for each Lima day, events by time and id, and the manifest.
"""

import json
import os
import shutil
import sys

import duckdb

# Events for each line that is bought; a visitor without a name leaves one less.
PER_LINE = 4.75
DAY = 86_400_000

EVENTS = """
CREATE TABLE made AS SELECT *, ((ms - 5 * 3600000) // {day})::INT AS day FROM (
WITH base AS (
    SELECT epoch_ms(time) AS ms, user_id, item_id, quantity, price, currency, order_id, state,
           row_number() OVER (ORDER BY event_id) AS line
    FROM '{base}/lake/events/*/*.parquet' WHERE hash(order_id) % 1000 < {kept}),
span AS (SELECT min(ms) AS low, (max(ms) - min(ms)) // {day} + 1 AS days FROM base),
copies AS (
    SELECT line, copy, copy % 2 = 1 AS nameless, item_id, quantity, price, currency, state,
           low + ((ms - low) // {day} + copy * 11) % days * {day} + (ms - low) % {day} AS ms,
           user_id || '-' || copy AS user_id, order_id || '-' || copy AS order_id,
           'v' || order_id || '-' || copy AS session_id
    FROM base, span, range({copies}) AS copies(copy)),
parts AS (
    SELECT c.*, part, kind, hash(line, copy, part) AS h,
           hash(line, copy, part) % 100 AS percent
    FROM copies c, (VALUES (0, 'purchase', 100), (1, 'view', 100), (2, 'view', 100), (3, 'click', 50),
                           (4, 'search', 25), (5, 'add_to_cart', 75), (6, 'impression', 25)) AS p(part, kind, share)
    WHERE hash(line, copy, part, 7) % 100 < share AND NOT (nameless AND kind = 'purchase')),
numbered AS (SELECT item_id AS other, row_number() OVER (ORDER BY item_id) - 1 AS number FROM (SELECT DISTINCT item_id FROM base)),
counted AS (SELECT count(*) AS products FROM numbered)
SELECT copy || '-' || line || '-' || part AS event_id,
       (ms - CASE WHEN kind = 'purchase' THEN 0 ELSE (1000 + h % 2400000) END)::BIGINT AS ms,
       kind, CASE WHEN nameless THEN NULL ELSE user_id END AS user_id, session_id,
       CASE WHEN kind IN ('search', 'impression') THEN NULL WHEN part = 2 THEN other ELSE item_id END AS item_id,
       CASE WHEN kind = 'purchase' THEN quantity ELSE 1 END AS quantity,
       CASE WHEN kind IN ('search', 'impression') THEN NULL ELSE price END AS price,
       CASE WHEN kind IN ('search', 'impression') THEN NULL ELSE currency END AS currency,
       CASE WHEN kind = 'purchase' THEN order_id END AS order_id,
       CASE WHEN kind = 'purchase' THEN state END AS state,
       CASE WHEN kind = 'search' THEN 'words ' || h % 5000 END AS query,
       CASE WHEN kind = 'impression' THEN
           '["' || item_id || '","' || other || '","' || second || '","' || third || '"]' END AS items
FROM parts CROSS JOIN counted
JOIN numbered a ON a.number = h % products
JOIN (SELECT other AS second, number FROM numbered) b ON b.number = (h // 7) % products
JOIN (SELECT other AS third, number FROM numbered) c ON c.number = (h // 49) % products)
ORDER BY day, ms, event_id
"""


def main():
    base, data, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
    shutil.rmtree(f"{data}/lake", ignore_errors=True)
    os.makedirs(f"{data}/lake/events")
    shutil.copy(f"{base}/lake/items.parquet", f"{data}/lake/items.parquet")
    scratch = f"{data}/scratch.db"
    if os.path.exists(scratch):
        os.remove(scratch)
    db = duckdb.connect(scratch)
    db.execute("SET threads = 2; SET memory_limit = '6GB'; SET TimeZone = 'UTC'")
    lines = db.execute(f"SELECT count(*) FROM '{base}/lake/events/*/*.parquet'").fetchone()[0]
    copies = max(1, round(wanted / (lines * (PER_LINE - 0.5))))
    kept = min(1000, round(1000 * wanted / (lines * PER_LINE)))
    db.execute(EVENTS.format(base=base, copies=copies, kept=kept, day=DAY))
    parts = {}
    for (day,) in db.execute("SELECT DISTINCT day FROM made ORDER BY day").fetchall():
        folder = f"day={db.execute(f'SELECT DATE {chr(39)}1970-01-01{chr(39)} + {day}').fetchone()[0]}"
        name = "part-00000000000000000001-00000000000000000001.parquet"
        os.makedirs(f"{data}/lake/events/{folder}")
        write_day(db, day, f"{data}/lake/events/{folder}/{name}")
        parts[day] = [f"{folder}/{name}"]
    with open(f"{data}/lake/manifest.json", "w", encoding="utf-8") as file:
        json.dump({"up_to_offset": 0, "parts": parts}, file)
    print(db.execute("SELECT count(*) FROM made").fetchone()[0])
    db.close()
    os.remove(scratch)


def write_day(db, day, path):
    db.execute(f"""
        COPY (SELECT event_id, make_timestamptz(ms * 1000) AS time, kind, user_id, session_id, item_id,
                     quantity::BIGINT AS quantity, price, currency, order_id, state, query, items,
                     NULL::VARCHAR AS recommendation_id, NULL::VARCHAR AS model_version
              FROM made WHERE day = {day})
        TO '{path}' (FORMAT parquet, COMPRESSION zstd)""")


if __name__ == "__main__":
    main()
