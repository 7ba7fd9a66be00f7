#!/usr/bin/env bash
# Turns the environment into a worker's properties and becomes the worker.
# CONNECT_OFFSET_FLUSH_INTERVAL_MS sets offset.flush.interval.ms, and so on; the
# short names below are those of the debezium/connect image.
set -euo pipefail

[[ ${1:-start} == start ]] || exec "$@"

require() {
  [[ -n ${!1:-} ]] || { echo "connect: $1 must be set: $2" >&2; exit 1; }
}
require CONFIG_STORAGE_TOPIC "the topic where connector configurations are kept"
require OFFSET_STORAGE_TOPIC "the topic where connector offsets are kept"

# The official image overwrites CONNECT_X where it has a short name X, and knows no
# CONNECT_X without it. Here CONNECT_X alone is good as well; X wins as it does there.
short() { # NAME PROPERTY_VARIABLE DEFAULT
  local property=CONNECT_$2
  export "$property=${!1:-${!property:-$3}}"
}
short BOOTSTRAP_SERVERS BOOTSTRAP_SERVERS 0.0.0.0:9092
short GROUP_ID GROUP_ID 1
short CONFIG_STORAGE_TOPIC CONFIG_STORAGE_TOPIC ''
short OFFSET_STORAGE_TOPIC OFFSET_STORAGE_TOPIC ''
short STATUS_STORAGE_TOPIC STATUS_STORAGE_TOPIC connect-status
short KEY_CONVERTER KEY_CONVERTER org.apache.kafka.connect.json.JsonConverter
short VALUE_CONVERTER VALUE_CONVERTER org.apache.kafka.connect.json.JsonConverter
short OFFSET_FLUSH_INTERVAL_MS OFFSET_FLUSH_INTERVAL_MS 60000
short OFFSET_FLUSH_TIMEOUT_MS OFFSET_FLUSH_TIMEOUT_MS 5000
short SHUTDOWN_TIMEOUT TASK_SHUTDOWN_GRACEFUL_TIMEOUT_MS 10000
short ADVERTISED_HOST_NAME REST_ADVERTISED_HOST_NAME "$(hostname -i | cut -d ' ' -f 1)"
short ADVERTISED_PORT REST_ADVERTISED_PORT 8083
short PLUGIN_PATH PLUGIN_PATH /kafka/connect

# Kafka's own sample file has 1 for these, and the official image starts from it.
export CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR=${CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR:-1}
export CONNECT_OFFSET_STORAGE_REPLICATION_FACTOR=${CONNECT_OFFSET_STORAGE_REPLICATION_FACTOR:-1}
export CONNECT_STATUS_STORAGE_REPLICATION_FACTOR=${CONNECT_STATUS_STORAGE_REPLICATION_FACTOR:-1}
# Every plugin here has a manifest; looking for those that have none takes seconds.
export CONNECT_PLUGIN_DISCOVERY=${CONNECT_PLUGIN_DISCOVERY:-service_load}

properties=/tmp/connect-distributed.properties
while IFS='=' read -r -d '' name value; do
  [[ $name == CONNECT_* ]] || continue
  name=${name#CONNECT_}
  name=${name,,}
  printf '%s=%s\n' "${name//_/.}" "$value"
done < <(env --null) >"$properties"

export KAFKA_HEAP_OPTS=${HEAP_OPTS:-${KAFKA_HEAP_OPTS:--Xmx512m}}
export KAFKA_LOG4J_OPTS=${KAFKA_LOG4J_OPTS:--Dlog4j2.configurationFile=/opt/kafka/config/log4j2.yaml}
exec /opt/kafka/bin/connect-distributed.sh "$properties"
