# Sourced by the other scripts: sets `root`, and `ensure_env EXTRAS` makes .venv hold the package with these extras.
# Works from any working directory, does nothing when nothing changed, and two scripts may start at once.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
python=$root/.venv/bin/python

# The package is found here wherever the caller stands; with `python -P` nothing in their directory comes before it.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

# Bytecode is kept, outside the tree: without it each process that starts compiles the package anew, which takes a third
# of its start.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="$root/.venv/bytecode"

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in python3.11 python3; do
        # Run it: a launcher of that name may exist without the version behind it.
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    die "shardq needs Python 3.11 or newer, and neither python3.11 nor python3 is that." \
        "On Debian: apt-get install python3.11 python3.11-venv"
}

create_venv() {
    local base version
    base=$(find_python)
    version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$base" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        die "$base cannot create virtual environments." "On Debian: apt-get install python$version-venv"
    fi
    echo "setting up $root/.venv with Python $version, once" >&2
    "$base" -m venv "$root/.venv"
}

# What an installation depends on; an editable one also on where it stands. The extension is compiled by it.
fingerprint() {
    {
        printf '%s\n' "$root" "$1" "${CC-}" "${CFLAGS-}"
        "$python" --version
        cat "$root/pyproject.toml" "$root/setup.py" "$root"/shardq/_core/*.[ch]
    } | sha256sum
}

ensure_env() {
    local extras=$1 stamp="$root/.venv/.installed-$1"
    mkdir -p "$root/.venv"
    exec 9>"$root/.venv/.setup-lock"
    flock 9
    "$python" -c 'import pip' >/dev/null 2>&1 || create_venv
    if [[ "$(fingerprint "$extras")" != "$(cat "$stamp" 2>/dev/null)" ]]; then
        echo "installing shardq[$extras] into $root/.venv" >&2
        "$python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extras]" ||
            die "pip could not install what shardq needs; its reason stands above."
        fingerprint "$extras" >"$stamp"
    fi
    exec 9>&-
}
