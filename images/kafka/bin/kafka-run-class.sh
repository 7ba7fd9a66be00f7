#!/usr/bin/env bash
# Runs one of Kafka's classes. The KAFKA_*_OPTS variables mean what they mean to
# the script of the same name in Kafka's own distribution.
set -euo pipefail

# The class archive is only mapped if the class path is, in order, the one it was
# made with; hence a sorted list and not a wildcard, which Java expands unsorted.
export LC_ALL=C
jars=(/opt/kafka/libs/*.jar)
classpath=$(IFS=:; echo "${jars[*]}")${CLASSPATH:+:$CLASSPATH}

# shellcheck disable=SC2206,SC2086 # each variable holds several options
options=(${KAFKA_HEAP_OPTS:--Xmx256m})
# Serial collector and first-tier compiler: least memory and quickest start on a
# small machine that runs a whole stack. Peak throughput is not what it is for.
options+=(${KAFKA_JVM_PERFORMANCE_OPTS:--XX:+UseSerialGC -XX:TieredStopAtLevel=1})
if [[ -e /opt/kafka/kafka.jsa ]]; then
  options+=(-XX:SharedArchiveFile=/opt/kafka/kafka.jsa)
fi
options+=(${KAFKA_GC_LOG_OPTS:-} ${KAFKA_JMX_OPTS:-})
options+=(-Dkafka.logs.dir="${LOG_DIR:-/opt/kafka/logs}")
options+=(${KAFKA_LOG4J_OPTS:--Dlog4j2.configurationFile=/opt/kafka/config/tools-log4j2.yaml})

exec java "${options[@]}" -cp "$classpath" ${KAFKA_OPTS:-} "$@"
