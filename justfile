# Short names for what is done often. `just` alone lists them.

model := "smollm2-135m"

[private]
default:
    @just --list --unsorted

# format, lints, tests, docs, the gate against baseline/, CUDA types: what CI runs
check:
    scripts/check

# the tests alone; arguments go to cargo
test *arguments:
    cargo test --workspace {{ arguments }}

# from a TOML to a report on the tiny model
smoke:
    cargo test -p bench --test smoke

# the model that tests and examples use
fetch name=model:
    scripts/fetch-model {{ name }}

# LongGenBench's raw data and published sets
data folder="data":
    scripts/fetch-data {{ folder }}

# an experiment by name; arguments go to `bench run`
run experiment="gsm8k_long" *arguments:
    cargo run -p bench -- run --experiment {{ experiment }} {{ arguments }}

# accept changed snapshots, then read the diff (needs cargo-insta)
bless:
    cargo insta test --workspace --accept

# redraw tables and plots of a finished experiment, without a model
report experiment:
    cargo run -p bench -- report results/{{ experiment }}

# types behind the feature `cuda`, no GPU needed: stub, nvcc or link
cuda-check mode="stub":
    scripts/cuda-check -m {{ mode }} -p runner -p bench

# make the reference files of the tests again with a Python that has scripts/fixture-requirements.txt
fixtures python="python3": fetch
    {{ python }} scripts/make-tokenizer-fixtures.py
    {{ python }} scripts/make-logit-fixtures.py
