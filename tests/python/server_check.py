"""Asks a server over the demo what its guide promises, one promise after the other: `server_check.py BASE`.

What one answer changes in the next is asked in order, so the server must be nobody else's meanwhile.
"""
import json
import sys
import time
import urllib.error
import urllib.request

BASE, RUN = sys.argv[1], str(time.time())
faults = []


def ask(path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def recommend(query):
    status, answer = ask(f"/v1/recommendations?{query}")
    return answer if status == 200 else {"items": [], "status": status, **answer}


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def check(promise, holds):
    if not holds:
        faults.append(promise)


def lists():
    answer = recommend("user_id=17850&k=8")
    check("eight items, each with a reason", len(ids(answer)) == 8 and all(i["reason"]["text"]["es"] for i in answer["items"]))
    check("the model's version", answer["model_version"].startswith("recommender@"))
    check("fetched again as it was", ask("/v1/recommendations/" + answer["recommendation_id"])[1] == answer)
    for placement in ["home", "discover", "product", "cart", "buy_again", "email", "popular"]:
        check(f"placement {placement}", len(ids(recommend(f"user_id=12388&placement={placement}&k=5"))) == 5)
    moves = ask("/v1/users/12388/history?limit=1000")[1]["moves"]
    bought = {move["item_id"] for move in moves if move["kind"] == "purchase"}
    check("discover holds nothing bought", not bought & set(ids(recommend("user_id=12388&placement=discover&k=50"))))
    check("home may hold what was bought", bought & set(ids(recommend("user_id=12388&k=50"))))
    again = ids(recommend("user_id=12388&placement=buy_again&k=50"))
    check("buy again holds only what was bought", again and set(again) <= bought)
    for path in ["/v1/items/85123A/similar", "/v1/items/85123A/bought_together", "/v1/popular"]:
        check(path, len(ids(ask(path)[1])) == 10)
    cart = ask("/v1/recommendations", {"placement": "cart", "cart": ["85123A", "71053"], "k": 4})[1]
    check("a cart", cart["items"][0]["reason"]["code"] == "bought_together" and not {"85123A", "71053"} & set(ids(cart)))


def filters():
    cheap = recommend("user_id=12388&k=20&price_min=1&price_max=2")["items"]
    check("price", len(cheap) == 20 and all(1 <= item["price"]["amount"] <= 2 for item in cheap))
    first = ids(recommend("user_id=12388&k=3"))[0]
    check("exclusion", first not in ids(recommend(f"user_id=12388&k=3&exclude={first}")))
    item = ask(f"/v1/items/{first}")[1]
    price = {name: item["price"][name] for name in ("amount", "currency")}
    record = {"title": item["title"], "price": price}
    check("an item is written", ask(f"/v1/items/{first}", {**record, "stock": 0, "category": "Prueba"}, "PUT")[0] == 200)
    check("without stock it is not shown", first not in ids(recommend("user_id=12388&k=3")))
    check("unless it is asked for", first in ids(recommend("user_id=12388&k=3&in_stock=false")))
    check("category", ids(recommend("user_id=12388&k=3&in_stock=false&category=Prueba")) == [first])
    ask(f"/v1/items/{first}", {**record, "stock": 5}, "PUT")


def strangers():
    cold = recommend(f"session_id={RUN}&k=5")
    check("a cold visit", len(ids(cold)) == 5 and cold["items"][0]["reason"]["code"] == "popular_recently")
    now = ask("/v1/models")[1]["now"]
    event = {"event_id": RUN, "time": now, "kind": "view", "session_id": RUN, "item_id": "85123A"}
    check("an event is taken", ask("/v1/events", event)[1].get("accepted") == 1)
    warm = recommend(f"session_id={RUN}&k=5")
    check("the very next list knows it", ids(cold) != ids(warm) and warm["inputs"]["last_event_id"] == RUN)
    batch = ask("/v1/events", {"events": [event, {"event_id": "x" + RUN, "kind": "view"}]})[1]
    check("a duplicate and a fault in a batch", (batch["duplicate"], batch["refused"]) == (1, 1))
    check("a cold shopper", len(ids(recommend(f"user_id=nobody-{RUN}"))) == 10)
    ask(f"/v1/items/cold-{RUN}", {"title": "Taza nueva"}, "PUT")
    check("a cold item", len(ids(ask(f"/v1/items/cold-{RUN}/similar")[1])) == 10)
    for path, code in [("/v1/recommendations?k=0", 422), ("/nowhere", 404), ("/v1/items/none", 404)]:
        status, fault = ask(path)
        check(f"{path} is {code}", status == code and {"code", "message", "request_id"} <= set(fault))


for step in (lists, filters, strangers):
    step()
if faults:
    sys.exit("does not hold: " + "; ".join(faults))
print("everything held")
