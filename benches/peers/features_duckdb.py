"""The peer of the fold: DuckDB makes the same point-in-time rows by window functions, on two threads.

    python benches/peers/features_duckdb.py DATA ROWS.parquet          writes the rows
    python benches/peers/features_duckdb.py DATA ROWS.parquet OURS     compares a sample with ours
"""

import os
import sys

import duckdb

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../tests/python"))
import feature_rows


def main():
    data, rows = sys.argv[1], sys.argv[2]
    db = duckdb.connect()
    db.execute("SET threads = 2; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    db.execute(f"SET temp_directory = '{data}/spill'; SET memory_limit = '12GB'")
    if len(sys.argv) == 3:
        events = f"read_parquet('{data}/lake/events/*/*.parquet', hive_partitioning = false)"
        query = feature_rows.rows(events, f"'{data}/lake/items.parquet'")
        db.execute(f"COPY ({query}) TO '{rows}' (FORMAT parquet, COMPRESSION zstd)")
        return 0
    sample = lambda path: f"(SELECT * FROM '{path}' WHERE hash(event_id) % 50 = 0)"
    compared, faults = feature_rows.compare(db, sample(rows), sample(sys.argv[3]))
    counts = [db.execute(f"SELECT count(*) FROM '{path}'").fetchone()[0] for path in (rows, sys.argv[3])]
    if counts[0] != counts[1] or compared < counts[0] // 100:
        faults.append(f"rows: DuckDB {counts[0]}, ours {counts[1]}, {compared} compared")
    print("\n".join(faults) or f"{counts[0]} rows, {compared} compared, all equal")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
