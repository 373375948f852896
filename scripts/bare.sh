#!/bin/sh
# The whole check on bare Debians, as a newcomer's machine would run it: scripts/bare.sh [RELEASE…] [-- COMMAND…]
#
# For each release (bookworm and trixie without more): a root made by debootstrap of nothing but the smallest variant
# and make, a clone of the committed tree in it, and there COMMAND (.ci/run without more). A root is made afresh for
# each run and removed when the run has passed; one that failed stays, and its name is told.
#
#   scripts/bare.sh enter RELEASE [COMMAND…]    a command (a shell without more) in the root that a failed run left
#
# Whatever is mounted is mounted in a mount namespace that ends with its last process, and that last process ends with
# this script, however it ends. So nothing is ever left mounted, and nothing that is removed holds a mount.
# Root only. It asks the Debian mirror that this machine's apt uses, or $QMON_MIRROR.
set -u
umask 022
cd "$(dirname "$0")/.." || exit 1
here=$(pwd -P)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH
place=${QMON_BARE:-${XDG_CACHE_HOME:-$HOME/.cache}/qmon-bare}

say() { printf '%s\n' "$*" >&2; }
die() { for line; do say "$line"; done; exit 1; }

# --- inside the namespaces: this script again, as the first process there ------------------------------------------

# inside ROOT DIRECTORIES COMMAND…: mount what a running system has, then COMMAND in the clone.
inside() {
    root=$1
    directories=$2
    shift 2
    # `ip netns exec` wants the root directory to be a mount point.
    mount --bind "$root" "$root" &&
        mount -t proc proc "$root/proc" &&
        mount -t sysfs sysfs "$root/sys" &&
        mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts" &&
        mkdir -p "$root/dev/shm" "$root/dev/net" &&
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" &&
        ln -sf pts/ptmx "$root/dev/ptmx" || die "bare: could not mount what a system needs below $root."
    [ -e "$root/dev/net/tun" ] || mknod -m 0666 "$root/dev/net/tun" c 10 200 || exit 1
    for directory in $directories; do
        mkdir -p "$root$directory" && mount --bind -o ro "$directory" "$root$directory" || exit 1
    done
    unset TMPDIR XDG_RUNTIME_DIR XDG_CACHE_HOME XDG_CONFIG_HOME VIRTUAL_ENV PYTHONPATH PYTHONHOME LANG LC_ALL LC_CTYPE
    unset QMON_VM QMON_LAB_CACHE QMON_BARE QMON_MIRROR
    # Not exec: the first process of a PID namespace collects what others leave.
    HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CI=true \
        chroot "$root" sh -c 'cd /root/qmon && exec "$@"' sh "$@"
    exit $?
}

if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
fi

# --- outside -------------------------------------------------------------------------------------------------------

mirror() {
    [ -z "${QMON_MIRROR:-}" ] || { echo "$QMON_MIRROR"; return; }
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sed -n 's|/*$||; /\/debian$/p' | head -n 1
}

# Packages of Python come from where this machine's pip takes them: its settings are copied, and directories that they
# name can be read at the same place. An index that is a directory is taken with the files beside it.
pip_directories() {
    for python in "$here/.venv/bin/python" python3; do
        "$python" -m pip --version >/dev/null 2>&1 && break
    done
    "$python" -m pip config list 2>/dev/null | tr "'\" =\\\\" '\n\n\n\nn' | while read -r word; do
        case $word in
        file:///*) word=$(dirname "${word#file://}") ;;
        /*) ;;
        *) continue ;;
        esac
        [ "$word" = / ] || [ ! -d "$word" ] || echo "$word"
    done | sort -u
}

carry_settings() {
    root=$1
    cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null
    for file in /etc/pip.conf "$HOME/.pip/pip.conf" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf"; do
        [ -e "$file" ] || continue
        case $file in
        /etc/*) to=$root$file ;;
        *) to=$root/root/.config/pip/pip.conf ;;
        esac
        mkdir -p "${to%/*}" && cp "$file" "$to"
    done
    # Authorities that this machine trusts beside the public ones; they count there once ca-certificates is installed.
    if [ -d /usr/local/share/ca-certificates ]; then
        mkdir -p "$root/usr/local/share/ca-certificates"
        cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
    fi
}

# The pristine root of release $1, made once.
base() {
    [ ! -d "$place/base-$1" ] || return 0
    where=$(mirror)
    [ -n "$where" ] || die "bare: this machine's apt names no Debian mirror. Name one: QMON_MIRROR=http://…/debian make bare"
    say "bare: debootstrap $1"
    rm -rf --one-file-system "$place/making-$1"
    debootstrap --variant=minbase --include=make "$1" "$place/making-$1" "$where" >"$place/debootstrap-$1.log" 2>&1 || {
        tail -n 20 "$place/debootstrap-$1.log" >&2
        die "bare: debootstrap $1 failed; all it said is in $place/debootstrap-$1.log"
    }
    mv "$place/making-$1" "$place/base-$1"
}

# in_root ROOT COMMAND…
in_root() {
    root=$1
    shift
    # The death of this script ends unshare, whose death ends the first process inside, and with it all others.
    setpriv --pdeathsig KILL -- unshare --mount --propagation private --pid --kill-child -- \
        sh "$here/scripts/bare.sh" --inside "$root" "$(pip_directories)" "$@"
}

run() {
    release=$1
    shift
    root=$place/root-$release
    base "$release"
    rm -rf --one-file-system "$root" || die "bare: $root cannot be removed."
    cp -a --reflink=auto "$place/base-$release" "$root" || die "bare: $root cannot be made."
    carry_settings "$root"
    git clone -q --no-local --depth 1 "file://$here" "$root/root/qmon" || die "bare: $here could not be cloned."
    in_root "$root" "$@" || return 1
    rm -rf --one-file-system "$root"
}

[ "$(id -u)" = 0 ] || die "bare: only root can make roots. Run: sudo make bare"
for tool in debootstrap git unshare setpriv chroot; do
    command -v $tool >/dev/null || die "bare: $tool is not installed here. On Debian: apt-get install debootstrap git util-linux"
done
mkdir -p "$place" || exit 1

if [ "${1:-}" = enter ]; then
    root=$place/root-${2:?"scripts/bare.sh enter RELEASE [COMMAND…]"}
    shift 2
    [ -d "$root" ] || die "bare: there is no $root: only a run that failed leaves one."
    [ $# -gt 0 ] || set -- sh
    in_root "$root" "$@"
    exit $?
fi

releases=""
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    releases="$releases $1"
    shift
done
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- .ci/run
results=""
status=0
for release in ${releases:-bookworm trixie}; do
    say "bare: $* on $release"
    began=$(date +%s)
    result=passed
    run "$release" "$@" || { status=1; result="FAILED (it is in $place/root-$release: scripts/bare.sh enter $release)"; }
    results="$results
  $release: $result, $(($(date +%s) - began)) s"
done
say "bare: $(git rev-parse --short HEAD)$results"
exit $status
