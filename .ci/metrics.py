#!/usr/bin/env python3
"""Alert rules and dashboard may name only what `streamlake` exports, and the dashboard all of it.

Names and labels are read from the source: `counter!`, `gauge!` and `histogram!` in
streamlake/src/observe/metrics.rs. With `--rules FILE` the dashboard's expressions are written as a file of
rules, for promtool to parse.

    .ci/metrics.py [--rules FILE]
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "streamlake/src/observe/metrics.rs"
ALERTS = ROOT / "packaging/prometheus/alerts.yaml"
DASHBOARD = ROOT / "packaging/grafana/streamlake.json"
# What Prometheus adds, and what a histogram's samples bear.
LABELS_OF_OTHERS = {"instance", "job", "le"}


def exported():
    """Each metric with its labels, as the source makes it."""
    text = SOURCE.read_text()
    code = text[text.index("pub(crate) fn stored") :]
    metrics = {}
    for function in re.split(r"\npub\(crate\) fn ", code):
        shared = set(re.findall(r'\("(\w+)", ', function.split("gauge!")[0])) if "gauge!" in function else set()
        for name in re.findall(r'set\("(streamlake_\w+)"', function):
            metrics[name] = shared
        for name in re.findall(r'gauge!\("(streamlake_\w+)"', function):
            metrics[name] = shared
        for call in re.findall(r'(?:counter|histogram)!\(\s*"(streamlake_\w+)"([^;]*?)\)\s*\.', function):
            metrics[call[0]] = set(re.findall(r'"(\w+)" =>', call[1]))
    described = set(re.findall(r'describe_\w+!\(\s*"(streamlake_\w+)"', text))
    histograms = set(re.findall(r'describe_histogram!\(\s*"(streamlake_\w+)"', text))
    if set(metrics) != described:
        sys.exit(f"metrics: described and used differ: {sorted(set(metrics) ^ described)}")
    return metrics, histograms


def expressions():
    """Every expression, with its place."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"{DASHBOARD.name}, panel {panel['title']!r}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"{DASHBOARD.name}, annotation {annotation['name']!r}", annotation["expr"]
    yield f"{DASHBOARD.name}, variables", dashboard["templating"]["list"][1]["definition"]
    alert = ""
    # Without a YAML library: an expression stands behind `expr:` or in the deeper lines below it.
    lines = ALERTS.read_text().splitlines()
    for number, line in enumerate(lines):
        alert = line.split("alert:")[1].strip() if "alert:" in line else alert
        if line.strip().startswith("expr:"):
            depth = len(line) - len(line.lstrip())
            body = [line.split("expr:", 1)[1].strip(" |")]
            for more in lines[number + 1 :]:
                if more.strip() and len(more) - len(more.lstrip()) <= depth:
                    break
                body.append(more)
            yield f"{ALERTS.name}, {alert}", "\n".join(body)


def main():
    metrics, histograms = exported()
    known = set(metrics) | {f"{name}_{end}" for name in histograms for end in ("bucket", "sum", "count")}
    wrong, shown, labels_of_all = [], set(), set().union(*metrics.values()) | LABELS_OF_OTHERS
    found = list(expressions())
    for place, expression in found:
        for name in re.findall(r"\bstreamlake_\w+", expression):
            if name not in known:
                wrong.append(f"{place}: {name} is not exported")
        for name, matchers in re.findall(r"\b(streamlake_\w+)\{([^}]*)\}", expression):
            base = re.sub(r"_(bucket|sum|count)$", "", name) if name not in metrics else name
            for label in re.findall(r"(\w+)\s*[=!]~?", matchers):
                if label not in metrics.get(base, set()) | LABELS_OF_OTHERS:
                    wrong.append(f"{place}: {name} has no label {label}")
        for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
            for label in filter(None, map(str.strip, labels.split(","))):
                if label not in labels_of_all:
                    wrong.append(f"{place}: nothing has a label {label}")
        if place.startswith(DASHBOARD.name):
            shown |= {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bstreamlake_\w+", expression)}
            shown |= set(re.findall(r"\bstreamlake_\w+", expression))
    wrong += [f"{name} is exported and stands on no panel" for name in sorted(set(metrics) - shown)]
    if wrong:
        sys.exit("metrics: " + "\nmetrics: ".join(wrong))
    if "--rules" in sys.argv:
        rules = [
            {"record": f"dashboard:expression:{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$topic", ".*")}
            for number, (place, expression) in enumerate(found)
            if place.startswith(DASHBOARD.name) and "label_values" not in expression
        ]
        Path(sys.argv[sys.argv.index("--rules") + 1]).write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    print(f"metrics: {len(metrics)} exported, {len(found)} expressions name nothing else, each metric stands on the dashboard")


main()
