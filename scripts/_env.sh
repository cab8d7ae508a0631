# Sourced by the other scripts: sets `root`, and `ensure_env EXTRAS` makes .venv hold the package with these extras.
# Works from any working directory, does nothing when nothing changed, and two scripts may start at once.
# `use_python VERSION` before that has another version of Python, in an environment of its own: .venv-VERSION.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# The versions on which the tests were run, the default first.
supported=(3.11 3.12 3.13 3.14)

# The package is found here wherever the caller stands; with `python -P` nothing in their directory comes before it.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

# Bytecode is kept, outside the tree: without it each process that starts compiles the package anew, which takes a third
# of its start.
unset PYTHONDONTWRITEBYTECODE

use_venv() {
    venv=$root/$1
    python=$venv/bin/python
    export PYTHONPYCACHEPREFIX="$venv/bytecode"
}

use_venv .venv
wanted=

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# The path of an interpreter of this version: in PATH, or where pyenv keeps it.
interpreter_of() {
    local candidate path
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/"python$1"; do
        # Run it: a launcher of that name may exist without the version behind it.
        path=$("$candidate" -c 'import sys; print(sys.executable)' 2>/dev/null) && echo "$path" && return
    done
    return 1
}

# Of the versions that shardq supports, those that are on this machine.
found_versions() {
    local version
    for version in "${supported[@]}"; do
        if interpreter_of "$version" >/dev/null; then echo "$version"; fi
    done
}

use_python() {
    interpreter_of "$1" >/dev/null ||
        die "there is no Python $1 on this machine; there is: $(found_versions | xargs)" \
            "On Debian: apt-get install python$1 python$1-venv, where the release has it"
    wanted=$1
    use_venv ".venv-$1"
}

find_python() {
    local candidate
    if [[ -n $wanted ]]; then
        interpreter_of "$wanted"
        return
    fi
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
    echo "setting up $venv with Python $version, once" >&2
    "$base" -m venv "$venv"
}

# What an installation depends on; an editable one also on where it stands. The extension is compiled by it, and may be
# removed later, as `git clean` does.
fingerprint() {
    {
        printf '%s\n' "$root" "$1" "${CC-}" "${CFLAGS-}" "$root"/shardq/_core/*.so
        "$python" --version
        cat "$root/pyproject.toml" "$root/setup.py" "$root"/shardq/_core/*.[ch]
    } | sha256sum
}

ensure_env() {
    local extras=$1 stamp="$venv/.installed-$1"
    mkdir -p "$venv"
    exec 9>"$venv/.setup-lock"
    flock 9
    "$python" -c 'import pip' >/dev/null 2>&1 || create_venv
    if [[ "$(fingerprint "$extras")" != "$(cat "$stamp" 2>/dev/null)" ]]; then
        echo "installing shardq[$extras] into $venv" >&2
        # An extension of one version of Python, as older sources have it, would be imported before that of all.
        rm -f -- "$root"/shardq/_core/engine.cpython-*.so
        "$python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extras]" ||
            die "pip could not install what shardq needs; its reason stands above."
        fingerprint "$extras" >"$stamp"
    fi
    exec 9>&-
}
