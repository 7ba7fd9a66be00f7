#!/bin/sh
# Kafka's own VerifiableConsumer: it prints each record that it reads, and commits what it has printed. What it
# prints is what it delivers.
set -eu

cat >/tmp/consumer.properties <<EOF
client.id=$STREAMLAKE_MEMBER
EOF

exec /opt/kafka/bin/kafka-verifiable-consumer.sh \
    --bootstrap-server "$STREAMLAKE_BOOTSTRAP_SERVERS" \
    --topic "$STREAMLAKE_TOPIC" \
    --group-id "$STREAMLAKE_GROUP" \
    --consumer.config /tmp/consumer.properties \
    --session-timeout 6000 \
    --reset-policy earliest \
    --verbose "$@" >>"$STREAMLAKE_DELIVERY/$STREAMLAKE_MEMBER.jsonl"
