# Put the seal into the guest as a scheduled task, and start it once.
$folder = "$env:SystemRoot\Temp\goldenpipe-seal"
if (Test-Path -LiteralPath "$folder\started") { return }
New-Item -ItemType Directory -Force -Path $folder | Out-Null
Protect-Path $folder -folder
[IO.File]::WriteAllBytes("$folder\seal.ps1", [Convert]::FromBase64String($given.program))
$words = "-NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File $folder\seal.ps1"
$action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument $words
$settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -ExecutionTimeLimit ([TimeSpan]::Zero)
$system = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
Register-ScheduledTask -TaskName 'goldenpipe-seal' -Action $action -Settings $settings -Principal $system -Force | Out-Null
New-Item -ItemType File -Path "$folder\started" | Out-Null
Start-ScheduledTask -TaskName 'goldenpipe-seal'
