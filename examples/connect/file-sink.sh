#!/bin/sh
# Kafka Connect's FileStreamSink in standalone mode, as the consumer under test. Everything that a run knows
# comes from the environment; see docs/your-own-consumer.md.
set -eu

cat >/tmp/worker.properties <<EOF
bootstrap.servers=$STREAMLAKE_BOOTSTRAP_SERVERS
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=/tmp/connect.offsets
# How often what was flushed is committed; by default once a minute.
offset.flush.interval.ms=1000
listeners=HTTP://127.0.0.1:0
plugin.path=$PLUGINS
plugin.discovery=service_load
connector.client.config.override.policy=All
EOF

cat >/tmp/sink.properties <<EOF
name=$CONNECTOR
connector.class=org.apache.kafka.connect.file.FileStreamSinkConnector
tasks.max=1
topics=$STREAMLAKE_TOPIC
file=$STREAMLAKE_DELIVERY/$STREAMLAKE_MEMBER.txt
consumer.override.client.id=$STREAMLAKE_MEMBER
consumer.override.auto.offset.reset=earliest
consumer.override.session.timeout.ms=6000
consumer.override.heartbeat.interval.ms=1500
EOF

export KAFKA_HEAP_OPTS="-Xmx256m"
# Warnings and errors to standard error.
export KAFKA_LOG4J_OPTS="-Dlog4j2.configurationFile=/opt/kafka/config/tools-log4j2.yaml"
exec /opt/kafka/bin/kafka-run-class.sh org.apache.kafka.connect.cli.ConnectStandalone \
    /tmp/worker.properties /tmp/sink.properties
