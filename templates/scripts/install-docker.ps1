#ps1
# The Docker engine for Windows containers, from Docker's own archive, as a service. It may be run again at any time.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072
$archive = 'https://download.docker.com/win/static/stable/x86_64'
$folder = "$env:ProgramFiles\docker"

$feature = Enable-WindowsOptionalFeature -Online -FeatureName 'Containers' -All -NoRestart

if (-not (Test-Path -LiteralPath "$folder\dockerd.exe")) {
    $page = (Invoke-WebRequest -UseBasicParsing -Uri "$archive/").Content
    $versions = @([regex]::Matches($page, 'docker-(\d+\.\d+\.\d+)\.zip') | ForEach-Object { [version]$_.Groups[1].Value })
    if (-not $versions.Count) { throw "$archive lists no version of Docker" }
    $newest = $versions | Sort-Object | Select-Object -Last 1
    Write-Output "Installing Docker $newest"
    Invoke-WebRequest -UseBasicParsing -Uri "$archive/docker-$newest.zip" -OutFile "$env:TEMP\docker.zip"
    Expand-Archive -Force -LiteralPath "$env:TEMP\docker.zip" -DestinationPath $env:ProgramFiles
    Remove-Item -Force -LiteralPath "$env:TEMP\docker.zip"
}

$path = [Environment]::GetEnvironmentVariable('Path', 'Machine')
if (($path -split ';') -notcontains $folder) {
    [Environment]::SetEnvironmentVariable('Path', "$path;$folder", 'Machine')
}
if (-not (Get-Service -Name docker -ErrorAction SilentlyContinue)) {
    & "$folder\dockerd.exe" --register-service
    if ($LASTEXITCODE -ne 0) { throw "dockerd cannot be made a service (exit code $LASTEXITCODE)" }
}
Set-Service -Name docker -StartupType Automatic
if ($feature.RestartNeeded) {
    Write-Output 'Containers need a restart; Docker starts after it'
    exit 3010
}
Start-Service -Name docker
