"""Writes the request's files into a Windows guest, each whole or not at all, byte for byte as the request has them."""

from __future__ import annotations

import base64

from goldenpipe_steps.kit.log import size, some
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.windows.guest import failure, open_guest, records


async def run(step: Step) -> Report:
    files = {entry.get("path", str): entry.get("content", str).encode() for entry in step.params.items("files")}
    if not files:
        return step.done("There are no files to write", files=0)
    paths = list(files)
    given = [{"path": path, "content": base64.b64encode(content).decode()} for path, content in files.items()]
    async with open_guest(step) as guest:
        total = size(sum(map(len, files.values())))
        step.progress(30, f"Writing {len(files)} files ({total})" if len(files) > 1 else f"Writing {paths[0]}")
        answer = await guest.run("write_files", {"files": given})
        if answer.code:
            failed = [int(text.removeprefix("failed ")) for text in records(answer.out) if text.startswith("failed ")]
            raise failure(f"writing {paths[failed[0]] if failed else 'the files'}", answer)
    for path, content in files.items():
        step.say(f"{path}  {size(len(content))}")
    return step.done(f"Wrote {some(paths)}", files=len(files))
