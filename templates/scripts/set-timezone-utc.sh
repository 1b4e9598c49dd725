#!/bin/sh
# The image's clock shows UTC, whatever the base image was set to.
set -eu

zone=/usr/share/zoneinfo/Etc/UTC
if [ -e "$zone" ]; then ln -sf "$zone" /etc/localtime; else rm -f /etc/localtime; fi
# Debian's tools read this file too; elsewhere it does not exist
[ ! -e /etc/timezone ] || echo Etc/UTC >/etc/timezone
date
