"""Lets the owners of the request's SSH keys log in to a Windows guest: as its users, or as any administrator."""

from __future__ import annotations

from goldenpipe_steps.kit.log import some
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.windows.guest import failure, open_guest, records


async def run(step: Step) -> Report:
    keys = list(dict.fromkeys(key.strip() for key in step.params.strings("keys")))
    if not keys:
        return step.done("There are no keys to authorize", keys=0)
    users = step.params.strings("users")
    whom = some(users) if users else "administrators"
    count = "1 key" if len(keys) == 1 else f"{len(keys)} keys"
    async with open_guest(step) as guest:
        step.progress(50, f"Authorizing {count} for {whom}")
        answer = await guest.run("authorize_keys", {"keys": keys, "users": users})
        step.say("\n".join(line for line in answer.out.splitlines() if line and not line.startswith("\x1e")))
        if answer.code:
            failed = [text.removeprefix("failed ") for text in records(answer.out)]
            raise failure(f"authorizing keys for {failed[0] if failed else whom}", answer)
    return step.done(f"Authorized {count} for {whom}", keys=len(keys), users=",".join(users))
