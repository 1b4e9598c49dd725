"""Makes or updates local users of a Windows guest: groups, membership, password.

Passwords come from the build's Secret and go to the guest inside the SSH connection; no log and no Job has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.inputs import Params
from goldenpipe_steps.kit.log import some
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.windows.guest import failure, open_guest, records


async def run(step: Step) -> Report:
    folder = Path(step.environ.get("GOLDENPIPE_SECRETS", "/goldenpipe/secrets"))
    users = [_user(entry, folder) for entry in step.params.items("users")]
    if not users:
        return step.done("There are no users to make", users=0)
    names = [user["name"] for user in users]
    groups = sorted({group for user in users for group in user["groups"]})
    async with open_guest(step) as guest:
        step.progress(30, f"Making {some(names)}")
        answer = await guest.run("create_users", {"users": users, "groups": groups})
        step.say("\n".join(line for line in answer.out.splitlines() if line and not line.startswith("\x1e")))
        if answer.code:
            failed = [text.removeprefix("failed ") for text in records(answer.out)]
            if "password" in answer.err.lower() and "requirements" in answer.err.lower():
                message = f"{failed[0] if failed else 'making users'} failed: {answer.last_words}"
                raise Permanent(
                    message, hint="Windows wants three of: upper case, lower case, digits, other characters."
                )
            raise failure(failed[0] if failed else "making users", answer)
    return step.done(f"Made {some(names)}", users=len(users))


def _user(entry: Params, folder: Path) -> dict[str, Any]:
    name, key = entry.get("name", str), entry.get("password_hash", str, "")
    user = {"name": name, "groups": entry.strings("groups"), "password": ""}
    if key:
        try:
            user["password"] = (folder / key).read_text()
        except OSError as error:
            message = f"the password of user {name} is not in the build's Secret: {error.strerror}"
            raise Permanent(message, hint="Passwords are kept until the build ends; create the image again.") from error
    return user
