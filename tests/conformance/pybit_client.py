"""Bybit's own Python client, pybit, against `recompra exchange`.

What pybit sends, how it signs and what it can read was decided by others: what passes here is not only our own
reading of Bybit's documentation. `make conformance` installs pybit and runs this file. By hand:

    RECOMPRA=target/debug/recompra python3 tests/conformance/pybit_client.py

The exchange is started on a free port of loopback with a lively market, ten minutes of it a second. Each check is a
function whose first line says the fact that it establishes. The last line is the summary; the exit code is 0 only if
every check passed.
"""

import faulthandler
import logging
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from decimal import ROUND_FLOOR, Decimal

import pybit._helpers
import pybit.unified_trading
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket

KEY, SECRET = "conformance", "its-secret"
SYMBOL = "BTCUSDT"
ORDER = {"category": "spot", "symbol": SYMBOL}
TICK, STEP = Decimal("0.01"), Decimal("0.000001")
FEE_RATE = Decimal("0.001")
OPEN = {"New", "PartiallyFilled"}

# Nothing may take longer than this, in seconds: a program to begin or end, a condition to come true, all of it.
PATIENCE = 15
WHOLE_RUN = 150


class Exchange:
    """`recompra exchange` as a process of its own."""

    def __init__(self, binary):
        market = ["--speed", "600", "--seed", "3"]
        words = ["exchange", "--listen", "127.0.0.1:0", *market, "--key", KEY, "--secret", SECRET]
        self.process = subprocess.Popen([binary, *words], stdout=subprocess.PIPE, text=True)
        self.address = self._address()

    def _address(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""
        found = re.search(r"http://(\S+)", line)
        if not found:
            self.process.kill()
            sys.exit(f"recompra exchange did not say where it listens: {line!r}")
        return found.group(1)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Stream(WebSocket):
    """pybit's stream, which also counts pongs, and remembers a refusal instead of raising it in its thread."""

    def __init__(self, channel, **keys):
        self.pongs = 0
        self.refusal = None
        self._subscribing = threading.RLock()
        # pybit sends its own ping after each answered ping of the protocol.
        super().__init__(channel_type=channel, testnet=False, ping_interval=2, ping_timeout=1, retries=3, **keys)

    def subscribe(self, *words, **more):
        # pybit notes a subscription only after it has sent it: on loopback the answer can come first, and find nothing.
        with self._subscribing:
            super().subscribe(*words, **more)

    def _on_message(self, message):
        with self._subscribing:
            self.pongs += '"pong"' in message
            super()._on_message(message)

    def _process_auth_message(self, message):
        if message.get("success") is not True:
            self.refusal = message
        else:
            super()._process_auth_message(message)


class Inbox:
    """The rows that a topic brought, taken in pybit's thread and looked at in ours."""

    def __init__(self):
        self._rows = []
        self._changed = threading.Condition()

    def __call__(self, message):
        data = message["data"]
        with self._changed:
            self._rows.extend(data if isinstance(data, list) else [data])
            self._changed.notify_all()

    def rows(self, **wanted):
        with self._changed:
            return [row for row in self._rows if all(row.get(name) == value for name, value in wanted.items())]

    def wait(self, **wanted):
        """The rows with these values, as soon as there are any."""
        with self._changed:
            here = self._changed.wait_for(lambda: self.rows(**wanted), PATIENCE)
        assert here, f"nothing with {wanted} within {PATIENCE} s; came: {self.rows()[-3:]}"
        return here


class Account:
    """What every check starts from: a session, the three private topics, and orders with fresh names."""

    def __init__(self, address):
        self.address = address
        self.http = self.session()
        # pybit builds its addresses from these two, and offers no other way to name a host.
        pybit.unified_trading.PRIVATE_WSS = f"ws://{address}/v5/private"
        pybit.unified_trading.PUBLIC_WSS = f"ws://{address}/v5/public/{{CHANNEL_TYPE}}"
        self.private = Stream("private", api_key=KEY, api_secret=SECRET)
        self.orders, self.executions, self.wallets = Inbox(), Inbox(), Inbox()
        self.private.order_stream(self.orders)
        self.private.execution_stream(self.executions)
        self.private.wallet_stream(self.wallets)
        self._names = 0

    def session(self, key=KEY, secret=SECRET, **options):
        session = HTTP(api_key=key, api_secret=secret, **options)
        session.endpoint = f"http://{self.address}"
        return session

    def name(self):
        self._names += 1
        return f"check-{self._names}"

    def bid(self):
        return Decimal(self.http.get_tickers(**ORDER)["result"]["list"][0]["bid1Price"])

    def near(self, factor):
        """A price that is this times the market's, on the tick."""
        return str((self.bid() * Decimal(factor)).quantize(TICK, ROUND_FLOOR))

    def place(self, side, **words):
        """Places an order under a fresh name, and gives the name."""
        name = self.name()
        answer = self.http.place_order(**ORDER, side=side, orderLinkId=name, **words)["result"]
        assert answer["orderLinkId"] == name and answer["orderId"].isdigit(), answer
        return name

    def limit(self, side, factor, qty="0.001", **words):
        return self.place(side, orderType="Limit", qty=qty, price=self.near(factor), **words)

    def look(self, name):
        """The order of this name, open or closed."""
        rows = self.http.get_open_orders(**ORDER, orderLinkId=name)["result"]["list"]
        assert len(rows) == 1, f"{name}: {len(rows)} orders"
        return rows[0]

    def open_names(self):
        rows = pages(self.http.get_open_orders, **ORDER)
        return {row["orderLinkId"] for row in rows}

    def executions_of(self, name):
        return pages(self.http.get_executions, **ORDER, orderLinkId=name)

    def coin(self, coin, answer="walletBalance"):
        rows = self.http.get_wallet_balance(accountType="UNIFIED", coin=coin)["result"]["list"][0]["coin"]
        return Decimal(next(row[answer] for row in rows if row["coin"] == coin))

    def hold(self, qty="0.01"):
        """Buys at market, so that there is something to sell."""
        return self.place("Buy", orderType="Market", qty=qty, marketUnit="baseCoin")


def pages(call, **words):
    """All rows of a list, page by page, as its cursor leads."""
    rows, cursor = [], None
    for _ in range(200):
        result = call(**words, **({"cursor": cursor} if cursor else {}))["result"]
        rows += result["list"]
        cursor = result["nextPageCursor"]
        if not cursor:
            return rows
    raise AssertionError("the pages have no end")


def refused(code, call, **words):
    """Makes a call that must be refused with this code."""
    try:
        answer = call(**words)
    except InvalidRequestError as error:
        assert error.status_code == code, f"{error.status_code} instead of {code}: {error.message}"
    else:
        raise AssertionError(f"taken instead of refused with {code}: {answer['result']}")


def eventually(what, probe):
    """Asks until the answer is true; the answer."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


# --- what needs no key ---


def server_time(account):
    """the server's time is now, in seconds and in nanoseconds"""
    result = account.http.get_server_time()["result"]
    assert abs(int(result["timeNano"]) / 1e9 - time.time()) < 5, result
    assert result["timeNano"].startswith(result["timeSecond"]), result


def instruments(account):
    """the instrument has the filters that orders are measured by"""
    row = account.http.get_instruments_info(**ORDER)["result"]["list"][0]
    assert (row["symbol"], row["baseCoin"], row["quoteCoin"], row["status"]) == (SYMBOL, "BTC", "USDT", "Trading"), row
    lots = row["lotSizeFilter"]
    assert Decimal(row["priceFilter"]["tickSize"]) == TICK and Decimal(lots["basePrecision"]) == STEP, row
    assert all(Decimal(lots[name]) > 0 for name in ("quotePrecision", "minOrderAmt", "maxLimitOrderQty")), row


def tickers(account):
    """the ticker has a bid below the ask, and it moves"""
    row = account.http.get_tickers(**ORDER)["result"]["list"][0]
    assert Decimal(row["bid1Price"]) < Decimal(row["ask1Price"]) and Decimal(row["lastPrice"]) > 0, row
    eventually("the price moves", lambda: account.bid() != Decimal(row["bid1Price"]))


def order_book(account):
    """the order book has both sides"""
    book = account.http.get_orderbook(**ORDER, limit=1)["result"]
    assert Decimal(book["b"][0][0]) < Decimal(book["a"][0][0]), book


def kline(account):
    """klines are rows of seven texts, and the high is no lower than the low"""
    rows = eventually("a kline", lambda: account.http.get_kline(**ORDER, interval=1, limit=5)["result"]["list"])
    for row in rows:
        assert len(row) == 7 and all(isinstance(field, str) for field in row), row
        assert Decimal(row[2]) >= max(Decimal(row[1]), Decimal(row[4])) >= Decimal(row[3]), row


def unknown_symbol(account):
    """an unknown symbol is refused with 170121"""
    order = dict(ORDER, symbol="NOSUCH", side="Buy", orderType="Market", qty="50")
    refused(170121, account.http.place_order, **order)


# --- the key ---


def key_information(account):
    """the key may trade spot and may not withdraw"""
    key = account.http.get_api_key_information()["result"]
    assert key["readOnly"] == 0 and key["permissions"]["Spot"] == ["SpotTrade"], key
    assert "Withdraw" not in key["permissions"]["Wallet"] and key["expiredAt"].endswith("Z"), key


def wrong_secret(account):
    """a wrong secret is refused with 10004"""
    refused(10004, account.session(secret="wrong").get_open_orders, **ORDER)


def unknown_key(account):
    """an unknown key is refused with 10003"""
    refused(10003, account.session(key="nobody").get_open_orders, **ORDER)


def clock(account):
    """a clock that is two seconds fast, or ten slow, is refused with 10002"""
    session = account.session(retry_codes={10006})
    true_clock = pybit._helpers.generate_timestamp
    try:
        for ahead in (2000, -10_000):
            pybit._helpers.generate_timestamp = lambda: true_clock() + ahead
            refused(10002, session.get_open_orders, **ORDER)
    finally:
        pybit._helpers.generate_timestamp = true_clock


def rate_limit(account):
    """requests beyond the rate limit are refused with 10006, and the headers say when to come back"""
    session = account.session(retry_codes={10002}, return_response_headers=True)
    _, _, headers = session.get_open_orders(**ORDER)
    assert int(headers["X-Bapi-Limit"]) == 50 and int(headers["X-Bapi-Limit-Status"]) < 50, headers

    def beyond():
        try:
            session.amend_order(**ORDER, orderLinkId="no-such-order", qty="1")
        except InvalidRequestError as error:
            assert error.status_code in (170213, 10006), error
            return error.status_code == 10006 and error.resp_headers
        return None

    headers = eventually("the rate limit is reached", lambda: next(filter(None, (beyond() for _ in range(40))), None))
    assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) > 0 and headers["X-Bapi-Limit-Status"] == "0", headers
    time.sleep(1)


# --- orders ---


def market_buy_in_quote_coin(account):
    """a market buy in quote coin spends at most its amount and ends as PartiallyFilledCanceled"""
    usdt, btc = account.coin("USDT"), account.coin("BTC")
    order = account.look(account.place("Buy", orderType="Market", qty="50", marketUnit="quoteCoin"))
    assert order["orderStatus"] in ("PartiallyFilledCanceled", "Filled") and order["marketUnit"] == "quoteCoin", order
    spent, bought = Decimal(order["cumExecValue"]), Decimal(order["cumExecQty"])
    step_worth = STEP * Decimal(order["avgPrice"])
    assert 50 - step_worth < spent <= 50, order
    fee = Decimal(order["cumFeeDetail"]["BTC"])
    assert fee == bought * FEE_RATE, order
    assert account.coin("USDT") == usdt - spent and account.coin("BTC") == btc + bought - fee, order


def market_buy_in_base_coin(account):
    """a market buy in base coin buys exactly its quantity"""
    order = account.look(account.place("Buy", orderType="Market", qty="0.002", marketUnit="baseCoin"))
    assert (order["orderStatus"], order["cumExecQty"], order["leavesQty"]) == ("Filled", "0.002", "0"), order


def market_sell(account):
    """a market sell pays its fee in quote coin"""
    account.hold("0.003")
    usdt = account.coin("USDT")
    order = account.look(account.place("Sell", orderType="Market", qty="0.002", marketUnit="baseCoin"))
    fee = Decimal(order["cumFeeDetail"]["USDT"])
    assert order["orderStatus"] == "Filled" and fee == Decimal(order["cumExecValue"]) * FEE_RATE, order
    assert account.coin("USDT") == usdt + Decimal(order["cumExecValue"]) - fee, order


def resting_limit(account):
    """a limit order rests, locks its money, and gives it back when it is cancelled"""
    locked = account.coin("USDT", "locked")
    name = account.limit("Buy", "0.5")
    order = account.look(name)
    assert order["orderStatus"] == "New" and order["avgPrice"] == "" and name in account.open_names(), order
    assert account.coin("USDT", "locked") == locked + Decimal(order["price"]) * Decimal(order["qty"])
    account.http.cancel_order(**ORDER, orderLinkId=name)
    assert account.look(name)["orderStatus"] == "Cancelled" and name not in account.open_names()
    assert account.coin("USDT", "locked") == locked
    refused(170213, account.http.cancel_order, **ORDER, orderLinkId=name)


def limit_fills_as_maker(account):
    """a resting limit order fills at its own price, as maker, when the market trades through it"""
    account.hold()

    def one_fills():
        # One of the two must come first, wherever the market goes.
        sides = (("Buy", "0.995"), ("Sell", "1.005"))
        pair = [account.limit(side, factor, timeInForce="PostOnly") for side, factor in sides]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            orders = [account.look(name) for name in pair]
            filled = [order for order in orders if order["orderStatus"] == "Filled"]
            if filled or not any(order["orderStatus"] in OPEN for order in orders):
                break
            time.sleep(0.1)
        cancel_quietly(account, pair)
        return filled

    order = eventually("a limit order is filled", one_fills)[0]
    assert order["avgPrice"] == order["price"], order
    fills = account.http.get_executions(**ORDER, orderId=order["orderId"])["result"]["list"]
    assert fills and all(fill["isMaker"] is True and fill["execPrice"] == order["price"] for fill in fills), fills


def cancel_quietly(account, names):
    """Cancels what is still open of these; what is not was closed by the market."""
    for name in names:
        try:
            account.http.cancel_order(**ORDER, orderLinkId=name)
        except InvalidRequestError as error:
            assert error.status_code == 170213, error


def post_only(account):
    """PostOnly rests below the market; at the market it is cancelled without a fill"""
    resting = account.limit("Buy", "0.6", timeInForce="PostOnly")
    assert account.look(resting)["orderStatus"] == "New"
    account.http.cancel_order(**ORDER, orderLinkId=resting)
    taking = account.look(account.limit("Buy", "1.03", timeInForce="PostOnly"))
    assert taking["orderStatus"] == "Cancelled" and taking["cumExecQty"] == "0", taking
    assert taking["rejectReason"] == "EC_PostOnlyWillTakeLiquidity", taking


def immediate_or_cancel(account):
    """IOC takes at a price no worse than its own, and never rests"""
    order = account.look(account.limit("Buy", "1.03", timeInForce="IOC"))
    assert order["orderStatus"] == "Filled" and Decimal(order["avgPrice"]) <= Decimal(order["price"]), order
    order = account.look(account.limit("Buy", "0.6", timeInForce="IOC"))
    assert order["orderStatus"] == "Cancelled" and order["cumExecQty"] == "0", order


def fill_or_kill(account):
    """FOK fills as a whole or not at all"""
    order = account.look(account.limit("Buy", "1.03", timeInForce="FOK"))
    assert order["orderStatus"] == "Filled" and order["leavesQty"] == "0", order
    order = account.look(account.limit("Buy", "0.6", timeInForce="FOK"))
    assert order["orderStatus"] == "Cancelled" and order["cumExecQty"] == "0", order


def amend(account):
    """an amended order keeps its names and has the new price and quantity"""
    name = account.limit("Buy", "0.5", qty="0.001")
    before = account.look(name)
    price = account.near("0.55")
    answer = account.http.amend_order(**ORDER, orderLinkId=name, price=price, qty="0.002")["result"]
    assert answer == {"orderId": before["orderId"], "orderLinkId": name}, answer
    after = account.look(name)
    assert (Decimal(after["price"]), after["qty"], after["orderStatus"]) == (Decimal(price), "0.002", "New"), after
    account.http.cancel_order(**ORDER, orderId=before["orderId"])
    refused(170213, account.http.amend_order, **ORDER, orderLinkId=name, qty="0.003")


def open_orders_in_pages(account):
    """open orders come in pages, newest first, each once"""
    names = [account.limit("Buy", "0.5") for _ in range(7)]
    rows = pages(account.http.get_open_orders, **ORDER, limit=3)
    listed = [row["orderLinkId"] for row in rows if row["orderLinkId"] in names]
    assert listed == names[::-1], listed
    account.http.cancel_all_orders(**ORDER)


def cancel_all(account):
    """cancel-all closes every open order and names each"""
    names = {account.limit("Buy", "0.5") for _ in range(3)}
    result = account.http.cancel_all_orders(**ORDER)["result"]
    assert {row["orderLinkId"] for row in result["list"]} >= names and result["success"] == "1", result
    assert account.open_names() == set()


def history(account):
    """the history has closed orders and no open one"""
    closed = account.place("Buy", orderType="Market", qty="20", marketUnit="quoteCoin")
    resting = account.limit("Buy", "0.5")
    names = {row["orderLinkId"] for row in pages(account.http.get_order_history, **ORDER, limit=5)}
    assert closed in names and resting not in names, names
    account.http.cancel_order(**ORDER, orderLinkId=resting)


def duplicate_name(account):
    """a name that was used is refused with 170141 for ever"""
    name = account.place("Buy", orderType="Market", qty="20", marketUnit="quoteCoin")
    words = dict(ORDER, side="Buy", orderType="Market", qty="20", marketUnit="quoteCoin", orderLinkId=name)
    before = len(account.executions_of(name))
    for _ in range(2):
        refused(170141, account.http.place_order, **words)
    assert len(account.executions_of(name)) == before


def executions_in_pages(account):
    """executions come in pages, each once, and add up to their order"""
    names = [account.place("Buy", orderType="Market", qty="20", marketUnit="quoteCoin") for _ in range(5)]
    rows = pages(account.http.get_executions, **ORDER, limit=2)
    ids = [row["execId"] for row in rows]
    assert len(ids) == len(set(ids)), ids
    times = [int(row["execTime"]) for row in rows]
    assert times == sorted(times, reverse=True), times
    for name in names:
        order, fills = account.look(name), [row for row in rows if row["orderLinkId"] == name]
        for total, part in (("cumExecQty", "execQty"), ("cumExecValue", "execValue")):
            assert Decimal(order[total]) == sum(Decimal(fill[part]) for fill in fills), (order, fills)
        assert Decimal(order["cumFeeDetail"]["BTC"]) == sum(Decimal(fill["execFee"]) for fill in fills), (order, fills)
        assert all(fill["feeCurrency"] == "BTC" and fill["isMaker"] is False for fill in fills), fills


def filters(account):
    """what breaks a filter is refused with the filter's own code"""
    limit = dict(ORDER, orderType="Limit", side="Buy")
    market = dict(ORDER, orderType="Market", side="Buy", marketUnit="quoteCoin")
    low, place = account.near("0.5"), account.http.place_order
    for code, words in (
        (170134, dict(limit, qty="0.001", price=low + "1")),
        (170134, dict(limit, qty="0.001", price="0")),
        (170137, dict(limit, qty="0.0010001", price=low)),
        (170136, dict(limit, qty="0", price=low)),
        (170140, dict(limit, qty="0.000002", price=low)),
        (170140, dict(market, qty="1")),
        (170148, dict(market, qty="50.000000001")),
        (170193, dict(limit, qty="0.001", price=account.near("1.2"))),
        (170194, dict(limit, side="Sell", qty="0.001", price=account.near("0.8"))),
        (170130, dict(limit, qty="1e-3", price=low)),
        (170116, dict(limit, orderType="Stop", qty="0.001", price=low)),
        (170115, dict(limit, qty="0.001", price=low, timeInForce="Later")),
        (10001, dict(market, qty="50", orderLinkId="x" * 37)),
    ):
        try:
            refused(code, place, **words)
        except AssertionError as error:
            raise AssertionError(f"{words}: {error}") from None


def insufficient_funds(account):
    """more than is there is refused with 170131, bought or sold"""
    too_much = str((account.coin("USDT") * 2).quantize(Decimal(1)))
    words = dict(ORDER, orderType="Market")
    refused(170131, account.http.place_order, **words, side="Buy", qty=too_much, marketUnit="quoteCoin")
    more = str((account.coin("BTC") + 1).quantize(STEP))
    refused(170131, account.http.place_order, **words, side="Sell", qty=more, marketUnit="baseCoin")


def demo_money(account):
    """demo money is given on request, once a minute"""
    before = account.coin("USDT")
    session = account.session(demo=True, retry_codes={10002})
    session.request_demo_trading_funds()
    assert account.coin("USDT") > before
    refused(10006, session.request_demo_trading_funds)


# --- streams ---


def private_events(account):
    """the private stream tells of an order, its executions and the wallet"""
    name = account.place("Buy", orderType="Market", qty="30", marketUnit="quoteCoin")
    fills = account.executions.wait(orderLinkId=name)
    order = account.orders.wait(orderLinkId=name, orderStatus=account.look(name)["orderStatus"])[-1]
    assert order["category"] == fills[0]["category"] == "spot", (order, fills)
    assert Decimal(order["cumExecValue"]) == sum(Decimal(fill["execValue"]) for fill in fills), (order, fills)
    assert fills[0]["feeCurrency"] == "BTC" and order["orderId"] == fills[0]["orderId"], (order, fills)
    coins = {coin["coin"] for wallet in account.wallets.wait(accountType="UNIFIED") for coin in wallet["coin"]}
    assert {"USDT", "BTC"} <= coins, coins


def private_cancel_event(account):
    """the private stream tells that an order rests, is amended, and is cancelled"""
    name = account.limit("Buy", "0.5")
    account.orders.wait(orderLinkId=name, orderStatus="New")
    account.http.amend_order(**ORDER, orderLinkId=name, qty="0.004")
    account.orders.wait(orderLinkId=name, qty="0.004")
    account.http.cancel_order(**ORDER, orderLinkId=name)
    account.orders.wait(orderLinkId=name, orderStatus="Cancelled")


def every_execution_was_told(account):
    """every execution of the session came over the stream, once and with the same figures"""
    listed = {row["execId"]: row for row in pages(account.http.get_executions, **ORDER, limit=100)}
    eventually("the stream told of all", lambda: len(account.executions.rows()) >= len(listed))
    told = account.executions.rows()
    assert sorted(row["execId"] for row in told) == sorted(listed)
    for row in told:
        for name in ("orderLinkId", "execPrice", "execQty", "execValue", "execFee", "feeCurrency", "isMaker"):
            assert row[name] == listed[row["execId"]][name], (row, listed[row["execId"]])


def private_pongs(account):
    """the private stream answers pings, and stays up"""
    eventually("two pongs", lambda: account.private.pongs >= 2)
    assert account.private.is_connected() and account.private.auth


def wrong_secret_on_the_stream(account):
    """the private stream refuses a wrong secret"""
    stream = Stream("private", api_key=KEY, api_secret="wrong")
    try:
        eventually("a refusal", lambda: stream.refusal)
        assert stream.refusal["op"] == "auth" and not stream.auth, stream.refusal
    finally:
        stream.exit()


def public_stream(account):
    """the public stream brings tickers, trades and the order book, and answers pings"""
    stream = Stream("spot")
    try:
        ticker, trades, book = Inbox(), Inbox(), Inbox()
        stream.ticker_stream(SYMBOL, ticker)
        stream.trade_stream(SYMBOL, trades)
        stream.orderbook_stream(1, SYMBOL, book)
        assert Decimal(ticker.wait(symbol=SYMBOL)[0]["lastPrice"]) > 0
        trade = trades.wait(s=SYMBOL)[0]
        assert Decimal(trade["p"]) > 0 and trade["S"] in ("Buy", "Sell") and trade["T"] > 0, trade
        level = book.wait(s=SYMBOL)[0]
        assert Decimal(level["b"][0][0]) < Decimal(level["a"][0][0]), level
        eventually("more prices", lambda: len({row["lastPrice"] for row in ticker.rows()}) > 5)
        eventually("a pong", lambda: stream.pongs)
    finally:
        stream.exit()


CHECKS = [
    server_time, instruments, tickers, order_book, kline, unknown_symbol,
    key_information, wrong_secret, unknown_key, clock,
    market_buy_in_quote_coin, market_buy_in_base_coin, market_sell, resting_limit, limit_fills_as_maker,
    post_only, immediate_or_cancel, fill_or_kill, amend, open_orders_in_pages, cancel_all, history,
    duplicate_name, executions_in_pages, filters, insufficient_funds,
    private_events, private_cancel_event, private_pongs, wrong_secret_on_the_stream, public_stream,
    rate_limit, demo_money, every_execution_was_told,
]  # fmt: skip


def passes(name, check):
    try:
        check()
    except Exception as error:
        print(f"FAIL  {name}")
        if isinstance(error, AssertionError):
            print(f"      {error}")
        print("      " + traceback.format_exc().strip().replace("\n", "\n      "), flush=True)
        return False
    print(f"ok    {name}", flush=True)
    return True


def main():
    # pybit waits out the rate limit by itself and says so at length.
    logging.getLogger("pybit").setLevel(logging.CRITICAL)
    binary = os.environ.get("RECOMPRA")
    if not binary:
        sys.exit("set RECOMPRA to the path of the binary: RECOMPRA=target/debug/recompra")
    exchange = Exchange(binary)

    def overdue(*_):
        exchange.process.kill()
        print(f"FAIL  all of it within {WHOLE_RUN} s", flush=True)
        faulthandler.dump_traceback()
        os._exit(1)

    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(WHOLE_RUN)
    try:
        account = Account(exchange.address)
        results = [passes(check.__doc__, lambda: check(account)) for check in CHECKS]
        account.private.exit()
        results.append(passes("the exchange ends with 0 when it is asked to", lambda: ends_well(exchange)))
    finally:
        exchange.process.kill()
    failed = results.count(False)
    print(f"\npybit {pybit.VERSION}: {results.count(True)} passed, {failed} failed", flush=True)
    # pybit's threads are not waited for.
    os._exit(1 if failed else 0)


def ends_well(exchange):
    code = exchange.end()
    assert code == 0, f"exit code {code}"


if __name__ == "__main__":
    main()
