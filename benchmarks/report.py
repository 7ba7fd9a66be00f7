"""The baseline as a person reads it: one page and its pictures."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # noqa: E402

pyplot.rcParams.update({"svg.hashsalt": "streamlake", "font.size": 10, "axes.spines.top": False,
                        "axes.spines.right": False, "svg.fonttype": "none"})
OWN, OTHER = "#1f6feb", "#9aa4b2"


def write(results, folder):
    pictures = folder / "performance"
    pictures.mkdir(exist_ok=True)
    lines = [
        "# Performance baseline", "",
        "How fast the pipeline is beside other ways to do its work and beside readers that store nothing: "
        "`just bench`, which writes this page. All take turns on one machine that they share with the broker, so "
        "the ratios mean more than the figures.", "",
        machine(results), "",
    ]
    for size, rows in results["others"].items():
        lines += others(size, rows, pictures)
    lines += sizes(results, pictures) + members(results) + latency(results) + produce(results)
    lines += ["## What is measured", "",
              "- From the first assignment that the group's coordinator reports to the commit that covers the last "
              "record of the measurement. A reader is timed by itself, from its first fetch to its last record.",
              "- Each figure is the median of the rounds; every round is in `benchmarks/baseline.json`.",
              "- Processor time is that of the process and its children, without the broker's. Memory is the most "
              "that was resident at a time, which for a Java program depends on the heap that it is given (1 GiB).",
              "- Slower tools read fewer records of the same topic, so that a measurement lasts seconds and not minutes.",
              "- A tool that commits at intervals is charged for half a second at most.", ""]
    (folder / "performance-baseline.md").write_text("\n".join(lines))


def machine(results):
    m = results["machine"]
    return (f"{m['cores']} cores ({m['processor']}), {m['memory_gib']} GiB, Linux {m['kernel']}; {results['kafka']}, "
            f"{results['partitions']} partitions; {results['streamlake']}; medians of {results['rounds']} rounds; "
            f"five headers a record; parts in files, with fsync.")


def others(size, rows, pictures):
    bare = next((row["records_per_s"] for row in rows if row["name"] == "bare rdkafka"), None)
    name = f"beside-others-{size}.svg"
    bars(pictures / name, rows, size)
    lines = [f"## Beside others, {size} bytes a value", "", f"![records a second](performance/{name})", "",
             "| | what it stores | records/s | of bare | CPU s per million | peak MiB |", "|---|---|---|---|---|---|"]
    for row in rows:
        share = f"{row['records_per_s'] / bare:.2f}" if bare else ""
        lines.append(f"| {row['name']} | {row['stores']} | {row['records_per_s']:,.0f} | {share} | "
                     f"{row['cpu_s_per_million']:.2f} | {row['peak_mib']:,.0f} |")
    return lines + [""]


def bars(path, rows, size):
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(rows) + 1))
    names = [row["name"] for row in rows][::-1]
    rates = [row["records_per_s"] / 1000 for row in rows][::-1]
    colours = [OWN if name.startswith("streamlake") else OTHER for name in names]
    drawn = axes.barh(names, rates, color=colours)
    axes.bar_label(drawn, fmt="%.0f k", padding=3)
    axes.set_xlabel(f"thousand records a second, {size} bytes a value")
    save(figure, path)


def sizes(results, pictures):
    rows = results["sizes"]
    figure, axes = pyplot.subplots(figsize=(8, 3.5))
    labels = [length(row["value_bytes"]) for row in rows]
    axes.plot(labels, [row["ratio"] for row in rows], "o-", color=OWN)
    axes.set_ylim(0, 1)
    axes.set_ylabel("of the bare reader")
    axes.set_xlabel("bytes a value")
    save(figure, pictures / "sizes.svg")
    lines = ["## By the size of a record", "", "![ratio to the bare reader](performance/sizes.svg)", "",
             "| value | bare records/s | streamlake records/s | ratio | MB/s | peak MiB |", "|---|---|---|---|---|---|"]
    for row in rows:
        own = row["pipeline_records_per_second"]
        lines.append(f"| {length(row['value_bytes'])} | {row['bare_records_per_second']:,.0f} | {own:,.0f} | "
                     f"{row['ratio']:.2f} | {own * row['value_bytes'] / 1e6:,.0f} | "
                     f"{row['pipeline_peak_memory_bytes'] / 2**20:,.0f} |")
    return lines + [""]


def members(results):
    lines = ["## By members in one process, 200 bytes", "", "| members | records/s | of bare | peak MiB |", "|---|---|---|---|"]
    for row in results["members"]:
        lines.append(f"| {row['members']} | {row['pipeline_records_per_second']:,.0f} | {row['ratio']:.2f} | "
                     f"{row['pipeline_peak_memory_bytes'] / 2**20:,.0f} |")
    return lines + [""]


def latency(results):
    lines = ["## From append to durable, 5,000 records a second", "", "| batch closed after | median | 99 of 100 | longest |",
             "|---|---|---|---|"]
    for row in results["latency"]:
        lines.append(f"| {row['batch_age']} | {row['p50_ms']} ms | {row['p99_ms']} ms | {row['max_ms']} ms |")
    return lines + [""]


def produce(results):
    row = results["produce"]
    return ["## The producer, 200 bytes", "", "| | records/s |", "|---|---|",
            f"| bare rdkafka, same settings | {row['bare_records_per_second']:,.0f} |",
            f"| `streamlake produce` (checked, ids, receipts) | {row['own_records_per_second']:,.0f} |",
            f"| Kafka's ProducerPerformance, acks=all | {row['kafka_records_per_second']:,.0f} |", ""]


def length(value_bytes):
    for unit, size in (("MB", 1_000_000), ("KiB", 1024)):
        if value_bytes >= size:
            return f"{value_bytes / size:.0f} {unit}"
    return f"{value_bytes} B"


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
