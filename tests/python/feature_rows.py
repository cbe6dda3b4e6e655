"""The point-in-time rows of the built-in features as one DuckDB query: what the fold must agree with
(lake_check.py), and what it is measured against (benches/peers/features_duckdb.py).

Written for speed, since it is the peer: whole-number times, the different orders of a shopper as a running
sum over the first line of each, and one pass for shoppers, products and visits. A frame ends before the
event's own moment; windows are whole Lima days (UTC-5).
"""

DAY = 86_400_000

COLUMNS = """
    user_views user_searches user_clicks total_purchases user_orders user_spent user_spent_90d avg_order_value
    first_purchase_date last_purchase_date days_since_last_purchase purchase_frequency engagement_score
    product_views product_impressions product_clicks product_purchases product_purchases_28d
    product_click_rate purchase_conversion_rate product_category product_price product_description_length
    session_views session_carts
""".split()


def rows(events, items):
    """The query over the relations `events` (the lake's columns) and `items` (the lake's items)."""
    return f"""
WITH base AS (
    SELECT event_id, time, epoch_ms(time) AS ms, user_id, item_id, session_id, kind, items,
           ((epoch_ms(time) - 5 * 3600000) // {DAY})::INT AS day,
           CASE WHEN kind <> 'purchase' THEN 0 WHEN coalesce(state, 'paid') = 'paid' THEN 1
                WHEN state = 'refunded' THEN -1 ELSE 0 END AS sign,
           CASE WHEN currency IS NULL THEN 0 ELSE coalesce(round(price * 1e6)::BIGINT, 0) * quantity END AS amount,
           order_id
    FROM {events}),
marked AS (
    SELECT *, sign = 1 AND row_number() OVER (
        PARTITION BY user_id, sign, coalesce(order_id, CAST(day AS VARCHAR) || '/day') ORDER BY ms) = 1 AS new_order
    FROM base),
users AS (
    SELECT event_id, time, user_id, item_id, session_id, kind, items, ms, day, sign,
        count(*) FILTER (kind = 'view') OVER past AS user_views,
        count(*) FILTER (kind = 'search') OVER past AS user_searches,
        count(*) FILTER (kind = 'click') OVER past AS user_clicks,
        coalesce(sum(sign) OVER past, 0) AS total_purchases,
        count(*) FILTER (new_order) OVER past AS user_orders,
        coalesce(sum(sign * amount) OVER past, 0) / 1e6 AS user_spent,
        coalesce(sum(sign * amount) OVER recent, 0) / 1e6 AS user_spent_90d,
        min(ms) FILTER (sign = 1) OVER past AS first_ms,
        max(ms) FILTER (sign = 1) OVER past AS last_ms
    FROM marked
    WINDOW past AS (PARTITION BY user_id ORDER BY ms RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           recent AS (PARTITION BY user_id ORDER BY ms
                      RANGE BETWEEN (ms - ((day - 89)::BIGINT * {DAY} + 5 * 3600000)) PRECEDING AND 1 PRECEDING)),
shown AS (
    SELECT *, true AS own FROM users
    UNION ALL BY NAME
    SELECT unnest(from_json(items, '["VARCHAR"]')) AS item_id, ms, day, kind, 0 AS sign, false AS own
    FROM users WHERE kind = 'impression'),
products AS (
    SELECT *,
        count(*) FILTER (kind = 'view') OVER past AS product_views,
        count(*) FILTER (kind = 'impression') OVER past AS product_impressions,
        count(*) FILTER (kind = 'click') OVER past AS product_clicks,
        coalesce(sum(sign) OVER past, 0) AS product_purchases,
        coalesce(sum(sign) OVER recent, 0) AS product_purchases_28d
    FROM shown
    WINDOW past AS (PARTITION BY item_id ORDER BY ms RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           recent AS (PARTITION BY item_id ORDER BY ms
                      RANGE BETWEEN (ms - ((day - 27)::BIGINT * {DAY} + 5 * 3600000)) PRECEDING AND 1 PRECEDING)),
visits AS (
    SELECT *,
        count(*) FILTER (kind = 'view') OVER visit AS session_views,
        count(*) FILTER (kind = 'add_to_cart') OVER visit AS session_carts
    FROM products WHERE own
    WINDOW visit AS (PARTITION BY session_id ORDER BY ms
                     RANGE BETWEEN (ms - ((day - 1)::BIGINT * {DAY} + 5 * 3600000)) PRECEDING AND 1 PRECEDING))
SELECT v.event_id, v.time,
    v.user_id,
    {columns_if("v.user_id", {
        "user_views": "user_views", "user_searches": "user_searches", "user_clicks": "user_clicks",
        "total_purchases": "total_purchases", "user_orders": "user_orders", "user_spent": "user_spent",
        "user_spent_90d": "user_spent_90d", "avg_order_value": "user_spent / nullif(user_orders, 0)"})},
    CASE WHEN v.user_id IS NOT NULL THEN make_timestamptz(first_ms * 1000) END AS first_purchase_date,
    CASE WHEN v.user_id IS NOT NULL THEN make_timestamptz(last_ms * 1000) END AS last_purchase_date,
    {columns_if("v.user_id", {
        "days_since_last_purchase": f"day - (last_ms - 5 * 3600000) // {DAY}",
        "purchase_frequency": f"(last_ms - first_ms) / {DAY}.0 / nullif(greatest(user_orders - 1, 0), 0)",
        "engagement_score": "user_views + user_searches + user_clicks"})},
    v.item_id,
    {columns_if("v.item_id", {
        "product_views": "product_views", "product_impressions": "product_impressions",
        "product_clicks": "product_clicks", "product_purchases": "product_purchases",
        "product_purchases_28d": "product_purchases_28d",
        "product_click_rate": "product_clicks / nullif(product_impressions, 0)",
        "purchase_conversion_rate": "greatest(product_purchases, 0) / nullif(product_views, 0)"})},
    nullif(i.category, '') AS product_category, i.price::DOUBLE AS product_price,
    length(i.description)::DOUBLE AS product_description_length,
    v.session_id,
    {columns_if("v.session_id", {"session_views": "session_views", "session_carts": "session_carts"})}
FROM visits v LEFT JOIN {items} i ON v.item_id = i.item_id
"""


def columns_if(key, columns):
    """Numbers where there is such an entity, gaps where there is none."""
    return ",\n    ".join(
        f"CASE WHEN {key} IS NOT NULL THEN ({sql})::DOUBLE END AS {name}" for name, sql in columns.items())


def compare(db, expected, found):
    """Names of the columns that differ between two relations with equal event ids, with how many rows."""
    times = {"first_purchase_date", "last_purchase_date"}
    same = lambda name: (
        f"e.{name} IS NOT DISTINCT FROM f.{name}" if name in times or name == "product_category" else
        f"(e.{name} IS NOT DISTINCT FROM f.{name} OR abs(e.{name} - f.{name}) <= 1e-9 * greatest(1, abs(e.{name})))")
    counts = ", ".join(f"count(*) FILTER (NOT coalesce({same(name)}, false)) AS {name}" for name in COLUMNS)
    joined = f"FROM {expected} e JOIN {found} f USING (event_id)"
    rows = db.execute(f"SELECT count(*), {counts} {joined}").fetchone()
    faults = [f"{name} differs in {count} of {rows[0]} rows" for name, count in zip(COLUMNS, rows[1:]) if count]
    return rows[0], faults
