"""A process and what it costs: processor time and memory of all that it started, as the kernel counts them."""

import os
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(root):
    """A process and its descendants."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, open_ = [], [root]
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_.extend(children.get(pid, []))
    return found


def cpu_seconds(root):
    total = 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def peak_mib(root):
    total = 0
    for pid in tree(root):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1])
    return total / 1024


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Local:
    """A program of this machine."""

    def __init__(self, command, log):
        self.child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.pid = self.child.pid

    def ended(self):
        return self.child.poll() is not None

    def stop(self):
        if not self.ended():
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Contained:
    """A command in a container of its own, on the network of this machine."""

    def __init__(self, image, command, log, mounts=(), environment=()):
        options = [option for mount in mounts for option in ("--volume", mount)]
        options += [option for pair in environment for option in ("--env", pair)]
        self.log = log
        self.id = output("docker", "run", "--detach", "--network", "host", "--user", "root",
                         "--label", "streamlake.benchmark=1", *options, image, *command)
        self.pid = int(output("docker", "inspect", "--format", "{{.State.Pid}}", self.id))

    def ended(self):
        return output("docker", "inspect", "--format", "{{.State.Running}}", self.id) != "true"

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                raise TimeoutError(f"container {self.id[:12]} ran for more than {seconds} s")
            time.sleep(0.2)

    def stop(self):
        logs = subprocess.run(["docker", "logs", self.id], capture_output=True, text=True)
        self.text = logs.stdout
        self.log.write((logs.stdout + logs.stderr).encode())
        subprocess.run(["docker", "rm", "--force", self.id], check=True, capture_output=True)
