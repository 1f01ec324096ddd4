#!/usr/bin/env python3
"""What delayed messages cost: a program that people run, with Leveret built (`cargo build --release`).

    tests/bench/delayed.py                            ten million messages, delays between 10 minutes and an hour
    tests/bench/delayed.py --messages 1000000 --least 1000 --most 40000
    tests/bench/delayed.py --only lateness

Rows: `rate` publishes the same persistent messages, with random delays in their headers, to a plain durable exchange and
to a delayed one, each bound to a durable queue, and compares how long it takes until the last is confirmed; `memory` is
what of the broker's memory is no file's (RssAnon) while all of them wait, and its peak; `lateness` is how long after they
are due a consumer has messages that are published at 2000 a second. The broker, and what else is said of measuring, is
storage.py's.
"""
import argparse
import random
import struct
import sys
import tempfile
import threading
import time

import storage
from storage import MIB, frame, method, short

EACH = 2000


def properties(delay_ms):
    headers = b"\x07x-delayl" + struct.pack(">q", delay_ms)
    return struct.pack(">HI", 0x3000, len(headers)) + headers + b"\x02"


def message(exchange, delay_ms, body):
    head = frame(2, struct.pack(">HHQ", 60, 0, len(body)) + properties(delay_ms))
    return method(60, 40, b"\0\0" + short(exchange) + short("k") + b"\0") + head + frame(3, body)


def blocks(exchange, options):
    chance = random.Random(1)
    some = [b"".join(message(exchange, chance.randint(options.least, options.most), b"x" * 16) for _ in range(EACH))
            for _ in range(64)]
    for n in range(options.messages // EACH):
        yield some[n % len(some)]


def declare_exchange(client, name, kind, arguments=b""):
    table = struct.pack(">I", len(arguments)) + arguments
    client.call(40, 10, b"\0\0" + short(name) + short(kind) + b"\x02" + table, (40, 11))
    client.declare(name)
    client.call(50, 20, b"\0\0" + short(name) + short(name) + short("k") + struct.pack(">BI", 0, 0), (50, 21))


def declare(client, name):
    if name == "delayed":
        declare_exchange(client, name, "x-delayed-message", b"\x0ex-delayed-typeS" + struct.pack(">I", 6) + b"direct")
    else:
        declare_exchange(client, name, "direct")


class Peak:
    """The most that a broker's memory has been, looked at every tenth of a second."""

    def __init__(self, broker):
        self.broker, self.most, self.over = broker, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, self.broker.rss())


def fill(bench, name, options):
    """Seconds until the last is confirmed, and memory then, when nothing is written any more, and at most."""
    with bench.broker() as broker:
        client = broker.client()
        declare(client, name)
        peak = Peak(broker)
        begin = time.perf_counter()
        client.fill(blocks(name, options), message(name, options.most, b"x" * 16))
        seconds, then = time.perf_counter() - begin, broker.rss()
        broker.settled()
        peak.over.set()
        _, disk = broker.disk()
        return seconds, then, broker.rss(), peak.most, disk


def lateness(bench):
    """Milliseconds, of messages that are published while others come."""
    with bench.broker() as broker:
        publisher, consumer = broker.client(), broker.client()
        declare(publisher, "delayed")
        consumer.consume("delayed")
        chance, count, late = random.Random(2), 20_000, []

        def publish():
            for n in range(count // 20):
                now = time.time_ns() // 1_000_000
                delays = [chance.randint(500, 2500) for _ in range(20)]
                publisher.sock.sendall(
                    b"".join(message("delayed", delay, struct.pack(">Q", now + delay)) for delay in delays))
                time.sleep(0.01)

        thread = threading.Thread(target=publish, daemon=True)
        thread.start()
        while len(late) < count:
            consumer.expect(60, 60)
            consumer.frame()
            _, body = consumer.frame()
            late.append(time.time_ns() / 1e6 - struct.unpack(">Q", body)[0])
        thread.join()
        return late


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="target/release/leveret")
    parser.add_argument("--data-dir-parent", default=tempfile.gettempdir())
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--least", type=int, default=600_000, help="the shortest delay in milliseconds")
    parser.add_argument("--most", type=int, default=3_600_000, help="the longest delay in milliseconds")
    parser.add_argument("--only", choices=["rate", "memory", "lateness"], action="append")
    options = parser.parse_args()
    only, bench = options.only or ["rate", "memory", "lateness"], storage.Bench(options)
    if "rate" in only or "memory" in only:
        delayed = fill(bench, "delayed", options)
        plain = fill(bench, "plain", options) if "rate" in only else delayed
        for name, (seconds, then, after, most, disk) in ("delayed", delayed), ("plain", plain):
            print(f"{name:8} {options.messages / seconds:12,.0f} messages/s  RssAnon {then / MIB:.0f} MiB at the end, "
                  f"{after / MIB:.0f} MiB settled, {most / MIB:.0f} MiB at most, {disk / MIB:,.0f} MiB on disk")
        print(f"rate     bar 0.5      {plain[0] / delayed[0]:.2f} of plain")
        print(f"memory   bar 100 MiB  {delayed[2] / MIB:.0f} MiB while they wait, {delayed[3] / MIB:.0f} MiB at most")
    if "lateness" in only:
        late = sorted(lateness(bench))
        at = [late[int(len(late) * share)] for share in (0.5, 0.99, 0.999)]
        print(f"lateness bar 10 ms    median {at[0]:.1f}, p99 {at[1]:.1f}, p99.9 {at[2]:.1f}, worst {late[-1]:.1f}, "
              f"earliest {late[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
