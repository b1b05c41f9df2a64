#!/bin/sh
# Debian packages that some tests need: a browser, an RTSP server, GStreamer from Python, NGINX, Redis. As root this installs them;
# otherwise the tests that need them skip, and this prints what to install.
set -eu
packages="chromium-headless-shell gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
gstreamer1.0-plugins-ugly gstreamer1.0-libav python3-gi python3-gst-1.0 g++ nginx-light redis-server"
command -v dpkg-query >/dev/null 2>&1 || { echo "not Debian: tests that need a browser, RTSP or GStreamer skip"; exit 0; }
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "some tests skip without these packages: sudo apt-get install$missing"
  exit 0
fi
echo "installing for the tests:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
