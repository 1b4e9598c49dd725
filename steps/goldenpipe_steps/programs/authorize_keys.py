"""Lets the owners of the request's SSH keys log in as its users, or as the distribution's default user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import Guest, failure
from goldenpipe_steps.kit.log import some
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.shell import quote, words
from goldenpipe_steps.kit.step import Step

_CONFIG = """\
for file in /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg; do
    [ ! -f "$file" ] || { printf '\\036%s\\n' "$file"; cat "$file"; }
done
"""
_FUNCTIONS = """\
set -e
trap '[ $? = 0 ] || echo "failed: $doing"' EXIT
has() { command -v "$1" >/dev/null; }
default_user() {  # name, shell, full name, groups...
    doing="making the default user $1"
    name=$1 shell=$2 full=$3
    shift 3
    getent passwd "$name" >/dev/null && return
    for group in "$@"; do
        getent group "$group" >/dev/null || if has groupadd; then groupadd "$group"; else addgroup "$group"; fi
    done
    [ -x "$shell" ] || shell=/bin/sh
    if has useradd; then useradd -m -U -s "$shell" -c "$full" "$name"
    else adduser -D -s "$shell" -g "$full" "$name"; fi
    echo "$name:*" | chpasswd -e
    for group in "$@"; do
        if has usermod; then usermod -a -G "$group" "$name"; else addgroup "$name" "$group"; fi
    done
    echo "made the distribution's default user $name"
}
sudo_rule() {
    doing="giving sudo rights to $1"
    file=/etc/sudoers.d/90-cloud-init-users
    has visudo || return 0
    [ -f "$file" ] || (umask 0227; : >"$file")
    grep -qxF "$1 $2" "$file" || printf '\\n# User rules for %s\\n%s %s\\n' "$1" "$1" "$2" >>"$file"
    visudo -q -c -f "$file" >&2
}
authorize() {  # the keys are on stdin
    doing="authorizing keys for $1"
    home=$(getent passwd "$1" | cut -d: -f6)
    [ -n "$home" ] || { echo "there is no user $1 in the guest" >&2; return 1; }
    group=$(id -g "$1")
    mkdir -p "$home/.ssh"
    file=$home/.ssh/authorized_keys
    touch "$file"
    [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
    added=0
    while read -r key; do
        grep -qxF "$key" "$file" || { echo "$key" >>"$file"; added=$((added+1)); }
    done
    chmod 0700 "$home/.ssh"
    chmod 0600 "$file"
    chown -R "$1:$group" "$home/.ssh"
    [ ! -x /sbin/restorecon ] || restorecon -R "$home/.ssh"
    echo "$1: $added new keys"
}
"""


@dataclass(frozen=True, kw_only=True)
class DefaultUser:
    """The user that cloud-init makes on this distribution when nobody asks for another."""

    name: str
    shell: str
    full_name: str
    groups: list[str]
    sudo: list[str]


async def run(step: Step) -> Report:
    keys = list(dict.fromkeys(key.strip() for key in step.params.strings("keys")))
    if not keys:
        return step.done("There are no keys to authorize", keys=0)
    for key in keys:
        if "\n" in key or len(key.split()) < 2:
            message = "one of the SSH keys is no line of the form `ssh-ed25519 AAAA… comment`"
            raise Permanent(message)
    users = step.params.strings("users")
    async with step.guest() as guest:
        script = _FUNCTIONS
        if not users:
            default = await _default_user(guest)
            users = [default.name]
            script += _make(default)
        step.progress(50, f"Authorizing {len(keys)} keys for {some(users)}")
        body = "\n".join(keys)
        script += "".join(f"authorize {quote(user)} <<'END_OF_KEYS'\n{body}\nEND_OF_KEYS\n" for user in users)
        answer = await guest.sh(script)
        step.say(answer.out.strip())
        if answer.code:
            raise failure(answer.out.rpartition("failed: ")[2].strip() or "authorizing keys", answer)
    count = "1 key" if len(keys) == 1 else f"{len(keys)} keys"
    return step.done(f"Authorized {count} for {some(users)}", keys=len(keys), users=",".join(users))


async def _default_user(guest: Guest) -> DefaultUser:
    answer = await guest.sh(_CONFIG, check="reading cloud-init's configuration")
    merged: dict[str, Any] = {}
    for section in answer.out.split("\036")[1:]:
        merged.update(_default_of(section.partition("\n")[2]))
    if not merged.get("name"):
        message = "the request names no user for its SSH keys, and the guest's cloud-init names no default user"
        raise Permanent(message, hint="Add a user to the request's customizations.users.")
    return DefaultUser(
        name=str(merged["name"]),
        shell=str(merged.get("shell") or "/bin/sh"),
        full_name=str(merged.get("gecos") or ""),
        groups=_texts(merged.get("groups"), split=","),
        sudo=_texts(merged.get("sudo")),
    )


def _default_of(text: str) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    system = document.get("system_info") if isinstance(document, dict) else None
    user = system.get("default_user") if isinstance(system, dict) else None
    return user if isinstance(user, dict) else {}


def _texts(value: object, split: str | None = None) -> list[str]:
    """cloud-init takes a list, or one string where it feels like it."""
    if isinstance(value, str):
        value = value.split(split) if split else [value]
    return [str(item).strip() for item in value] if isinstance(value, list) else []


def _make(user: DefaultUser) -> str:
    groups = [group for group in user.groups if re.fullmatch(r"[A-Za-z0-9_.-]+", group)]
    lines = [f"default_user {words([user.name, user.shell, user.full_name, *groups])}"]
    lines += [f"sudo_rule {quote(user.name)} {quote(rule)}" for rule in user.sudo]
    return "\n".join(lines) + "\n"
