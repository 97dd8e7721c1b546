# Sourced by check.sh and quickstart.sh: installs the Debian packages that are missing.

# What building and running needs, then what only the checks need.
build_packages="gcc binutils libc6-dev meson ninja-build pkg-config python3 libpng-dev \
libjpeg62-turbo-dev libjansson-dev libutf8proc-dev libyaml-dev libzip-dev zlib1g-dev"
check_packages="g++ abigail-tools check clang libclang-rt-14-dev clang-format-14 libopenblas0 \
python3-numpy"

say() {
    printf '\n== %s\n' "$*"
}

install_packages() {
    local missing="" package
    command -v dpkg-query >/dev/null || {
        echo "Not a Debian system; these packages are needed: $*" >&2
        return 0
    }
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    say "installing:$missing"
    local sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -q >/dev/null
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends $missing \
        >/dev/null
}

# Debian's python3 and meson before any others: the packages above belong to them.
PATH="/usr/bin:$PATH"
