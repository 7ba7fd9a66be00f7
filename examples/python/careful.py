"""The same consumer done right.

- A record that can never be handled is a dead letter, as it is and with its place; anything else that goes
  wrong is tried again and is no reason to go on.
- What was read is committed when it is stored, or acknowledged as a dead letter, and not before.
- No object is ever written over: each has a name of its own, and the store is asked to refuse a second one.
- When a partition is taken away, what was read of it is written and committed first. When it is already
  lost, that is dropped: its next owner reads it again.
"""

import base64
import json
import os
import signal
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

TOPIC = os.environ["STREAMLAKE_TOPIC"]
DEAD_LETTERS = os.environ["STREAMLAKE_DEAD_LETTER_TOPIC"]
BROKERS = os.environ["STREAMLAKE_BOOTSTRAP_SERVERS"]
STORE = os.environ["STREAMLAKE_STORE_URL"]
BUCKET, PREFIX = os.environ["STREAMLAKE_BUCKET"], os.environ["STREAMLAKE_PREFIX"]

TEXTS = ("order_id", "customer_id", "event_time")
FIELDS = (*TEXTS, "amount")
BATCH_RECORDS, BATCH_SECONDS = 100, 0.5
# Below Kafka's max.poll.interval.ms, after which the group would count this member as dead.
WRITE_SECONDS = 120

stopping = False


class Poison(Exception):
    """A record that no second try makes good."""


def once(pairs):
    """JSON allows a field twice, and readers differ in which of the two they take."""
    names = [name for name, _ in pairs]
    for name in FIELDS:
        if names.count(name) > 1:
            raise Poison(f"{name} stands there twice")
    return dict(pairs)


def check(value):
    """The payload must be an order event."""
    if value is None:
        raise Poison("no value")
    if value.startswith(b"\xef\xbb\xbf"):
        raise Poison("a byte order mark")
    try:
        order = json.loads(value.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Poison(f"no JSON: {error}") from error
    if not isinstance(order, dict):
        raise Poison("no object")
    for name in TEXTS:
        if not isinstance(order.get(name), str) or not order[name]:
            raise Poison(f"{name} is no text")
    if isinstance(order.get("amount"), bool) or not isinstance(order.get("amount"), (int, float)):
        raise Poison("amount is no number")
    try:
        instant = datetime.fromisoformat(order["event_time"].replace("Z", "+00:00"))
    except ValueError as error:
        raise Poison("event_time is no instant") from error
    if instant.tzinfo is None:
        raise Poison("event_time has no time zone")


def text_or_base64(name, data):
    """Bytes in JSON: as text where they are text."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode("ascii")}


def line_of(message):
    line = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        **text_or_base64("key", message.key()),
        **text_or_base64("value", message.value()),
    }
    return json.dumps(line)


class Store:
    def write(self, partition, lines):
        """Writes one object; returns when it is there. Tries again for as long as it may."""
        name = f"{PREFIX}/{TOPIC}-{partition}-{uuid.uuid4()}.jsonl"
        body = ("\n".join(lines) + "\n").encode("utf-8")
        deadline, pause = time.monotonic() + WRITE_SECONDS, 0.1
        while True:
            request = urllib.request.Request(
                f"{STORE}/{BUCKET}/{name}",
                data=body,
                method="PUT",
                headers={"x-goog-if-generation-match": "0"},
            )
            try:
                urllib.request.urlopen(request, timeout=5).read()
                return
            except urllib.error.HTTPError as error:
                if error.code == 412:
                    return  # An earlier try had come through: nobody else has this name.
                problem = error
            except OSError as error:
                problem = error
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} could not be written: {problem}")
            print(f"[RETRY] {name}: {problem}", flush=True)
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


class Sink:
    def __init__(self, consumer):
        self.consumer, self.store = consumer, Store()
        self.letters = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
        # By partition: the lines to write and the offset to commit then, and since when.
        self.open = {}

    def take(self, message):
        lines, _, since = self.open.get(message.partition(), ([], 0, time.monotonic()))
        try:
            check(message.value())
            lines.append(line_of(message))
        except Poison as poison:
            self.dead_letter(message, poison)
        self.open[message.partition()] = (lines, message.offset() + 1, since)

    def dead_letter(self, message, poison):
        origin = [
            ("error", str(poison).encode("utf-8")),
            ("origin_topic", message.topic().encode("utf-8")),
            ("origin_partition", str(message.partition()).encode("ascii")),
            ("origin_offset", str(message.offset()).encode("ascii")),
        ]
        problems = []
        self.letters.produce(
            DEAD_LETTERS,
            key=message.key(),
            value=message.value(),
            headers=(message.headers() or []) + origin,
            on_delivery=lambda error, _: problems.append(error) if error else None,
        )
        if self.letters.flush(WRITE_SECONDS) or problems:
            raise RuntimeError(f"a dead letter was not acknowledged: {problems}")

    def flush(self, due_only=False, partitions=None):
        now = time.monotonic()
        for partition, (lines, after, since) in list(self.open.items()):
            if partitions is not None and partition not in partitions:
                continue
            if due_only and len(lines) < BATCH_RECORDS and now - since < BATCH_SECONDS:
                continue
            if lines:
                self.store.write(partition, lines)
            del self.open[partition]
            try:
                place = TopicPartition(TOPIC, partition, after)
                self.consumer.commit(offsets=[place], asynchronous=False)
            except KafkaException as error:
                # It is stored. Whoever reads on from the older offset stores it once more.
                print(f"[COMMIT] {error}", flush=True)

    def revoked(self, _, partitions):
        self.flush(partitions={place.partition for place in partitions})

    def lost(self, _, partitions):
        for place in partitions:
            self.open.pop(place.partition, None)


def main():
    def stop(*_):
        global stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": BROKERS,
            "group.id": os.environ["STREAMLAKE_GROUP"],
            "client.id": os.environ["STREAMLAKE_MEMBER"],
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": 6000,
            "reconnect.backoff.max.ms": 500,
        }
    )
    sink = Sink(consumer)
    consumer.subscribe([TOPIC], on_revoke=sink.revoked, on_lost=sink.lost)
    try:
        while not stopping:
            message = consumer.poll(0.1)
            if message is not None and message.error():
                print(f"[KAFKA] {message.error()}", flush=True)
            elif message is not None:
                sink.take(message)
            sink.flush(due_only=True)
        sink.flush()
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
