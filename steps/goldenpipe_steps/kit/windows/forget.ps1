# Remove every trace of a job, so that it can be installed and run afresh.
Stop-ScheduledTask -TaskName "goldenpipe-$($given.key)" -ErrorAction SilentlyContinue
Unregister-ScheduledTask -TaskName "goldenpipe-$($given.key)" -Confirm:$false -ErrorAction SilentlyContinue
Remove-Item -Recurse -Force -LiteralPath (Join-Path "$state\jobs" $given.key) -ErrorAction SilentlyContinue
