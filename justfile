# What people and CI call. Nothing clever: each recipe is a command that one could type.

# Lists the recipes.
default:
    @just --list

# Tests that need nothing but Rust and a C toolchain; those that need a container engine say so.
test:
    cargo test --workspace

# Builds the container images from package registries, where no image registry is reachable.
images:
    images/build

# The delivery scenarios on real Kafka and a GCS emulator in containers; runs/reports/docker holds the answer.
test-kafka-delivery *ARGS:
    cargo run -- run --testbed docker {{ARGS}}

# The same scenarios on the embedded testbed: no container, under a minute.
test-embedded *ARGS:
    cargo run -- run {{ARGS}}

# Plants bugs in the pipeline and shows that the checkers catch them.
prove *ARGS:
    cargo run --features planted-bugs -- prove {{ARGS}}

# Kills a consumer at each step of its commit protocol, twenty times, alone and in a group.
crash-points *ARGS:
    cargo run --features planted-bugs -- crash-points {{ARGS}}

# Answers requests to brokers with errors that the brokers never told, API by API and error by error.
protocol-errors *ARGS:
    cargo run -- protocol-errors {{ARGS}}

# Lets a seed choose what is done to the pipeline, run after run; what fails is made small and kept.
explore *ARGS:
    cargo run --features crash-points -- explore {{ARGS}}

# Copies the reports of the last whole runs to where they are published. Runs write to runs/, which git
# ignores; what is not the whole suite stays there.
publish-reports:
    #!/usr/bin/env bash
    set -euo pipefail
    for testbed in embedded docker; do
        [ -d "runs/reports/$testbed" ] || continue
        rm -rf "reports/$testbed"
        cp -r "runs/reports/$testbed" "reports/$testbed"
        echo "reports/$testbed"
    done
    # Trials of one testbed do not replace those of another.
    if [ -d runs/reports/prove ]; then
        cp -r runs/reports/prove/. reports/prove
        echo "reports/prove"
    fi
    if [ -d runs/reports/crash-points ]; then
        mkdir -p reports/crash-points
        cp -r runs/reports/crash-points/. reports/crash-points
        echo "reports/crash-points"
    fi
    if [ -d runs/reports/protocol-errors ]; then
        mkdir -p reports/protocol-errors
        cp -r runs/reports/protocol-errors/. reports/protocol-errors
        echo "reports/protocol-errors"
    fi

# Runs the examples on real Kafka, each folder with its own report: some are there to be convicted. `just gallery
# connect` runs one folder.
gallery *FOLDERS:
    #!/usr/bin/env bash
    set -euo pipefail
    folders="{{FOLDERS}}"
    python3 -m venv target/gallery/python
    target/gallery/python/bin/pip install --quiet -r examples/python/requirements.txt -r examples/postgres/requirements.txt
    examples/connect/fetch
    cargo build
    export PATH="$PWD/target/gallery/python/bin:$PATH"
    for folder in ${folders:-python connect verifiable postgres}; do
        verdict=0
        target/debug/streamlake-harness run --testbed docker --runs-dir "target/gallery/$folder" examples/"$folder"/*.toml || verdict=$?
        # 1 is a conviction, 3 a doubt; anything else is no verdict.
        [ "$verdict" -le 1 ] || [ "$verdict" -eq 3 ] || exit "$verdict"
        report="target/gallery/$folder/reports/partial/docker"
        examples/compare "$folder" "$report/kafka-delivery-report.json"
        rm -rf "reports/gallery/$folder" && mkdir -p "reports/gallery/$folder"
        cp "$report"/kafka-delivery-report.{md,html,json} "$report"/junit.xml "$report"/*.svg "reports/gallery/$folder/"
    done

# Runs that the tests edit, from both testbeds; needs a container engine and zstd.
keep-histories:
    cargo run -- run two-groups consumer-kill-uncommitted consumer-pause store-unavailable --runs-dir target/keep
    cargo run -- run two-groups consumer-kill-uncommitted consumer-pause store-unavailable commit-table --testbed docker --runs-dir target/keep
    for run in target/keep/embedded/*-1 target/keep/docker/*-1; do zstd -q -19 -f "$run/history.jsonl" -o "harness/judge/tests/histories/$(basename "$(dirname "$run")")-$(basename "$run" -1).jsonl.zst"; done

# Hostile histories, read, judged and rendered for so many seconds, from a new seed each time.
fuzz SECONDS="60":
    STREAMLAKE_FUZZ_SECONDS={{SECONDS}} cargo test --workspace --lib -- --nocapture fuzz::

# The consumer's core in a world of models, so many schedules; STREAMLAKE_SEED=n repeats one and tells it.
simulate SCHEDULES="1000000":
    STREAMLAKE_SCHEDULES={{SCHEDULES}} cargo test --workspace --lib -- --nocapture sim::holds

# How fast the pipeline is, beside other tools and bare readers, on a broker of its own: half an hour, with
# nothing else running. Writes reports/performance-baseline.md. `just bench --check` takes a minute or two and
# compares our ratio to the bare reader with the committed one.
bench *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    case " {{ARGS}} " in
        *" --check "*) cargo build ;;
        *) cargo build --release --package streamlake ;;
    esac
    python3 -m venv target/benchmarks/python
    target/benchmarks/python/bin/pip install --quiet -r benchmarks/requirements.txt
    examples/connect/fetch
    target/benchmarks/python/bin/python benchmarks/run {{ARGS}}

# How fast the judge is.
bench-judge:
    cargo bench --workspace

# Checks manifests, alert rules, dashboard, workflows, scripts and documents; builds the docs site into target/book.
packaging *ARGS:
    .ci/packaging {{ARGS}}

# Formats and lints.
fmt:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings
