"""Makes or updates the request's users: groups, home, shell, password hash, and the right to use sudo.

A user without password can log in by key alone, and then sudo asks for none; a user with a password is asked for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import failure
from goldenpipe_steps.kit.inputs import InputFault, Params
from goldenpipe_steps.kit.log import some
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.shell import quote
from goldenpipe_steps.kit.step import Step

NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,30}\$?")

_FUNCTIONS = """\
set -e
trap '[ $? = 0 ] || echo "failed: $doing"' EXIT
shell=/bin/sh
[ ! -x /bin/bash ] || shell=/bin/bash
has() { command -v "$1" >/dev/null; }
group() {
    doing="making group $1"
    getent group "$1" >/dev/null && return
    if has groupadd; then groupadd "$1"; else addgroup "$1"; fi
    echo "made group $1"
}
user() {
    doing="making user $1"
    if getent passwd "$1" >/dev/null; then echo "user $1 exists, updating"; return; fi
    if has useradd; then
        own=-U
        ! getent group "$1" >/dev/null || own="-N -g $1"
        useradd -m $own -s "$shell" "$1"
    else adduser -D -s "$shell" "$1"; fi
    echo "$1:*" | chpasswd -e
    echo "made user $1"
}
member() {
    doing="putting user $1 into group $2"
    if has usermod; then usermod -a -G "$2" "$1"; else addgroup "$1" "$2"; fi
}
passwords() { doing="setting passwords"; chpasswd -e; }
grant() {
    doing="giving user $1 the right to use sudo"
    IFS=: read -r _ hash _ <<END
$(getent shadow "$1")
END
    case $hash in ''|'*'*|'!'*) password=NOPASSWD: doas=nopass;; *) password= doas=persist;; esac
    if has visudo; then
        file=/etc/sudoers.d/60-$(echo "$1" | tr . _)
        mkdir -p -m 0750 /etc/sudoers.d
        (umask 0227; echo "$1 ALL=(ALL:ALL) ${password}ALL" >"$file.new")
        if ! visudo -q -c -f "$file.new" >&2; then rm -f "$file.new"; return 1; fi
        mv -f "$file.new" "$file"
        [ ! -x /sbin/restorecon ] || restorecon "$file"
    elif has doas; then
        mkdir -p /etc/doas.d
        echo "permit $doas $1" >"/etc/doas.d/60-$1.conf"
    else
        echo "no sudo" >&2
        return 1
    fi
    echo "user $1 may use sudo${password:+ without a password}"
}
"""


@dataclass(frozen=True, kw_only=True)
class User:
    """One user of the request; the password is a hash, and the guest decides which kinds it knows."""

    name: str
    password_hash: str
    groups: list[str]
    sudo: bool


async def run(step: Step) -> Report:
    users = [_user(entry) for entry in step.params.items("users")]
    if not users:
        return step.done("There are no users to make", users=0)
    names = [user.name for user in users]
    for user in users:
        if step.input.guest and user.name == step.input.guest.user:
            message = (
                f"{user.name} is the user that the build itself logs in as; it is removed when the image is sealed"
            )
            raise Permanent(message, hint="Give the user another name.")
    async with step.guest() as guest:
        step.progress(30, f"Making {some(names)}")
        answer = await guest.sh(_script(users))
        step.say(answer.out.strip())
        if answer.code:
            doing = answer.out.rpartition("failed: ")[2].strip() or "making users"
            if "no sudo" in answer.err:
                message = f"{doing} failed: the guest has neither sudo nor doas"
                raise Permanent(message, hint="Add sudo to the request's packages.")
            raise failure(doing, answer)
    return step.done(f"Made {some(names)}", users=len(users))


def _user(entry: Params) -> User:
    user = User(
        name=entry.get("name", str),
        password_hash=entry.get("password_hash", str, ""),
        groups=entry.strings("groups"),
        sudo=entry.get("sudo", bool, False),
    )
    for name in (user.name, *user.groups):
        if not NAME.fullmatch(name):
            message = f"{name!r} is no name for a user or group"
            raise Permanent(message, hint="Use lower-case letters, digits, `_` and `-`, beginning with a letter.")
    if user.password_hash and (not user.password_hash.startswith("$") or set(user.password_hash) & set(":\n")):
        message = f"{entry.place}.password_hash is no crypt(3) hash such as $6$… or $y$…"
        raise InputFault(message)
    return user


def _script(users: list[User]) -> str:
    groups = sorted({group for user in users for group in user.groups})
    lines = [f"group {quote(group)}" for group in groups]
    lines += [f"user {quote(user.name)}" for user in users]
    lines += [f"member {quote(user.name)} {quote(group)}" for user in users for group in user.groups]
    hashes = [f"{user.name}:{user.password_hash}" for user in users if user.password_hash]
    if hashes:
        lines += ["passwords <<'END_OF_PASSWORDS'", *hashes, "END_OF_PASSWORDS"]
    lines += [f"grant {quote(user.name)}" for user in users if user.sudo]
    return _FUNCTIONS + "\n".join(lines) + "\n"
