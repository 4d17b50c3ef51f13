# What is done often, by name. `just` lists it.

_list:
    @just --list

# build the countries and serve them
dev *options:
    cargo run -- dev {{options}}

# format, then the lints that CI runs
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- --deny warnings

# every test
test *options:
    cargo test {{options}}

# the golden cases of one country
cases country:
    cargo run --quiet -- rules test countries/{{country}}

# the measurements of docs/performance.md
bench:
    cargo bench

# all that CI does
ci:
    .ci/run
