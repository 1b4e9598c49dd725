#ps1
# A Windows node for Kubernetes: containers, containerd as a service, the kubelet's port open, no sleep. No kubelet: its
# version is the cluster's to choose. It may be run again at any time.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072
$folder = "$env:ProgramFiles\containerd"

$feature = Enable-WindowsOptionalFeature -Online -FeatureName 'Containers' -All -NoRestart
& powercfg.exe /hibernate off

if (-not (Test-Path -LiteralPath "$folder\containerd.exe")) {
    $api = 'https://api.github.com/repos/containerd/containerd/releases/latest'
    $release = Invoke-WebRequest -UseBasicParsing -Uri $api | ForEach-Object { $_.Content } | ConvertFrom-Json
    $version = $release.tag_name.TrimStart('v')
    $name = "containerd-$version-windows-amd64.tar.gz"
    $place = "https://github.com/containerd/containerd/releases/download/v$version/$name"
    Write-Output "Installing containerd $version"
    Invoke-WebRequest -UseBasicParsing -Uri $place -OutFile "$env:TEMP\$name"
    $sum = [Text.Encoding]::ASCII.GetString((Invoke-WebRequest -UseBasicParsing -Uri "$place.sha256sum").Content)
    $found = (Get-FileHash -LiteralPath "$env:TEMP\$name" -Algorithm SHA256).Hash
    if (($sum -split '\s+')[0] -ne $found) { throw "the checksum of $name is wrong: $found" }
    New-Item -ItemType Directory -Force -Path $folder | Out-Null
    & "$env:SystemRoot\System32\tar.exe" -xzf "$env:TEMP\$name" -C $folder --strip-components 1
    if ($LASTEXITCODE -ne 0) { throw "$name cannot be unpacked (tar: $LASTEXITCODE)" }
    Remove-Item -Force -LiteralPath "$env:TEMP\$name"
}
if (-not (Test-Path -LiteralPath "$folder\config.toml")) {
    $config = (& "$folder\containerd.exe" config default) -join "`n"
    [IO.File]::WriteAllText("$folder\config.toml", $config)
}
if (-not (Get-Service -Name containerd -ErrorAction SilentlyContinue)) {
    & "$folder\containerd.exe" --register-service
    if ($LASTEXITCODE -ne 0) { throw "containerd cannot be made a service (exit code $LASTEXITCODE)" }
}
Set-Service -Name containerd -StartupType Automatic
if (-not (Get-NetFirewallRule -Name 'kubelet' -ErrorAction SilentlyContinue)) {
    New-NetFirewallRule -Name 'kubelet' -DisplayName 'Kubernetes kubelet' -Direction Inbound -Protocol TCP `
        -LocalPort 10250 -Action Allow | Out-Null
}
if ($feature.RestartNeeded) {
    Write-Output 'Containers need a restart; containerd starts after it'
    exit 3010
}
Start-Service -Name containerd
