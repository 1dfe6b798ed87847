# Sourced by tests/run and .ci/run: installs what is missing, and only that, from the distribution.
# A Debian or Ubuntu machine, and root or a sudo that asks nothing; elsewhere it says what to install.

# need COMMAND PACKAGE: false, with a line that says why, where the command is not there in the end.
need() {
    local command=$1 package=$2
    if command -v "$command" >/dev/null; then return 0; fi
    echo "installing $package ($command is missing)"
    apt_install "$package" || true
    if command -v "$command" >/dev/null; then return 0; fi
    echo "cannot install $package: install it by hand so that \`$command\` can be run" >&2
    return 1
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    local as_root=() status=0
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
    if [ -z "${apt_updated:-}" ]; then
        "${as_root[@]}" apt-get -qq update </dev/null || return 1
        apt_updated=yes
    fi
    # The package would start a server of its own, on the standard port: the tests start private ones.
    local policy=/usr/sbin/policy-rc.d ours=
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod +x "$policy"
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$1" </dev/null >/dev/null || status=$?
    if [ -n "$ours" ]; then "${as_root[@]}" rm -f "$policy"; fi
    return "$status"
}

# Debian keeps servers where a user's PATH does not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
