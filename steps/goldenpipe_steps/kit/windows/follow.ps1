# Start the job if nobody has, and show its output from an offset on until it ends or this look has lasted long enough.
$folder = Join-Path "$state\jobs" $given.key
$task = "goldenpipe-$($given.key)"
$boot = Get-Boot
if (-not (Test-Path -LiteralPath "$folder\started")) {
    New-Item -ItemType Directory -Force -Path "$folder\work" | Out-Null
    foreach ($file in $given.files.PSObject.Properties) {
        [IO.File]::WriteAllBytes((Join-Path $folder $file.Name), [Convert]::FromBase64String($file.Value))
    }
    $words = "-NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File $folder\job.ps1"
    $action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument $words
    $settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries `
        -ExecutionTimeLimit ([TimeSpan]::Zero) -Priority 4
    $system = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
    Register-ScheduledTask -TaskName $task -Action $action -Settings $settings -Principal $system -Force | Out-Null
    # made by one call that fails if the file is there, so that only one start wins
    $mark = $null
    try { $mark = [IO.File]::Open("$folder\started", 'CreateNew', 'Write', 'None') } catch { $mark = $null }
    if ($mark) {
        $text = [Text.Encoding]::ASCII.GetBytes($boot)
        $mark.Write($text, 0, $text.Length)
        $mark.Dispose()
        Start-ScheduledTask -TaskName $task
    }
}
$out = [Console]::OpenStandardOutput()
$offset = [long]$given.start
$until = (Get-Date).AddSeconds([double]$given.seconds)
$buffer = New-Object byte[] 65536
$misses = 0
$end = ''
while (-not $end) {
    # in this order: what the job wrote before it ended is in the file when its end is seen
    $ended = Test-Path -LiteralPath "$folder\rc"
    $found = Get-ScheduledTask -TaskName $task -ErrorAction SilentlyContinue
    if ($found -and (@('Running', 'Queued') -contains [string]$found.State)) { $misses = 0 } else { $misses += 1 }
    if (Test-Path -LiteralPath "$folder\out") {
        $file = [IO.File]::Open("$folder\out", 'Open', 'Read', 'ReadWrite, Delete')
        $file.Position = [Math]::Min($offset, $file.Length)
        while (($count = $file.Read($buffer, 0, $buffer.Length)) -gt 0) {
            $out.Write($buffer, 0, $count)
            $offset += $count
        }
        $file.Dispose()
        $out.Flush()
    }
    $past = [IO.File]::ReadAllText("$folder\started") -ne $boot
    if ($ended) {
        $end = [IO.File]::ReadAllText("$folder\rc")
        # the restart that was under way has happened
        if ($past) { $end = $end -replace ' stopping$', '' }
    } elseif ($past) { $end = 'rebooted' }
    elseif ($misses -gt 20) { $end = 'killed' }
    elseif ((Get-Date) -gt $until) { break }
    else { Start-Sleep -Milliseconds 250 }
}
if ($end) {
    $text = [Text.Encoding]::ASCII.GetBytes("`n" + [char]30 + "exit $end`n")
    $out.Write($text, 0, $text.Length)
    $out.Flush()
}
