"""Writes tests/journeys: events in any order, and what a model that reads acts is told of each shopper and visit.

The rules of `qhatu_models::Told` are written here a second time, event by event in place of in one pass; training
(`qhatu-train`) and the server (`qhatu-serve`) are both held against the outcome.

    python3 tests/python/journeys.py
"""

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "journeys"
START = datetime(2026, 11, 20, 18, 0, tzinfo=timezone.utc)
KINDS = ["view"] * 5 + ["click"] * 2 + ["add_to_cart"] * 4 + ["remove_from_cart"] * 2 + ["purchase"] * 4 + ["search"]
ACTS = {"view": "viewed", "click": "viewed", "add_to_cart": "carted", "purchase": "bought"}


def events(rng):
    made = []
    for number in range(400):
        time = START + timedelta(minutes=rng.randrange(60 * 72))
        kind = rng.choice(KINDS)
        event = {"event_id": f"e{rng.randrange(10**9):09d}-{number}", "time": time.isoformat(), "kind": kind}
        who = rng.choice(["ana", "luis", "eva", None, None])
        if who is not None:
            event["user_id"] = who
        # A known shopper's visits are their own.
        event["session_id"] = f"{who}-visit" if who else rng.choice(["v1", "v2"])
        if kind == "search":
            event["query"] = "taza"
        else:
            event["item_id"] = f"P{rng.randrange(1, 7):03d}"
        if kind == "purchase":
            if rng.random() < 0.7:
                event["order_id"] = f"{who or event['session_id']}-{rng.randrange(4)}"
            event["state"] = rng.choice(["paid"] * 4 + ["created", "refunded"])
        made.append(event)
    return made


def told(own):
    steps = []
    for event in sorted(own, key=lambda event: (event["time"], event["event_id"])):
        kind, item = event["kind"], event.get("item_id")
        time = datetime.fromisoformat(event["time"])
        if kind == "remove_from_cart":
            bought = max((place for place, step in enumerate(steps) if step["act"] == "bought" and step["item"] == item), default=-1)
            steps = [s for place, s in enumerate(steps) if not (place > bought and s["act"] == "carted" and s["item"] == item)]
        if kind not in ACTS or event.get("state", "paid") != "paid":
            continue
        day = (time - timedelta(hours=5)).date().isoformat()
        order = event.get("order_id", day) if kind == "purchase" else None
        steps.append({"item": item, "act": ACTS[kind], "time": int(time.timestamp() * 1000), "order": order})
    # What repeats is left out in the end, for what stood between may have been taken out of the cart.
    kept, lines = [], set()
    for step in steps:
        if step["act"] == "bought":
            if (step["order"], step["item"]) in lines:
                continue
            lines.add((step["order"], step["item"]))
        elif kept and (kept[-1]["item"], kept[-1]["act"]) == (step["item"], step["act"]):
            continue
        kept.append(step)
    return [[step["item"], step["act"], step["time"]] for step in kept]


def main():
    made = events(random.Random(3))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in made))
    users = {user: told([event for event in made if event.get("user_id") == user]) for user in ["ana", "eva", "luis"]}
    visits = {visit: told([event for event in made if event.get("session_id") == visit]) for visit in ["v1", "v2"]}
    text = json.dumps({"users": users, "visits": visits}, indent=None, separators=(",", ":"))
    (FOLDER / "told.json").write_text(text.replace("]],", "]],\n").replace("],[", "],\n[") + "\n")


main()
