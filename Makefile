# Targets of `sam build`. Each copies one function's bootstrap into sam's artifact folder. `just package` builds them.
#
# ARCHITECTURE  architecture of the bootstrap; checked here, because a wrong one fails only when the function starts
# BOOTSTRAP     path of the bootstrap; % stands for the function's name

ARCHITECTURE ?= arm64
BOOTSTRAP ?= target/lambda/%/bootstrap

# Bytes 0 to 3 of an ELF file are its magic number, bytes 18 and 19 its machine (System V ABI, "ELF Header").
ELF := 127 69 76 70
MACHINE_arm64 := 183 0
MACHINE_x86_64 := 62 0

build-Api: NAME := api
build-Relay: NAME := relay
build-Notifier: NAME := notifier
build-Trial: NAME := trial
build-Wake: NAME := wake
build-Precompile: NAME := precompile

.PHONY: build-Api build-Relay build-Notifier build-Trial build-Wake build-Precompile
build-Api build-Relay build-Notifier build-Trial build-Wake build-Precompile: FROM = $(subst %,$(NAME),$(BOOTSTRAP))
build-Api build-Relay build-Notifier build-Trial build-Wake build-Precompile:
	@test -f '$(FROM)' || { echo '$(FROM) is not there: `just package` builds it' >&2; exit 1; }
	@set -- $$(od -An -v -tu1 -N20 '$(FROM)') && \
	    test "$$1 $$2 $$3 $$4" = '$(ELF)' || { echo '$(FROM) is no ELF file' >&2; exit 1; }
	@set -- $$(od -An -v -tu1 -j18 -N2 '$(FROM)') && \
	    test "$$1 $$2" = '$(MACHINE_$(ARCHITECTURE))' || { echo '$(FROM) is not built for $(ARCHITECTURE)' >&2; exit 1; }
	cp '$(FROM)' '$(ARTIFACTS_DIR)/bootstrap'
