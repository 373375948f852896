#!/bin/sh
# Makes this machine ready: scripts/setup.sh demo | test | develop
#
#   demo      QEMU, its iPXE ROMs and Python from the distribution; qmon in .venv
#   test      what the tests need on top of that
#   develop   .venv with the development tools; from the distribution only Python
#
# Whatever is there already is left alone, so a second run takes a moment and asks for no rights.
# On a distribution without apt nothing is installed: what is missing is named, and how to get it.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH
purpose=${1:-}
lock_wait_s=600

say() { printf '%s\n' "$*" >&2; }
die() { for line; do say "$line"; done; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

case $purpose in
demo | test | develop) ;;
*) die "usage: scripts/setup.sh demo|test|develop" ;;
esac
cd "$(dirname "$0")/.." || exit 1
here=$(pwd -P)

# --- what goes on --------------------------------------------------------------------------------------------------

# Runs a command; its output goes into $output, and what progress_of makes of each line goes to the user meanwhile.
watched() {
    progress_of=$1
    shift
    step=0
    output=$({ "$@"; echo "ended with $?"; } | {
        set -f
        while IFS= read -r line; do
            printf '%s\n' "$line"
            $progress_of
        done
    })
    [ ! -t 2 ] || printf '\r\033[K' >&2
    status=${output##*ended with }
    output=${output%ended with *}
    return "$status"
}

# One step of many: on a terminal in one line that changes, elsewhere a line for the first and every twentieth.
progress() {
    step=$((step + 1))
    if [ -t 2 ]; then
        printf '\r\033[K  %.70s' "$*" >&2
    elif [ $((step % 20)) = 1 ]; then
        say "  $*"
    fi
}

milestone() {
    [ ! -t 2 ] || printf '\r\033[K' >&2
    say "  $*"
}

# The words of one line of apt-get, of which $line is one.
apt_progress() {
    # shellcheck disable=SC2086 # apart into words
    case $line in
    *" newly installed,"*) set -- $line && all=$3 && milestone "packages: $all" ;;
    "Need to get "*) milestone "${line%.}" ;;
    "Get:"*)
        set -- $line
        case ${5:-} in
        [a-z0-9]*) progress "downloading $5" ;;
        *) progress "reading $3" ;;
        esac
        ;;
    "Fetched "*) milestone "$line" ;;
    "Unpacking "*)
        set -- $line
        step=${unpacked:-0}
        progress "unpacking $2 ($((step + 1)) of ${all:-?})"
        unpacked=$step
        ;;
    "Setting up "*)
        # The C library and its like are set up between the unpacking of the others.
        set -- $line
        step=${set_up:-0}
        progress "setting up $3 ($((step + 1)) of ${all:-?})"
        set_up=$step
        ;;
    esac
}

pip_progress() {
    # shellcheck disable=SC2086 # apart into words
    case $line in
    "Collecting "*) set -- $line && progress "looking for $2" ;;
    *"Downloading "*) set -- $line && progress "downloading ${2##*/} ${3:-} ${4:-}" ;;
    "Installing collected packages: "*) set -- $line && milestone "packages to install: $(($# - 3))" ;;
    esac
}

# --- what is missing -----------------------------------------------------------------------------------------------

# The newest-enough Python; $PYTHON has the first word.
find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$(command -v "$candidate")
            return 0
        fi
    done
    return 1
}

python_can_make_environments() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }

# QEMU itself says where it looks for its ROMs.
rom_is_there() {
    for directory in $(qemu-system-x86_64 -L help 2>/dev/null); do
        [ -e "$directory/efi-virtio.rom" ] && return 0
    done
    return 1
}

# Each thing has one name here; install_names says what it is called elsewhere.
find_missing() {
    missing=""
    need() { missing="$missing $1"; }
    if ! find_python; then
        need python
        need venv
    elif ! python_can_make_environments; then
        need venv
    fi
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ ! -e /etc/debian_version ] || need certificates
    # The wheels of one dependency are for x86_64 only; elsewhere it is compiled.
    if [ "$(uname -m)" != x86_64 ]; then
        if ! have cc || [ ! -e /usr/include/pcap/pcap.h ]; then need compiler; fi
    fi
    [ "$purpose" = develop ] && return
    have qemu-system-x86_64 || need qemu
    rom_is_there || need roms
    [ "$purpose" = demo ] && return
    have tshark || need tshark
    have capinfos || need tshark
    have tcpdump || need tcpdump
    have tmux || need tmux
    have socat || need socat
    have ip || need iproute
    have setpriv || need setpriv
    have script || need script
    have ps || need procps
    have busybox || need busybox
    have vde_switch || need vde2
    have passt || need passt
    have nft || need nftables
    [ ! -e /etc/debian_version ] || [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || need keyring
}

# --- the distribution's packages -----------------------------------------------------------------------------------

distribution() {
    if [ "$(uname -s)" != Linux ]; then
        uname -s
        return
    fi
    # shellcheck disable=SC1090,SC1091
    words=$(. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && printf '%s %s' "${ID:-}" "${ID_LIKE:-}")
    for word in $words; do
        case $word in
        debian | ubuntu) echo debian; return ;;
        fedora | rhel | centos) echo fedora; return ;;
        arch) echo arch; return ;;
        suse | opensuse*) echo suse; return ;;
        alpine) echo alpine; return ;;
        esac
    done
    echo unknown
}

# Package names of the things in $missing on distribution $1.
package_names() {
    for thing in $missing; do
        case $1:$thing in
        debian:python) echo python3 ;;
        debian:venv) venv_package ;;
        debian:certificates) echo ca-certificates ;;
        debian:compiler) echo "gcc python3-dev libpcap-dev" ;;
        debian:qemu) echo qemu-system-x86 ;;
        debian:roms) echo ipxe-qemu ;;
        debian:iproute) echo iproute2 ;;
        debian:setpriv) echo util-linux ;;
        debian:script) echo bsdutils ;;
        debian:busybox) echo busybox-static ;;
        debian:keyring) echo debian-archive-keyring ;;
        fedora:python | fedora:venv) echo python3 ;;
        fedora:compiler) echo "gcc python3-devel libpcap-devel" ;;
        fedora:qemu) echo qemu-system-x86-core ;;
        fedora:roms) echo ipxe-roms-qemu ;;
        fedora:tshark) echo wireshark-cli ;;
        fedora:setpriv) echo util-linux ;;
        fedora:script) echo util-linux-script ;;
        fedora:procps) echo procps-ng ;;
        arch:python | arch:venv) echo python ;;
        arch:compiler) echo "gcc libpcap" ;;
        arch:qemu | arch:roms) echo qemu-base ;;
        arch:tshark) echo wireshark-cli ;;
        arch:iproute) echo iproute2 ;;
        arch:setpriv | arch:script) echo util-linux ;;
        arch:procps) echo procps-ng ;;
        suse:python | suse:venv) echo python312 ;;
        suse:compiler) echo "gcc python312-devel libpcap-devel" ;;
        suse:qemu) echo qemu-x86 ;;
        suse:roms) echo qemu-ipxe ;;
        suse:tshark) echo wireshark ;;
        suse:iproute) echo iproute2 ;;
        suse:setpriv | suse:script) echo util-linux ;;
        suse:busybox) echo busybox-static ;;
        alpine:python | alpine:venv) echo python3 ;;
        alpine:compiler) echo "build-base python3-dev libpcap-dev" ;;
        alpine:qemu | alpine:roms) echo qemu-system-x86_64 ;;
        alpine:iproute) echo iproute2 ;;
        alpine:setpriv) echo setpriv ;;
        alpine:script) echo util-linux-misc ;;
        unknown:python | unknown:venv) echo "Python 3.11 or newer with its venv module;" ;;
        unknown:compiler) echo "a C compiler, Python's and libpcap's headers;" ;;
        unknown:qemu) echo "qemu-system-x86_64;" ;;
        unknown:roms) echo "QEMU's iPXE boot ROMs (efi-virtio.rom);" ;;
        unknown:*) echo "$thing;" ;;
        *) echo "$thing" ;;
        esac
    done | tr ' ' '\n' | if [ "$1" = unknown ]; then tr '\n' ' '; else sort -u | tr '\n' ' '; fi
}

# Debian's venv package belongs to one Python: python3-venv is for the distribution's own python3.
venv_package() {
    case ${python:-python3} in
    */python3.*) echo "${python##*/}-venv" ;;
    *) echo python3-venv ;;
    esac
}

no_rights() {
    die "qmon needs these packages: $packages" "$1" "  $2" "Then run the same command again."
}

# Sets $root to what makes a command run as root, or ends with what to do instead.
find_root() {
    command_line="apt-get update && apt-get install --no-install-recommends $packages"
    if [ "$(id -u)" = 0 ]; then
        root=""
    elif ! have sudo; then
        no_rights "There is no sudo here and you are not root. As root, run:" "$command_line"
    elif sudo -n true 2>/dev/null; then
        root="sudo -n"
    elif (: </dev/tty) 2>/dev/null; then
        say "To install $packages, sudo may ask for your password."
        root=sudo
    else
        no_rights "sudo wants a password and there is no terminal to ask on. Run:" \
            "sudo apt-get update && sudo apt-get install --no-install-recommends $packages"
    fi
}

as_root() {
    # shellcheck disable=SC2086 # $root is a command with its options, or nothing
    $root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C "$@" 2>&1 </dev/null
}

# apt-get waits for dpkg's lock by itself, but not for those of its lists and its archive. What an interrupted
# installation left half done is finished first.
apt() {
    began=$(date +%s)
    told=""
    repaired=""
    while :; do
        watched apt_progress as_root apt-get -o DPkg::Lock::Timeout=$lock_wait_s -o Acquire::Retries=3 -q -y "$@" && return 0
        case $output in
        *"Could not get lock"* | *"Unable to lock"* | *"Unable to acquire the dpkg"*)
            [ $(($(date +%s) - began)) -lt $lock_wait_s ] || return $status
            [ -n "$told" ] || say "Another program is installing packages; waiting for it …"
            told=yes
            sleep 2
            ;;
        *"dpkg was interrupted"* | *"--fix-broken install"*)
            [ -z "$repaired" ] || return $status
            say "Finishing an installation that was interrupted before"
            repaired=yes
            as_root dpkg --force-confdef --force-confold --configure -a >/dev/null
            as_root apt-get -o DPkg::Lock::Timeout=$lock_wait_s -q -y -f install >/dev/null
            ;;
        *) return $status ;;
        esac
    done
}

install_with_apt() {
    packages=$(package_names debian)
    packages=${packages% }
    find_root
    # A password is asked for here, not where the output is held back.
    [ "$root" != sudo ] || sudo true || no_rights "sudo did not let you. As root, run:" "$command_line"
    say "Reading apt's lists of packages"
    apt update || say "apt-get update failed; going on with the lists that are there:" "$output"
    say "Installing $packages"
    # shellcheck disable=SC2086 # a list of names
    apt install --no-install-recommends $packages || die "$output" "" \
        "apt-get could not install: $packages" "Put that right (the lines above say why) and run the same command again."
}

find_missing
if [ -n "$missing" ]; then
    where=$(distribution)
    [ "$where" != debian ] || have apt-get || where=unknown
    case $where in
    debian) install_with_apt ;;
    fedora) die "Missing here. Run this, then the same command again:" "  sudo dnf install $(package_names fedora)" ;;
    arch) die "Missing here. Run this, then the same command again:" "  sudo pacman -S --needed $(package_names arch)" ;;
    suse) die "Missing here. Run this, then the same command again:" "  sudo zypper install $(package_names suse)" ;;
    alpine) die "Missing here. Run this, then the same command again:" "  apk add $(package_names alpine)" ;;
    Darwin | *BSD) die "qmon reads /proc and QEMU's memory files: it runs on Linux, not on $where." \
        "Use it inside a Linux machine, beside the QEMU it is to look at." ;;
    *) die "Missing here: $(package_names unknown)" "Install that with this system's package manager, then run the same command again." ;;
    esac
    find_missing
    case " $missing " in
    *" python "*)
        die "qmon needs Python 3.11 or newer; this system's python3 is $(python3 -V 2>&1)." \
            "Install a newer one beside it and name it: PYTHON=/path/to/python3.12 make $purpose" ;;
    esac
    [ -z "$missing" ] || die "Still missing after the installation:$missing"
fi

# --- .venv ---------------------------------------------------------------------------------------------------------

# Settings for other places than this environment must not reach it.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT VIRTUAL_ENV
PIP_USER=0
PIP_REQUIRE_VIRTUALENV=0
PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_USER PIP_REQUIRE_VIRTUALENV PIP_DISABLE_PIP_VERSION_CHECK

environment=$here/.venv
busy=$environment/qmon-setup-not-finished
case $purpose in
demo) extras="" ;;
*) extras="[dev]" ;;
esac
done_mark=$environment/qmon-setup${extras:+-dev}

# Whether .venv was finished, belongs to this directory and runs a good Python.
environment_is_sound() {
    [ -x "$environment/bin/python" ] && [ ! -e "$busy" ] &&
        head -n 2 "$environment/bin/pip" 2>/dev/null | grep -qF "$environment/" &&
        "$environment/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# What was installed: it is done again when the project's own description changes.
wanted() { cksum <"$here/pyproject.toml"; }

if [ -e "$environment" ] && [ ! -w "$environment" ]; then
    die "$environment belongs to somebody else (was it made as root?)." "Remove it and run the same command again:" \
        "  sudo rm -r '$environment'"
fi
if [ -e "$environment" ] && ! environment_is_sound; then
    say "Making .venv anew: the one that is there was not finished or was made for another place."
    rm -rf "$environment" || die "$environment cannot be removed; remove it and run the same command again."
fi
if [ -e "$done_mark" ] && [ "$(cat "$done_mark")" = "$(wanted)" ] && [ -x "$environment/bin/qmon" ]; then
    exit 0
fi
mkdir -p "$environment" && : >"$busy" || exit 1
if [ ! -x "$environment/bin/python" ]; then
    say "Making .venv with $("$python" -V)"
    "$python" -m venv "$environment" || die "$python could not make $environment (the lines above say why)."
fi
say "Installing qmon and what it needs into .venv"
watched pip_progress "$environment/bin/python" -m pip install --progress-bar off -e ".$extras" || die "" \
    "pip could not install qmon's dependencies (the lines above say why; is the network there?)." \
    "Run the same command again when that is put right."
# The development tools include everything the demo needs.
wanted >"$environment/qmon-setup"
wanted >"$done_mark"
rm -f "$busy"
