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

# the functions for AWS, built where no Arm machine is at hand
package:
    rustup target add aarch64-unknown-linux-gnu
    cargo lambda build --release --arm64 --package citas --no-default-features --features aws --bin api --bin relay --bin notifier --bin trial
    cargo lambda build --release --arm64 --package citas --features aws --bin precompile

# the platform, from what `package` built; `mail-from` is the address that its mail comes from
deploy mail-from *parameters:
    sam build
    sam deploy --parameter-overrides MailFrom={{mail-from}} {{parameters}}
    # Native code for what is in use, should the engine be another one than before.
    sam remote invoke Precompile --stack-name citas --event '{}'

# one country's data: `just deploy-country pe`
deploy-country country:
    sam deploy --template-file countries/country.yaml --stack-name citas-{{country}} --parameter-overrides Country={{country}}

# put a country's rules into use on AWS; `registry` is what `deploy` printed: `just release pe 1.0.0 s3://… "a holiday"`
release country version registry why:
    cargo run --quiet --features aws -- rules publish countries/{{country}} --registry {{registry}}
    cargo run --quiet --features aws -- rules promote {{country}} {{version}} --registry {{registry}} --why "{{why}}"

# all that CI does, or these steps of it
ci *steps:
    .ci/run {{steps}}
