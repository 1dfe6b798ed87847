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

# The same for a module of the distribution's own Python: need_python MODULE PACKAGE.
need_python() {
    local module=$1 package=$2
    if /usr/bin/python3 -c "import $module" 2>/dev/null; then return 0; fi
    echo "installing $package (Python's $module is missing)"
    apt_install "$package" || true
    if /usr/bin/python3 -c "import $module" 2>/dev/null; then return 0; fi
    echo "cannot install $package: install it by hand so that /usr/bin/python3 can import $module" >&2
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_update() {
    if [ -n "${apt_updated:-}" ]; then return 0; fi
    as_root apt-get -qq update </dev/null || return 1
    apt_updated=yes
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    apt_update || return 1
    # The package would start a server of its own, on the standard port: the tests start private ones.
    local policy=/usr/sbin/policy-rc.d ours='' status=0
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$1" </dev/null >/dev/null || status=$?
    if [ -n "$ours" ]; then as_root rm -f "$policy"; fi
    return "$status"
}

# The RabbitMQ 4.0 of a later Debian, whole in a folder of its own: sets rabbitmq_4 to that folder. Made once, in
# about a minute; who wants it anew removes it. False, with a line that says why, where it can't be had.
need_rabbitmq_4() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/tgw
    rabbitmq_4=$cache/rabbitmq-4
    if [ -d "$rabbitmq_4" ]; then return 0; fi
    if ! as_root true 2>/dev/null; then
        echo "no RabbitMQ 4: making its folder needs root, or a sudo that asks nothing" >&2
        return 1
    fi
    need debootstrap debootstrap || return 1
    mkdir -p "$cache" || return 1
    # Two that want it at once: the second waits, and finds it.
    (flock 9 && { [ -d "$rabbitmq_4" ] || make_rabbitmq_4 "$rabbitmq_4"; }) 9>"$cache/lock"
}

make_rabbitmq_4() {
    local folder=$1 part=$1.part keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
    mirror=$(debian_mirror)
    # What apt knows of its sources is often removed from an image.
    if [ -z "$mirror" ] && apt_update; then mirror=$(debian_mirror); fi
    [ -n "$mirror" ] || { echo "no RabbitMQ 4: apt's sources name no mirror of Debian" >&2; return 1; }
    [ -r "$keyring" ] || apt_install debian-archive-keyring || true
    echo "making a folder with RabbitMQ 4: $folder"
    as_root rm -rf --one-file-system "$part"
    if as_root debootstrap --variant=minbase --include=rabbitmq-server --force-check-gpg --keyring="$keyring" \
        trixie "$part" "$mirror" </dev/null >"$folder.log" 2>&1 9>&-; then
        as_root find "$part/var/cache/apt" -name '*.deb' -delete
        as_root mv -T "$part" "$folder" && rm -f "$folder.log" && return 0
    fi
    tail -n 5 "$folder.log" >&2
    echo "no RabbitMQ 4: debootstrap failed" >&2
    as_root rm -rf --one-file-system "$part" "$folder.log"
    return 1
}

# Whatever this machine's own packages come from.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null |
        awk '/^(https?|file):/ && !found { print; found = 1 }' || true
}

# Debian keeps servers where a user's PATH does not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
