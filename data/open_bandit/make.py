"""Makes the two Parquet files from the small release's CSV.

    python make.py FOLDER        where random_all_all.csv.gz and bts_all_all.csv.gz lie
"""

import pathlib
import sys

import pandas as pd

HERE = pathlib.Path(__file__).parent
COLUMNS = ["item_id", "position", "click", "propensity_score"]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    for policy in ("random", "bts"):
        log = pd.read_csv(pathlib.Path(sys.argv[1]) / f"{policy}_all_all.csv.gz")[COLUMNS]
        log.to_parquet(HERE / f"{policy}.parquet", index=False, compression="zstd")
        print(policy, len(log), "impressions,", int(log["click"].sum()), "clicks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
