#!/bin/sh
# Looks for what an installation needs of the system, before anything of ours is installed: Python 3.11 or later with venv
# and its shared library (the embedded Triton links it), make and git. Prints one apt line for all that is missing and ends
# with status 1; where nothing is missing it prints the Python to use and ends with 0.
#
#   PYTHON=python3.12 sh common/precheck.sh
set -u

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 && supported "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# Where the libpython of an interpreter lies is asked of itself; ldconfig knows only those of the system.
has_libpython() {
    "$1" - <<'EOF'
import ctypes, sys, sysconfig
from pathlib import Path

name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
folders = [sysconfig.get_config_var("LIBDIR") or "/usr/lib", f"{sys.base_prefix}/lib"]
if any(Path(folder, name).exists() for folder in folders):
    sys.exit(0)
try:
    ctypes.CDLL(name)
except OSError:
    sys.exit(1)
EOF
}

packages=""
python=$(find_python) || python=""
if [ -z "$python" ]; then
    packages="python3.11 python3.11-venv libpython3.11"
else
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || packages="python$version-venv"
    has_libpython "$python" || packages="$packages libpython$version"
fi
for tool in make git; do
    command -v "$tool" >/dev/null 2>&1 || packages="$packages $tool"
done

# A loop rather than an expansion: no blank at either end.
line=""
for package in $packages; do
    line="$line $package"
done
if [ -n "$line" ]; then
    echo "Something that Countline needs is missing on this system. On Debian or Ubuntu, install it with:" >&2
    echo >&2
    if [ "$(id -u)" -eq 0 ]; then
        echo "    apt install$line" >&2
    else
        echo "    sudo apt install$line" >&2
    fi
    exit 1
fi
echo "$python"
