#!/usr/bin/env python3
"""What durability costs: a program that people run, with Leveret built (`cargo build --release`).

    tests/bench/storage.py                       all rows but `steady`, each with a broker of its own
    tests/bench/storage.py --only confirms,one   some of them; an unknown name lists them
    tests/bench/storage.py --only steady --steady-seconds 60

It prints a table, `row | bar | measured`, or with --json a list of objects. It ends with 0 whether bars are met or not,
unless a row could not be measured. The data directories are temporary, below --data-dir-parent, which has to be on the
disk in question and not in memory: rows need up to 8 GB there. Measure on a machine that does nothing else.

A *sync* is the median time of 200 times pwrite of 100 bytes and fdatasync in a file of that directory that has its blocks
already (a file that grows also waits for the file system's journal, and so for whoever else writes), measured just before
each row. Rates come from `leveret bench throughput`, beside them `leveret bench limit`; the other rows use a client
of this script, which encodes publishes once and counts bytes. All queues are durable and all messages persistent, with
bodies of 16 bytes if nothing else is said. A *record* is what the format keeps of a message: a head of 12 bytes, exchange,
routing key, properties and body. Bytes written are the process's `write_bytes` (Linux).
"""
import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import pathlib
import random
import select
import selectors
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

PROPERTIES = struct.pack(">HB", 0x1000, 2)
LISTENS = "started TCP listener on "
MIB = 1 << 20


class Client:
    """One connection with one channel; everything it waits for ends after a minute."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.sock.sendall(b"AMQP\0\0\x09\x01")
        self.expect(10, 10)
        plain = b"\0guest\0guest"
        self.call(10, 11, struct.pack(">I", 0) + short("PLAIN") + struct.pack(">I", len(plain)) + plain + short("en_US"),
                  (10, 30), channel=0)
        self.sock.sendall(method(10, 31, struct.pack(">HIH", 2047, 131072, 0), 0))
        self.call(10, 40, short("/") + b"\0\0", (10, 41), channel=0)
        self.call(20, 10, b"\0", (20, 11))

    def frame(self):
        while len(self.buffer) < 7 or len(self.buffer) < 8 + struct.unpack_from(">I", self.buffer, 3)[0]:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the broker closed the connection")
            self.buffer += data
        kind, size = self.buffer[0], struct.unpack_from(">I", self.buffer, 3)[0]
        payload = bytes(self.buffer[7:7 + size])
        del self.buffer[:8 + size]
        return kind, payload

    def expect(self, class_id, method_id):
        """The arguments of the next method, which has to be this one; acknowledgements are passed over."""
        while True:
            kind, payload = self.frame()
            got = struct.unpack_from(">HH", payload) if kind == 1 else None
            if got == (class_id, method_id):
                return payload[4:]
            if got != (60, 80) and kind != 8:
                raise ConnectionError(f"expected {class_id}.{method_id}, got {payload[:200]!r}")

    def call(self, class_id, method_id, arguments, reply, channel=1):
        self.sock.sendall(method(class_id, method_id, arguments, channel))
        return self.expect(*reply)

    def declare(self, queue, durable=True):
        self.sock.sendall(declare_frame(queue, durable))
        return struct.unpack(">II", self.expect(50, 11)[-8:])[0]

    def fanout(self, exchange, queues):
        self.call(40, 10, b"\0\0" + short(exchange) + short("fanout") + b"\x02" + struct.pack(">I", 0), (40, 11))
        for queue in queues:
            self.declare(queue)
            self.call(50, 20, b"\0\0" + short(queue) + short(exchange) + short("") + struct.pack(">BI", 0, 0), (50, 21))

    def confirm_select(self):
        self.call(85, 10, b"\0", (85, 11))

    def consume(self, queue, no_ack=True, prefetch=0):
        if prefetch:
            self.call(60, 10, struct.pack(">IHB", 0, prefetch, 0), (60, 11))
        self.call(60, 20, b"\0\0" + short(queue) + short("c") + struct.pack(">BI", 2 if no_ack else 0, 0), (60, 21))

    def delivery(self):
        """The bytes that one delivery takes."""
        return sum(8 + len(self.frame()[1]) for _ in range(3))

    def fill(self, blocks, last):
        """Publishes all blocks, then one message whose confirm says that everything before it is kept too."""
        for block in blocks:
            self.sock.sendall(block)
        self.confirm_select()
        self.sock.sendall(last)
        self.sock.settimeout(120)
        self.expect(60, 80)

    def close(self):
        self.sock.close()


def short(text):
    return bytes([len(text)]) + text.encode()


def frame(kind, payload, channel=1):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(class_id, method_id, arguments, channel=1):
    return frame(1, struct.pack(">HH", class_id, method_id) + arguments, channel)


def declare_frame(queue, durable=True):
    return method(50, 10, b"\0\0" + short(queue) + struct.pack(">BI", 2 if durable else 0, 0))


def publish(key, size=16, exchange="", properties=PROPERTIES):
    head = frame(2, struct.pack(">HHQ", 60, 0, size) + properties)
    return method(60, 40, b"\0\0" + short(exchange) + short(key) + b"\0") + head + frame(3, b"x" * size)


def record(key, size=16, exchange=""):
    return 12 + len(exchange) + len(key) + len(PROPERTIES) + size


def blocks_of(message, count):
    """`count` messages in blocks of about a quarter of a mebibyte."""
    each = max(1, MIB // 4 // len(message))
    block = message * each
    yield from (block for _ in range(count // each))
    yield message * (count % each)


class Broker:
    """A broker with a data directory, which outlives the process until `remove`."""

    def __init__(self, bench):
        self.bench = bench
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="storage-bench-", dir=bench.parent))
        self.data, self.process = self.root / "data", None
        self.start()

    def start(self):
        log = self.root / "log"
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [self.bench.program, "--listen", "127.0.0.1:0", "--data-dir", self.data, "--log-level", "info"],
                stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while LISTENS not in (text := log.read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the broker did not start: {text[-2000:]}")
            time.sleep(0.001)
        self.port = int(text.split(LISTENS)[1].split()[0].rsplit(":", 1)[1])

    def client(self):
        return Client(self.port)

    def written(self):
        return field(f"/proc/{self.process.pid}/io", "write_bytes")

    def settled(self):
        """Bytes written once nothing has been written for a second and a half, or after a minute."""
        deadline, before, since = time.monotonic() + 60, self.written(), time.monotonic()
        while time.monotonic() < min(deadline, since + 1.5):
            time.sleep(0.1)
            if (now := self.written()) != before:
                before, since = now, time.monotonic()
        return before

    def rss(self):
        return field(f"/proc/{self.process.pid}/status", "RssAnon") * 1024

    def disk(self):
        """Files and the bytes that they take; files may go meanwhile."""
        sizes = []
        for path in self.data.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.lstat().st_blocks * 512)
        return len(sizes), sum(sizes)

    def stop(self, kill=False):
        end(self.process, kill)

    def remove(self):
        self.stop(kill=True)
        shutil.rmtree(self.root, ignore_errors=True)


def field(path, name):
    with open(path) as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def end(process, kill=False):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=30)


class Bench:
    """What the rows share: the options, the sync, and brokers that are removed whatever happens."""

    def __init__(self, options):
        self.options = options
        self.program, self.parent = str(pathlib.Path(options.broker).resolve()), options.data_dir_parent
        self.sync = self.measure_sync()

    def measure_sync(self):
        times = []
        with tempfile.NamedTemporaryFile(dir=self.parent) as file:
            file.write(bytes(MIB))
            file.flush()
            os.fsync(file.fileno())
            for i in range(200):
                begin = time.perf_counter()
                os.pwrite(file.fileno(), b"x" * 100, i * 100)
                os.fdatasync(file.fileno())
                times.append(time.perf_counter() - begin)
        return statistics.median(times)

    @contextlib.contextmanager
    def broker(self):
        broker = Broker(self)
        try:
            yield broker
        finally:
            broker.remove()

    @contextlib.contextmanager
    def limit(self):
        process = subprocess.Popen([self.program, "bench", "limit", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE)
        try:
            yield int(process.stdout.readline().split()[-1].rsplit(b":", 1)[1])
        finally:
            end(process, kill=True)

    def throughput(self, port, *flags, figure="published"):
        seconds = str(self.options.seconds)
        done = subprocess.run([self.program, "bench", "throughput", "--addr", f"127.0.0.1:{port}", "-z", seconds, "--json",
                               *flags], stdout=subprocess.PIPE, timeout=self.options.seconds + 60, check=True)
        return next(f["median"] for f in json.loads(done.stdout)[0]["figures"] if f["figure"] == figure)

    def confirmed(self, port, outstanding):
        return self.throughput(port, "--durable", "-c", str(outstanding), "-a", "50", "--prefetch", "1000")


@contextlib.contextmanager
def child(target, *arguments):
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(10)


class Publisher:
    """A connection with confirms for `drive`; confirms may come for many at once, or in another order."""

    def __init__(self, client, message):
        self.sock, self.message = client.sock, message
        self.sent, self.next, self.rest = {}, 1, b""

    def more(self, count):
        now = time.perf_counter()
        for _ in range(count):
            self.sent[self.next] = now
            self.next += 1
        self.sock.send(self.message * count)

    def replies(self, data):
        data, now = self.rest + data, time.perf_counter()
        whole = len(data) // 21 * 21
        self.rest, times = data[whole:], []
        for at in range(0, whole, 21):
            what, tag, multiple = struct.unpack_from(">IQB", data, at + 7)
            if what != 60 << 16 | 80:
                raise ConnectionError("expected a confirm")
            tags = [sent for sent in self.sent if sent <= tag] if multiple else [tag]
            times += [now - self.sent.pop(sent) for sent in tags]
        return times


class Declarer:
    """A connection that declares queues for `drive`, each with a name of its own and of the same length."""

    def __init__(self, client, number, durable=True):
        self.sock, self.number, self.durable = client.sock, f"{'d' if durable else 't'}{number:03}", durable
        self.at, self.next, self.rest = collections.deque(), 0, 0

    def more(self, count):
        for _ in range(count):
            self.sock.send(declare_frame(f"{self.number}-{self.next:07}", self.durable))
            self.at.append(time.perf_counter())
            self.next += 1

    def replies(self, data):
        now, size = time.perf_counter(), 8 + 4 + 1 + 12 + 8
        count, self.rest = divmod(self.rest + len(data), size)
        return [now - self.at.popleft() for _ in range(count)]


def drive(parties, outstanding, seconds):
    """Keeps that many requests of each party on their way; the times of those answered after the first fifth."""
    selector, times = selectors.EpollSelector(), []
    for party in parties:
        selector.register(party.sock, selectors.EVENT_READ, party)
        party.more(outstanding)
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < seconds:
        for key, _ in selector.select(1):
            data = key.data.sock.recv(65536)
            if not data:
                raise ConnectionError("the broker closed the connection")
            new = key.data.replies(data)
            if passed > seconds / 5:
                times += new
            if new:
                key.data.more(len(new))
    selector.close()
    if not times:
        raise TimeoutError("nothing was answered")
    return times


def percentile(times, share):
    return sorted(times)[int(len(times) * share)]


def confirms(bench):
    with bench.broker() as broker:
        rate = bench.confirmed(broker.port, 1000)
    yield "confirms per sync, 1 000 outstanding", ">= 90", rate * bench.sync, f"{rate:,.0f}/s"


def confirms_10k(bench):
    with bench.broker() as broker, bench.limit() as limit:
        before = bench.throughput(limit)
        rate = bench.confirmed(broker.port, 10000)
        most = (before + bench.throughput(limit)) / 2
    yield "10 000 outstanding, over the limit's rate", ">= 0.10", rate / most, f"{rate:,.0f}/s of {most:,.0f}/s"


def one(bench):
    with bench.broker() as broker:
        client = broker.client()
        client.declare("q")
        client.confirm_select()
        median = statistics.median(drive([Publisher(client, publish("q"))], 1, bench.options.seconds))
        client = broker.client()
        client.declare("t", durable=False)
        client.confirm_select()
        memory = statistics.median(drive([Publisher(client, publish("t", properties=b"\0\0"))], 1, bench.options.seconds))
    yield "one publish at a time, syncs", "<= 1.5", median / bench.sync, f"{median * 1e6:.0f} µs; transient {memory * 1e6:.0f} µs"


def confirm_p90(broker, queues, seconds, durable=True):
    clients = [broker.client() for _ in range(queues)]
    properties = PROPERTIES if durable else b"\0\0"
    for i, client in enumerate(clients):
        client.declare(f"{'d' if durable else 't'}{i:03}", durable)
        client.confirm_select()
    key = "d{:03}" if durable else "t{:03}"
    parties = [Publisher(client, publish(key.format(i), properties=properties)) for i, client in enumerate(clients)]
    p90 = percentile(drive(parties, 10, seconds), 0.9)
    for client in clients:
        client.close()
    return p90


def queues(bench):
    with bench.broker() as broker:
        alone = confirm_p90(broker, 1, bench.options.seconds)
        many = confirm_p90(broker, 1000, 2 * bench.options.seconds)
        memory = confirm_p90(broker, 1000, bench.options.seconds, durable=False)
    note = (f"{many * 1e3:.1f} ms, alone {alone * 1e3:.2f} ms; "
            f"1 000 transient ones, so mostly this client's part: {memory * 1e3:.1f} ms")
    yield "1 000 queues, 10 outstanding each: p90 over one's", "<= 5", many / alone, note


def fanout(bench):
    for size, count in ((16, 1_000_000), (1024, 200_000)):
        with bench.broker() as broker:
            client = broker.client()
            client.fanout("f", [f"q{i}" for i in range(10)])
            before, message = broker.settled(), publish("", size, "f")
            client.fill(blocks_of(message, count - 1), message)
            written = (broker.settled() - before) / count
        yield (f"fanout to 10, {size} B: bytes written over record", "<= 1.5", written / record("", size, "f"),
               f"{written:.1f} B")


def dd(bench, megabytes):
    with tempfile.NamedTemporaryFile(dir=bench.parent) as file:
        begin = time.perf_counter()
        subprocess.run(["dd", "if=/dev/zero", f"of={file.name}", "bs=1MB", f"count={megabytes}", "conv=fdatasync"],
                       stderr=subprocess.DEVNULL, timeout=240, check=True)
        return megabytes * 1e6 / (time.perf_counter() - begin)


def bandwidth(bench):
    before, count, message = dd(bench, 1500), 1_500_000_000 // 1024, publish("q", 1024)
    with bench.broker() as broker:
        client = broker.client()
        client.declare("q")
        begin = time.perf_counter()
        client.fill(blocks_of(message, count - 1), message)
        rate = count * 1024 / (time.perf_counter() - begin)
    disk = (before + dd(bench, 1500)) / 2
    yield "1 KiB, no confirms: bytes/s over dd's", ">= 0.5", rate / disk, f"{rate / 1e6:.0f} of {disk / 1e6:.0f} MB/s"


def amplification(bench):
    count = 5_000_000
    with bench.broker() as broker:
        before = filled(broker, count)[1]
        ratio = (broker.settled() - before) / count / record("q")
    yield "5 million in one queue: bytes written over records", "<= 1.3", ratio, ""
    with bench.broker() as broker:
        client, names = broker.client(), [f"q{i:03}" for i in range(1000)]
        for name in names:
            client.declare(name)
        messages, before = [publish(name) for name in names], broker.settled()
        client.fill((b"".join(random.choices(messages, k=5000)) for _ in range(count // 5000)), messages[0])
        ratio = (broker.settled() - before) / count / record(names[0])
    yield "the same in 1 000 queues, at random", "<= 2.5", ratio, ""


def filled(broker, count, size=16, queue="q"):
    """Puts that many messages into a queue; the memory and the bytes written before."""
    client = broker.client()
    client.declare(queue)
    idle, message = (broker.rss(), broker.settled()), publish(queue, size)
    client.fill(blocks_of(message, count - 1), message)
    if (ready := client.declare(queue)) < count:
        raise RuntimeError(f"{ready} messages in the queue instead of {count}")
    client.close()
    return idle


def deep(bench):
    with bench.broker() as broker:
        idle, total = None, 0
        for million in (20, 40):
            client = broker.client()
            before = filled(broker, million * 1_000_000 - total)[0]
            idle, total = idle or before, million * 1_000_000
            broker.settled()
            time.sleep(5)
            ready, (files, disk) = client.declare("q"), broker.disk()
            yield f"{million} million waiting: RssAnon over idle, MiB", "<= 16", (broker.rss() - idle) / MIB, ""
            yield f"{million} million waiting: disk, B a message", "<= 64", disk / ready, f"{files} files"


def receive(port, queue, count, out):
    """Takes `count` messages without acknowledgements, and sends the rate."""
    client = Client(port)
    begin = time.perf_counter()
    client.consume(queue)
    size = client.delivery()
    left, buffer = size * (count - 1) - len(client.buffer), bytearray(4 * MIB)
    while left > 0:
        got = client.sock.recv_into(buffer)
        if not got:
            raise ConnectionError("the broker closed the connection")
        left -= got
    out.send(count / (time.perf_counter() - begin))


def probe(broker, until):
    """One message a millisecond through a queue of its own until that is true: latencies, from when each was due."""
    source, sink, times, due = broker.client(), broker.client(), [], time.perf_counter()
    source.declare("probe")
    sink.consume("probe")
    message = publish("probe")
    while not until():
        due = due + 0.001
        time.sleep(max(0, due - time.perf_counter()))
        source.sock.send(message)
        sink.delivery()
        times.append(time.perf_counter() - due)
    return percentile(times, 0.9)


def drain(bench):
    count, context = 20_000_000, multiprocessing.get_context("fork")
    with bench.broker() as broker:
        filled(broker, count)
        broker.settled()
        stop = time.monotonic() + bench.options.seconds
        quiet = probe(broker, lambda: time.monotonic() > stop)
        result, out = context.Pipe(duplex=False)
        with child(receive, broker.port, "q", count, out) as drainer:
            busy = probe(broker, lambda: result.poll() or not drainer.is_alive())
            if not result.poll():
                raise RuntimeError("the queue could not be drained")
            rate = result.recv()
        if left := broker.client().declare("q"):
            raise RuntimeError(f"{left} messages were left")
        memory = bench.throughput(broker.port, figure="delivered")
    yield "drain 20 million: rate over that in memory", ">= 0.5", rate / memory, f"{rate:,.0f}/s of {memory:,.0f}/s"
    yield "meanwhile, another queue's p90 over before", "<= 2", busy / quiet, f"{busy * 1e6:.0f} µs, {quiet * 1e6:.0f} µs"


def restarted(broker, cold=False):
    """Kills the broker; the time from its next start to a finished handshake, and what could not be done."""
    broker.stop(kill=True)
    note = ""
    if cold:
        try:
            os.sync()
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        except OSError:
            note = "caches could not be dropped: warm"
    begin = time.perf_counter()
    broker.start()
    broker.client()
    return time.perf_counter() - begin, note


def start(bench):
    for name, count, size, cold, bar in (("10 million of 16 B", 10_000_000, 16, False, "<= 0.5"),
                                         ("2 million of 1 KiB, cold caches", 2_000_000, 1024, True, "<= 1")):
        with bench.broker() as broker:
            filled(broker, count, size)
            seconds, note = restarted(broker, cold)
            ready = broker.client().declare("q")
            yield f"start after kill -9: {name}, s", bar, seconds, note or ("" if ready >= count else f"LOST: {ready} left")
    with bench.broker() as broker:
        client, names = broker.client(), [f"q{i}" for i in range(10000)]
        for name in names:
            client.declare(name)
        client.fill(map(publish, names), publish(names[0]))
        yield "start after kill -9: 10 000 queues of one message, s", "<= 1", *restarted(broker)


def declares(bench):
    with bench.broker() as broker:
        median = statistics.median(drive([Declarer(broker.client(), 0)], 1, bench.options.seconds))
        clients = [broker.client() for _ in range(50)]
        parties = [Declarer(client, i) for i, client in enumerate(clients, 1)]
        rate = len(drive(parties, 1, bench.options.seconds)) / (bench.options.seconds * 0.8)
        parties = [Declarer(client, i, durable=False) for i, client in enumerate(clients, 1)]
        memory = len(drive(parties, 1, bench.options.seconds)) / (bench.options.seconds * 0.8)
    yield "declare a durable queue, syncs", "<= 1.5", median / bench.sync, f"{median * 1e6:.0f} µs"
    yield "50 connections: declares per sync", ">= 20", rate * bench.sync, f"{rate:,.0f}/s; transient ones, so the most this client can: {memory:,.0f}/s"


def acknowledge(port, queue, seconds):
    """Consumes with a prefetch of 1 000 and acknowledges every 50th delivery with all before it."""
    client, acked, stop = Client(port), 0, time.monotonic() + seconds
    client.consume(queue, no_ack=False, prefetch=1000)
    size = client.delivery()
    got, buffer = size + len(client.buffer), bytearray(MIB)
    while time.monotonic() < stop:
        got += client.sock.recv_into(buffer)
        if got // size - acked >= 50:
            acked = got // size // 50 * 50
            client.sock.sendall(method(60, 80, struct.pack(">QB", acked, 1)))


def steady(bench):
    length = bench.options.steady_seconds
    with bench.broker() as broker:
        rate = 0.8 * bench.confirmed(broker.port, 1000)
    with bench.broker() as broker:
        client, message = broker.client(), publish("q")
        client.declare("q")
        client.confirm_select()
        with child(acknowledge, broker.port, "q", length + 60):
            begin, sent = time.monotonic(), 0
            for share in (0.2, 0.5, 1):
                sent = paced(client.sock, message, rate, begin, length * share, sent)
                files, disk = broker.disk()
                note = f"{files} files, {disk / MIB:.0f} MiB on disk, {sent / (length * share):,.0f}/s, "
                yield (f"steady, after {length * share:.0f} s: RssAnon, MiB", "flat", broker.rss() / MIB,
                       note + f"{broker.client().declare('q')} ready")


def paced(sock, message, rate, begin, until, sent):
    """Publishes what is due every millisecond until then, reads confirms unseen, and says how many were sent."""
    while (passed := time.monotonic() - begin) < until:
        due = min(int(rate * passed) - sent, 10000)
        sock.sendall(message * due)
        sent += due
        while select.select([sock], [], [], 0)[0]:
            if not sock.recv(65536):
                raise ConnectionError("the broker closed the connection")
        time.sleep(0.001)
    return sent


ROWS = {"confirms": confirms, "confirms-10k": confirms_10k, "one": one, "queues": queues, "fanout": fanout,
        "bandwidth": bandwidth, "amplification": amplification, "deep": deep, "drain": drain, "start": start,
        "declares": declares, "steady": steady}


def verdict(bar, value):
    if not bar[:2] in ("<=", ">="):
        return ""
    return "met" if (value <= float(bar[2:]) if bar[0] == "<" else value >= float(bar[2:])) else "missed"


def measure(name, options):
    """The results of a row, as they come; a row that takes too long or fails says so."""
    def expired(*_):
        raise TimeoutError("took too long")
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(int(options.steady_seconds if name == "steady" else 0) + 400)
    row = dict(name=name, row=name, bar="", measured=None)
    try:
        bench = Bench(options)
        for title, bar, value, note in ROWS[name](bench):
            row = dict(name=name, row=title, bar=bar, measured=value, verdict=verdict(bar, value), note=note,
                       sync=bench.sync)
            yield row
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        yield dict(row, measured=None, verdict="failed", note=f"{type(error).__name__}: {error}")
    finally:
        signal.alarm(0)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", help="rows, with commas between them: " + ", ".join(ROWS))
    parser.add_argument("--broker", default="target/release/leveret")
    parser.add_argument("--data-dir-parent", default=".", help="directory on the disk to measure [default: this one]")
    parser.add_argument("--seconds", type=int, default=5, help="length of each measurement of a rate [default: 5]")
    parser.add_argument("--steady-seconds", type=int, default=600, help="length of the row `steady` [default: 600]")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.rows = options.only.split(",") if options.only else [name for name in ROWS if name != "steady"]
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are: {', '.join(ROWS)}")
    return options


def main():
    options, results = parse(), []
    if not options.json:
        print("| row | bar | measured |\n| --- | --- | --- |", flush=True)
    for name in options.rows:
        for row in measure(name, options):
            results.append(row)
            if not options.json:
                value = "–" if row["measured"] is None else f"{row['measured']:.2f} {row['verdict']}".strip()
                sync = f"sync {row['sync'] * 1e6:.0f} µs" if "sync" in row else ""
                notes = "; ".join(filter(None, (row["note"], sync)))
                print(f"| {row['row']} | {row['bar']} | {value} ({notes}) |", flush=True)
    if options.json:
        print(json.dumps(results, indent=1))
    return any(row["measured"] is None for row in results)


if __name__ == "__main__":
    sys.exit(main())
