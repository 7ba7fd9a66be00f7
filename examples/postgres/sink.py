"""Orders from Kafka into a table, a transaction a batch; the offsets are committed in Kafka after it.

A kill between the two makes a batch come again. With `--insert` it is inserted again, and each record stands
there twice; with `--upsert` the second copy changes nothing. With `--commit-first` the offsets are committed
before the transaction, as `enable.auto.commit` does when a batch takes long: what was on its way is lost.
"""

import argparse
import os
import signal
import time

import psycopg
from confluent_kafka import Consumer, KafkaException

TOPIC = os.environ["STREAMLAKE_TOPIC"]
INSERT = "INSERT INTO orders_in (partition, record_offset, key, value) VALUES (%s, %s, %s, %s)"
UPSERT = INSERT + " ON CONFLICT DO NOTHING"

stopping = False


def stop(*_):
    global stopping
    stopping = True


def store(batch, statement):
    """One transaction for the whole batch; tried again until the database takes it."""
    rows = [
        (m.partition(), m.offset(), (m.key() or b"").decode("utf-8"), m.value().decode("utf-8"))
        for m in batch
    ]
    while True:
        try:
            with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=5) as connection:
                with connection.cursor() as cursor:
                    cursor.executemany(statement, rows)
            return
        except psycopg.OperationalError as error:
            print(f"[RETRY] {error}", flush=True)
            time.sleep(0.2)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--upsert", action="store_true")
    arguments.add_argument("--commit-first", action="store_true")
    arguments = arguments.parse_args()
    statement = UPSERT if arguments.upsert else INSERT
    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["STREAMLAKE_BOOTSTRAP_SERVERS"],
            "group.id": os.environ["STREAMLAKE_GROUP"],
            "client.id": os.environ["STREAMLAKE_MEMBER"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
        }
    )
    consumer.subscribe([TOPIC])
    try:
        while not stopping:
            batch = [m for m in consumer.consume(50, timeout=0.5) if m.error() is None]
            if not batch:
                continue
            try:
                if arguments.commit_first:
                    consumer.commit(asynchronous=False)
                store(batch, statement)
                if not arguments.commit_first:
                    consumer.commit(asynchronous=False)
            except KafkaException as error:
                # Stored all the same; whoever owns the partition now reads it once more.
                print(f"[COMMIT] {error}", flush=True)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
