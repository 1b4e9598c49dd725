# What the guest is, in one round trip.
$system = Get-CimInstance -ClassName Win32_OperatingSystem
if (-not (Test-Path -LiteralPath $state)) {
    New-Item -ItemType Directory -Path $state | Out-Null
    Protect-Path $state -folder
}
foreach ($folder in 'done', 'jobs', 'run') {
    New-Item -ItemType Directory -Force -Path (Join-Path $state $folder) | Out-Null
}
$chocolatey = Get-Command -Name choco.exe -ErrorAction SilentlyContinue
$winget = Get-ChildItem -Path "$env:ProgramFiles\WindowsApps" -Directory -ErrorAction SilentlyContinue `
    -Filter 'Microsoft.DesktopAppInstaller_*_x64__8wekyb3d8bbwe' |
    ForEach-Object { Join-Path $_.FullName 'winget.exe' } | Where-Object { Test-Path -LiteralPath $_ } |
    Sort-Object | Select-Object -Last 1
Write-Record (ConvertTo-Json -Compress -InputObject @{
    boot = Get-Boot
    caption = [string]$system.Caption
    version = [string]$system.Version
    chocolatey = if ($chocolatey) { [string]$chocolatey.Source } else { '' }
    winget = [string]$winget
    done = @(Get-ChildItem -LiteralPath (Join-Path $state 'done') | ForEach-Object { [string]$_.Name })
})
