"""Who is measured: what each is given, and what it stores. One that is added here is in the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from measured import Contained, Local

HERE = Path(__file__).parent


@dataclass
class Contestant:
    name: str
    # What it does with a record, and how durable that is.
    stores: str
    # Starts it: (run, topic, group, folder, log) to a process.
    start: Callable
    # Fast ones read more: a measurement is to last some seconds.
    share: float
    # It says itself how fast it was, since it commits nothing.
    reader: bool = False


def bare(run, topic, group, folder, log):
    return Local([run.streamlake, "bench", "bare-consume", "--bootstrap-servers", run.bootstrap,
                  "--topic", topic], log)


def perf(run, topic, group, folder, log):
    return Contained(run.image, ["/opt/kafka/bin/kafka-run-class.sh", "org.apache.kafka.tools.ConsumerPerformance",
                                 "--bootstrap-server", run.bootstrap, "--topic", topic, "--group", group,
                                 "--messages", str(run.records), "--timeout", "30000"], log)


def streamlake(*flags):
    def start(run, topic, group, folder, log):
        return Local([run.streamlake, "--log", "warn", "consume", "--bootstrap-servers", run.bootstrap,
                      "--dataset", "bench", "--topic", topic, "--group", group, "--members", "2",
                      "--raw-zone", f"file://{folder}", *flags], log)
    return start


def python(run, topic, group, folder, log):
    return Local([run.python, str(HERE / "consumer.py"), run.bootstrap, topic, group, str(folder)], log)


def connect(run, topic, group, folder, log):
    # A sink's group is connect-NAME, and NAME is the connector's.
    (folder / "worker.properties").write_text(f"""bootstrap.servers={run.bootstrap}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=/out/connect.offsets
offset.flush.interval.ms=500
listeners=HTTP://127.0.0.1:0
plugin.path=/plugins
plugin.discovery=service_load
""")
    (folder / "sink.properties").write_text(f"""name={group.removeprefix("connect-")}
connector.class=org.apache.kafka.connect.file.FileStreamSinkConnector
tasks.max=2
topics={topic}
file=/out/values.txt
""")
    plugins = HERE.parent / "examples" / "connect" / "plugins"
    return Contained(run.image, ["/opt/kafka/bin/kafka-run-class.sh", "org.apache.kafka.connect.cli.ConnectStandalone",
                                 "/out/worker.properties", "/out/sink.properties"], log,
                     mounts=[f"{folder}:/out", f"{plugins}:/plugins:ro"], environment=["KAFKA_HEAP_OPTS=-Xmx1g"])


ALL = [
    Contestant("bare rdkafka", "nothing: it reads", bare, 1.0, reader=True),
    Contestant("Kafka's ConsumerPerformance", "nothing: it reads", perf, 1.0, reader=True),
    Contestant("streamlake", "all of a record; JSON checked; fsync, then commit", streamlake(), 1.0),
    Contestant("streamlake, zstd", "the same, compressed", streamlake("--compression", "zstd"), 1.0),
    Contestant("Python, batches of 500", "all of a record; JSON checked; fsync, then commit", python, 0.1),
    Contestant("Kafka Connect FileStream", "values only; no fsync", connect, 0.25),
]
