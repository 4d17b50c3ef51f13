# Common commands by name. `just` lists them.

# Recipes get their parameters as "$1", "$@": the shell neither splits nor runs what is in them.
set positional-arguments

_list:
    @just --list

# build the countries and serve them
dev *options:
    cargo run -- dev "$@"

# format the code, then run the lints of CI
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- --deny warnings

# run every test
test *options:
    cargo test "$@"

# run the golden cases of one country
cases country:
    cargo run --quiet -- rules test "countries/$1"

# run the measurements of docs/performance.md
bench:
    cargo bench

# cross-compile the functions for AWS, for Arm
package:
    rustup target add aarch64-unknown-linux-gnu
    cargo lambda build --release --arm64 --package citas --no-default-features --features aws --bin api --bin relay --bin notifier --bin trial --bin wake
    cargo lambda build --release --arm64 --package citas --features aws --bin precompile

# deploy the platform with the binaries of `package`; `mail-from` is the sender of its mail
deploy mail-from *parameters:
    sam build
    deploy/aws platform "$@"

# deploy the stack of one country's data: `just deploy-country pe`
deploy-country country *parameters:
    deploy/aws country "$@"

# compile the versions in use for the engine of the deployed function `precompile`
native-code:
    deploy/aws native-code

# publish and promote rules on AWS; `registry` is an output of `deploy`: `just release pe 1.0.0 s3://… "a holiday"`
release country version registry why:
    cargo run --quiet --features aws -- rules publish "countries/$1" --registry "$3"
    cargo run --quiet --features aws -- rules promote "$1" "$2" --registry "$3" --why "$4"

# run all steps of CI, or only these
ci *steps:
    .ci/run "$@"
