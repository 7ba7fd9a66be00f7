"""What many teams write first: batches of 500 records, one file a batch, fsync, then commit.

    python consumer.py BOOTSTRAP TOPIC GROUP FOLDER
"""

import json
import os
import sys

from confluent_kafka import Consumer

bootstrap, topic, group, folder = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": group,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
consumer.subscribe([topic])
number = 0
while True:
    records = [record for record in consumer.consume(500, 1.0) if record.error() is None]
    if not records:
        continue
    with open(f"{folder}/{number}.jsonl", "w", encoding="utf-8") as part:
        for record in records:
            part.write(json.dumps({
                "partition": record.partition(),
                "offset": record.offset(),
                "key": record.key().decode(),
                "headers": [[name, value.decode()] for name, value in record.headers()],
                "value": json.loads(record.value()),
            }))
            part.write("\n")
        part.flush()
        os.fsync(part.fileno())
    consumer.commit(asynchronous=False)
    number += 1
