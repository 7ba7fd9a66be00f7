"""A process and what it costs: processor time and memory of all that it started, as the kernel counts them."""

import os
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def told(pid, what):
    """A file of a process in /proc; nothing once that has ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except OSError:
        return ""


def stat(pid):
    """The fields of a process's `stat` behind its name; none once it has ended."""
    return told(pid, "stat").rpartition(")")[2].split()


def tree(root):
    """A process and its descendants."""
    children = {}
    for pid in (int(folder.name) for folder in Path("/proc").glob("[0-9]*")):
        if fields := stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found, open_ = [], [root]
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_.extend(children.get(pid, []))
    return found


def cpu_seconds(root):
    fields = [fields for fields in map(stat, tree(root)) if fields]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICKS


def peak_mib(root):
    lines = (line for pid in tree(root) for line in told(pid, "status").splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


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
