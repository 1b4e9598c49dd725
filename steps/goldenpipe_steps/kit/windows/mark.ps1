# Note a finished unit, for a second run of the step to see, and remove the job that did it.
New-Item -ItemType File -Force -Path (Join-Path "$state\done" $given.key) | Out-Null
Unregister-ScheduledTask -TaskName "goldenpipe-$($given.key)" -Confirm:$false -ErrorAction SilentlyContinue
Remove-Item -Recurse -Force -LiteralPath (Join-Path "$state\jobs" $given.key) -ErrorAction SilentlyContinue
