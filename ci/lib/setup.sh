# shellcheck shell=bash
# What every command in ci/ begins with: sourced, not run.
#
#   . "$(dirname "$0")/lib/setup.sh"
#   setup base lint          the system packages of these groups (lib/packages.txt), and the Python environment
#
# It sets  root  (the checkout),  cache  and  python  (the environment's interpreter), and makes the working tree's
# commands the first on PATH. The first time takes a minute, every other time a tenth of a second.
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=$root/.cache
python=$cache/venv/bin/python
export PATH="$cache/venv/bin:$PATH:/usr/sbin:/sbin"
# A variable of the caller's shell must not decide what is tested; nor that every Python compiles every module anew.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

show_help() {
    # A command's help is the comment at its top.
    sed -n -e '2,/^$/{s/^# \{0,1\}//;/^$/d;p;}' -- "$1"
}

asks_for_help() {
    # For commands whose help is Python's: it needs none of the packages that the work itself does.
    case " $* " in *" -h "* | *" --help "*) return 0 ;; *) return 1 ;; esac
}

setup() {
    install_packages "$@"
    mkdir -p "$cache"
    if [ ! -w "$cache" ]; then
        # Another user's, most often root's: good to use as it is, and to be renewed by its owner only.
        [ "$(cat "$cache/venv/requirements.key" 2> /dev/null)" = "$(requirements_key)" ] ||
            die "$cache belongs to $(stat -c %U "$cache") and is not up to date: run this command once as that user"
        return 0
    fi
    exec 9> "$cache/lock"
    flock 9 # two commands at once: the second waits for the first one's environment
    make_environment
    install_working_tree
    exec 9>&-
}

# --- system packages ---------------------------------------------------------------------------------------------

package_manager() {
    if command -v apt-get > /dev/null; then echo apt; elif command -v dnf > /dev/null; then echo dnf; else echo none; fi
}

is_there() {
    # Whether a file matches one of the patterns, separated by "|".
    local patterns pattern
    IFS='|' read -r -a patterns <<< "$1"
    for pattern in "${patterns[@]}"; do
        if compgen -G "$pattern" > /dev/null; then return 0; fi
    done
    return 1
}

missing_packages() {
    # The names, in this system's words, of what the groups in "$@" lack.
    local groups debian el pattern wanted
    wanted=$(IFS='|'; echo "$*")
    while read -r groups debian el pattern; do
        [[ ,$groups, =~ ,($wanted), ]] || continue
        is_there "$pattern" || if [ "$(package_manager)" = dnf ]; then echo "$el"; else echo "$debian"; fi
    done < <(grep -v '^#' "$root/ci/lib/packages.txt")
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    case $(package_manager) in
    apt) local install=(apt-get install -y --no-install-recommends "${missing[@]}") ;;
    dnf) local install=(dnf install -y "${missing[@]}") ;;
    none) die "please install: ${missing[*]} (this system has neither apt-get nor dnf)" ;;
    esac
    [ "$(id -u)" -eq 0 ] || die "please run, as root: ${install[*]}"
    say "Installing ${missing[*]}"
    if [ "$(package_manager)" = apt ]; then
        export DEBIAN_FRONTEND=noninteractive
        quietly apt-get update
    fi
    quietly "${install[@]}"
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -eq 0 ] || die "installed, but their files are still not found: ${missing[*]}"
}

quietly() {
    # Run it, and show what it said only when it fails.
    local log
    log=$(mktemp)
    if ! "$@" > "$log" 2>&1 < /dev/null; then
        cat -- "$log" >&2
        rm -f -- "$log"
        die "failed: $*"
    fi
    rm -f -- "$log"
}

# --- the Python environment --------------------------------------------------------------------------------------

requirements_key() {
    { echo "$root $(readlink -f /usr/bin/python3)"; cat "$root/ci/requirements.txt"; } | sha256sum
}

make_environment() {
    # Always from /usr/bin/python3: what is first on PATH may be something else, and slow.
    local version key
    version=$(readlink -f /usr/bin/python3)
    key=$(requirements_key)
    [ "$(cat "$cache/venv/requirements.key" 2> /dev/null)" != "$key" ] || return 0
    if [ "$(readlink -f "$python" || true)" != "$version" ]; then
        say "Making the Python environment in .cache/venv"
        rm -rf -- "$cache/venv"
        quietly /usr/bin/python3 -m venv "$cache/venv"
    fi
    say "Installing ci/requirements.txt into .cache/venv"
    quietly "$python" -m pip install --disable-pip-version-check --no-input -r "$root/ci/requirements.txt"
    # setuptools' hook for programs that still import distutils: it would cost every start of ours a millisecond.
    rm -f -- "$cache"/venv/lib*/python3*/site-packages/distutils-precedence.pth
    printf '%s\n' "$key" > "$cache/venv/requirements.key"
}

install_working_tree() {
    # Editable: the modules are the working tree's own. Scripts and metadata are copies, renewed when they change.
    local key directories=("$root"/packages/*/setup.cfg) # some packages have no Python
    directories=("${directories[@]%/setup.cfg}")
    key=$(cd "$root" && sha256sum ci/requirements.txt packages/*/setup.cfg packages/*/pyproject.toml packages/*/bin/* | sha256sum)
    [ "$(cat "$cache/venv/packages.key" 2> /dev/null)" != "$key" ] || return 0
    say "Installing the working tree's packages into .cache/venv"
    quietly "$python" -m pip install --disable-pip-version-check --no-input --no-deps --no-build-isolation \
        "${directories[@]/#/--editable=}"
    printf '%s\n' "$key" > "$cache/venv/packages.key"
}
