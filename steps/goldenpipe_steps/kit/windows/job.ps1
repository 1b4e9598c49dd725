# The wrapper of a job: runs it and tells how it ended. It lies in the job's folder; a scheduled task runs it as SYSTEM.
$ErrorActionPreference = 'Stop'
$folder = $PSScriptRoot
$began = Get-Date
& "$env:SystemRoot\System32\cmd.exe" /d /c "$folder\run.cmd"
$code = $LASTEXITCODE
# 1074: somebody has asked for a restart or a shutdown
$asked = @{ LogName = 'System'; ProviderName = 'User32'; Id = 1074; StartTime = $began }
$stopping = @(Get-WinEvent -FilterHashtable $asked -ErrorAction SilentlyContinue).Count -gt 0
# what fails while the guest goes down was killed by that: it leaves no exit code and counts as interrupted
if (-not $stopping -or @(0, 1641, 3010) -contains $code) {
    $words = if ($stopping -or $code -eq 1641) { "$code stopping" } else { "$code" }
    [IO.File]::WriteAllText("$folder\rc.new", $words)
    Move-Item -Force -LiteralPath "$folder\rc.new" -Destination "$folder\rc"
}
