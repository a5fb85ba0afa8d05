#!/usr/bin/env python3
"""books.py URL REBUYS DELAY CYCLES ROUND_TRIP ALLOWANCE: how long a take profit's fill took to become the next cycle's buy.

The times are the exchange's: `execTime` of the sell, `createdTime` of the market buy. Less the cycle's delay (in seconds),
they may be three round trips and an allowance apart (both in milliseconds); exit code 1 if they are further apart, or if not
every cycle had so many rebuys to cancel. Key and secret are those of the tests.
"""

import hashlib
import hmac
import json
import ssl
import statistics
import sys
import time
import urllib.request

KEY = SECRET = "test"
WINDOW = "5000"


def page(url, path, cursor):
    """The rows of a page, newest first, and where the next one begins."""
    query = f"category=spot&symbol=BTCUSDT&limit=50&cursor={cursor}" if cursor else "category=spot&symbol=BTCUSDT&limit=50"
    now = str(int(time.time() * 1000))
    sign = hmac.new(SECRET.encode(), (now + KEY + WINDOW + query).encode(), hashlib.sha256).hexdigest()
    headers = {"X-BAPI-API-KEY": KEY, "X-BAPI-TIMESTAMP": now, "X-BAPI-RECV-WINDOW": WINDOW, "X-BAPI-SIGN": sign}
    # The exchange is a child of this test: who else could answer on this address?
    trust = ssl._create_unverified_context()
    with urllib.request.urlopen(urllib.request.Request(f"{url}{path}?{query}", headers=headers), context=trust) as answer:
        told = json.load(answer)
    assert told["retCode"] == 0, told
    return told["result"]["list"], told["result"]["nextPageCursor"]


def rows(url, path):
    """All rows, oldest first."""
    all_rows, cursor = page(url, path, "")
    while cursor:
        more, cursor = page(url, path, cursor)
        all_rows += more
    return all_rows[::-1]


url = sys.argv[1]
rebuys, delay, cycles, round_trip, allowance = map(int, sys.argv[2:])
orders = rows(url, "/v5/order/history")
buys = [int(order["createdTime"]) for order in orders if order["orderType"] == "Market"]
cancelled = [int(order["updatedTime"]) for order in orders if order["orderStatus"] == "Cancelled"]
sales = [int(row["execTime"]) for row in rows(url, "/v5/execution/list") if row["side"] == "Sell"]
assert len(buys) == len(sales) == cycles, f"{len(buys)} buys and {len(sales)} sales, not {cycles} of each"
for sold, bought in zip(sales, buys[1:]):
    count = sum(sold <= moment <= bought for moment in cancelled)
    assert count == rebuys, f"{count} rebuys were cancelled between the sale at {sold} and the buy at {bought}, not {rebuys}"
times = [bought - sold - 1000 * delay for sold, bought in zip(sales, buys[1:])]
worst, middle = max(times), statistics.median(times)
# A question that is just under way when the fill comes (a heartbeat, a comparison) is answered first: one round trip more.
in_time = middle <= 3 * round_trip + allowance and worst <= 4 * round_trip + allowance
verdict = "ok" if in_time else "LATE"
print(
    f"  {rebuys} to cancel, cycle_delay {delay} s: median {middle:4.0f} ms ({middle / round_trip:.2f} round trips), "
    f"worst {worst:4.0f} ms ({worst / round_trip:.2f})  {verdict}"
)
sys.exit(verdict != "ok")
