"""What `cargo xtask bench beauty` reads, from the files of ../shared/data/amazon_beauty.

    python beauty_lines.py DATA FOLDER

`sequences.tsv`: user, item (numbered from 1), seconds since the user's interaction before; `titles.txt`: a title a line, item
1 first; `categories.tsv`: a line per item, its category attributes with tabs between.
"""

import gzip
import json
import pathlib
import sys

DATA, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def lines(name):
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in file)


with open(OUT / "sequences.tsv", "w", encoding="utf-8") as out:
    print("user\titem\tgap", file=out)
    for line in lines("sequences_int_ids_timegaps_seconds.tsv.gz"):
        items, gaps = (part.split() for part in line.split("\t"))
        for item, gap in zip(items[1:], gaps, strict=True):
            print(items[0], item, gap, sep="\t", file=out)

numbers = dict(reversed(line.split("\t")) for line in list(lines("int_id_to_asin.tsv.gz"))[1:])
titles = [""] * len(numbers)
for line in list(lines("items.tsv.gz"))[1:]:
    asin, title = line.split("\t")
    titles[int(numbers[asin]) - 1] = " ".join(title.split())
(OUT / "titles.txt").write_text("\n".join(titles) + "\n", encoding="utf-8")

attributes = json.loads("".join(lines("item2attributes_int_ids.json.gz")))
with open(OUT / "categories.tsv", "w", encoding="utf-8") as out:
    for item in range(1, len(titles) + 1):
        print(*attributes.get(str(item), []), sep="\t", file=out)
