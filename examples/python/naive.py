"""A consumer as many are first written: one object a record, any error becomes a dead letter.

It looks right: offsets are committed by hand, and only after a record was handled. Three things are wrong
with it, and the scenarios beside this file show each of them:

1. *Every* exception makes a dead letter, also that of a store which is away for a moment. Good records are
   committed past and are nowhere but among the dead letters.
2. The code that makes a dead letter parses the payload once more. For one that is no JSON it fails in the
   same way, nothing catches that, and the process dies: started again, it reads the same record.
3. With `--commit before` it commits what it has read and not yet written: what was on its way when it is
   killed is lost.
"""

import argparse
import json
import os
import urllib.request

from confluent_kafka import Consumer, Producer, TopicPartition

TOPIC = os.environ["STREAMLAKE_TOPIC"]
BROKERS = os.environ["STREAMLAKE_BOOTSTRAP_SERVERS"]
STORE = os.environ["STREAMLAKE_STORE_URL"]
BUCKET, PREFIX = os.environ["STREAMLAKE_BUCKET"], os.environ["STREAMLAKE_PREFIX"]

dead_letters = Producer({"bootstrap.servers": BROKERS, "acks": "all"})


def handle(message):
    payload = json.loads(message.value().decode("utf-8"))
    line = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": message.key().decode("utf-8") if message.key() else None,
        "value": payload,
    }
    name = f"{PREFIX}/{message.topic()}-{message.partition()}-{message.offset():010}.json"
    request = urllib.request.Request(
        f"{STORE}/{BUCKET}/{name}", data=(json.dumps(line) + "\n").encode("utf-8"), method="PUT"
    )
    urllib.request.urlopen(request, timeout=5).read()


def dead_letter(message, error):
    letter = {
        "payload": json.loads(message.value().decode("utf-8")),
        "error": str(error),
    }
    dead_letters.produce(
        os.environ["STREAMLAKE_DEAD_LETTER_TOPIC"], key=message.key(), value=json.dumps(letter)
    )
    dead_letters.flush(30)
    print(f"[DLQ] partition={message.partition()} offset={message.offset()} {error}", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--commit", choices=["after", "before"], default="after")
    commit_first = arguments.parse_args().commit == "before"

    consumer = Consumer(
        {
            "bootstrap.servers": BROKERS,
            "group.id": os.environ["STREAMLAKE_GROUP"],
            "client.id": os.environ["STREAMLAKE_MEMBER"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
        }
    )
    consumer.subscribe([TOPIC])

    def commit(message):
        place = TopicPartition(message.topic(), message.partition(), message.offset() + 1)
        consumer.commit(offsets=[place], asynchronous=False)

    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                print(f"[ERROR] {message.error()}", flush=True)
                continue
            if commit_first:
                commit(message)
            try:
                handle(message)
            except Exception as error:
                dead_letter(message, error)
            if not commit_first:
                commit(message)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
