# Common commands by name. `just` lists them.

_list:
    @just --list

# build the countries and serve them
dev *options:
    cargo run -- dev {{options}}

# format the code, then run the lints of CI
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- --deny warnings

# run every test
test *options:
    cargo test {{options}}

# run the golden cases of one country
cases country:
    cargo run --quiet -- rules test countries/{{country}}

# run the measurements of docs/performance.md
bench:
    cargo bench

# cross-compile the functions for AWS, for Arm
package:
    rustup target add aarch64-unknown-linux-gnu
    cargo lambda build --release --arm64 --package citas --no-default-features --features aws --bin api --bin relay --bin notifier --bin trial
    cargo lambda build --release --arm64 --package citas --features aws --bin precompile

# deploy the platform with the binaries of `package`; `mail-from` is the sender of its mail
deploy mail-from *parameters:
    sam build
    sam deploy --parameter-overrides MailFrom={{mail-from}} {{parameters}}
    # Compiles the versions in use again if the engine has changed.
    sam remote invoke Precompile --stack-name citas --event '{}'

# deploy the stack of one country's data: `just deploy-country pe`
deploy-country country:
    sam deploy --template-file countries/country.yaml --stack-name citas-{{country}} --parameter-overrides Country={{country}}

# publish and promote rules on AWS; `registry` is an output of `deploy`: `just release pe 1.0.0 s3://… "a holiday"`
release country version registry why:
    cargo run --quiet --features aws -- rules publish countries/{{country}} --registry {{registry}}
    cargo run --quiet --features aws -- rules promote {{country}} {{version}} --registry {{registry}} --why "{{why}}"

# run all steps of CI, or only these
ci *steps:
    .ci/run {{steps}}
