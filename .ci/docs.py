#!/usr/bin/env python3
"""Whether the documents are true: their links, and the names of files, scenario keys, faults, checks, alerts and
flags that stand in them.

    .ci/docs.py BOOK [PROGRAMS]      (the folder of the built site; .ci/docs calls it)

With a folder of PROGRAMS every command of ours that stands in a document is given to its program, with `--help`
behind it: the program looks at what comes before, and refuses what it does not know.
"""

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/streamlake/streamlake"
# Flags of other programs, in commands that the documents show.
FOREIGN_FLAGS = set(
    "workspace release features bin lib no-deps nocapture target locked no-healthcheck stop-timeout rm check "
    "ignore-missing replicas strip-components network host testbed-dir tag build-arg force-rm repo all-targets "
    "bootstrap-server topic max-messages group-id verbose time from-beginning timeout-ms isolation-level formatter "
    "print-data-log files cap-add net p test-threads ignored include-ignored profile user for wait timeout".split()
)
problems = []


def problem(where, text):
    problems.append(f"{where}: {text}")


def tracked(*patterns):
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    return [ROOT / line for line in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()]


def source(path):
    """Source text without the tests in it."""
    return re.split(r"#\[cfg\(test\)\]\n(?:pub\(crate\) )?mod \w+ \{", (ROOT / path).read_text())[0]


# --- Markdown: links and paths -------------------------------------------------------------------------------


def slug(heading):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    return {slug(line) for line in re.findall(r"^#+ +(.*)$", text, re.M)} | set(re.findall(r'id="([^"]+)"', text))


def there(base, target, where):
    """A link's target, of a file or within one."""
    path, _, fragment = target.partition("#")
    found = (base / unquote(path)).resolve() if path else where
    if not found.exists():
        problem(where.relative_to(ROOT), f"{target} does not exist")
    elif fragment and found.suffix == ".md" and fragment not in anchors(found):
        problem(where.relative_to(ROOT), f"{target}: no such heading")


def links(document):
    text = document.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(f"{REPOSITORY}/blob/main/") or target.startswith(f"{REPOSITORY}/tree/main/"):
            there(ROOT, target.split("/main/", 1)[1], document)
        elif not re.match(r"[a-z]+:", target):
            there(document.parent, target, document)


def paths(document):
    """Names in backticks that begin like a path of the repository."""
    tops = {path.relative_to(ROOT).parts[0] for path in tracked()}
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
    for name in re.findall(r"`([^`\s]+)`", prose):
        # What is generated, and what stands for many.
        if name.startswith(("reports/", "docs/your-own")) or re.search(r"[<>*…{:]", name):
            continue
        if "/" in name and name.split("/")[0] in tops and not (ROOT / name).exists():
            problem(document.relative_to(ROOT), f"`{name}` does not exist")


# --- The documents against the source -------------------------------------------------------------------------


def scenario_keys():
    """Keys of the scenario format, by the table that a struct stands for."""
    text = source("harness/src/scenario.rs")
    keys = set()
    for struct in ["Scenario", "Cluster", "Workload", "Source", "Operations", "Producer", "Group", "FaultEntry", "Replay", "Recovery"]:
        body = re.search(rf"pub struct {struct} \{{(.*?)\n\}}", text, re.S)
        if not body:
            problem("harness/src/scenario.rs", f"struct {struct} is gone: mend .ci/docs.py")
            continue
        for attributes, field in re.findall(r"((?:\s*#\[[^\n]*\]\n)*)\s*pub (\w+):", body.group(1)):
            renamed = re.search(r'rename = "(\w+)"', attributes)
            keys.add(renamed.group(1) if renamed else field)
    return keys


def fault_kinds():
    """Each kind of fault with the keys of its settings."""
    kinds = {}
    for path in sorted((ROOT / "harness/src/fault").glob("*.rs")):
        text = source(path.relative_to(ROOT))
        name = re.search(r'static KIND: Kind = Kind \{\s*name: "([^"]+)"', text)
        if name:
            settings = re.search(r"struct Settings \{(.*?)\n\}", text, re.S)
            kinds[name.group(1)] = set(re.findall(r"(\w+):", settings.group(1))) if settings else set()
    return kinds


def reference():
    page = "docs/scenarios.md"
    text = (ROOT / page).read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    named = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.findall(r"[\w-]+", code)}
    kinds = fault_kinds()
    for key in sorted(scenario_keys() | set(kinds) | set().union(*kinds.values())):
        if key not in named:
            problem(page, f"`{key}` can stand in a scenario and is not explained")
    known = scenario_keys()
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        for key in re.findall(r"^\| `([\w-]+)` \|", section, re.M):
            if key not in known and key not in kinds:
                problem(page, f"`{key}` is explained and is no key of a scenario")


def checks():
    page = "docs/guarantees.md"
    text = (ROOT / page).read_text()
    tables = [path.read_text() for path in tracked("harness/**/*.rs") if path.exists()]
    tables = [text for text in tables if "static TABLE: &[Checker]" in text]
    table = re.findall(r'Checker \{ name: "([^"]+)"', "".join(tables))
    if len(tables) != 1 or len(table) < 10:
        return problem("harness", "the table of checkers does not look as it did: mend .ci/docs.py")
    for check in table:
        if f"`{check}`" not in text:
            problem(page, f"the check `{check}` is not explained")
    for check in re.findall(r"^\| `([\w-]+)` \|", text, re.M):
        if check not in table:
            problem(page, f"there is no check `{check}`")


def alerts():
    page = "docs/operating.md"
    text = (ROOT / page).read_text()
    rules = set(re.findall(r"- alert: (\w+)", (ROOT / "packaging/prometheus/alerts.yaml").read_text()))
    for alert in sorted(rules ^ set(re.findall(r"`(StreamLake\w+)`", text))):
        problem(page, f"`{alert}` is an alert or stands on this page, and not both")


def summary():
    """Every page stands in the site's table of contents."""
    listed = set(re.findall(r"\]\(([^)]+)\)", (ROOT / "docs/SUMMARY.md").read_text()))
    for path in tracked("docs/*.md"):
        name = str(path.relative_to(ROOT / "docs"))
        if name not in listed | {"SUMMARY.md"}:
            problem("docs/SUMMARY.md", f"{name} is missing")


def flags():
    known = set()
    for path in tracked("streamlake/src/cli*", "harness/src/cli*", "harness/src/command*"):
        if path.suffix == ".rs":
            # A flag is named by its field, or says its name.
            for attribute, field in re.findall(
                r"#\[arg\((.*?)\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([a-z]+\))? )?(\w+):", path.read_text(), re.S
            ):
                if re.search(r"\blong\b", attribute):
                    named = re.search(r'long = "([^"]+)"', attribute)
                    known.add(named.group(1) if named else field.replace("_", "-"))
    known |= {"help", "version"}
    for document in documents():
        for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", document.read_text()):
            if flag not in known and flag not in FOREIGN_FLAGS:
                problem(document.relative_to(ROOT), f"there is no flag --{flag}")


def commands(programs):
    """Shell in the documents can be read by a shell, and our programs know what they are told."""
    recipes = set(re.findall(r"^([a-z][a-z-]*)(?: [^:\n]*)?:", (ROOT / "justfile").read_text(), re.M))
    known = 0
    for document in documents():
        where = document.relative_to(ROOT)
        for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.M | re.S):
            read = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
            if read.returncode:
                problem(where, f"no shell reads this: {read.stderr.strip()}")
                continue
            for line in block.replace("\\\n", " ").splitlines():
                # Something is left out here.
                if "…" in line:
                    continue
                lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                words, command = [*lexer, ";"], []
                for word in words:
                    if set(word) <= set("|&;()"):
                        known += tried(where, command, programs, recipes)
                        command = []
                    else:
                        command.append(word)
    return known


def tried(where, words, programs, recipes):
    """One simple command; whether it was one of ours."""
    for at, word in enumerate(words):
        if set(word) <= set("<>&"):
            words = words[:at]
            break
    while words and re.match(r"[A-Za-z_]+=", words[0]):
        words = words[1:]
    if words[:1] == ["just"]:
        if words[1] not in recipes:
            problem(where, f"just has no recipe {words[1]}")
        return 1
    if words[:2] == ["cargo", "run"] and "--" in words:
        at = words.index("--")
        named = [words[n + 1] for n in range(at) if words[n] in ("-p", "--bin")]
        program = named[0] if named else "streamlake-harness"
        arguments = words[at + 1 :]
    elif words and Path(words[0]).name in ("streamlake", "streamlake-harness"):
        program, arguments = Path(words[0]).name, words[1:]
    else:
        return 0
    if programs:
        # What stands behind `--` is another program's.
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        answer = subprocess.run([programs / program, *own, "--help"], capture_output=True, text=True)
        if answer.returncode:
            told = next(iter(answer.stderr.splitlines()), "")
            problem(where, f"`{' '.join([program, *arguments])}`: {told}")
    return 1


def documents():
    return [path for path in tracked("*.md") if path.relative_to(ROOT).parts[0] != "reports"]


# --- The built site -------------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.ids = [], set()

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name == "id" and value:
                self.ids.add(value)


def site(book):
    pages = {}
    for path in sorted(book.rglob("*.html")):
        page = Page()
        page.feed(path.read_text())
        pages[path.resolve()] = page
    if len(pages) < 8:
        problem(book, "hardly any page was built")
    for path, page in pages.items():
        # This one's links are relative to wherever it is shown.
        if path.name in ("404.html", "toc.html"):
            continue
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            target, _, fragment = link.partition("#")
            found = (path.parent / unquote(target)).resolve() if target else path
            if not found.exists():
                problem(path.name, f"the site has no {link}")
            elif fragment and found in pages and unquote(fragment) not in pages[found].ids:
                problem(path.name, f"{link}: no such place")
    return len(pages)


def main():
    all_documents = documents()
    for document in all_documents:
        links(document)
        paths(document)
    reference()
    checks()
    alerts()
    summary()
    flags()
    pages = site(Path(sys.argv[1]))
    programs = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None
    known = commands(programs)
    if problems:
        sys.exit("\n".join(f"docs: {text}" for text in sorted(set(problems))))
    taken = "which the programs take" if programs else "which were not tried, for want of programs"
    print(f"docs: {len(all_documents)} documents and {pages} pages, what they name is there; {known} commands, {taken}")


main()
