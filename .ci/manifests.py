#!/usr/bin/env python3
"""What the manifests of packaging/kubernetes say together: the published schemas see each alone.

    .ci/manifests.py              checks
    .ci/manifests.py --config     prints the configuration file that the pods get
    .ci/manifests.py --args       prints the arguments that the pods get, one a line
"""

import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
problems = []


def check(holds, text):
    if not holds:
        problems.append(text)


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


found = {}
for path in sorted((ROOT / "packaging/kubernetes").glob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text()):
        check(document["kind"] not in found, f"two of kind {document['kind']}")
        found[document["kind"]] = document

pods = found["StatefulSet"]["spec"]
pod = pods["template"]["spec"]
container = pod["containers"][0]
labels = pods["template"]["metadata"]["labels"]
config = found["ConfigMap"]["data"]["streamlake.toml"]

if "--config" in sys.argv:
    print(config, end="")
    sys.exit()
if "--args" in sys.argv:
    print("\n".join(container["args"]))
    sys.exit()

selectors = {
    "StatefulSet": pods["selector"]["matchLabels"],
    "Service": found["Service"]["spec"]["selector"],
    "PodDisruptionBudget": found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    "NetworkPolicy": found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
}
for kind, selector in selectors.items():
    check(selector.items() <= labels.items(), f"the {kind} does not select the pods")
check(pods["serviceName"] == found["Service"]["metadata"]["name"], "serviceName names no Service")
check(pod["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"], "serviceAccountName names no account")
check(pod["volumes"][0]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"], "the volume names no ConfigMap")
check(container["envFrom"][0]["secretRef"]["name"] == found["Secret"]["metadata"]["name"], "envFrom names no Secret")

ports = {port["name"]: port["containerPort"] for port in container["ports"]}
flags = dict(arg.removeprefix("--").split("=", 1) for arg in container["args"] if arg.startswith("--"))
for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
    get = container[probe]["httpGet"]
    check(get["path"] == path and get["port"] in ports, f"the {probe} asks {get}")
routes = (ROOT / "streamlake/src/observe/http.rs").read_text()
for path in ("/healthz", "/readyz", labels and pods["template"]["metadata"]["annotations"]["prometheus.io/path"]):
    check(f'.route("{path}"' in routes, f"{path} is not served")
check(flags["http"].endswith(f":{ports['http']}"), "--http and containerPort differ")
check(found["Service"]["spec"]["ports"][0]["targetPort"] in ports, "the Service has another port")
check(found["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] in ports, "the NetworkPolicy has another port")
check(pods["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(ports["http"]), "the annotation has another port")

grace = pod["terminationGracePeriodSeconds"]
check(grace >= seconds(flags["shutdown-deadline"]) + 10, "pods are killed before their drain may end")
properties = tomllib.loads(config)["kafka"]
session = properties["session.timeout.ms"] / 1000
check(session > grace, "the session of a pod runs out while it drains: each rollout is a rebalance")
mount = container["volumeMounts"][0]["mountPath"]
check(flags["config"].startswith(mount + "/") and Path(flags["config"]).name in found["ConfigMap"]["data"], "--config names no file")
check(flags["group-instance-id"] == "$(POD_NAME)", "members are not static by ordinal")

user = pod["securityContext"]["runAsUser"]
dockerfile = (ROOT / "packaging/Dockerfile").read_text()
check(f"USER {user}:{pod['securityContext']['runAsGroup']}" in dockerfile, "pods run as another user than the image")
version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
check(container["image"].endswith(f":{version}"), f"the image is not of version {version}")

if problems:
    sys.exit("\n".join(f"manifests: {text}" for text in problems))
print(f"manifests: {len(found)} fit together")
