#!/bin/sh
# The whole check, as CI runs it: scripts/check.sh. Every step runs, also after a failure; the end lists what failed.
set -u
cd "$(dirname "$0")/.." || exit 1
bin=$(pwd -P)/.venv/bin
PATH=$bin:$PATH:/usr/sbin:/sbin
export PATH
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME QMON_VM
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
failed=""
times=""

step() {
    name=$1
    shift
    printf '\n=== %s\n' "$name"
    began=$(date +%s)
    "$@"
    status=$?
    took=$(($(date +%s) - began))
    result=$([ $status = 0 ] && echo ok || echo "FAILED ($status)")
    printf '=== %s: %s, %s s\n' "$name" "$result" $took
    times="$times
$(printf '  %4s s  %s' $took "$name")"
    [ $status = 0 ] || failed="$failed
  $name"
}

# A wheel, installed where nothing else is, must work as it is.
wheel() {
    python -m build --wheel --outdir "$scratch/dist" . >"$scratch/build.log" 2>&1 || { cat "$scratch/build.log"; return 1; }
    python -m venv "$scratch/empty" || return 1
    "$scratch/empty/bin/python" -m pip install -q "$scratch"/dist/qmon-*.whl || return 1
    (
        cd "$scratch" || exit 1
        qmon=$scratch/empty/bin/qmon
        "$qmon" --version && "$qmon" ls && "$qmon" ls -o json >/dev/null || exit 1
        "$qmon" demo --headless --duration 15 -w "$scratch/demo.pcapng" || exit 1
        capinfos -c -i -d "$scratch/demo.pcapng" || exit 1
        packets=$(tshark -r "$scratch/demo.pcapng" -Y 'dhcp or bootp or tftp or http' 2>/dev/null | wc -l)
        echo "tshark names DHCP, TFTP or HTTP in $packets packets"
        [ "$packets" -gt 0 ]
    )
}

# In CI every QEMU must be there; elsewhere the missing ones are listed, and their tests skipped.
lab() {
    python -m tests.lab prepare || [ "${CI:-}" != true ]
}

began_all=$(date +%s)
step "ruff check" ruff check .
step "ruff format" ruff format --check .
step "mypy" mypy
step "import rules" lint-imports
step "lab" lab
step "tests" python -m pytest -q -n 2 --dist worksteal -m "not qemu and not terminal"
step "tests with QEMU and terminals" python -m pytest -q -n 2 --dist worksteal -m "qemu or terminal"
step "wheel" wheel
printf '\nWhat each part took:%s\n  %4s s  in all\n' "$times" $(($(date +%s) - began_all))
if [ -n "$failed" ]; then
    printf 'FAILED:%s\n' "$failed"
    exit 1
fi
echo "everything passed"
